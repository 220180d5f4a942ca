//! `ringmq-sim`: runs the simulator over many seeds, replays one, or proves that it notices faults.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::Parser;
use ringmq::mutant::{self, Mutant};
use ringmq::sim;

/// Failures shown of one seed.
const FAILURES_SHOWN: usize = 20;

/// Runs deterministic simulations of the broker.
#[derive(Parser)]
struct Options {
    /// How many seeds
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// First seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only this seed, with everything it found and the last events
    #[arg(long)]
    seed: Option<u64>,
    /// Last events shown of a seed that fails
    #[arg(long, default_value_t = 80)]
    events: usize,
    /// Break the broker on purpose, in each of the known ways; every one must be noticed
    #[arg(long)]
    mutants: bool,
    /// With --seed, --mutants or --sensors: break the broker in this way alone, as --mutants names it
    #[arg(long, value_parser = mutant_called)]
    mutant: Option<Mutant>,
    /// Clients of MQTT-SN over a network that loses datagrams, instead of clients of MQTT
    #[arg(long)]
    sensors: bool,
    /// Only seeds whose shards have journals
    #[arg(long)]
    journals: bool,
    /// Threads; all cores unless given
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads.unwrap_or(cores).max(1);
    let is_good = if options.mutants {
        hunt(options.seeds.min(500), threads, options.mutant)
    } else if options.sensors {
        sweep_sensors(&options, threads)
    } else if let Some(seed) = options.seed {
        replay(seed, options.mutant, options.events)
    } else {
        sweep(&options, threads)
    };
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs each seed twice: it must pass, and see the same both times. One that fails is run again for
/// its last events.
fn sweep(options: &Options, threads: usize) -> bool {
    let (from, count) = (options.from, options.seeds);
    let (next, failed) = (AtomicU64::new(from), AtomicU64::new(0));
    let (deliveries, handed_over) = (AtomicU64::new(0), AtomicU64::new(0));
    let crashes = AtomicU64::new(0);
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= from.saturating_add(count) {
            return;
        }
        if options.journals && !sim::has_journals(seed) {
            continue;
        }
        let outcome = sim::run(seed, 0);
        deliveries.fetch_add(outcome.deliveries as u64, Ordering::Relaxed);
        handed_over.fetch_add(outcome.handed_over as u64, Ordering::Relaxed);
        crashes.fetch_add(outcome.crashes as u64, Ordering::Relaxed);
        let replays = sim::run(seed, 0).hash == outcome.hash;
        if !outcome.failures.is_empty() || !replays {
            failed.fetch_add(1, Ordering::Relaxed);
            report(seed, &sim::run(seed, options.events), replays);
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (failed, deliveries) = (failed.into_inner(), deliveries.into_inner());
    let handed_over = handed_over.into_inner();
    let crashes = crashes.into_inner();
    println!(
        "{count} seeds, {deliveries} deliveries, {handed_over} hand-overs, {crashes} crashes, {failed} failed"
    );
    failed == 0
}

/// The same for clients of MQTT-SN.
fn sweep_sensors(options: &Options, threads: usize) -> bool {
    let (from, until) = match options.seed {
        Some(seed) => (seed, seed + 1),
        None => (options.from, options.from.saturating_add(options.seeds)),
    };
    let (next, failed) = (AtomicU64::new(from), AtomicU64::new(0));
    let (rounds, crashes) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = || loop {
        mutant::switch(options.mutant);
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= until {
            return;
        }
        let outcome = sim::run_sensors(seed);
        rounds.fetch_add(u64::from(outcome.rounds), Ordering::Relaxed);
        crashes.fetch_add(u64::from(outcome.crashes), Ordering::Relaxed);
        if let Some(failure) = outcome.failure {
            failed.fetch_add(1, Ordering::Relaxed);
            println!("{failure}");
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (rounds, crashes) = (rounds.into_inner(), crashes.into_inner());
    let (count, failed) = (until - from, failed.into_inner());
    println!("{count} seeds of sensors, {rounds} rounds, {crashes} crashes, {failed} failed");
    failed == 0
}

fn report(seed: u64, outcome: &sim::Outcome, replays: bool) {
    let mut text: String = outcome.trace.iter().map(|e| format!("  {e}\n")).collect();
    text += &format!("seed {seed} failed");
    if !replays {
        text += " and does not replay";
    }
    text += &format!("\n  {}\n", outcome.parameters);
    for failure in outcome.failures.iter().take(FAILURES_SHOWN) {
        text += &format!("  {failure}\n");
    }
    text +=
        &format!("  replay: cargo run --release --features sim --bin ringmq-sim -- --seed {seed}");
    println!("{text}");
}

fn mutant_called(name: &str) -> Result<Mutant, String> {
    let mut all = Mutant::ALL.into_iter();
    let found = all.find(|mutant| format!("{mutant:?}") == name);
    found.ok_or_else(|| "there is none of this name; --mutants names them".into())
}

fn replay(seed: u64, mutant: Option<Mutant>, events: usize) -> bool {
    mutant::switch(mutant);
    let outcome = sim::run(seed, events);
    if outcome.failures.is_empty() {
        println!("seed {seed} passes: {}", outcome.parameters);
        return true;
    }
    report(seed, &outcome, true);
    false
}

/// Every mutant must be caught within `seeds` seeds; a panic of the broken broker counts.
fn hunt(seeds: u64, threads: usize, only: Option<Mutant>) -> bool {
    let is_meant = |mutant: &Mutant| only.is_none_or(|only| only == *mutant);
    let mutants: Vec<Mutant> = Mutant::ALL.into_iter().filter(is_meant).collect();
    std::panic::set_hook(Box::new(|_| {})); // broken on purpose: no back traces
    let (next, escaped) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = || loop {
        let index = next.fetch_add(1, Ordering::Relaxed) as usize;
        let Some(mutant) = mutants.get(index).copied() else {
            return;
        };
        mutant::switch(Some(mutant));
        let catch = |seed| catch(mutant, seed).map(|failure| (seed, failure));
        let caught = (0..seeds).find_map(catch);
        match caught {
            Some((seed, failure)) => println!("{mutant:?}: seed {seed}: {failure}"),
            None => {
                escaped.fetch_add(1, Ordering::Relaxed);
                println!("{mutant:?}: NOT caught in {seeds} seeds");
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (all, escaped) = (mutants.len() as u64, escaped.into_inner());
    println!("{all} mutants, {} caught, {escaped} not", all - escaped);
    escaped == 0 && all > 0
}

fn catch(mutant: Mutant, seed: u64) -> Option<String> {
    if mutant.is_of_gateway() {
        let run = std::panic::catch_unwind(|| sim::run_sensors(seed).failure);
        return run.unwrap_or_else(|_| Some("the broken broker panics".into()));
    }
    match std::panic::catch_unwind(|| sim::run(seed, 0)) {
        Ok(outcome) => outcome.failures.into_iter().next(),
        Err(_) => Some("the broken broker panics".into()),
    }
}
