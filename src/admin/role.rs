//! Roles: what whom a request comes from may do, and what a route asks for.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// What a login allows; a later one includes the earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads /metrics.
    Metrics,
    /// Reads everything.
    Viewer,
    /// Reads and changes everything.
    Admin,
}

impl Role {
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Metrics, Self::Viewer, Self::Admin]
            .into_iter()
            .find(|role| role.word() == word)
    }

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Viewer => "viewer",
            Self::Admin => "admin",
        }
    }
}

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Everyone who reaches the listener.
    Nothing,
    Role(Role),
}

impl Needs {
    pub const METRICS: Self = Self::Role(Role::Metrics);
    pub const VIEWER: Self = Self::Role(Role::Viewer);
    pub const ADMIN: Self = Self::Role(Role::Admin);
}

/// Where a connection comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    Ip(SocketAddr),
    /// A Unix socket, with the user id of the program at its other end.
    Unix(Option<u32>),
}

impl fmt::Display for Peer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(out),
            Self::Unix(Some(user)) => write!(out, "Unix socket, uid {user}"),
            Self::Unix(None) => out.write_str("Unix socket"),
        }
    }
}

/// Whom a request comes from.
#[derive(Clone, Debug)]
pub struct Who {
    /// Account or name of the token; `None`: without a login.
    pub name: Option<Arc<str>>,
    /// `None`: may use only what needs no role.
    pub role: Option<Role>,
    pub peer: Peer,
    /// By a token in a header, which no other site can send.
    pub is_bearer: bool,
}

impl Who {
    #[must_use]
    pub fn may(&self, needs: Needs) -> bool {
        match needs {
            Needs::Nothing => true,
            Needs::Role(role) => self.role.is_some_and(|own| own >= role),
        }
    }
}

/// For the log: names are not to break its lines.
impl fmt::Display for Who {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(out, "\"{}\" ({})", name.escape_debug(), self.peer),
            None => write!(out, "{}", self.peer),
        }
    }
}
