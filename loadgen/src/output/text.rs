//! Results as lines of text.

use std::borrow::Borrow;
use std::fmt::Write as _;

use comfy_table::{presets::UTF8_BORDERS_ONLY, Cell, CellAlignment, Table};

use super::columns::{self, Column, Compared, Figure, Medium};
use crate::live::duration;
use crate::results::RunResult;

/// The rates of a sweep, a row each, for a terminal of this width.
#[must_use]
pub fn steps(result: &RunResult, width: Option<usize>) -> Table {
    let columns = columns::of(columns::SWEEP, Medium::Terminal, width);
    table(
        &[],
        &columns,
        result.steps.iter().map(|step| (vec![], step)),
    )
}

/// The stages of a scenario file, a row each.
#[must_use]
pub fn stages(result: &RunResult, width: Option<usize>) -> Table {
    let columns = columns::of(columns::STAGES, Medium::Terminal, width);
    table(
        &[],
        &columns,
        result.stages.iter().map(|stage| (vec![], stage)),
    )
}

/// A table of these columns, whose rows may begin with names.
fn table<T: Borrow<R>, R>(
    names: &[&str],
    columns: &[&Column<R>],
    rows: impl Iterator<Item = (Vec<Cell>, T)>,
) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    let headings = columns.iter().map(|column| column.heading);
    table.set_header(names.iter().copied().chain(headings));
    for (mut cells, row) in rows {
        cells.extend(
            columns
                .iter()
                .map(|column| cell((column.figure)(row.borrow()))),
        );
        table.add_row(cells);
    }
    table
}

fn cell(figure: Figure) -> Cell {
    let missing = || "-".to_string();
    let text = match figure {
        Figure::Text(text) => return Cell::new(text),
        Figure::Name(name) => return Cell::new(name),
        Figure::Rate(value) => format!("{value:.0}"),
        Figure::Latency(us) => us.map_or_else(missing, duration),
        Figure::Nanoseconds(ns) => ns.map_or_else(missing, |ns| format!("{ns:.0} ns")),
        Figure::Time(seconds) => format!("{seconds:.1} s"),
        Figure::Ratio(ratio) => ratio.map_or_else(missing, |ratio| format!("{ratio:.2}")),
        Figure::Count(count) => count.to_string(),
    };
    Cell::new(text).set_alignment(CellAlignment::Right)
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

/// Reservations about figures of the comparison: a sentence each.
#[must_use]
pub fn reservations(results: &[RunResult]) -> Vec<String> {
    let mut sentences = Vec::new();
    for result in results {
        let run = format!("{}, {}", result.scenario, result.label);
        if let Some(sentence) = &result.interrupted {
            sentences.push(format!("PARTIAL: {run}: {sentence}"));
        }
        for reason in &result.generator.reasons {
            sentences.push(format!("{}: {run}: {}", reason.heading(), reason.sentence));
        }
    }
    sentences
}

/// Runs side by side; ratios are to the first run of the same scenario.
#[must_use]
pub fn comparison(results: &[RunResult], width: Option<usize>) -> Table {
    let columns = columns::comparison();
    let columns = columns::of(&columns, Medium::Terminal, width);
    let rows = results.iter().map(|result| {
        let first = results
            .iter()
            .find(|other| other.scenario == result.scenario)
            .unwrap_or(result);
        let names = vec![Cell::new(&result.scenario), Cell::new(&result.label)];
        (names, Compared { result, first })
    });
    table(&["scenario", "label"], &columns, rows)
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
        let text = comparison(&results, None).to_string();
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
        let text = comparison(&[first, second], None).to_string();
        assert!(text.contains("1.00") && text.contains("2.50"), "{text}");
    }
}
