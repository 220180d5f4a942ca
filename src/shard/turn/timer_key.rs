//! Keys of the timer wheel: whose deadline it is.

use crate::ids::{ConnectionId, SessionId};
use crate::shard::clients::heard::Deadline;
use crate::time::Time;

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum TimerKey {
    /// CONNECT, keep alive or the end of lingering, by the connection's phase.
    Connection(ConnectionId),
    /// Credentials of limited validity expire.
    Proof(ConnectionId),
    Will(SessionId),
    Expiry(SessionId),
    /// A pause because of a rate is over.
    ReadAgain(ConnectionId),
    SendAgain(ConnectionId),
    /// Counts of notices that repeat are due.
    Notices,
    Shutdown,
    /// Publications have waited for room on the disk for too long.
    DiskFull,
    /// Of replies that a full log holds.
    HeldReplies,
    /// The deadline has passed, and what had arrived by then was not read yet.
    OverdueConnection(ConnectionId, Deadline),
    OverdueWill(SessionId, Deadline),
    OverdueExpiry(SessionId, Deadline),
}

impl TimerKey {
    /// What is due, and since when; `at`: the deadline of the timer that has fired.
    pub(in crate::shard) fn due(self, at: Time) -> (Self, Time) {
        match self {
            Self::OverdueConnection(id, deadline) => (Self::Connection(id), deadline.time()),
            Self::OverdueWill(session, deadline) => (Self::Will(session), deadline.time()),
            Self::OverdueExpiry(session, deadline) => (Self::Expiry(session), deadline.time()),
            other => (other, at),
        }
    }
}
