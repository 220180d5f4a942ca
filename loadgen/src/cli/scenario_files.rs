//! `mqload run` and `mqload check`: scenario files.

use std::path::PathBuf;

use clap::Args;
use ringmq::mqtt::Version;

use crate::options::{check_own_data, check_password, give, parse_rate, parse_version, Setup};
use crate::plan::{Options, Plan};
use crate::scenario_file::{parse, read, Mistake, ScenarioFile};

/// Runs a scenario file: groups of clients, stages of load, and what must hold. loadgen/scenarios has
/// examples, loadgen/README.md all keys.
#[derive(Args, Debug)]
pub(super) struct RunFile {
    /// The scenario, in TOML
    file: PathBuf,
    /// Its text, for agents, which do not have the file
    #[arg(long, hide = true)]
    text: Option<String>,
    /// MQTT version instead of the file's; what only MQTT 5 has is left out of another, and named
    #[arg(long, value_name = "3.1|3.1.1|5", value_parser = parse_version)]
    protocol: Option<Version>,
    /// Rates of schedules times this, like 0.1; pauses and the rates of assertions follow
    #[arg(long, value_name = "FACTOR", value_parser = parse_rate)]
    scale: Option<f64>,
    #[command(flatten)]
    pub(super) setup: Setup,
}

impl RunFile {
    /// What the file describes, where the command line says.
    ///
    /// # Errors
    /// All mistakes of the file, a line each, or a sentence about the command line.
    pub(super) fn prepare(&self) -> Result<(ScenarioFile, Plan, Options), String> {
        let file = match &self.text {
            Some(text) => parse(&self.file.display().to_string(), text),
            None => read(&self.file),
        };
        let mut file = file.map_err(|mistakes| list(&mistakes))?;
        if let Some(version) = self.protocol {
            let left_out = file.speak(version);
            if !left_out.is_empty() {
                eprintln!("only MQTT 5 has and left out: {}", left_out.join(", "));
            }
        }
        if let Some(factor) = self.scale {
            file.scale(factor);
        }
        let connection = file.connection.connection(&self.setup)?;
        let mut plan = file.plan(connection, self.setup.seed());
        for group in 0..plan.groups.len() {
            let feed = plan.groups[group].feed.clone();
            feed.map_or(Ok(()), |feed| give(&mut plan, group, &feed))?;
        }
        check_own_data(&plan)?;
        check_password(&plan)?;
        file.assertions.fit(&plan)?;
        let mut options = self.setup.options()?;
        options.file_text = Some(file.text.clone());
        Ok((file, plan, options))
    }
}

/// Looks for mistakes in scenario files and reports all of them, with file, line and key. Nothing is run.
#[derive(Args, Debug)]
pub(super) struct Check {
    /// Scenarios, in TOML
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl Check {
    /// Prints what each file describes.
    ///
    /// # Errors
    /// All mistakes of all files, a line each.
    pub(super) fn files(&self) -> Result<(), String> {
        let mut mistakes = Vec::new();
        for path in &self.files {
            match read(path) {
                Ok(file) => println!("{}: {}", path.display(), file.describe()),
                Err(own) => mistakes.extend(own),
            }
        }
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(list(&mistakes))
        }
    }
}

fn list(mistakes: &[Mistake]) -> String {
    let count = match mistakes.len() {
        1 => "1 mistake".to_string(),
        count => format!("{count} mistakes"),
    };
    let lines = mistakes.iter().map(|mistake| format!("\n  {mistake}"));
    format!("{count} in the scenario{}", lines.collect::<String>())
}
