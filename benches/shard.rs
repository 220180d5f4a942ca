//! Publications through a whole shard without sockets: decode, route, deliver, encode.
//!
//! The figure of each benchmark is the time of one delivery.

use std::hint::black_box;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use ringmq::ids::{ConnectionId, ShardId};
use ringmq::limits::Limits;
use ringmq::shard::{ListenerId, ListenerPolicy, Origin, Peer, Shard, ShardConfig};
use ringmq::time::Time;

/// The broker's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Publications per read of a publisher's socket.
const BATCH: usize = 64;

struct World {
    shard: Shard,
    now: Time,
}

impl World {
    fn new() -> Self {
        let config = Arc::new(ShardConfig {
            shards: 1,
            limits: Limits::default(),
            listeners: [ListenerPolicy::default()].into(),
            placement_seed: 1,
        });
        Self {
            shard: Shard::new(ShardId(0), &config, 1, Time::ZERO),
            now: Time::ZERO,
        }
    }

    fn connect(&mut self, name: &str) -> ConnectionId {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let origin = Origin::new(Peer::Ip(address), ListenerId(0));
        let id = self.shard.handle_opened(origin, self.now).expect("room");
        let mut connect = vec![0x10, 12 + name.len() as u8, 0, 4];
        connect.extend_from_slice(b"MQTT\x04\x02\x00\x00\x00");
        connect.push(name.len() as u8);
        connect.extend_from_slice(name.as_bytes());
        self.shard.handle_bytes(id, &connect, self.now);
        self.drain();
        id
    }

    fn subscribe(&mut self, id: ConnectionId, filter: &str) {
        let mut subscribe = vec![0x82, 5 + filter.len() as u8, 0, 1, 0, filter.len() as u8];
        subscribe.extend_from_slice(filter.as_bytes());
        subscribe.push(0);
        self.shard.handle_bytes(id, &subscribe, self.now);
        self.drain();
    }

    /// Ends the turn and takes all bytes, as a socket with room would.
    fn drain(&mut self) -> usize {
        self.shard.end_turn(self.now);
        while self.shard.poll_action().is_some() {}
        let mut sent = 0;
        while let Some(id) = self.shard.poll_transmit() {
            let mut slices: [IoSlice<'_>; 8] = std::array::from_fn(|_| IoSlice::new(&[]));
            let count = self.shard.outgoing(id, &mut slices);
            let bytes: usize = slices[..count].iter().map(|slice| slice.len()).sum();
            self.shard.handle_written(id, bytes, self.now);
            sent += bytes;
        }
        sent
    }
}

fn publishes(topic: &str) -> Vec<u8> {
    publish(topic).repeat(BATCH)
}

/// QoS 0 with a payload of 16 bytes.
fn publish(topic: &str) -> Vec<u8> {
    let mut one = vec![0x30, 2 + topic.len() as u8 + 16, 0, topic.len() as u8];
    one.extend_from_slice(topic.as_bytes());
    one.extend_from_slice(&[b'x'; 16]);
    one
}

fn fan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shard");
    group
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(500));
    for (name, publishers, subscribers) in [
        ("fan_in_10_to_1", 10, 1),
        ("fan_out_1_to_100", 1, 100),
        ("pair", 1, 1),
    ] {
        let mut world = World::new();
        for n in 0..subscribers {
            let id = world.connect(&format!("s{n}"));
            world.subscribe(id, "bench/#");
        }
        let publishers: Vec<_> = (0..publishers)
            .map(|n| {
                (
                    world.connect(&format!("p{n}")),
                    publishes(&format!("bench/topic/{n:04}")),
                )
            })
            .collect();
        let deliveries = publishers.len() * subscribers * BATCH;
        group.throughput(Throughput::Elements(deliveries as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for (id, bytes) in &publishers {
                    world.shard.handle_bytes(*id, black_box(bytes), world.now);
                }
                assert_eq!(world.drain(), deliveries * publishers[0].1.len() / BATCH);
            });
        });
    }
    group.finish();
}

/// A client that speaks for 100,000 devices: each of its reads has a topic per packet, most of them not
/// asked for lately. 100 subscribers have 1,000 of the topics each.
fn gateway(criterion: &mut Criterion) {
    const DEVICES: usize = 100_000;
    const SUBSCRIBERS: usize = 100;
    let topic = |device: usize| format!("gw/{:02}/dev{device:06}/t", device % 100);
    let mut world = World::new();
    for subscriber in 0..SUBSCRIBERS {
        let id = world.connect(&format!("s{subscriber}"));
        for device in (subscriber..DEVICES).step_by(SUBSCRIBERS) {
            world.subscribe(id, &topic(device));
        }
    }
    let publisher = world.connect("p");
    // A step that shares no factor with the number: neighbours are far apart in the index.
    let packets: Vec<_> = (0..DEVICES)
        .map(|n| publish(&topic(n * 7_919 % DEVICES)))
        .collect();
    let reads: Vec<_> = packets.chunks_exact(BATCH).map(<[_]>::concat).collect();
    let mut group = criterion.benchmark_group("shard");
    group
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(500))
        .throughput(Throughput::Elements(BATCH as u64));
    let mut at = 0;
    group.bench_function("gateway_100000_topics", |bencher| {
        bencher.iter(|| {
            at = (at + 1) % reads.len();
            let bytes = black_box(&reads[at]);
            world.shard.handle_bytes(publisher, bytes, world.now);
            assert_eq!(world.drain(), bytes.len());
        });
    });
    group.finish();
}

criterion_group!(benches, fan, gateway);
criterion_main!(benches);
