//! Orders to a shard during an upgrade, and what it remembers meanwhile.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use super::pipe::Pipe;
use super::waits::Waits;
use crate::ids::{ConnectionId, ListenerId};
use crate::io::commits::Commits;
use crate::io::errors::StartError;
use crate::io::inbox::ShardCommand;
use crate::io::layers::Layers;
use crate::mqtt::ReasonCode;
use crate::shard::{Shard, TurnStep};
use crate::time::Time;
use crate::upgrade::{ClientParcel, Counts};

/// Whether a shard serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::io) enum Motion {
    #[default]
    Serving,
    /// It reads nothing and no timer fires; what is on its way is done.
    Slowing,
    /// Nothing moves: another process may have its clients any moment.
    Still,
    /// It is filled by another process, and touches no client.
    Arriving,
    /// The same, and what it has got goes to the disk.
    Writing,
}

impl Motion {
    /// Whether a step of a turn is taken.
    #[inline(always)]
    pub(in crate::io) fn takes(self, step: TurnStep) -> bool {
        use TurnStep as S;
        match self {
            Self::Serving => true,
            Self::Slowing => !matches!(step, S::ReadEstablished | S::ReadOthers | S::Timeouts),
            Self::Still => matches!(step, S::Reap | S::Inbox | S::Submit),
            Self::Arriving | Self::Writing => {
                matches!(
                    step,
                    S::Reap | S::Inbox | S::PeerBlocks | S::EndTurn | S::SendBlocks | S::Submit
                ) || (self == Self::Writing && step == S::Commit)
            }
        }
    }
}

impl Motion {
    /// When a shard is to make a turn that would make one then.
    pub(in crate::io) fn due(self, due: Option<Time>) -> Option<Time> {
        match self {
            Self::Serving => due,
            // What is left for a next turn is done; no timer fires.
            Self::Slowing => due.filter(|due| *due == Time::ZERO),
            Self::Still | Self::Arriving | Self::Writing => None,
        }
    }
}

/// How near to rest a shard is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::io) struct Look {
    pub(super) is_at_rest: bool,
    /// Clients that cannot be given yet. Only counted at rest.
    pub(super) busy: usize,
    /// Items sent to peers and taken from them, since the start.
    pub(super) sent: u64,
    pub(super) taken: u64,
}

/// What a shard has given, or why it could not.
pub(in crate::io) type Gift = Result<Given, String>;

#[derive(Clone, Copy, Debug, Default)]
pub(in crate::io) struct Given {
    pub(super) counts: Counts,
    /// Clients that were not given: they are cut.
    pub(super) left: u32,
    /// Clients whose layers stay.
    pub(super) relayed: u32,
}

/// Clients for one shard.
pub(in crate::io) struct Parcels {
    pub(super) clients: Vec<(ClientParcel, OwnedFd)>,
    pub(super) sessions: Vec<Vec<u8>>,
    pub(super) retained: Vec<Vec<u8>>,
    /// Listeners of the old process by their numbers here; `None`: not configured any more.
    pub(super) listeners: Arc<[Option<ListenerId>]>,
}

/// What a new shard has got.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::io) struct Arrived {
    pub(super) clients: u32,
    pub(super) refused: u32,
    /// Whose layers the old process has.
    pub(super) relayed: u32,
}

/// An order to a shard.
pub(in crate::io) enum UpgradeOrder {
    SlowDown,
    Look(Sender<Look>),
    /// Be still, and say so.
    BeStill(Sender<()>),
    Give(Arc<Mutex<Pipe>>, Sender<Gift>),
    /// Serve as if nothing had happened.
    GoOn,
    /// Another process serves: let go of everything. Clients may wait for it, if it relays some or has words for them.
    Leave {
        is_waited_for: bool,
    },
    /// Read the log of the old process, and say so.
    Read(Sender<Result<(), String>>),
    Take(Parcels),
    /// That was all: say so when other shards know it.
    TakenAll(Sender<Arrived>),
    /// The log may be written; say so when it depends on no other.
    Write(Sender<Result<(), String>>),
    /// Since when the clients wait, on the clock of the machine, and who wants to know for how long.
    Serve(Option<(u64, Sender<Vec<u32>>)>),
    /// Say how long they have waited so far.
    TellPauses,
    /// Send so many of those away whose layers another process has.
    SendAway(usize),
}

/// A client that does not fit.
pub(in crate::io) struct Unfit {
    pub(super) socket: OwnedFd,
    pub(super) layers: Option<Box<Layers>>,
    /// Sent when this process serves, and what they say.
    pub(super) last_words: Vec<u8>,
    pub(super) reason: ReasonCode,
}

/// Reads the log of a shard that is filled, when the other process is at rest, and says how it is made ready.
pub(in crate::io) type ReadLog = Box<dyn FnOnce(&mut Shard) -> Result<BeginLog, StartError>>;

/// Makes the log of a shard that was filled ready to be written.
pub(in crate::io) type BeginLog = Box<dyn FnOnce(&mut Shard) -> Result<Commits, StartError>>;

/// Lives on: a driver.
#[derive(Default)]
pub(in crate::io) struct Upgrade {
    pub(in crate::io) read_log: Option<ReadLog>,
    /// When the other process has left.
    pub(super) begin_log: Option<BeginLog>,
    pub(in crate::io) motion: Motion,
    /// Commands that wait until it serves again.
    pub(super) deferred: Vec<ShardCommand>,
    pub(super) arrived: Arrived,
    pub(super) unfit: Vec<Unfit>,
    /// Connections whose layers another process has.
    pub(super) relayed: HashSet<ConnectionId>,
    /// Those that were given with one end of a socket pair, and the other end.
    pub(super) relays: Vec<(ConnectionId, OwnedFd)>,
    /// Those that were not given: they end when this process leaves.
    pub(super) left: Vec<ConnectionId>,
    pub(super) awaits_peers: Option<Sender<Arrived>>,
    pub(super) awaits_log: Option<Sender<Result<(), String>>>,
    pub(in crate::io) waits: Waits,
    /// Everything is given away.
    pub(in crate::io) has_left: bool,
}

impl Upgrade {
    /// `is_filled`: by another process, before it serves.
    pub(in crate::io) fn new(is_filled: bool) -> Self {
        Self {
            motion: match is_filled {
                true => Motion::Arriving,
                false => Motion::Serving,
            },
            ..Self::default()
        }
    }
}
