//! Delivery under disorder: 1,000 clients over four shards of a real process, 200,000 messages, and
//! connections that are cut, left half written or taken over all the time.
//!
//! Every client keeps its session. Publishers and subscribers come in pairs with a topic each. At
//! QoS 1 nothing may be lost and first arrivals keep their order; at QoS 2 each message arrives
//! exactly once and in order. The clients here are written out by hand, not with the broker's own
//! codec: a mistake in that must not hide itself.

mod client;
mod frames;
mod pair;

use std::time::{Duration, Instant};

use self::pair::Pair;
use crate::process::Broker;

const SHARDS: usize = 4;
const PAIRS: usize = 500;
const MESSAGES: u16 = 400;
const THREADS: usize = 2;
/// Cuts of each client; all in all 10,000 reconnects.
const CUTS: u32 = 10;
/// Far more than needed: only a hang gets there.
const TIME_MAX: Duration = Duration::from_secs(120);

#[test]
fn qos_1_loses_nothing_while_clients_are_cut() {
    run(1);
}

#[test]
fn qos_2_delivers_exactly_once_while_clients_are_cut() {
    run(2);
}

fn run(qos: u8) {
    let mut broker = Broker::start(SHARDS, &[]);
    let port = broker.port;
    let workers: Vec<_> = (0..THREADS)
        .map(|worker| std::thread::spawn(move || work(port, worker, qos)))
        .collect();
    for worker in workers {
        worker.join().expect("a worker found a mistake");
    }
    assert!(broker.is_running(), "the broker ended");
}

/// Drives every pair of one worker until all its messages have arrived.
fn work(port: u16, worker: usize, qos: u8) {
    let mut pairs: Vec<Pair> = (worker..PAIRS)
        .step_by(THREADS)
        .map(|number| Pair::new(port, number, qos, MESSAGES, CUTS))
        .collect();
    let start = Instant::now();
    while !pairs.iter().all(Pair::is_complete) {
        assert!(
            start.elapsed() < TIME_MAX,
            "{} of {} pairs are not complete, the first: {}",
            pairs.iter().filter(|pair| !pair.is_complete()).count(),
            pairs.len(),
            pairs
                .iter()
                .find(|pair| !pair.is_complete())
                .expect("one")
                .state(),
        );
        client::wait_for_any(pairs.iter_mut().flat_map(Pair::clients));
        for pair in &mut pairs {
            pair.step();
        }
    }
    for pair in &pairs {
        pair.check();
    }
}
