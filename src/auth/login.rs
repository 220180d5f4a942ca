//! Logins as a protocol between a shard and its authenticator: the questions and the verdicts.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::acl::Acl;
use super::scram::Exchange;
use crate::time::Span;

/// An authenticated identity, and the rules that come with it.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// `None`: anonymous.
    pub user: Option<Arc<str>>,
    /// Rules that came with the proof; they take the place of the ACL file.
    pub acl: Option<Arc<Acl>>,
    /// The ACL file of the listener that it came by, if that has its own.
    pub acl_file: Option<Arc<str>>,
    /// How long the proof holds; `None`: as long as the connection.
    pub valid_for: Option<Span>,
}

impl Identity {
    #[must_use]
    pub fn of(user: &str) -> Self {
        Self {
            user: Some(user.into()),
            ..Self::default()
        }
    }
}

/// Credentials of a client, by authentication method.
pub enum Challenge {
    /// User name and password of CONNECT.
    Password {
        user: Option<Box<str>>,
        password: Option<Box<[u8]>>,
    },
    /// First message of SCRAM.
    ScramFirst(Box<[u8]>),
    /// Final message of SCRAM, with what the first led to.
    ScramFinal(Box<Exchange>, Box<[u8]>),
}

/// Passwords stay out of logs.
impl fmt::Debug for Challenge {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => write!(out, "Password({user:?})"),
            Self::ScramFirst(_) => out.write_str("ScramFirst"),
            Self::ScramFinal(..) => out.write_str("ScramFinal"),
        }
    }
}

/// A login, or a step of it, to be authenticated.
#[derive(Debug)]
pub struct Question {
    pub client_id: Box<str>,
    /// Where it comes from; `None`: a Unix socket.
    pub address: Option<IpAddr>,
    /// The accounts of its listener, if that has its own.
    pub password_file: Option<Arc<str>>,
    pub challenge: Challenge,
}

/// The result of authentication.
#[derive(Debug)]
pub enum Verdict {
    /// With bytes for the client (SCRAM's server final message).
    Accepted(Identity, Vec<u8>),
    /// There is another step; bytes for the client.
    Continue(Box<Exchange>, Vec<u8>),
    /// With a sentence for the log.
    Refused(Refusal, String),
}

/// Why a login is refused. A client cannot distinguish an unknown user from a wrong password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The proof is wrong.
    Wrong,
    /// Too many failures from its address.
    Banned,
    /// Too many logins wait already.
    Busy,
    /// The authenticator cannot be asked.
    Unavailable,
}
