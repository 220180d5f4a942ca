//! `mqload report`: results that `--json` wrote, side by side.

use std::path::PathBuf;

use clap::Args;

use crate::output;
use crate::terminal::Terminal;

/// Results of `--json`, as a table and a page.
#[derive(Args, Debug)]
pub(super) struct Report {
    /// Files that --json wrote
    #[arg(required = true)]
    results: Vec<PathBuf>,
    /// Runs of the same scenario and label are rounds: the median one stands for them
    #[arg(long)]
    median: bool,
    /// Writes a page with plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Report {
    /// Prints the table and writes the page.
    ///
    /// # Errors
    /// A sentence that names the file that is no result, or cannot be read or written.
    pub(super) fn write(&self) -> Result<(), String> {
        let read = self.results.iter().map(|path| output::read(path));
        let mut results = read.collect::<Result<Vec<_>, _>>()?;
        if self.median {
            results = output::medians(results);
        }
        println!(
            "{}",
            output::comparison(&results, Terminal::of(&std::io::stdout()).width)
        );
        for sentence in output::reservations(&results) {
            println!("{sentence}");
        }
        match &self.html {
            Some(path) => output::write(path, &output::page(&results)?),
            None => Ok(()),
        }
    }
}
