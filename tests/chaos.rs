//! Chaos against the real process: four shards, verified flows at QoS 1 and 2, shared groups, wills and
//! retained messages, while connections are cut and reset at any byte, clients stop reading, processes
//! are stopped (the broker, too), subscriptions come and go, and storms of connects arrive.
//!
//! The test has rounds of a storm and a calm. In the calm everything owed must arrive: nothing lost,
//! nothing twice at QoS 2, in order, each will once, and the broker holds exactly the descriptors of
//! the connections that are open. Between rounds its memory must not grow. Nothing here relies on
//! time, except that half a minute in which nothing moves is a failure.
//!
//! `RINGMQ_CHAOS_SEED` repeats the choices of a run (not its races), `RINGMQ_CHAOS_SECONDS` is the
//! length of all storms.

mod churn;
mod flows;
mod guests;
mod helper;
mod measure;
mod retained;
mod stage;
mod wills;

use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::flows::{Flows, FAN, GROUP, PAIR};
use self::helper::Helper;
use self::measure::{stop, wait_for_descriptors, Measure, PATIENCE};
use self::stage::{Actor, Settled, Stage};
use crate::process::Broker;
use crate::verified::flow::{Flow, Shape};
use crate::verified::random::Random;

const SHARDS: usize = 4;
const SECONDS: u64 = 60;
const ROUND_SECONDS: u64 = 15;
/// The first warms the broker up; growth can only be seen over several.
const ROUNDS_MIN: u64 = 4;
const FLOW_THREADS: u32 = 2;
const HELPERS: u32 = 2;
/// Verified flows at each QoS on each thread.
const PAIRS: u32 = 6;
const FANS: u32 = 2;
const GROUPS: u32 = 2;
/// Small windows, so that messages wait in queues; queues above what a flow has outstanding, so that
/// none drops; and guests that stay silent are closed while the test runs.
const OPTIONS: &[&str] = &[
    "--outgoing-window-max=24",
    "--queue-messages-max=10000",
    "--queue-bytes-max=16MiB",
    "--connect-timeout=5s",
];
/// The allocator gives freed pages back at once instead of when it next has something to do: what is
/// measured is then what the broker uses and what is lost between pieces of it.
const VARIABLES: &[(&str, &str)] = &[("MIMALLOC_PURGE_DELAY", "0")];
/// Memory may grow by so much from the first half of the rounds to the second, the warm-up left out
/// and the least of each half taken: that is when the same connections, sessions and retained messages
/// needed least. Measured: calms of one run differ by up to a quarter (where pieces of the queues of
/// the storm were left in pages), the least of several by a twentieth.
const GROWTH_PERCENT_MAX: u64 = 20;
/// Calms in each half of a run for their least to say that. A short run is only held to the bound below:
/// of one calm and two they differed by a quarter in 1 of 5 runs.
const CALMS_MIN: usize = 3;
/// Above the start, with 180 sessions, 400 retained messages and the buffers that shards keep for
/// the next burst. Measured: 45 MiB.
const GROWTH_KIB_MAX: u64 = 96 << 10;
/// Well below the time to CONNECT: a stopped process is not late with it.
const STOP_MS_MAX: u64 = 1_500;

#[test]
fn every_promise_holds_in_chaos() {
    let seed = number("RINGMQ_CHAOS_SEED").unwrap_or_else(seed_of_now);
    let seconds = number("RINGMQ_CHAOS_SECONDS").unwrap_or(SECONDS);
    println!("repeat with RINGMQ_CHAOS_SEED={seed} RINGMQ_CHAOS_SECONDS={seconds}");
    let mut broker = Broker::start_with(SHARDS, OPTIONS, VARIABLES);
    let start = Measure::of(broker.id());
    let rounds = (seconds / ROUND_SECONDS).max(ROUNDS_MIN);
    let storm = Duration::from_millis(seconds * 1_000 / rounds);
    let mut show = Show::start(broker.port, seed);
    show.settle(&mut broker, 0);
    let mut measures = Vec::new();
    for round in 0..rounds {
        show.storm(&mut broker, 2 * round + 1, storm);
        let calm = Instant::now();
        let connections = show.settle(&mut broker, 2 * round + 2);
        let calm = calm.elapsed();
        wait_for_descriptors(broker.id(), start.descriptors + connections);
        let measure = Measure::of(broker.id());
        println!("round {round}: settled after {calm:?}, {measure:?}");
        measures.push(measure);
    }
    serve_a_newcomer(broker.port);
    show.end();
    wait_for_descriptors(broker.id(), start.descriptors);
    assert!(broker.is_running(), "the broker ended");
    check_memory(start, &measures);
}

/// What was freed is not kept, and nothing is forgotten round after round.
fn check_memory(start: Measure, rounds: &[Measure]) {
    let is_long = (rounds.len() - 1) / 2 >= CALMS_MIN;
    let least = |rounds: &[Measure]| rounds.iter().map(|measure| measure.resident_kib).min();
    let (first, second) = rounds[1..].split_at((rounds.len() - 1) / 2);
    let (first, second) = least(first).zip(least(second)).expect("several rounds");
    println!(
        "resident: {} KiB at the start, then {first}, then {second}",
        start.resident_kib
    );
    assert!(
        !is_long || second <= first + first * GROWTH_PERCENT_MAX / 100,
        "memory grows: {rounds:?}"
    );
    assert!(
        second <= start.resident_kib + GROWTH_KIB_MAX,
        "memory does not come back near {start:?}: {rounds:?}"
    );
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}: {text}")),
    )
}

