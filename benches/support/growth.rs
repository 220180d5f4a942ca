//! What a delivery costs with more shards: a quarter of the publications go to other shards, spread over as many of them
//! as there are, however many there are.

use std::hint::black_box;

use ringmq::shard::TurnStep;

use super::cases::{case, Case};
use super::packets::publishes;
use super::world::{Client, World};

/// Publications of each shard in a turn.
const EACH: usize = 64;
/// Of those, to subscribers of other shards.
const CROSSING: usize = EACH / 4;
/// Turns of all shards: what is sent in the first arrives in the second.
const TURNS: usize = 2;
/// A barrier goes there and back.
const BARRIER_TURNS: usize = 3;

pub(crate) fn all() -> Vec<Case> {
    let rows = [
        ("qos0, a quarter crosses, 1 shard", 1),
        ("qos0, a quarter crosses, 2 shards", 2),
        ("qos0, a quarter crosses, 4 shards", 4),
        ("qos0, a quarter crosses, 8 shards", 8),
        ("qos0, a quarter crosses, 16 shards", 16),
        ("qos0, a quarter crosses, 64 shards", 64),
    ];
    let rows = rows.map(|(name, shards)| {
        let deliveries = u64::from(shards) * EACH as u64;
        case(name, deliveries, crossing(shards))
    });
    let mut all = Vec::from(rows);
    all.push(case("subscribe and unsubscribe, 64 shards", 1, barrier(64)));
    all
}

/// A publisher on each shard, with what it sends; the operations are deliveries.
fn crossing(shards: u16) -> impl FnMut() {
    let mut made = None; // by the case that runs, as the others would make many shards for nothing
    move || {
        let (world, publishers) = made.get_or_insert_with(|| with_publishers(shards));
        let mut expected = 0;
        for (client, bytes) in publishers {
            world.send(*client, black_box(bytes));
            expected += bytes.len();
        }
        assert_eq!(world.turns(TURNS), expected);
    }
}

fn with_publishers(shards: u16) -> (World, Vec<(Client, Vec<u8>)>) {
    let mut world = World::new(shards);
    let count = usize::from(shards);
    let others = CROSSING.min(count - 1);
    let (mut publishers, mut filters) = (Vec::new(), Vec::new());
    for shard in 0..count {
        let own = world.begin(shard, &format!("o{shard:02}"));
        filters.push((own, format!("own/{shard:02}")));
        let mut topics = vec![format!("own/{shard:02}"); EACH];
        for n in 0..others {
            let topic = format!("to/{shard:02}/{n:02}");
            let far = world.begin((shard + 1 + n) % count, &format!("f{shard:02}-{n:02}"));
            // Every fourth one crosses, to each of the others in turn.
            let crossing = (n..CROSSING).step_by(others);
            crossing.for_each(|at| topics[4 * at + 3].clone_from(&topic));
            filters.push((far, topic));
        }
        let bytes = topics.iter().flat_map(|topic| publishes(topic, 0, 1));
        let bytes = bytes.collect();
        publishers.push((world.begin(shard, &format!("p{shard:02}")), bytes));
    }
    world.settle();
    for (client, filter) in filters {
        world.ask(client, &filter, 0);
    }
    world.settle();
    (world, publishers)
}

/// SUBACK waits for every shard.
fn barrier(shards: u16) -> impl FnMut() {
    let mut made = None;
    move || {
        let (world, client) = made.get_or_insert_with(|| {
            let mut world = World::new(shards);
            let client = world.connect(0, "s");
            (world, client)
        });
        world.send(*client, b"\x82\x06\x00\x01\x00\x01t\x00");
        assert_eq!(world.turns(BARRIER_TURNS), 5);
        world.send(*client, b"\xA2\x05\x00\x02\x00\x01t");
        assert_eq!(world.turns(BARRIER_TURNS), 4);
    }
}

impl World {
    /// Turns of all shards, one after the other; returns how many bytes clients were sent.
    fn turns(&mut self, turns: usize) -> usize {
        let steps = [
            TurnStep::PeerBlocks,
            TurnStep::EndTurn,
            TurnStep::SendBlocks,
            TurnStep::Actions,
            TurnStep::Transmit,
        ];
        let shards = self.world.shards.len();
        for shard in (0..turns).flat_map(|_| 0..shards) {
            for step in steps {
                self.world.step(shard, step);
            }
        }
        std::mem::take(&mut self.world.environment.sent)
    }
}
