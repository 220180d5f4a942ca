//! Shards without sockets, in virtual time: the one harness of unit tests, wire tables, fuzz bodies, benches
//! and the simulator.
//!
//! A [`World`] owns the shards, the rings between them and the clients' ends of their connections ("links"),
//! and drives each shard with the steps of a production turn ([`run_turn`](crate::shard::run_turn)). What its
//! users decide differently (how much is read at once, when a ring has room, how logins are authenticated)
//! is an [`Environment`]. Shards have no journals unless a user begins them.

mod actions;
mod clock;
mod disk;
mod environment;
mod examine;
mod gateways;
mod journals;
mod link;
mod one_shard;
mod restart;
mod rings;
mod turn;
mod upgrade;

use std::collections::HashMap;
use std::sync::Arc;

pub use disk::{Disk, Sector};
pub use environment::{Calm, Command, Environment, Event};
pub use link::{At, Link};
pub use one_shard::{connect_packet, V311, V5};
pub use upgrade::Fate;

use gateways::Gateways;
use journals::Journal;
use rings::Rings;

use crate::auth::Rules;
use crate::ids::{ListenerId, ShardId};
use crate::limits::{Limits, OwnTerms};
use crate::listener::ListenerPolicy;
use crate::shard::{PlacementSeed, Shard, ShardConfig};
use crate::time::{Clocks, Time, WallTime};

/// More turns than any conversation needs: past it the shards never come to rest.
const TURNS_MAX: usize = 4_000_000; // the largest packet arrives byte by byte

/// Any day will do.
const WALL_AT_START: WallTime = WallTime(1_800_000_000_000);

/// What the shards of a world are made of.
#[derive(Clone, Debug)]
pub struct Setup {
    pub shards: u16,
    pub limits: Limits,
    pub policy: ListenerPolicy,
    pub placement_seed: u64,
    /// Each shard's own seed follows from it.
    pub seed: u64,
    pub now: Time,
    pub wall: WallTime,
    /// In force from the start; `None`: everything is allowed.
    pub rules: Option<Arc<Rules>>,
    /// By client id.
    pub own_terms: Arc<HashMap<Box<str>, OwnTerms>>,
}

impl Setup {
    /// Default limits, one listener, a fixed seed, one second after the start.
    #[must_use]
    pub fn new(shards: u16) -> Self {
        Self {
            shards,
            limits: Limits::default(),
            policy: ListenerPolicy::default(),
            placement_seed: 7,
            seed: 11,
            now: Time(1_000_000_000),
            wall: WALL_AT_START,
            rules: None,
            own_terms: Arc::default(),
        }
    }
}

/// See the module.
pub struct World<E = Calm> {
    pub now: Time,
    /// Both clocks, when the wall clock was last set.
    set: Clocks,
    pub shards: Vec<Shard>,
    pub environment: E,
    /// In the order in which they were opened; they stay when their connection is closed.
    pub links: Vec<Link>,
    /// By shard and index of the connection there: its link.
    attached: Vec<Vec<Option<usize>>>,
    rings: Rings,
    /// By shard; empty without journals.
    journals: Vec<Option<Journal>>,
    /// Of another number of shards, until all of it is in the journals.
    former_disks: Vec<Disk>,
    gateways: Gateways,
    /// Of segments of journals that begin from now on.
    pub segment_bytes: usize,
    /// No disk has room for more segments than these, of all journals together.
    pub segments_max: usize,
    /// Bytes on their way into a shard.
    buffer: Vec<u8>,
    /// Turns of each shard after which [`World::settle`] gives up.
    pub turns_max: usize,
}

impl World<Calm> {
    /// A world in which everything happens at once.
    #[must_use]
    pub fn calm(setup: Setup) -> Self {
        Self::new(setup, Calm)
    }
}

impl<E: Environment> World<E> {
    #[must_use]
    pub fn new(setup: Setup, environment: E) -> Self {
        let (now, wall) = (setup.now, setup.wall);
        let shards = setup.shards;
        Self {
            now,
            set: Clocks {
                monotonic: now,
                wall,
            },
            shards: shards_of(&setup),
            environment,
            links: Vec::new(),
            attached: vec![Vec::new(); usize::from(shards)],
            rings: Rings::new(shards),
            journals: Vec::new(),
            former_disks: Vec::new(),
            gateways: Gateways::default(),
            segment_bytes: journals::SEGMENT_BYTES,
            segments_max: usize::MAX,
            buffer: Vec::new(),
            turns_max: TURNS_MAX,
        }
    }

    /// Checks the bounds of all shards and gateways.
    ///
    /// # Panics
    /// When one does not hold.
    pub fn audit(&self) {
        for shard in &self.shards {
            if let Err(problem) = shard.audit() {
                panic!("{problem}");
            }
        }
        self.gateways.audit(&self.shards);
    }
}

fn shards_of(setup: &Setup) -> Vec<Shard> {
    let Setup {
        shards,
        placement_seed,
        seed,
        now,
        ..
    } = *setup;
    let config = Arc::new(ShardConfig {
        shards,
        limits: setup.limits.clone(),
        listeners: [setup.policy.clone()].into(),
        placement_seed: PlacementSeed((u128::from(placement_seed) << 64 | 1).to_le_bytes()),
        hash_seed: placement_seed,
        own_terms: Arc::clone(&setup.own_terms),
    });
    let shard = |id| {
        let mut shard = Shard::new(ShardId(id), &config, seed ^ u64::from(id) << 32, now);
        if let Some(rules) = &setup.rules {
            shard.handle_rules(Arc::clone(rules));
        }
        shard
    };
    (0..shards).map(shard).collect()
}

/// The only listener.
const LISTENER: ListenerId = ListenerId(0);

#[cfg(test)]
mod tests;
