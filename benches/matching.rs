//! The topic index with 1,000 to 1,000,000 subscriptions. The figure of each benchmark is the time of
//!
//! - `matched`: finding the filters of a topic in the index;
//! - `matched ahead`: the same after [`TopicIndex::prefetch`] for 16 topics, which is included, as for a client
//!   that sends many topics in one read;
//! - `route built`: that, and putting together whom they lead to, as for a topic never seen;
//! - `asked for`: what a publication costs when 200,000 topics take turns, far more than the cache holds;
//! - `cached`: the same with 1,000 topics;
//! - `changed`: a subscribe or an unsubscribe.

use std::cell::{LazyCell, RefCell};
use std::hint::black_box;
use std::time::Duration;

use criterion::{criterion_group, criterion_main, Criterion};
use ringmq::ids::{SessionId, ShardId};
use ringmq::mqtt::SubscriptionOptions;
use ringmq::routing::{Subscription, TopicIndex};

/// The broker's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [u32; 3] = [1_000, 100_000, 1_000_000];
/// More topics than the cache holds, so that going round them is a miss each time.
const TOPICS: u32 = 200_000;
const CACHED_TOPICS: usize = 1_000;
/// As a shard looks ahead.
const AHEAD: usize = 16;
const _: () = assert!((TOPICS as usize).is_multiple_of(AHEAD));

fn subscription() -> Subscription {
    Subscription {
        options: SubscriptionOptions::default(),
        identifier: None,
        durable: false,
    }
}

fn session(index: u32) -> SessionId {
    SessionId {
        index,
        generation: 0,
    }
}

type Filter = fn(u32) -> String;

/// Kinds of filters; each topic of [`topic`] matches one or two of them, of the adversarial ones all
/// that begin alike.
const KINDS: [(&str, Filter); 5] = [
    ("exact", exact),
    ("+", |n| format!("site{:02}/dev{n:06}/+/t", n % 100)),
    ("#", |n| format!("site{:02}/dev{n:06}/#", n % 100)),
    ("mixed", |n| match n % 20 {
        0 => format!("site{:02}/dev{n:06}/+/t", n % 100),
        1 => format!("site{:02}/dev{n:06}/#", n % 100),
        _ => exact(n),
    }),
    ("adversarial +", |n| {
        // Every mix of `+` and a name at each of 20 levels: all begin to match.
        let level = |at: u32| if n >> at & 1 == 1 { "+" } else { "a" };
        let levels: Vec<&str> = (0..20).map(level).collect();
        levels.join("/")
    }),
];

fn exact(n: u32) -> String {
    format!("site{:02}/dev{n:06}/a/t", n % 100)
}

fn index_of(count: u32, filter: Filter) -> TopicIndex {
    let mut index = TopicIndex::new(ShardId(0), 42);
    for n in 0..count {
        index.subscribe(&filter(n), session(n), subscription());
    }
    index
}

fn matching(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("matching");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    for count in SIZES {
        for (kind, filter) in KINDS {
            let adversarial = kind.starts_with("adv");
            if adversarial && count > 100_000 {
                continue; // a match visits every filter: 100,000 show it
            }
            // Only what is asked for is built.
            let index = LazyCell::new(|| RefCell::new(index_of(count, filter)));
            let topics = LazyCell::new(|| topics(count, adversarial));
            let mut turn = Turn::new(TOPICS as usize);
            group.bench_function(format!("{count} {kind}, matched"), |bencher| {
                let (index, topics) = (&mut *index.borrow_mut(), &*topics);
                bencher.iter(|| index.count_matching(black_box(turn.next(topics))));
            });
            group.bench_function(format!("{count} {kind}, matched ahead"), |bencher| {
                let (index, topics) = (&mut *index.borrow_mut(), &*topics);
                let mut at = 0;
                bencher.iter(|| {
                    if at % AHEAD == 0 {
                        index.prefetch(topics[at..at + AHEAD].iter().map(String::as_str));
                    }
                    let topic = &topics[at];
                    at = (at + 1) % topics.len();
                    index.count_matching(black_box(topic))
                });
            });
            group.bench_function(format!("{count} {kind}, route built"), |bencher| {
                let (index, topics) = (&mut *index.borrow_mut(), &*topics);
                bencher.iter(|| index.find(black_box(turn.next(topics))));
            });
            if adversarial {
                continue;
            }
            group.bench_function(format!("{count} {kind}, asked for"), |bencher| {
                let (index, topics) = (&mut *index.borrow_mut(), &*topics);
                bencher.iter(|| index.route(black_box(turn.next(topics))));
            });
            let mut turn = Turn::new(CACHED_TOPICS);
            group.bench_function(format!("{count} {kind}, cached"), |bencher| {
                let (index, topics) = (&mut *index.borrow_mut(), &*topics);
                bencher.iter(|| index.route(black_box(turn.next(topics))));
            });
            let mut n = 0;
            group.bench_function(format!("{count} {kind}, changed"), |bencher| {
                let index = &mut *index.borrow_mut();
                bencher.iter(|| {
                    n += 1;
                    let filter = filter(count + n / 2 % count);
                    if n % 2 == 0 {
                        index.subscribe(&filter, session(n), subscription());
                    } else {
                        index.unsubscribe(&filter, session(n - 1));
                    }
                });
            });
        }
    }
    group.finish();
}

/// Topics of [`exact`] in an order in which neighbours are far apart in the index.
fn topics(count: u32, adversarial: bool) -> Vec<String> {
    let topic = |n: u32| match adversarial {
        true => format!("{}{n}", "a/".repeat(19)),
        // A step that shares no factor with the number.
        false => exact((u64::from(n) * 7_919 % u64::from(count)) as u32),
    };
    (0..TOPICS).map(topic).collect()
}

/// Round and round the first so many topics.
struct Turn {
    next: usize,
    count: usize,
}

impl Turn {
    fn new(count: usize) -> Self {
        Self { next: 0, count }
    }

    fn next<'t>(&mut self, topics: &'t [String]) -> &'t str {
        self.next = if self.next + 1 < self.count {
            self.next + 1
        } else {
            0
        };
        &topics[self.next]
    }
}

criterion_group!(benches, matching);
criterion_main!(benches);
