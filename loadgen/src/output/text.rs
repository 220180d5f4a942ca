//! Results as lines of text.

use std::fmt::Write as _;

use comfy_table::{presets::UTF8_BORDERS_ONLY, Cell, CellAlignment, Table};

use crate::live::duration;
use crate::results::RunResult;

/// The rates of a sweep, a row each.
#[must_use]
pub fn steps(result: &RunResult) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    table.set_header([
        "rate/s",
        "published/s",
        "received/s",
        "p50",
        "p99",
        "p99.9",
        "max",
        "lost",
        "errors",
        "limit",
    ]);
    for step in &result.steps {
        let [rate, published, received] =
            [step.rate_per_s, step.published_per_s, step.received_per_s]
                .map(|value| format!("{value:.0}"));
        let [p50, p99, p999, max] =
            [step.p50_us, step.p99_us, step.p999_us, step.max_us].map(duration);
        let (lost, errors) = (step.lost.to_string(), step.errors.to_string());
        let limit = if step.is_generator_limit {
            "generator, not the broker"
        } else {
            "broker or schedule"
        };
        let cells = [rate, published, received, p50, p99, p999, max, lost, errors];
        let mut row: Vec<Cell> = cells
            .map(|cell| Cell::new(cell).set_alignment(CellAlignment::Right))
            .into();
        row.push(Cell::new(limit));
        table.add_row(row);
    }
    table
}

/// The stages of a scenario file, a row each.
#[must_use]
pub fn stages(result: &RunResult) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    table.set_header([
        "stage",
        "from",
        "connected",
        "published/s",
        "received/s",
        "p50",
        "p99",
        "p99.9",
        "max",
        "errors",
    ]);
    for stage in &result.stages {
        let [published, received] =
            [stage.published_per_s, stage.received_per_s].map(|value| format!("{value:.0}"));
        let times = [stage.p50_us, stage.p99_us, stage.p999_us, stage.max_us];
        let [p50, p99, p999, max] = match &stage.timed {
            Some(_) => times.map(duration),
            None => times.map(|_| "-".to_string()),
        };
        let from = format!("{:.1} s", stage.start_s);
        let (connected, errors) = (stage.connected.to_string(), stage.errors.to_string());
        let cells = [
            from, connected, published, received, p50, p99, p999, max, errors,
        ];
        let mut row = vec![Cell::new(&stage.name)];
        row.extend(cells.map(|cell| Cell::new(cell).set_alignment(CellAlignment::Right)));
        table.add_row(row);
    }
    table
}

fn csv_steps(result: &RunResult) -> String {
    let mut text =
        "rate_per_s,published_per_s,received_per_s,p50_us,p99_us,p999_us,max_us,lost,duplicates,\
                    reordered,errors,is_generator_limit\n"
            .to_string();
    for step in &result.steps {
        let _ = writeln!(
            text,
            "{:.3},{:.1},{:.1},{:.1},{:.1},{:.1},{:.1},{},{},{},{},{}",
            step.rate_per_s,
            step.published_per_s,
            step.received_per_s,
            step.p50_us,
            step.p99_us,
            step.p999_us,
            step.max_us,
            step.lost,
            step.duplicates,
            step.reordered,
            step.errors,
            step.is_generator_limit
        );
    }
    text
}

/// One line per second, or of a sweep one per rate, with a heading.
#[must_use]
pub fn csv(result: &RunResult) -> String {
    if !result.steps.is_empty() {
        return csv_steps(result);
    }
    let mut text =
        "at_s,connected,published_per_s,received_per_s,errors_per_s,p50_us,p99_us,max_us\n"
            .to_string();
    for second in &result.series {
        let _ = writeln!(
            text,
            "{:.3},{},{},{},{},{:.1},{:.1},{:.1}",
            second.at_s,
            second.connected,
            second.published,
            second.received,
            second.errors,
            second.p50_us,
            second.p99_us,
            second.max_us
        );
    }
    text
}

/// What a run is judged by.
pub(crate) fn main_latency(result: &RunResult) -> Option<&crate::results::Latency> {
    ["round_trip", "end_to_end", "publish_ack", "connect"]
        .iter()
        .find_map(|name| result.latencies.get(*name))
}

