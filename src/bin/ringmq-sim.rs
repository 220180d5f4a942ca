//! `ringmq-sim`: runs the simulator over many seeds, or replays one.

use std::process::ExitCode;

use clap::Parser;

/// Runs deterministic simulations of the broker.
#[derive(Parser)]
struct Options {
    /// How many seeds
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// First seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only this seed, with everything it found
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let (from, count) = options
        .seed
        .map_or((options.from, options.seeds), |seed| (seed, 1));
    let (mut failed, mut deliveries) = (0, 0);
    for seed in from..from + count {
        let outcome = ringmq::sim::run(seed);
        deliveries += outcome.deliveries;
        let replayed = ringmq::sim::run(seed).hash == outcome.hash;
        if !outcome.failures.is_empty() || !replayed {
            failed += 1;
            println!(
                "seed {seed} failed; replays: {replayed}; {:?}",
                outcome.parameters
            );
            for failure in outcome.failures.iter().take(20) {
                println!("  {failure}");
            }
            println!("  replay: cargo run --features sim --bin ringmq-sim -- --seed {seed}");
        }
    }
    println!("{count} seeds, {deliveries} deliveries, {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
