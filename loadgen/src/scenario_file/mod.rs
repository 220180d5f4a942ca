//! Scenarios of the user's own, as TOML: groups of clients, stages of load, and what must hold.
//!
//! A file is read to its end whatever is wrong with it: every mistake is reported at once, with file, line
//! and key.

mod adapt;
mod connection;
mod groups;
mod own_data;
mod section;
mod source;
mod stages;
mod templates;
mod transport;

use std::path::Path;
use std::time::Duration;

pub use connection::ConnectionPart;
pub use source::Mistake;

use crate::assertions::{Assertions, StageAssertions};
use crate::plan::{Connection, Group, Plan, Share, Step};
use section::Section;
use source::Source;

/// Quiet time that ends a run, unless the file says.
const DRAIN: Duration = Duration::from_secs(3);

/// What a file says, with nothing wrong in it.
#[derive(Clone, Debug)]
pub struct ScenarioFile {
    /// Its text, for those who do not have the file.
    pub text: String,
    pub name: String,
    pub connection: ConnectionPart,
    groups: Vec<Group>,
    steps: Vec<Step>,
    pub assertions: Assertions,
    /// By the name of the stage.
    pub stage_assertions: Vec<StageAssertions>,
}

/// Reads a file.
///
/// # Errors
/// All its mistakes, or that it cannot be read.
pub fn read(path: &Path) -> Result<ScenarioFile, Vec<Mistake>> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| vec![Mistake::of_file(&name, format!("cannot be read: {error}"))])?;
    parse(&name, &text)
}

/// Reads a file's text; `file` is its name in sentences.
///
/// # Errors
/// All its mistakes.
pub fn parse(file: &str, text: &str) -> Result<ScenarioFile, Vec<Mistake>> {
    let source = Source::new(file, text);
    let table = source.table();
    let mut top = Section::top(&source, table.get_ref());
    let stem = Path::new(file).file_stem();
    let stem = stem.map_or("scenario".into(), |stem| stem.to_string_lossy());
    let name = top.text("name").map(|name| name.value);
    let drain = top.duration("drain").map(|drain| drain.value);
    let rounds = top.count("repeat", 1, 1_000);
    let rounds = rounds.map_or(1, |rounds| rounds.value as u32);
    let connection = connection::read(top.section("connection"));
    let mut groups = groups::read(&mut top, &connection);
    let stages = stages::read(&mut top, &groups);
    for group in stages::moving(&stages) {
        groups[group].group.comes_and_goes = true;
    }
    let assertions = top.section("assert").map(stages::assertions);
    top.end();
    let mistakes = source.into_mistakes();
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let steps = stages::steps(
        &groups,
        &connection,
        &stages,
        (rounds, drain.unwrap_or(DRAIN)),
    );
    Ok(ScenarioFile {
        text: text.to_string(),
        name: name.unwrap_or_else(|| stem.into_owned()),
        connection,
        groups: groups.into_iter().map(|group| group.group).collect(),
        steps,
        assertions: assertions.unwrap_or_default(),
        stage_assertions: stages
            .iter()
            .flat_map(|stage| stage.asserts(rounds))
            .collect(),
    })
}

impl ScenarioFile {
    /// The plan, once it is known where it runs.
    #[must_use]
    pub fn plan(&self, connection: Connection, seed: u64) -> Plan {
        Plan {
            scenario: self.name.clone(),
            groups: self.groups.clone(),
            steps: self.steps.clone(),
            connection,
            seed,
            unix_ahead_ns: 0,
            share: Share::WHOLE,
        }
    }

    /// A sentence about what the file describes.
    #[must_use]
    pub fn describe(&self) -> String {
        let clients: u32 = self.groups.iter().map(|group| group.clients).sum();
        let mut stages = 0;
        let mut time = Duration::ZERO;
        for step in &self.steps {
            if let Step::Load(load) = step {
                stages += 1;
                time += load.time;
            }
        }
        format!(
            "{}: {} groups, {clients} clients, {stages} stages, {:.0} s",
            self.name,
            self.groups.len(),
            time.as_secs_f64()
        )
    }
}

#[cfg(test)]
mod tests;
