//! What the driver must do besides sending bytes and blocks, and what an operator should see.

use super::{Origin, Peer, Shard};
use crate::auth::{Question, Request};
use crate::ids::{ConnectionId, ShardId};
use crate::time::{Span, Time};

/// Why a connection is gone, as seen by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseCause {
    /// The client closed its end.
    EndOfStream,
    /// The socket failed.
    Failed,
    /// The driver carried out a [`Action::Close`] or [`Action::Abort`].
    Asked,
}

/// What the driver must do besides sending bytes and blocks.
#[derive(Debug)]
pub enum Action {
    /// Send what is outgoing, shut the writing side, discard what still arrives until the client
    /// closes (so that a reason code is not lost to a reset), then close and call
    /// [`Shard::handle_closed`]. The shard follows with `Abort` when this takes too long.
    Close(ConnectionId),
    /// Close at once and call [`Shard::handle_closed`].
    Abort(ConnectionId),
    /// The session's home is another shard: stop watching the socket and move it there together with
    /// these bytes. The id is free at once (no `handle_closed`). The driver of `to` calls
    /// [`Shard::handle_opened`] with `origin` and [`Shard::handle_bytes`] with `bytes`.
    HandOff {
        connection: ConnectionId,
        to: ShardId,
        origin: Origin,
        bytes: Vec<u8>,
    },
    /// Judge a login on a thread that may take its time, and call [`Shard::handle_authenticated`].
    /// The connection may be gone by then.
    Authenticate(ConnectionId, Box<Question>),
    /// Ask the service what a client may do, and call [`Shard::handle_authorized`]. Each connection has
    /// at most one request on its way, and may be gone by then.
    Authorize(ConnectionId, Box<Request>),
    /// Something an operator should be able to see.
    Notice(Notice),
}

/// Something refused, dropped or ended, for the log.
#[derive(Clone, Debug)]
pub struct Notice {
    pub client_id: Option<Box<str>>,
    pub peer: Option<Peer>,
    pub text: String,
    /// Notices left out before this one because of the rate limit.
    pub suppressed: u64,
}

/// Notices per second and shard: enough to see what is wrong, too few to be the load.
const NOTICES_PER_S: u32 = 10;

/// Rate limiter of notices.
#[derive(Debug, Default)]
pub(super) struct Notices {
    second: u64,
    given: u32,
    suppressed: u64,
}

impl Shard {
    /// Records a notice; the text is made only when it will be shown.
    pub(super) fn notice(
        &mut self,
        client_id: Option<&str>,
        peer: Option<Peer>,
        now: Time,
        text: impl FnOnce() -> String,
    ) {
        let second = now.since(Time::ZERO).0 / Span::from_secs(1).0;
        if self.notices.second != second {
            self.notices.second = second;
            self.notices.given = 0;
        }
        if self.notices.given >= NOTICES_PER_S {
            self.notices.suppressed += 1;
            return;
        }
        self.notices.given += 1;
        self.actions.push_back(Action::Notice(Notice {
            client_id: client_id.map(Box::from),
            peer,
            text: text(),
            suppressed: std::mem::take(&mut self.notices.suppressed),
        }));
    }
}
