//! The `ringmq` program: options, start, wait.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use ringmq::io::{available_cores, run, start_logging, Startup};
use ringmq::limits::Limits;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    start_logging(tracing::Level::INFO);
    let mut port = 1883;
    let mut shards = None;
    let mut args = std::env::args().skip(1);
    while let (Some(name), Some(value)) = (args.next(), args.next()) {
        match name.as_str() {
            "--port" => port = value.parse().unwrap_or(port),
            "--shards" => shards = value.parse().ok(),
            _ => {}
        }
    }
    let cores = available_cores();
    let shards = shards.unwrap_or(cores.len() as u16);
    let cores = if usize::from(shards) <= cores.len() {
        cores
    } else {
        Vec::new()
    };
    let startup = Startup {
        listeners: vec![SocketAddr::from(([127, 0, 0, 1], port))],
        shards,
        cores,
        limits: Limits::default(),
        shutdown_timeout: Duration::from_secs(4),
    };
    match run(&startup) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringmq: {error}");
            ExitCode::FAILURE
        }
    }
}
