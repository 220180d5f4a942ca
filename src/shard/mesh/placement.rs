//! Placement: the home shard of a client id or a topic. The same on all shards.
//!
//! A name hashes to a lane, and a table gives each lane to a shard. So the lane of a name stays when the number
//! of shards changes, and can be written down. The hash is SipHash-2-4, which its authors published with test
//! vectors: the same in every version and on every processor. It is keyed, so that the network cannot
//! choose names that all land on one shard.

use std::fmt;

use siphasher::sip::SipHasher24;

use crate::ids::ShardId;
use crate::shard::ShardConfig;

/// Number of lanes, for good: names that were written down with their lane depend on it. The smallest power
/// of two with which no number of shards up to [`SHARDS_MAX`](crate::ids::SHARDS_MAX) gives one of them more
/// than an eighth above the mean, which is what limits of the broker leave each shard for uneven hashes
/// (`share_of`).
pub const HOME_LANES: u16 = 1_024;

/// Key of the placement: with another one every name is placed elsewhere. Secret, and drawn at the start as
/// long as nothing that is written down depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PlacementSeed(pub [u8; 16]);

impl fmt::Debug for PlacementSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlacementSeed(secret)")
    }
}

/// What a name hashes to; the unit that shards are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HomeLane(u16);

/// See the module.
#[derive(Clone, Debug)]
pub(in crate::shard) struct Placement {
    hasher: SipHasher24,
    /// By lane.
    shards: Box<[ShardId]>,
    /// Of topics within this process.
    names: ahash::RandomState,
}

impl Placement {
    pub(in crate::shard) fn new(seed: PlacementSeed, shards: u16, hash_seed: u64) -> Self {
        Self {
            hasher: SipHasher24::new_with_key(&seed.0),
            shards: (0..HOME_LANES).map(|lane| ShardId(lane % shards)).collect(),
            names: ahash::RandomState::with_seeds(hash_seed, 0x5EED, 11, 13),
        }
    }

    /// Home of a client id (its connection and session) or of a topic (its retained message).
    pub(in crate::shard) fn home(&self, name: &str) -> ShardId {
        self.shards[usize::from(self.lane(name).0)]
    }

    fn lane(&self, name: &str) -> HomeLane {
        let hash = self.hasher.hash(name.as_bytes());
        HomeLane((hash % u64::from(HOME_LANES)) as u16)
    }

    /// The lane of a name, to be written down.
    pub(in crate::shard) fn lane_number(&self, name: &str) -> u16 {
        self.lane(name).0
    }

    /// By lane: whether a shard has it.
    pub(in crate::shard) fn lanes_of(&self, shard: ShardId) -> Box<[bool]> {
        self.shards.iter().map(|of| *of == shard).collect()
    }

    /// A 64-bit name for a topic, of this process only: cheaper than what is stable.
    pub(in crate::shard) fn hash(&self, name: &str) -> u64 {
        self.names.hash_one(name.as_bytes())
    }
}

/// Homes of client ids and topics, for who brings a shard what is its own.
#[derive(Clone, Debug)]
pub struct Homes(Placement);

impl Homes {
    pub(in crate::shard) fn new(placement: &Placement) -> Self {
        Self(placement.clone())
    }

    #[must_use]
    pub fn of(config: &ShardConfig) -> Self {
        let (seed, shards) = (config.placement_seed, config.shards);
        Self(Placement::new(seed, shards, config.hash_seed))
    }

    #[must_use]
    pub fn home(&self, name: &str) -> ShardId {
        self.0.home(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SHARDS_MAX;

    /// Key of the published test vectors.
    const KEY: PlacementSeed =
        PlacementSeed([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

    fn placement(shards: u16) -> Placement {
        Placement::new(KEY, shards, 1)
    }

    /// From the paper's appendix and the reference implementation: inputs 00, 00 01, ...
    #[test]
    fn the_hash_is_siphash_2_4() {
        let hasher = placement(1).hasher;
        let input: Vec<u8> = (0..16).collect();
        for (length, expected) in [
            (0, 0x726f_db47_dd0e_0e31),
            (1, 0x74f8_39c5_93dc_67fd),
            (2, 0x0d6c_8009_d9a9_4f5a),
            (7, 0xab02_00f5_8b01_d137),
            (8, 0x93f5_f579_9a93_2462),
            (15, 0xa129_ca61_49be_45e5_u64),
        ] {
            assert_eq!(hasher.hash(&input[..length]), expected, "{length} bytes");
        }
    }

    /// What is written down in one version is found by the next: these values may never change.
    #[test]
    fn lanes_of_names_are_for_good() {
        let lane = |name| placement(1).lane(name).0;
        // SipHash-2-4 of each, modulo 1,024.
        for (name, expected) in [
            ("", 561),
            ("a", 202),
            ("client-17", 380),
            ("sensors/room 4/temperature", 603),
            ("größe/√2", 663),
        ] {
            assert_eq!(lane(name), expected, "{name:?}");
        }
        assert_eq!(usize::from(HOME_LANES), 1_024);
    }

    #[test]
    fn another_number_of_shards_or_another_seed() {
        let names: Vec<String> = (0..2_000).map(|n| format!("client-{n}")).collect();
        let (one, four) = (placement(1), placement(4));
        let other = Placement::new(PlacementSeed([7; 16]), 4, 1);
        let mut same = 0;
        for name in &names {
            let lane = one.lane(name);
            assert_eq!(four.lane(name), lane, "of {name}");
            assert_eq!(four.home(name), ShardId(lane.0 % 4));
            assert_eq!(one.home(name), ShardId(0));
            same += usize::from(other.lane(name) == lane);
        }
        assert!(same < 20, "{same} of 2,000 have their lane by chance");
    }

    /// Every shard has its share of the lanes, and not more than an eighth above the mean.
    #[test]
    fn lanes_are_spread_over_any_number_of_shards() {
        for shards in 1..=SHARDS_MAX as u16 {
            let placement = placement(shards);
            let mut lanes = vec![0_u32; usize::from(shards)];
            for home in &placement.shards {
                lanes[home.index()] += 1;
            }
            let most = lanes.iter().max().expect("there is a shard") * u32::from(shards) * 8;
            assert!(
                most <= u32::from(HOME_LANES) * 9,
                "{shards} shards: {lanes:?}"
            );
            assert!(lanes.iter().all(|count| *count > 0), "{shards} shards");
        }
    }
}
