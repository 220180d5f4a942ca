//! `mqload compare`: is the new version worse?

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::INCONCLUSIVE;
use crate::compare::{by_label, compare, pairs, read, Bound, Comparison, Judgement};
use crate::output;

/// Exit status when something became worse.
const REGRESSION: u8 = 4;

/// Results of two versions, several rounds of each, and whether the new one is worse: exit status 0 when it is
/// not, 4 when it is, 3 when the rounds are too few for either, 1 when they cannot be compared.
#[derive(Args, Debug)]
pub(super) struct Compare {
    /// Files that --json wrote, or folders of them: one of each side, or all rounds of both, separated by
    /// their labels, or those of the base alone (with --to)
    #[arg(required = true, value_name = "RESULT")]
    results: Vec<PathBuf>,
    /// Rounds of the new version
    #[arg(long, value_name = "RESULT", num_args = 1..)]
    to: Vec<PathBuf>,
    /// How much worse rate, p50 and p99 may become, like 5%; for one figure (rate, p50, p99, p99.9, cpu, memory)
    /// like p99=20%, may be repeated
    #[arg(long, value_name = "[NAME=]SHARE%")]
    max_regression: Vec<Bound>,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes the comparison as Markdown, for a pull request; - is standard output, here as below
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Writes it as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Compare {
    /// Compares, writes and judges.
    ///
    /// # Errors
    /// A sentence when a file is no result, or the results must not be compared.
    pub(super) fn run(&self) -> Result<ExitCode, String> {
        let found = self.compared()?;
        let written = [&self.markdown, &self.json];
        let has_stdout = written
            .iter()
            .any(|path| path.as_deref().is_some_and(output::is_stdout));
        if let Some(path) = &self.markdown {
            output::write(path, &found.markdown())?;
        }
        if let Some(path) = &self.json {
            let json = serde_json::to_string_pretty(&found).map_err(|error| error.to_string())?;
            output::write(path, &(json + "\n"))?;
        }
        if has_stdout {
            eprint!("{}", found.text());
        } else {
            print!("{}", found.text());
        }
        Ok(match found.judgement {
            Judgement::Shown | Judgement::Held => ExitCode::SUCCESS,
            Judgement::Inconclusive => ExitCode::from(INCONCLUSIVE),
            Judgement::Regression => ExitCode::from(REGRESSION),
        })
    }

    fn compared(&self) -> Result<Comparison, String> {
        let (base, new) = match &self.results[..] {
            results if !self.to.is_empty() => (read(results)?, read(&self.to)?),
            [base, new] => (
                read(std::slice::from_ref(base))?,
                read(std::slice::from_ref(new))?,
            ),
            results => by_label(read(results)?)?,
        };
        let pairs = pairs(base, new)?;
        Ok(compare(&pairs, &self.max_regression, self.seed))
    }
}
