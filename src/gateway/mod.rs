//! Gateway: clients of MQTT-SN as connections of their home shard.
//!
//! A machine beside each shard. For each *peer* (an address, or a node behind a forwarder) it has a *link*: a
//! connection of the shard without a socket, on which it speaks MQTT 5.0 for its client, with a window of one.
//! So session, queue, rights, retained messages, will and takeover are the shard's own, and what is here is what
//! MQTT-SN has beside them: topic ids, the will's conversation, sleep, and repeats of what is lost.
//!
//! Each shard reads a socket of its own. The `directory` of the reader has the home of each peer that is a
//! client; what it reads for another shard crosses to it as a [`Crossing`].

mod audit;
mod busy;
mod connecting;
mod connectionless;
mod describing;
mod directory;
mod discovery;
mod doors;
mod downlink;
mod keeping;
mod kept;
mod link;
mod outbox;
mod peer;
mod peers;
mod registration;
mod requests;
mod run;
mod sleep;
mod stats;
mod timers;
mod topics;
mod uplink;

use std::collections::HashMap;
use std::rc::Rc;

use ahash::RandomState;

pub use directory::Admit;
pub use outbox::{Crossing, Outgoing, PeerKey};
pub use stats::Stats;

use crate::ids::{ConnectionId, ListenerId, ShardId};
use crate::mqtt_sn::Settings;
use directory::Directory;
use discovery::Discovery;
use kept::Kept;
use outbox::Outbox;
use peers::Peers;
use run::Run;
use timers::Timers;

/// Peers of a shard that are in the middle of the will's conversation, at most: no session bounds them yet.
const CONNECTING_MAX: usize = 1_000;

/// Lives on: its shard.
pub struct Gateway {
    own: ShardId,
    /// By listener number; `None`: it does not speak MQTT-SN.
    settings: Vec<Option<Rc<Settings>>>,
    directory: Directory,
    discovery: Discovery,
    peers: Peers,
    /// What sessions without a connection keep, by client id.
    kept: HashMap<Rc<str>, Kept, RandomState>,
    /// Length of `kept` at which those without a session are looked for.
    sweep_at: usize,
    /// The link for QoS -1 of each listener.
    connectionless: HashMap<ListenerId, ConnectionId, RandomState>,
    /// Peers in the will's conversation.
    connecting: usize,
    timers: Timers,
    /// Peers with packets that the shard did not want.
    held: Vec<u32>,
    /// Peers that are awake, each at least once.
    awake: Vec<u32>,
    outbox: Outbox,
    /// A packet of a link.
    packet: Vec<u8>,
    run: Run,
    stats: Stats,
}

impl Gateway {
    #[must_use]
    pub fn new(own: ShardId, shards: u16, hash_seed: u64) -> Self {
        let state = RandomState::with_seeds(hash_seed, 1, 2, 3);
        Self {
            own,
            settings: Vec::new(),
            directory: Directory::new(state.clone()),
            discovery: Discovery::default(),
            peers: Peers::new(state.clone()),
            connectionless: HashMap::with_hasher(state.clone()),
            kept: HashMap::with_hasher(state),
            sweep_at: 64,
            connecting: 0,
            timers: Timers::default(),
            held: Vec::new(),
            awake: Vec::new(),
            outbox: Outbox::new(shards),
            packet: Vec::new(),
            run: Run::default(),
            stats: Stats::default(),
        }
    }
}
