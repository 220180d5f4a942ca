//! The authentication of one client: the CONNECT that waits for it, and the step it is at.

use crate::auth::{Exchange, Identity};
use crate::mqtt::Connect;
use crate::shard::access::pending_connect::PendingConnect;
use crate::shard::turn::timer_wheel::TimerId;

/// Lives on: a connection that is being authenticated, or was with an authentication method or
/// credentials that expire.
#[derive(Debug, Default)]
pub(in crate::shard) struct Login {
    /// The CONNECT that waits for its answer.
    pub(in crate::shard) connect: Option<Box<PendingConnect>>,
    pub(in crate::shard) stage: Stage,
    /// Authentication Method; all AUTH packets name it [MQTT-4.12.0-5].
    pub(in crate::shard) method: Option<Box<str>>,
    /// The authenticated identity and the server's final data, while the will awaits authorization.
    pub(in crate::shard) proof: Option<Box<(Identity, Vec<u8>)>>,
    /// Expiry of the credentials.
    pub(in crate::shard) timer: Option<TimerId>,
}

/// Step of the authentication exchange: what it waits for.
#[derive(Debug, Default)]
pub(in crate::shard) enum Stage {
    /// No exchange is open.
    #[default]
    Idle,
    /// The verdict on an [`Action::Authenticate`](crate::shard::Action::Authenticate).
    Judged,
    /// The client's first message.
    First,
    /// The client's final message.
    Final(Box<Exchange>),
}

impl Login {
    /// Of a client that is authenticated.
    pub(in crate::shard) fn proven(connect: &Connect<'_>) -> Self {
        Self {
            connect: Some(Box::new(PendingConnect::of(connect))),
            ..Self::default()
        }
    }

    /// Of a client that was authenticated before its connection was handed over.
    pub(in crate::shard) fn resumed(method: Option<Box<str>>, timer: Option<TimerId>) -> Self {
        Self {
            method,
            timer,
            ..Self::default()
        }
    }

    /// No exchange is open and no CONNECT waits.
    pub(in crate::shard) fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle) && self.connect.is_none() && self.proof.is_none()
    }

    /// The CONNECT that waits for its answer.
    pub(in crate::shard) fn pending(&self) -> Option<Connect<'_>> {
        let connect = self.connect.as_ref()?;
        Some(connect.get(self.method()))
    }

    pub(in crate::shard) fn method(&self) -> Option<&str> {
        self.method.as_deref()
    }
}
