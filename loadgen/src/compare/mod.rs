//! Two versions of a broker compared by their results: what became worse, by how much, and how sure that is.

mod figures;
mod sides;
mod statistics;
mod text;

use std::str::FromStr;

use serde::Serialize;

use crate::results::{About, RunResult, Verdict};
use figures::{rate_name, Figure, FIGURES};
pub use sides::{by_label, pairs, read, Pair, Round};
pub use statistics::{median, ratio, Ratio, ROUNDS_MIN};

/// How much worse figures may become.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bound {
    /// `None`: rate, p50 and p99.
    figure: Option<&'static str>,
    share: f64,
}

impl FromStr for Bound {
    type Err = String;

    /// 5%, or NAME=5%.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, amount) = match text.split_once('=') {
            Some((name, amount)) => (Some(name), amount),
            None => (None, text),
        };
        let named = |name: &str| {
            let known = FIGURES.iter().find(|figure| figure.name == name);
            known.map(|figure| figure.name).ok_or_else(|| {
                let names: Vec<&str> = FIGURES.iter().map(|figure| figure.name).collect();
                format!("{name} is none of {}", names.join(", "))
            })
        };
        let percent = amount
            .strip_suffix('%')
            .and_then(|digits| digits.parse::<f64>().ok());
        let percent = percent.filter(|percent| (0.0..1_000.0).contains(percent));
        Ok(Self {
            figure: name.map(named).transpose()?,
            share: percent.ok_or("give a share like 5%, or p99=20% for one figure")? / 100.0,
        })
    }
}

/// What a figure shows about its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Judgement {
    /// It has no bound.
    Shown,
    /// The whole interval keeps the bound.
    Held,
    /// The interval holds both, or there is none.
    Inconclusive,
    /// The whole interval is beyond the bound.
    Regression,
}

/// One figure on both sides.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub scenario: String,
    pub figure: String,
    /// Medians of the rounds, in the unit of the result's field (microseconds, per second ...).
    pub base: Option<f64>,
    pub new: Option<f64>,
    /// The ratio of the geometric means less 1.
    pub change: Option<f64>,
    pub change_low: Option<f64>,
    pub change_high: Option<f64>,
    /// How much worse it may become, as a share.
    pub max_regression: Option<f64>,
    pub judgement: Judgement,
    /// Why nothing is known.
    pub reason: Option<String>,
    #[serde(skip)]
    base_text: String,
    #[serde(skip)]
    new_text: String,
}

/// Rounds of one side.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    pub label: String,
    pub broker: Option<String>,
    pub mqload_version: String,
    pub files: Vec<String>,
    /// Rounds with errors, broken promises or failed assertions.
    pub failed: u64,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub judgement: Judgement,
    pub base: Side,
    pub new: Side,
    pub rows: Vec<Row>,
    /// What became worse besides figures, as sentences.
    pub regressions: Vec<String>,
    /// What else is to be known.
    pub notes: Vec<String>,
    pub seed: u64,
}

/// Compares pairs of sides.
#[must_use]
pub fn compare(pairs: &[Pair], bounds: &[Bound], seed: u64) -> Comparison {
    let rows: Vec<Row> = pairs
        .iter()
        .flat_map(|pair| {
            FIGURES
                .iter()
                .filter_map(|figure| row(pair, figure, bounds, seed))
        })
        .collect();
    let regressions: Vec<String> = pairs.iter().flat_map(broken).collect();
    let has = |judgement| rows.iter().any(|row| row.judgement == judgement);
    let judgement = if has(Judgement::Regression) || !regressions.is_empty() {
        Judgement::Regression
    } else if has(Judgement::Inconclusive) {
        Judgement::Inconclusive
    } else if bounds.is_empty() {
        Judgement::Shown
    } else {
        Judgement::Held
    };
    Comparison {
        judgement,
        base: side(pairs.iter().flat_map(|pair| &pair.base)),
        new: side(pairs.iter().flat_map(|pair| &pair.new)),
        rows,
        regressions,
        notes: notes(pairs),
        seed,
    }
}

fn side<'a>(rounds: impl Iterator<Item = &'a Round> + Clone) -> Side {
    let first = rounds.clone().next().map(|round| &round.result);
    let text = |of: fn(&RunResult) -> &String| first.map_or(String::new(), |run| of(run).clone());
    Side {
        label: text(|run| &run.label),
        broker: first.and_then(|run| run.broker_name.clone()),
        mqload_version: text(|run| &run.mqload_version),
        files: rounds.clone().map(|round| round.file.clone()).collect(),
        failed: rounds.filter(|round| has_failed(&round.result)).count() as u64,
    }
}

fn has_failed(result: &RunResult) -> bool {
    result.verdict == Verdict::Failed
}

/// One figure of a scenario; `None` where neither side has it.
fn row(pair: &Pair, figure: &Figure, bounds: &[Bound], seed: u64) -> Option<Row> {
    // What ended early has figures of another load.
    let whole = |side: &[Round]| -> Vec<f64> {
        let whole = side
            .iter()
            .filter(|round| round.result.interrupted.is_none());
        whole
            .filter_map(|round| (figure.of)(&round.result))
            .collect()
    };
    let (base, new) = (whole(&pair.base), whole(&pair.new));
    if base.is_empty() && new.is_empty() {
        return None;
    }
    let named = bounds
        .iter()
        .rev()
        .find(|bound| bound.figure == Some(figure.name));
    let usual = bounds.iter().rev().find(|bound| bound.figure.is_none());
    let bound = named
        .or(usual.filter(|_| figure.is_usual))
        .map(|bound| bound.share);
    let found = ratio(&base, &new, seed);
    let (judgement, reason) = match bound {
        Some(bound) => judge(pair, figure, bound, found),
        None => (Judgement::Shown, None),
    };
    let interval = found.and_then(|found| found.interval);
    let text = |side: &[f64]| median(side).map_or("-".into(), |value| figure.shown(value));
    Some(Row {
        scenario: pair.scenario.clone(),
        figure: match figure.name {
            "rate" => rate_name(&pair.base[0].result),
            name => name,
        }
        .to_string(),
        base: median(&base),
        new: median(&new),
        change: found.map(|found| found.ratio - 1.0),
        change_low: interval.map(|(low, _)| low - 1.0),
        change_high: interval.map(|(_, high)| high - 1.0),
        max_regression: bound,
        judgement,
        reason,
        base_text: text(&base),
        new_text: text(&new),
    })
}