/// What must be known before any figure of the comparison: a sentence each.
#[must_use]
pub fn reservations(results: &[RunResult]) -> Vec<String> {
    let mut sentences = Vec::new();
    for result in results {
        let run = format!("{}, {}", result.scenario, result.label);
        if let Some(sentence) = &result.interrupted {
            sentences.push(format!("PARTIAL: {run}: {sentence}"));
        }
        for reason in &result.generator.reasons {
            sentences.push(format!("NOT THE BROKER'S LIMIT: {run}: {reason}"));
        }
    }
    sentences
}

/// Runs side by side; ratios are to the first run of the same scenario.
#[must_use]
pub fn comparison(results: &[RunResult]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    table.set_header([
        "scenario",
        "label",
        "received/s",
        "ratio",
        "p50",
        "p99",
        "p99.9",
        "lost",
        "broker CPU/message",
        "limit",
    ]);
    for result in results {
        let first = results
            .iter()
            .find(|other| other.scenario == result.scenario)
            .unwrap_or(result);
        let ratio = result.totals.received_per_s / first.totals.received_per_s.max(1e-9);
        let latency = main_latency(result);
        let of = |value: fn(&crate::results::Latency) -> f64| {
            latency.map_or("-".into(), |own| duration(value(own)))
        };
        let lost: u64 = result.truth.lost.iter().sum();
        let cpu = result
            .broker
            .as_ref()
            .filter(|_| result.totals.received > 0)
            .map_or("-".into(), |broker| {
                format!(
                    "{:.0} ns",
                    broker.cpu_s * 1e9 / result.totals.received as f64
                )
            });
        let limit = match (&result.interrupted, result.generator.is_bottleneck) {
            (Some(_), _) => "PARTIAL, see below",
            (None, true) => "generator, not the broker",
            (None, false) => "broker or schedule",
        };
        let cells = [
            format!("{:.0}", result.totals.received_per_s),
            format!("{ratio:.2}"),
            of(|own| own.p50_us),
            of(|own| own.p99_us),
            of(|own| own.p999_us),
            lost.to_string(),
            cpu,
        ];
        let mut row = vec![Cell::new(&result.scenario), Cell::new(&result.label)];
        row.extend(
            cells
                .into_iter()
                .map(|cell| Cell::new(cell).set_alignment(CellAlignment::Right)),
        );
        row.push(Cell::new(limit));
        table.add_row(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Latency, Second};

    fn sample() -> RunResult {
        let mut result = RunResult {
            scenario: "fan-in".into(),
            label: "a|b".into(),
            duration_s: 2.0,
            ..RunResult::default()
        };
        result.totals.received_per_s = 100.0;
        result.series.push(Second {
            at_s: 1.0,
            connected: 3,
            published: 4,
            received: 5,
            p50_us: 1.25,
            ..Second::default()
        });
        let latency = Latency {
            histogram: "HISTF".into(),
            max_us: 2.0,
            ..Latency::default()
        };
        result.latencies.insert("end_to_end".into(), latency);
        result
    }

    #[test]
    fn csv_has_a_line_per_second() {
        let text = csv(&sample());
        assert_eq!(text.lines().count(), 2);
        assert!(text.ends_with("1.000,3,4,5,0,1.2,0.0,0.0\n"), "{text}");
    }

    #[test]
    fn a_partial_run_is_marked() {
        let mut result = sample();
        result.interrupted = Some("all connections were lost".into());
        let results = [result];
        let text = comparison(&results).to_string();
        assert!(text.contains("PARTIAL, see below"), "{text}");
        assert_eq!(
            reservations(&results),
            ["PARTIAL: fan-in, a|b: all connections were lost"]
        );
    }

    #[test]
    fn ratios_are_to_the_first_of_the_scenario() {
        let (first, mut second) = (sample(), sample());
        second.totals.received_per_s = 250.0;
        let text = comparison(&[first, second]).to_string();
        assert!(text.contains("1.00") && text.contains("2.50"), "{text}");
    }
}
