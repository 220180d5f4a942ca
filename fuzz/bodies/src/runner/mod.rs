//! Runs bodies over inputs made from a seed.
//!
//! The inputs of a body are cut into slices, each with a generator and a corpus of its own, so that
//! they are the same for any number of threads.

mod crash;
mod inputs;
mod mutate;
mod seeds;

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringmq::mutant::{switch, Mutant};
use ringmq_fuzz::{features, Target};

use crash::Current;
use inputs::Inputs;

/// Slices of each body's inputs.
const SLICES: u64 = 4;
/// A single input that takes longer hangs.
const HANG_S: u64 = 20;

/// What to run.
pub(crate) struct Plan {
    pub(crate) iterations: u64,
    pub(crate) seed: u64,
    pub(crate) threads: usize,
    pub(crate) mutant: Option<Mutant>,
}

/// A deliberate fault by its name.
pub(crate) fn mutant(name: &str) -> Option<Mutant> {
    let named = |mutant: &Mutant| format!("{mutant:?}") == name;
    Mutant::ALL.into_iter().find(named)
}

/// What a body's slices came to.
#[derive(Clone, Copy, Default)]
struct Sum {
    iterations: u64,
    corpus: usize,
    time: Duration,
}

/// Runs every target; the first input that fails is minimised, written and shown, and ends the
/// process.
pub(crate) fn run(targets: &[Target], plan: &Plan) -> ExitCode {
    let started = Instant::now();
    let seeds = Arc::new(seeds::from_wire_table());
    let sums = Mutex::new(vec![Sum::default(); targets.len()]);
    let jobs: Vec<(usize, u64)> = (0..targets.len())
        .flat_map(|target| (0..SLICES).map(move |slice| (target, slice)))
        .collect();
    let next = AtomicUsize::new(0);
    let is_done = AtomicBool::new(false);
    let currents: Vec<_> = (0..plan.threads).map(|_| Arc::default()).collect();
    crash::install_hook();
    std::thread::scope(|scope| {
        scope.spawn(|| watch(&currents, &is_done));
        let workers: Vec<_> = currents
            .iter()
            .map(|current| {
                let (sums, jobs, next, seeds) = (&sums, &jobs, &next, &seeds);
                scope.spawn(move || {
                    switch(plan.mutant);
                    crash::set_current(current);
                    while let Some(&(target, slice)) =
                        jobs.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        let sum = run_slice(&targets[target], slice, plan, seeds, current);
                        let mut sums = sums.lock().expect("no worker panics with it");
                        let all = &mut sums[target];
                        all.iterations += sum.iterations;
                        all.corpus += sum.corpus;
                        all.time += sum.time;
                    }
                })
            })
            .collect();
        for worker in workers {
            let _ = worker.join();
        }
        is_done.store(true, Ordering::Relaxed);
    });
    report(
        targets,
        &sums.into_inner().expect("no worker is left"),
        started,
    )
}

fn run_slice(
    target: &Target,
    slice: u64,
    plan: &Plan,
    seeds: &[seeds::Conversation],
    current: &Mutex<Current>,
) -> Sum {
    let started = Instant::now();
    let inputs = plan.iterations.div_ceil(target.cost);
    let iterations = inputs / SLICES + u64::from(slice < inputs % SLICES);
    let mut inputs = Inputs::new(target, plan.seed, slice, seeds);
    let mut seen = HashSet::new();
    let mut noted = Vec::new();
    for iteration in 0..iterations {
        let input = inputs.next_input(iteration);
        current.lock().expect("no body panics with it").set(
            target,
            (slice, iteration),
            plan,
            input,
        );
        (target.body)(input);
        noted.clear();
        features::take(&mut noted);
        let mut is_new = false;
        for &feature in &noted {
            is_new |= seen.insert(feature);
        }
        if is_new {
            inputs.keep();
        }
    }
    current.lock().expect("no body panics with it").clear();
    Sum {
        iterations,
        corpus: inputs.corpus_len(),
        time: started.elapsed(),
    }
}

/// Ends the process when an input takes too long.
fn watch(currents: &[Arc<Mutex<Current>>], is_done: &AtomicBool) {
    let mut before = Vec::new();
    let mut since = Instant::now();
    while !is_done.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
        if since.elapsed() < Duration::from_secs(HANG_S) {
            continue;
        }
        since = Instant::now();
        let places: Vec<_> = currents
            .iter()
            .map(|current| current.lock().map_or(None, |current| current.place()))
            .collect();
        for (index, place) in places.iter().enumerate() {
            if place.is_some() && before.get(index) == Some(place) {
                crash::report_hang(&currents[index]);
            }
        }
        before = places;
    }
}

fn report(targets: &[Target], sums: &[Sum], started: Instant) -> ExitCode {
    for (target, sum) in targets.iter().zip(sums) {
        println!(
            "{:<10} {:>10} iterations, corpus {:>6}, {:>6.1} s, {:>8.0} a second and thread",
            target.name,
            sum.iterations,
            sum.corpus,
            sum.time.as_secs_f64(),
            sum.iterations as f64 / sum.time.as_secs_f64().max(1e-9),
        );
    }
    let iterations: u64 = sums.iter().map(|sum| sum.iterations).sum();
    println!(
        "{} bodies, {iterations} iterations, {:.1} s: nothing found",
        targets.len(),
        started.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}