/// What a figure shows about its bound, and why it shows nothing.
fn judge(
    pair: &Pair,
    figure: &Figure,
    bound: f64,
    found: Option<Ratio>,
) -> (Judgement, Option<String>) {
    let nothing = |reason: String| (Judgement::Inconclusive, Some(reason));
    let rounds = pair.base.iter().chain(&pair.new);
    let spoiled = rounds
        .clone()
        .filter(|round| figure.is_spoiled(&round.result))
        .count();
    if spoiled > 0 {
        return nothing(format!(
            "in {spoiled} of {} rounds this figure was mqload's own and not the broker's: give it more cores, or \
             a quieter machine",
            rounds.count()
        ));
    }
    let Some(found) = found else {
        return nothing("one side has no figure".into());
    };
    let Some((low, high)) = found.interval else {
        let (base, new) = (pair.base.len(), pair.new.len());
        return nothing(format!(
            "{base} and {new} rounds show no spread: give {ROUNDS_MIN} or more of each side"
        ));
    };
    // How much worse it is at the least and at the most.
    let (least, most) = if figure.more_is_better {
        (1.0 - high, 1.0 - low)
    } else {
        (low - 1.0, high - 1.0)
    };
    if least > bound {
        (Judgement::Regression, None)
    } else if most <= bound {
        (Judgement::Held, None)
    } else {
        nothing("the interval reaches beyond the bound: more rounds make it narrower".into())
    }
}

/// What the new side breaks and the base did not.
fn broken(pair: &Pair) -> Vec<String> {
    let mut found = Vec::new();
    let failed = |side: &[Round]| {
        side.iter()
            .filter(|round| has_failed(&round.result))
            .count()
    };
    if failed(&pair.base) == 0 {
        for round in pair.new.iter().filter(|round| has_failed(&round.result)) {
            let why = why(&round.result);
            found.push(format!(
                "{}: {} has failed: {why}",
                pair.scenario, round.file
            ));
        }
    }
    let lost = |side: &[Round]| -> u64 {
        let each = side
            .iter()
            .map(|round| round.result.truth.lost.iter().sum::<u64>());
        each.sum()
    };
    let (before, now) = (lost(&pair.base), lost(&pair.new));
    if before == 0 && now > 0 {
        found.push(format!(
            "{}: {now} messages were lost, none before",
            pair.scenario
        ));
    }
    found
}

fn why(result: &RunResult) -> String {
    let assertion = result.assertions.iter().find(|assertion| !assertion.passed);
    let sentences = [
        result.truth.broken_promises.first().cloned(),
        result.errors.keys().next().cloned(),
        assertion.map(|own| format!("{} (measured {})", own.text, own.measured_text())),
    ];
    sentences.into_iter().flatten().next().unwrap_or_default()
}

/// What makes the sides differ besides the broker.
fn notes(pairs: &[Pair]) -> Vec<String> {
    let mut notes = Vec::new();
    let rounds = || {
        pairs
            .iter()
            .flat_map(|pair| pair.base.iter().chain(&pair.new))
    };
    let Some(first) = rounds().next().map(|round| &round.result) else {
        return notes;
    };
    let differs = |of: fn(&RunResult) -> String| {
        let other = rounds()
            .map(|round| of(&round.result))
            .find(|other| *other != of(first))?;
        Some((of(first), other))
    };
    type Circumstance = fn(&RunResult) -> String;
    let rows: [(&str, Circumstance); 3] = [
        ("mqload", |run| run.mqload_version.clone()),
        ("machines", |run| {
            format!(
                "{}, {} cores, Linux {}",
                run.cpu_model, run.cores, run.kernel
            )
        }),
        ("workers", |run| run.threads.to_string()),
    ];
    for (what, of) in rows {
        if let Some((one, other)) = differs(of) {
            notes.push(format!(
                "the rounds were not measured with the same {what}: {one}; {other}"
            ));
        }
    }
    for pair in pairs {
        let failed = pair
            .base
            .iter()
            .filter(|round| has_failed(&round.result))
            .count();
        if failed > 0 {
            let (all, scenario) = (pair.base.len(), &pair.scenario);
            notes.push(format!(
                "{scenario}: {failed} of {all} rounds of the base have failed, too: failures of the new ones \
                 are not held against it"
            ));
        }
    }
    if rounds().any(|round| round.result.closed_loop) {
        notes.push("closed loop: stalls of the broker are not in the latencies".into());
    }
    let is_late = |round: &Round| {
        let reasons = &round.result.generator.reasons;
        reasons.iter().any(|reason| reason.about == About::Latency)
    };
    let late = rounds().filter(|round| is_late(round)).count();
    if late > 0 {
        let all = rounds().count();
        notes.push(format!(
            "in {late} of {all} rounds the tail of the latency was mostly mqload's own"
        ));
    }
    notes
}

#[cfg(test)]
mod tests;
