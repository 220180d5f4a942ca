//! Publications through a whole shard without sockets: decode, route, deliver, encode.
//!
//! The figure of each benchmark is the time of one delivery.

#[path = "support/world.rs"]
mod world;

use std::hint::black_box;
use std::time::Duration;

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use world::World;

/// The broker's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Publications per read of a publisher's socket.
const BATCH: usize = 64;

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
        let mut world = World::new(1);
        for n in 0..subscribers {
            let id = world.connect(0, &format!("s{n}"));
            world.subscribe(id, "bench/#", 0);
        }
        let publishers: Vec<_> = (0..publishers)
            .map(|n| {
                (
                    world.connect(0, &format!("p{n}")),
                    publishes(&format!("bench/topic/{n:04}")),
                )
            })
            .collect();
        let deliveries = publishers.len() * subscribers * BATCH;
        group.throughput(Throughput::Elements(deliveries as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for (id, bytes) in &publishers {
                    world.send(*id, black_box(bytes));
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
    let mut world = World::new(1);
    for subscriber in 0..SUBSCRIBERS {
        let id = world.connect(0, &format!("s{subscriber}"));
        for device in (subscriber..DEVICES).step_by(SUBSCRIBERS) {
            world.subscribe(id, &topic(device), 0);
        }
    }
    let publisher = world.connect(0, "p");
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
            world.send(publisher, bytes);
            assert_eq!(world.drain(), bytes.len());
        });
    });
    group.finish();
}

criterion_group!(benches, fan, gateway);
criterion_main!(benches);
