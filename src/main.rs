//! Reads the options; a placeholder until the drivers of `io` are joined.

use std::process::ExitCode;

use ringmq::config::{self, Command};

fn main() -> ExitCode {
    match config::load(std::env::args_os()) {
        Ok(Command::Run(checked)) => {
            print!("{}", checked.memory_bound(checked.shards.unwrap_or(1)));
            ExitCode::SUCCESS
        }
        Ok(
            Command::CheckOk(text)
            | Command::Help(text)
            | Command::Version(text)
            | Command::Example(text),
        ) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::from(2)
        }
    }
}
