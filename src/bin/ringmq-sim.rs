//! `ringmq-sim`: runs the simulator over many seeds, replays one, or proves that it notices faults.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;
use std::thread;

use clap::Parser;
use ringmq::mutant::{self, Mutant};
use ringmq::sim;

/// Failures shown of one seed.
const FAILURES_SHOWN: usize = 20;

/// Seeds over which a fault is hunted, at most.
const HUNTED_MAX: u64 = 500;

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
    /// Break the broker in this way alone, as --mutants names it; without --seed, --mutants, --sensors or --plants: in
    /// how many seeds that is noticed
    #[arg(long, value_parser = mutant_called)]
    mutant: Option<Mutant>,
    /// With --mutants: a file with the seed that noticed each fault last time, which is tried first; written anew when
    /// another one did
    #[arg(long, value_name = "FILE")]
    caught: Option<PathBuf>,
    /// Clients of MQTT-SN over a network that loses datagrams, instead of clients of MQTT
    #[arg(long)]
    sensors: bool,
    /// Edge nodes of Sparkplug, instead of clients that publish anything
    #[arg(long)]
    plants: bool,
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
        hunt(&options, threads)
    } else if options.sensors {
        sweep_others(&options, threads, "sensors", |seed| {
            let outcome = sim::run_sensors(seed);
            (outcome.rounds, outcome.crashes, outcome.failure)
        })
    } else if options.plants {
        sweep_others(&options, threads, "plants", |seed| {
            let outcome = sim::run_plant(seed);
            (outcome.births as u32, outcome.crashes, outcome.failure)
        })
    } else if let Some(seed) = options.seed {
        replay(seed, options.mutant, options.events)
    } else if let Some(mutant) = options.mutant {
        count_notices(&options, mutant, threads)
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
    let (crashes, upgrades) = (AtomicU64::new(0), AtomicU64::new(0));
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
        upgrades.fetch_add(outcome.upgraded as u64, Ordering::Relaxed);
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
    let (crashes, upgrades) = (crashes.into_inner(), upgrades.into_inner());
    println!(
        "{count} seeds, {deliveries} deliveries, {handed_over} hand-overs, {upgrades} upgrades, {crashes} crashes, {failed} failed"
    );
    failed == 0
}

/// In how many seeds a fault is noticed: how sure [`hunt`] is to catch it.
fn count_notices(options: &Options, mutant: Mutant, threads: usize) -> bool {
    std::panic::set_hook(Box::new(|_| {})); // broken on purpose: no back traces
    let until = options.from.saturating_add(options.seeds);
    let (next, run, noticed) = (
        AtomicU64::new(options.from),
        AtomicU64::new(0),
        AtomicU64::new(0),
    );
    let work = || loop {
        mutant::switch(Some(mutant));
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= until {
            return;
        }
        if options.journals && !sim::has_journals(seed) {
            continue;
        }
        run.fetch_add(1, Ordering::Relaxed);
        if let Some(failure) = catch(mutant, seed) {
            noticed.fetch_add(1, Ordering::Relaxed);
            println!("seed {seed}: {failure}");
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (run, noticed) = (run.into_inner(), noticed.into_inner());
    println!("{mutant:?}: noticed in {noticed} of {run} seeds");
    noticed > 0
}

/// [`sweep`] for worlds with other clients; a run gives its rounds, its crashes and why it failed.
fn sweep_others(
    options: &Options,
    threads: usize,
    of: &str,
    run: impl Fn(u64) -> (u32, u32, Option<String>) + Sync,
) -> bool {
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
        let outcome = run(seed);
        rounds.fetch_add(u64::from(outcome.0), Ordering::Relaxed);
        crashes.fetch_add(u64::from(outcome.1), Ordering::Relaxed);
        if let Some(failure) = outcome.2 {
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
    println!("{count} seeds of {of}, {rounds} rounds, {crashes} crashes, {failed} failed");
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

/// Every mutant must be caught within [`HUNTED_MAX`] seeds; a panic of the broken broker counts. The seed that caught it
/// last time is tried before all others, which says as much at the price of one run.
fn hunt(options: &Options, threads: usize) -> bool {
    let is_meant = |mutant: &Mutant| options.mutant.is_none_or(|only| only == *mutant);
    let mutants: Vec<Mutant> = Mutant::ALL.into_iter().filter(is_meant).collect();
    let seeds = options.seeds.min(HUNTED_MAX);
    let last = options
        .caught
        .as_deref()
        .map_or_else(Caught::new, read_caught);
    let caught = Mutex::new(last.clone());
    std::panic::set_hook(Box::new(|_| {})); // broken on purpose: no back traces
    let (next, escaped) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = || loop {
        let index = next.fetch_add(1, Ordering::Relaxed) as usize;
        let Some(mutant) = mutants.get(index).copied() else {
            return;
        };
        mutant::switch(Some(mutant));
        let name = format!("{mutant:?}");
        // Of the seeds that can catch it: those without journals notice no fault of a journal.
        let may_catch = |seed: &u64| !mutant.is_of_journals() || sim::has_journals(*seed);
        let is_within = |seed: &u64| (0..*seed).filter(may_catch).count() < seeds as usize;
        let first = last.get(&name).copied().filter(is_within);
        let all = (0..u64::MAX).filter(may_catch).take(seeds as usize);
        let catch = |seed| catch(mutant, seed).map(|failure| (seed, failure));
        match first.into_iter().chain(all).find_map(catch) {
            Some((seed, failure)) => {
                println!("{name}: seed {seed}: {failure}");
                caught.lock().expect("no panic here").insert(name, seed);
            }
            None => {
                escaped.fetch_add(1, Ordering::Relaxed);
                println!("{name}: NOT caught in {seeds} seeds");
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
    let caught = caught.into_inner().expect("no panic here");
    let file = options.caught.as_deref().filter(|_| caught != last);
    if let Some(Err(error)) = file.map(|file| write_caught(file, &caught)) {
        println!("the seeds that caught them cannot be written: {error}");
        return false;
    }
    escaped == 0 && all > 0
}

/// Mutants and the seeds that caught them.
type Caught = BTreeMap<String, u64>;

/// What is not as it was written is as good as nothing: it is hunted for.
fn read_caught(file: &Path) -> Caught {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let known = lines.filter_map(|(name, seed)| Some((name.into(), seed.parse().ok()?)));
    known.collect()
}

fn write_caught(file: &Path, caught: &Caught) -> io::Result<()> {
    let known = |name: &str| mutant_called(name).is_ok();
    let lines = caught.iter().filter(|(name, _)| known(name));
    let text: String = lines
        .map(|(name, seed)| format!("{name} {seed}\n"))
        .collect();
    fs::write(file, text)
}

fn catch(mutant: Mutant, seed: u64) -> Option<String> {
    if mutant.is_of_gateway() || mutant.is_of_plant() {
        let run = std::panic::catch_unwind(|| match mutant.is_of_plant() {
            true => sim::run_plant(seed).failure,
            false => sim::run_sensors(seed).failure,
        });
        return run.unwrap_or_else(|_| Some("the broken broker panics".into()));
    }
    match std::panic::catch_unwind(|| sim::run(seed, 0)) {
        Ok(outcome) => outcome.failures.into_iter().next(),
        Err(_) => Some("the broken broker panics".into()),
    }
}
