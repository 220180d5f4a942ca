//! `ringmq-fuzz`: runs the fuzz bodies on the stable toolchain, over inputs it makes itself.

mod runner;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ringmq_fuzz::{Target, TARGETS};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the fuzz bodies of ringmq.
#[derive(Parser)]
struct Options {
    /// Inputs for each body
    #[arg(long, default_value_t = 1_000_000)]
    iterations: u64,
    /// Which inputs: the same seed gives the same
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A body by its name, or all
    #[arg(long, default_value = "all")]
    target: String,
    /// Threads; all cores unless given
    #[arg(long)]
    threads: Option<usize>,
    /// Only the input in this file
    #[arg(long)]
    replay: Option<PathBuf>,
    /// Break the broker on purpose, as `ringmq-sim --mutants` names it
    #[arg(long)]
    mutant: Option<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let Some(targets) = targets(&options.target) else {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("no body {:?}: all, {}", options.target, names.join(", "));
        return ExitCode::from(2);
    };
    let mutant = match options.mutant.as_deref().map(runner::mutant) {
        Some(None) => {
            eprintln!("no deliberate fault of this name");
            return ExitCode::from(2);
        }
        found => found.flatten(),
    };
    if let Some(path) = options.replay {
        let Ok(input) = std::fs::read(&path) else {
            eprintln!("{} cannot be read", path.display());
            return ExitCode::from(2);
        };
        ringmq::mutant::switch(mutant);
        for target in targets {
            (target.body)(&input);
            println!("{}: {} bytes, nothing found", target.name, input.len());
        }
        return ExitCode::SUCCESS;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let plan = runner::Plan {
        iterations: options.iterations,
        seed: options.seed,
        threads: options.threads.unwrap_or(cores).max(1),
        mutant,
    };
    runner::run(&targets, &plan)
}

fn targets(name: &str) -> Option<Vec<Target>> {
    if name == "all" {
        return Some(TARGETS.to_vec());
    }
    let target = TARGETS.iter().find(|target| target.name == name)?;
    Some(vec![*target])
}
