//! The environment of the shards, as far as users of a world decide it differently.

use std::io::IoSlice;
use std::sync::Arc;

use super::Link;
use crate::auth::{AuthzDecisions, Question, Request, Rules, Verdict};
use crate::ids::ConnectionId;
use crate::shard::{CloseCause, Lane};
use crate::time::Time;

/// A command to a shard from a thread beside the shards.
#[derive(Debug)]
pub enum Command {
    Verdict(ConnectionId, Verdict),
    AuthzDecisions(ConnectionId, AuthzDecisions),
    Rules(Arc<Rules>),
    /// The broker stops.
    Stop,
}

/// Something that has happened between the shards and the world around them. Links are numbers in
/// [`World::links`](super::World::links).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event<'a> {
    /// A client has connected to a shard, which took it or did not.
    Opened {
        link: usize,
        shard: usize,
        is_accepted: bool,
    },
    /// Before the shard handles them.
    Read {
        link: usize,
        shard: usize,
        bytes: &'a [u8],
    },
    /// So many bytes of a link have been sent, of those that waited.
    Written {
        link: usize,
        shard: usize,
        count: usize,
        waiting: usize,
    },
    /// The client has closed its end and the shard was notified.
    Ended {
        link: usize,
        shard: usize,
        connection: ConnectionId,
        cause: CloseCause,
    },
    /// The shard asked to close it.
    Closed {
        link: usize,
        shard: usize,
    },
    /// On its way to its home.
    Leaves {
        link: usize,
        shard: usize,
        home: usize,
    },
    Arrives {
        link: usize,
        shard: usize,
        is_accepted: bool,
    },
    SendsBlock {
        from: usize,
        to: usize,
        lane: Lane,
    },
    TakesBlock {
        from: usize,
        to: usize,
        lane: Lane,
    },
    Timeout {
        shard: usize,
    },
    /// A login is to be authenticated, or a topic to be authorized.
    Asks {
        shard: usize,
        connection: ConnectionId,
    },
    Verdict {
        shard: usize,
        connection: ConnectionId,
        is_accepted: bool,
    },
    AuthzDecisions {
        shard: usize,
        connection: ConnectionId,
    },
    Rules {
        shard: usize,
    },
    Stop {
        shard: usize,
    },
    /// A frame is on its way to the shard's disk.
    Writes {
        shard: usize,
    },
    /// It is durable, and the shard was notified.
    Committed {
        shard: usize,
    },
    /// It may be there or not, and the shard was not notified.
    WriteFailed {
        shard: usize,
    },
    /// There is no room for a further segment of the shard, or there is again.
    DiskFull {
        shard: usize,
        is_full: bool,
    },
}

/// Everything here has a calm default: bytes and blocks cross at once and whole, no service is asked.
pub trait Environment {
    /// Most blocks and connections one ring holds.
    fn ring_room(&self) -> usize {
        usize::MAX
    }

    /// How many blocks a shard takes in one turn from one of its rings, of those that wait there.
    fn blocks(&mut self, lane: Lane, waiting: usize) -> usize {
        let _ = lane;
        waiting
    }

    /// Where, of this many connections, a shard begins to read.
    fn first_read(&mut self, connections: usize) -> usize {
        let _ = connections;
        0
    }

    /// How many bytes of a link a shard reads now, of those that wait; 0: it has not been notified yet.
    fn read(&mut self, waiting: usize) -> usize {
        waiting
    }

    /// Whether a shard sees now that the client has closed. The end is behind the bytes that wait, but a
    /// reset discards them.
    fn sees_end(&mut self, waiting: usize, wants_input: bool) -> bool {
        waiting == 0 || !wants_input
    }

    /// How many bytes a link's socket takes now, of those that wait; 0: it has no room.
    fn write(&mut self, link: &Link, waiting: usize) -> usize {
        let _ = link;
        waiting
    }

    /// Whether a socket that had no room has some.
    fn has_room(&mut self, link: &Link) -> bool {
        let _ = link;
        true
    }

    /// The first `count` of these bytes arrive at the client.
    #[inline]
    fn deliver(&mut self, link: &mut Link, slices: &[IoSlice<'_>], count: usize) {
        let mut left = count;
        for slice in slices {
            let taken = slice.len().min(left);
            link.received.extend_from_slice(&slice[..taken]);
            left -= taken;
        }
    }

    /// A shard asks for authentication of a client; the answer is a [`Command`], some time.
    fn authenticate(&mut self, shard: usize, connection: ConnectionId, question: Box<Question>) {
        let _ = (shard, connection, question);
    }

    /// A shard asks for authorization of topics; the answer is a [`Command`], some time.
    fn authorize(&mut self, shard: usize, connection: ConnectionId, request: Box<Request>) {
        let _ = (shard, connection, request);
    }

    /// The next command for a shard in this turn.
    fn command(&mut self, shard: usize) -> Option<Command> {
        let _ = shard;
        None
    }

    /// How many turns a write takes that begins now on a shard's disk, at least one. `None`: it takes until
    /// [`World::complete_write`](super::World::complete_write).
    fn commit_turns(&mut self, shard: usize) -> Option<u32> {
        let _ = shard;
        Some(1)
    }

    /// Whether a write fails whose time is over. Then the process is to end, and another one to continue
    /// ([`World::restart`](super::World::restart)).
    fn write_fails(&mut self, shard: usize) -> bool {
        let _ = shard;
        false
    }

    /// Whether the world reads what a shard asks for of its log; else the test does.
    fn reads_logs(&self) -> bool {
        true
    }

    /// How many turns a read takes that begins now on a shard's disk.
    fn read_turns(&mut self, shard: usize) -> u32 {
        let _ = shard;
        1
    }

    /// A disk has not given back what was written there.
    fn is_broken(&mut self, problem: String) {
        panic!("{problem}");
    }

    #[inline]
    fn happened(&mut self, now: Time, event: Event<'_>) {
        let _ = (now, event);
    }
}

/// The defaults.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calm;

impl Environment for Calm {}
