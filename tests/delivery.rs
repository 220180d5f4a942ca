//! Delivery under disorder: 1,000 clients over four shards of a real process, 200,000 messages, and
//! connections that are cut, left half written or taken over all the time.
//!
//! Every client keeps its session. Publishers and subscribers come in pairs with a topic each. At
//! QoS 1 nothing may be lost and first arrivals keep their order; at QoS 2 each message arrives
//! exactly once and in order.

use std::time::{Duration, Instant};

use crate::process::Broker;
use crate::verified::client::Disorder;
use crate::verified::flow::{turn, Flow, Shape};

const SHARDS: usize = 4;
const PAIRS: u32 = 500;
const MESSAGES: u64 = 400;
const THREADS: u32 = 2;
/// Cuts of each client; all in all 10,000 reconnects.
const DISORDER: Disorder = Disorder {
    cut_one_in: 24,
    cuts_left: 10,
    ..Disorder::NONE
};
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
fn work(port: u16, worker: u32, qos: u8) {
    let shape = Shape {
        qos,
        publishers: 1,
        subscribers: 1,
        is_shared: false,
        messages: MESSAGES,
        outstanding_max: MESSAGES,
        payload_bytes_max: 256,
    };
    let mut pairs: Vec<Flow> = (worker..PAIRS)
        .step_by(THREADS as usize)
        .map(|number| Flow::new(port, number, "", shape, 1))
        .collect();
    for pair in &mut pairs {
        pair.set_disorder(DISORDER);
    }
    let start = Instant::now();
    while let Some(incomplete) = pairs.iter().find(|pair| !pair.is_complete()) {
        assert!(
            start.elapsed() < TIME_MAX,
            "{} of {} pairs are not complete, the first: {}",
            pairs.iter().filter(|pair| !pair.is_complete()).count(),
            pairs.len(),
            incomplete.state(),
        );
        turn(&mut pairs);
    }
}
