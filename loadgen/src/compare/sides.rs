//! Two sides of a comparison: rounds by scenario, and whether they may be compared at all.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::output;
use crate::results::RunResult;

/// One round, and the file it was read from.
#[derive(Clone, Debug)]
pub struct Round {
    pub file: String,
    pub result: RunResult,
}

/// Rounds of one scenario on both sides; each has one at least.
#[derive(Clone, Debug)]
pub struct Pair {
    pub scenario: String,
    pub base: Vec<Round>,
    pub new: Vec<Round>,
}

/// Reads results; of a folder all that end in .json, by name.
///
/// # Errors
/// A sentence that names the file.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Round>, String> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(within(path)?);
        } else {
            files.push(path.clone());
        }
    }
    let rounds = files.iter().map(|path| {
        let result = output::read(path)?;
        let file = path.display().to_string();
        Ok(Round { file, result })
    });
    rounds.collect()
}

fn within(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let cannot = |error| format!("cannot read {}: {error}", folder.display());
    let entries = std::fs::read_dir(folder).map_err(cannot)?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "json"));
    files.sort();
    if files.is_empty() {
        return Err(format!(
            "{} has no file that ends in .json",
            folder.display()
        ));
    }
    Ok(files)
}

/// Two sides of rounds that were given together: by their labels, of which there must be two. The first
/// round is the base's.
///
/// # Errors
/// A sentence when there are fewer or more labels.
pub fn by_label(rounds: Vec<Round>) -> Result<(Vec<Round>, Vec<Round>), String> {
    let mut labels: Vec<String> = Vec::new();
    for round in &rounds {
        if !labels.contains(&round.result.label) {
            labels.push(round.result.label.clone());
        }
    }
    if labels.len() != 2 {
        return Err(format!(
            "which are the base's rounds, and which are new? Their labels ({}) do not make two sides: give \
             the new ones behind --to, or runs a --label",
            labels.join(", ")
        ));
    }
    Ok(rounds
        .into_iter()
        .partition(|round| round.result.label == labels[0]))
}

/// The rounds by scenario.
///
/// # Errors
/// A sentence when there is something that must not be compared.
pub fn pairs(base: Vec<Round>, new: Vec<Round>) -> Result<Vec<Pair>, String> {
    let mut pairs: Vec<Pair> = Vec::new();
    for (is_new, round) in base
        .into_iter()
        .map(|round| (false, round))
        .chain(new.into_iter().map(|round| (true, round)))
    {
        let scenario = round.result.scenario.clone();
        let at = pairs.iter().position(|pair| pair.scenario == scenario);
        let at = at.unwrap_or_else(|| {
            let (base, new) = (Vec::new(), Vec::new());
            pairs.push(Pair {
                scenario,
                base,
                new,
            });
            pairs.len() - 1
        });
        let pair = &mut pairs[at];
        let side = if is_new {
            &mut pair.new
        } else {
            &mut pair.base
        };
        side.push(round);
    }
    for pair in &pairs {
        let (Some(first), Some(_)) = (pair.base.first(), pair.new.first()) else {
            let whose = if pair.base.is_empty() { "new" } else { "base" };
            return Err(format!(
                "{} was run on one side only ({whose}): give the other's results, too",
                pair.scenario
            ));
        };
        for other in pair.base.iter().chain(&pair.new) {
            if let Some(difference) = difference(&first.result, &other.result) {
                return Err(format!(
                    "{} and {} cannot be compared: {difference}",
                    first.file, other.file
                ));
            }
            if other.result.interrupted.as_deref() == Some("interrupted") {
                return Err(format!(
                    "{} is of a run that was interrupted by hand: measure it again",
                    other.file
                ));
            }
        }
    }
    Ok(pairs)
}

/// What is different in the plans of two results; `None` when they are the same.
fn difference(a: &RunResult, b: &RunResult) -> Option<String> {
    let objective = |result: &RunResult| result.found.as_ref().map(|found| found.objective_p99_us);
    if objective(a) != objective(b) {
        return Some("they did not look for a highest rate with the same objective".into());
    }
    let plan = |result: &RunResult| serde_json::to_value(&result.plan).unwrap_or_default();
    let (place, a, b) = unlike("plan", &plan(a), &plan(b))?;
    Some(format!("{place} is {a} in one, {b} in the other"))
}

/// The first place where two values differ, and both.
fn unlike(place: &str, a: &Value, b: &Value) -> Option<(String, String, String)> {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => a.iter().find_map(|(name, value)| {
            let other = b.get(name).unwrap_or(&Value::Null);
            unlike(&format!("{place}.{name}"), value, other)
        }),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let mut both = a.iter().zip(b).enumerate();
            both.find_map(|(at, (a, b))| unlike(&format!("{place}[{at}]"), a, b))
        }
        (Value::Array(a), Value::Array(b)) => {
            let count = |items: &Vec<Value>| format!("{} long", items.len());
            Some((place.to_string(), count(a), count(b)))
        }
        _ => (a != b).then(|| (place.to_string(), a.to_string(), b.to_string())),
    }
}
