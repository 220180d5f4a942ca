//! Time per publication in the topic index and per change of it.

use std::hint::black_box;
use std::num::NonZeroU64;

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use ringmq::ids::{MemberId, SessionId, ShardId};
use ringmq::mqtt::{Qos, SubscriptionOptions};
use ringmq::routing::{Member, Subscription, TopicIndex};

const FILTERS: u32 = 10_000;

fn session(n: u32) -> SessionId {
    SessionId {
        index: n,
        generation: 0,
    }
}

fn at_qos(qos: Qos) -> Subscription {
    Subscription {
        options: SubscriptionOptions {
            qos,
            ..SubscriptionOptions::default()
        },
        identifier: None,
        durable: false,
    }
}

fn new_index() -> TopicIndex {
    TopicIndex::new(ShardId(0), 42)
}

/// One subscriber per filter, one filter in ten with a wildcard.
fn index_of_10000_filters() -> TopicIndex {
    let mut index = new_index();
    for n in 0..FILTERS {
        let (site, motor) = (n / 100, n % 100);
        let filter = match n % 20 {
            0 => format!("s{site:02}/+/m{motor:02}/temp"),
            1 => format!("s{site:02}/a/m{motor:02}/#"),
            _ => format!("s{site:02}/a/m{motor:02}/temp"),
        };
        index.subscribe(&filter, session(n), at_qos(Qos::AtMostOnce));
    }
    index
}

/// More than the cache holds, so that going round them is a miss each time.
fn many_topics() -> Vec<String> {
    (0..150_000_u32)
        .map(|n| format!("s{:02}/{}/m{:02}/temp", n % 100, n / 10_000, n / 100 % 100))
        .collect()
}

fn hit(c: &mut Criterion) {
    let mut index = index_of_10000_filters();
    let mut group = c.benchmark_group("route/hit");
    group.bench_function("one 15-byte topic", |b| {
        b.iter(|| index.route(black_box("s42/a/m17/temp1")));
    });
    let topics: Vec<String> = many_topics().into_iter().take(1_000).collect();
    let mut turn = topics.iter().cycle();
    group.bench_function("1,000 topics in turn", |b| {
        b.iter(|| index.route(black_box(turn.next().expect("cycle"))));
    });
    group.finish();
}

fn miss(c: &mut Criterion) {
    let mut group = c.benchmark_group("route/miss");
    let mut index = index_of_10000_filters();
    let topics = many_topics();
    let mut turn = topics.iter().cycle();
    group.bench_function("10,000 filters", |b| {
        b.iter(|| index.route(black_box(turn.next().expect("cycle"))));
    });
    let mut index = new_index();
    for n in 0..1_000 {
        index.subscribe("#", session(n), at_qos(Qos::AtMostOnce));
    }
    group.bench_function("1,000 subscribers of #", |b| {
        b.iter(|| index.route(black_box(turn.next().expect("cycle"))));
    });
    group.finish();
}

/// Routes found again after a change that concerns every topic.
fn build(c: &mut Criterion) {
    let mut group = c.benchmark_group("route/build 1,000 targets");
    group.throughput(Throughput::Elements(1_000));
    let mut disjoint = new_index();
    let mut overlapping = new_index();
    for n in 0..1_000 {
        disjoint.subscribe("a/b/c", session(n), at_qos(Qos::AtLeastOnce));
        for filter in ["a/b/c", "a/+/c", "a/#"] {
            overlapping.subscribe(filter, session(n), at_qos(Qos::AtLeastOnce));
        }
    }
    for (name, mut index) in [("one filter", disjoint), ("three filters", overlapping)] {
        let mut qos = [Qos::AtMostOnce, Qos::AtLeastOnce].into_iter().cycle();
        group.bench_function(name, |b| {
            b.iter(|| {
                index.subscribe("a/b/c", session(0), at_qos(qos.next().expect("cycle")));
                index.route(black_box("a/b/c"))
            });
        });
    }
    group.finish();
}

/// A client comes and goes with each ten publications on 1,000 busy topics.
fn churn(c: &mut Criterion) {
    let mut group = c.benchmark_group("route/churn, per publication");
    for (name, filter) in [
        ("exact filter", "s42/a/m17/temp"),
        ("wildcard at level 3", "s42/a/+"),
        ("wildcard at level 2", "s42/+/m17"),
        ("wildcard at level 1", "+/a/m17"),
    ] {
        let mut index = index_of_10000_filters();
        let topics: Vec<String> = (0..1_000)
            .map(|n| format!("s42/d{n:04}/m17/temp"))
            .collect();
        let mut turn = topics.iter().cycle();
        let mut n = 0_u64;
        group.bench_function(name, |b| {
            b.iter(|| {
                match n % 20 {
                    0 => drop(index.subscribe(filter, session(77), at_qos(Qos::AtMostOnce))),
                    10 => drop(index.unsubscribe(filter, session(77))),
                    _ => {}
                }
                n += 1;
                index.route(black_box(turn.next().expect("cycle")))
            });
        });
    }
    group.finish();
}

fn change(c: &mut Criterion) {
    let mut group = c.benchmark_group("change");
    let mut index = index_of_10000_filters();
    group.bench_function("subscribe and unsubscribe", |b| {
        b.iter(|| {
            index.subscribe("s42/x/m17/speed", session(1), at_qos(Qos::AtMostOnce));
            index.unsubscribe(black_box("s42/x/m17/speed"), session(1))
        });
    });
    for members in [10, 10_000_u32] {
        let mut index = new_index();
        for n in 0..members {
            let member = Member {
                shard: ShardId(0),
                id: MemberId(NonZeroU64::MIN.saturating_add(u64::from(n))),
                connected: n == members - 1,
                durable: false,
            };
            index.join("g", "jobs", member);
        }
        let key = index.group("g", "jobs").expect("joined");
        group.bench_function(format!("choose 1 connected of {members}"), |b| {
            b.iter(|| index.choose(black_box(key), None));
        });
    }
    group.finish();
}

/// The dearest set of filters one client may have: every mix of `a` and `+`, then a long tail.
fn attack(c: &mut Criterion) {
    let mut index = new_index();
    for n in 0..(1_u32 << 13) {
        let mut filter = String::new();
        for level in 0..13 {
            filter.push_str(if n >> level & 1 == 1 { "+/" } else { "a/" });
        }
        filter.push_str(&"a/".repeat(114));
        filter.push('#');
        index.subscribe(&filter, session(1), at_qos(Qos::AtMostOnce));
    }
    let topics: Vec<String> = (0..70_000)
        .map(|n| format!("{}{n}", "a/".repeat(127)))
        .collect();
    let mut turn = topics.iter().cycle();
    let mut group = c.benchmark_group("route/miss");
    group.sample_size(10);
    group.bench_function("8,192 filters of 128 levels all match", |b| {
        b.iter(|| index.route(black_box(turn.next().expect("cycle"))));
    });
    group.finish();
}

criterion_group!(benches, hit, miss, build, churn, change, attack);
criterion_main!(benches);