fn seed_of_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// A client that was never there before is served at once.
fn serve_a_newcomer(port: u16) {
    let shape = Shape {
        qos: 2,
        messages: 100,
        ..PAIR
    };
    let mut flow = [Flow::new(port, 10_000, "", shape, 1)];
    let start = Instant::now();
    while !flow[0].is_complete() {
        assert!(start.elapsed() < PATIENCE, "{}", flow[0].state());
        crate::verified::flow::turn(&mut flow);
    }
}

/// All threads and processes of the test.
struct Show {
    stage: Arc<Stage>,
    threads: Vec<JoinHandle<()>>,
    helpers: Vec<Helper>,
    settled: Receiver<Settled>,
    random: Random,
}

impl Show {
    fn start(port: u16, seed: u64) -> Self {
        let stage = Arc::new(Stage::new(port, seed));
        let (sender, settled) = channel();
        let helpers = (0..HELPERS).map(|n| Helper::start(&stage, n, sender.clone()));
        let (helpers, counts): (Vec<_>, Vec<_>) = helpers.unzip();
        let mut show = Self {
            stage,
            threads: Vec::new(),
            helpers,
            settled,
            random: Random::new(seed),
        };
        for thread in 0..FLOW_THREADS {
            let counts = if thread == 0 { &counts[..] } else { &[] };
            let flows = flows_of(port, seed, thread, counts);
            show.spawn(Flows::new(flows, seed ^ u64::from(thread)), &sender);
        }
        show.spawn(guests::Guests::new(port), &sender);
        show.spawn(churn::Churn::new(port), &sender);
        show.spawn(retained::Retained::new(port, seed), &sender);
        show.spawn(wills::Wills::new(port, seed), &sender);
        show
    }

    fn spawn(&mut self, actor: impl Actor + Send + 'static, settled: &Sender<Settled>) {
        let (stage, settled) = (Arc::clone(&self.stage), settled.clone());
        let play = move || stage.play(actor, &settled);
        self.threads.push(std::thread::spawn(play));
    }

    fn set_act(&mut self, act: u64) {
        self.stage.set_act(act);
        for helper in &mut self.helpers {
            helper.set_act(act);
        }
    }

    /// Lets everybody disturb for a while, and stops processes meanwhile.
    fn storm(&mut self, broker: &mut Broker, act: u64, duration: Duration) {
        self.set_act(act);
        let start = Instant::now();
        while start.elapsed() < duration {
            self.check_alive(broker);
            let stop_for = Duration::from_millis(1 + self.random.below(STOP_MS_MAX));
            match self.random.below(6) {
                0 => stop(broker.id(), stop_for),
                1..4 => {
                    let helper = self.random.below(u64::from(HELPERS)) as usize;
                    stop(self.helpers[helper].id(), stop_for);
                }
                _ => std::thread::sleep(stop_for),
            }
        }
    }

    /// Waits until nothing is owed to anybody. Returns the connections that are open.
    fn settle(&mut self, broker: &mut Broker, act: u64) -> usize {
        self.set_act(act);
        let (mut missing, mut connections) = (self.threads.len() + self.helpers.len(), 0);
        let mut progress = (self.stage.progress(), Instant::now());
        while missing > 0 {
            match self.settled.recv_timeout(Duration::from_millis(200)) {
                Ok(settled) if settled.act == act => {
                    missing -= 1;
                    connections += settled.connections;
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("everybody left"),
                Err(RecvTimeoutError::Timeout) => self.check_alive(broker),
            }
            let current = self.stage.progress();
            if current != progress.0 {
                progress = (current, Instant::now());
            }
            if progress.1.elapsed() > PATIENCE {
                self.stage.give_up();
                self.threads
                    .drain(..)
                    .for_each(|thread| drop(thread.join()));
                panic!("act {act}: nothing moves, and {missing} are not settled");
            }
        }
        connections
    }

    /// Nobody has found a mistake so far.
    fn check_alive(&mut self, broker: &mut Broker) {
        assert!(broker.is_running(), "the broker ended");
        let running = self.helpers.iter_mut().all(Helper::is_running);
        assert!(running, "a helper found a mistake");
        let finished = self.threads.iter().any(JoinHandle::is_finished);
        assert!(!finished, "a thread found a mistake");
    }

    fn end(self) {
        self.stage.end();
        for thread in self.threads {
            thread.join().expect("a thread found a mistake");
        }
    }
}

/// The flows of one thread; `elsewhere`: what helpers count of the first of them.
fn flows_of(port: u16, seed: u64, thread: u32, elsewhere: &[Vec<Arc<AtomicU64>>]) -> Vec<Flow> {
    let shapes = [(PAIR, PAIRS), (FAN, FANS), (GROUP, GROUPS)];
    let shapes = shapes.into_iter().flat_map(|(shape, count)| {
        let twice = (0..2 * count).map(|n| 1 + n as u8 % 2);
        twice.map(move |qos| Shape { qos, ..shape })
    });
    let mut flows: Vec<Flow> = (0..)
        .zip(shapes)
        .map(|(n, shape)| Flow::new(port, thread * 100 + n, "", shape, seed))
        .collect();
    for counts in elsewhere {
        for (flow, count) in flows.iter_mut().zip(counts) {
            flow.also_arrives(Arc::clone(count));
        }
    }
    flows
}
