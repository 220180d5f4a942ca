//! Plots of a page, and their axes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::markup::{escape, short_duration, thousands};
use crate::output::main_latency;
use crate::output::plot::{color, is_dashed, Axis, Cell, Line, Plot, Scale, Stretch};
use crate::results::{RunResult, Second, StageResult, SweepStep};

const BY_PERCENTILE: &str = "Latency by percentile";
/// A heat map has no more columns than these: seconds that are more are put together.
const COLUMNS_MAX: usize = 240;
/// Stages that get plots of their own.
const STAGES_MAX: usize = 16;

fn plot(caption: impl Into<String>, x: Axis, y: Axis, lines: Vec<Line>) -> Plot {
    Plot {
        caption: caption.into(),
        x,
        y,
        lines,
        spans: Vec::new(),
        cells: Vec::new(),
    }
}

/// The plots of a scenario: of one run, or of several in each.
pub(super) fn plots(results: &[&RunResult]) -> Vec<Plot> {
    let mut plots = Vec::new();
    if results.iter().all(|result| !result.steps.is_empty()) {
        plots.extend(of_sweeps(results));
    }
    match results {
        [result] => plots.extend(of_one(result)),
        _ => {
            plots.extend(of_several(results));
            plots.extend(results.iter().filter_map(|result| {
                let mut heat = heat_map(result)?;
                heat.caption = format!("{}: {}", heat.caption, result.label);
                Some(heat)
            }));
        }
    }
    plots
}

fn of_sweeps(results: &[&RunResult]) -> [Plot; 2] {
    let by_rate = |value: fn(&SweepStep) -> f64| -> Vec<Line> {
        let lines = results.iter();
        lines.map(|result| by_rate(result, value)).collect()
    };
    let p99 = by_rate(|step| step.p99_us);
    let received = by_rate(|step| step.received_per_s);
    let latency = "Latency by rate, 99th percentile";
    [
        plot(latency, rates(), times_axis(), p99),
        plot("Received by rate", rates(), per_second(), received),
    ]
}

fn of_one(result: &RunResult) -> Vec<Plot> {
    let curves = result.latencies.iter();
    let curves = curves.map(|(name, own)| curve(&name.replace('_', " "), own.count, &own.curve));
    let mut plots = vec![
        throughput(result),
        latency(result),
        plot(BY_PERCENTILE, percentiles(), times_axis(), curves.collect()),
    ];
    plots.extend(heat_map(result));
    if result.series.iter().any(|second| second.errors > 0) {
        let errors = vec![line("errors", result, |second| second.errors as f64)];
        plots.push(plot("Errors", seconds(), errors_axis(), errors));
    }
    let connected = |second: &Second| second.connected;
    let changes = result
        .series
        .windows(2)
        .any(|two| connected(&two[0]) != connected(&two[1]));
    if changes {
        let lines = vec![line("connected", result, |second| second.connected as f64)];
        plots.push(plot("Clients connected", seconds(), clients_axis(), lines));
    }
    for plot in plots.iter_mut().filter(|plot| plot.x.unit == "s") {
        plot.spans = stretches(result);
    }
    let timed = result.stages.iter().filter(|stage| !stage.curve.is_empty());
    let by_stage: Vec<Line> = timed
        .map(|stage| curve(&stage.name, stage.received, &stage.curve))
        .collect();
    if by_stage.len() > 1 {
        let caption = format!("{BY_PERCENTILE}, stage by stage");
        plots.push(plot(caption, percentiles(), times_axis(), by_stage));
    }
    plots
}

fn throughput(result: &RunResult) -> Plot {
    let both = vec![
        line("published", result, |second| second.published as f64),
        line("received", result, |second| second.received as f64),
    ];
    plot("Throughput", seconds(), per_second(), both)
}

fn latency(result: &RunResult) -> Plot {
    let times = vec![
        line("p50", result, |second| second.p50_us),
        line("p99", result, |second| second.p99_us),
        line("max", result, |second| second.max_us),
    ];
    plot("Latency", seconds(), times_axis(), times)
}

/// Stages of a scenario file on the time axis.
fn stretches(result: &RunResult) -> Vec<Stretch> {
    let stages = result.stages.iter();
    let stretch = |stage: &StageResult| Stretch {
        from: stage.start_s,
        to: stage.start_s + stage.duration_s,
        name: stage.name.clone(),
    };
    stages.map(stretch).collect()
}

/// Throughput and latency of each stage alone: of the seconds that end in it.
pub(super) fn of_stages(result: &RunResult) -> Vec<(String, [Plot; 2])> {
    let stages = result.stages.iter().take(STAGES_MAX);
    let own = stages.filter_map(|stage| {
        let ends = stage.start_s..stage.start_s + stage.duration_s + 0.5;
        let mut part = RunResult::default();
        let within = result
            .series
            .iter()
            .filter(|second| ends.contains(&second.at_s));
        part.series = within.cloned().collect();
        let plots = [throughput(&part), latency(&part)];
        (part.series.len() > 1).then(|| (stage.name.clone(), plots))
    });
    own.collect()
}

/// Latency over time: how many values lie where, of each second.
fn heat_map(result: &RunResult) -> Option<Plot> {
    let merged = result.series.len().div_ceil(COLUMNS_MAX).max(1);
    let mut cells = Vec::new();
    let mut from = 0.0;
    for seconds in result.series.chunks(merged) {
        let to = seconds.last().map_or(from, |second| second.at_s);
        let mut counts: BTreeMap<i32, u64> = BTreeMap::new();
        for (bucket, count) in seconds.iter().flat_map(|second| &second.buckets) {
            *counts.entry(*bucket).or_default() += count;
        }
        let edge = |bucket: i32| 10_f64.powf(f64::from(bucket) / 10.0);
        cells.extend(counts.into_iter().map(|(bucket, count)| Cell {
            x: (from, to),
            y: (edge(bucket), edge(bucket + 1)),
            count,
            depth: 0.0,
        }));
        from = to;
    }
    let most = cells.iter().map(|cell| cell.count).max()?;
    for cell in &mut cells {
        // By logarithms: a few slow messages beside millions of quick ones are what one looks for.
        cell.depth = 0.15 + 0.85 * (cell.count as f64).ln_1p() / (most as f64).ln_1p();
    }
    let mut plot = plot("Latency over time", seconds(), times_axis(), Vec::new());
    plot.cells = cells;
    Some(plot)
}

fn of_several(results: &[&RunResult]) -> Vec<Plot> {
    let each = |value: fn(&Second) -> f64| -> Vec<Line> {
        let lines = results.iter();
        lines
            .map(|result| line(&result.label, result, value))
            .collect()
    };
    let received = each(|second| second.received as f64);
    let published = each(|second| second.published as f64);
    let p99 = each(|second| second.p99_us);
    let curves = results.iter().map(|result| match main_latency(result) {
        Some(own) => curve(&result.label, own.count, &own.curve),
        None => curve(&result.label, 0, &[]),
    });
    let mut plots = vec![
        plot("Received", seconds(), per_second(), received),
        plot("Published", seconds(), per_second(), published),
        plot("Latency, 99th percentile", seconds(), times_axis(), p99),
        plot(BY_PERCENTILE, percentiles(), times_axis(), curves.collect()),
    ];
    let has_errors = |result: &&RunResult| result.series.iter().any(|second| second.errors > 0);
    if results.iter().any(has_errors) {
        let errors = each(|second| second.errors as f64);
        plots.push(plot("Errors", seconds(), errors_axis(), errors));
    }
    plots
}

fn line(name: &str, result: &RunResult, value: fn(&Second) -> f64) -> Line {
    let points = result.series.iter();
    Line {
        name: name.to_string(),
        points: points.map(|second| (second.at_s, value(second))).collect(),
    }
}

fn by_rate(result: &RunResult, value: fn(&SweepStep) -> f64) -> Line {
    let points = result.steps.iter();
    Line {
        name: result.label.clone(),
        points: points.map(|step| (step.rate_per_s, value(step))).collect(),
    }
}

/// Percentiles spread so that each nine takes the same room; the last is that of the maximum.
fn curve(name: &str, count: u64, curve: &[(f64, f64)]) -> Line {
    let last = (count.max(1) as f64).log10();
    let nines = |percentile: f64| -(1.0 - percentile / 100.0).max(1e-12).log10();
    let points = curve.iter();
    Line {
        name: name.to_string(),
        points: points.map(|(at, us)| (nines(*at).min(last), *us)).collect(),
    }
}

fn seconds() -> Axis {
    Axis {
        title: "time, s",
        unit: "s",
        format: |value| format!("{value}"),
        scale: Scale::Linear,
    }
}

fn rates() -> Axis {
    Axis {
        title: "messages per second offered",
        unit: "/s",
        format: thousands,
        scale: Scale::Linear,
    }
}

fn per_second() -> Axis {
    Axis {
        title: "messages per second",
        unit: "/s",
        format: thousands,
        scale: Scale::Linear,
    }
}

fn clients_axis() -> Axis {
    Axis {
        title: "clients",
        unit: "clients",
        format: thousands,
        scale: Scale::Linear,
    }
}

fn errors_axis() -> Axis {
    Axis {
        title: "errors per second",
        unit: "errors",
        format: thousands,
        scale: Scale::Linear,
    }
}

fn times_axis() -> Axis {
    Axis {
        title: "latency",
        unit: "us",
        format: short_duration,
        scale: Scale::Logarithmic,
    }
}

fn percentiles() -> Axis {
    Axis {
        title: "percentile",
        unit: "percentile",
        format: |nines| match nines as usize {
            0 => "0 %".into(),
            1 => "90 %".into(),
            2 => "99 %".into(),
            more => format!("99.{} %", "9".repeat(more - 2)),
        },
        scale: Scale::Whole,
    }
}

pub(super) fn legend(html: &mut String, lines: &[Line]) {
    html.push_str("<ul class=\"legend\">");
    for (index, line) in lines.iter().enumerate() {
        let style = if is_dashed(index) { "dashed" } else { "solid" };
        let _ = write!(
            html,
            "<li><i style=\"border-top:3px {style} {}\"></i>{}</li>",
            color(index),
            escape(&line.name)
        );
    }
    html.push_str("</ul>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_ends_where_the_values_do() {
        let line = curve("l", 1_000, &[(0.0, 1.0), (50.0, 2.0), (100.0, 9.0)]);
        assert_eq!(line.points.last(), Some(&(3.0, 9.0)));
        assert_eq!((percentiles().format)(4.0), "99.99 %");
    }

    #[test]
    fn a_heat_map_has_a_column_per_second_up_to_a_bound() {
        let mut result = RunResult::default();
        for at in 1..=600 {
            result.series.push(Second {
                at_s: f64::from(at),
                buckets: vec![(0, 1_000), (20, 1)],
                ..Second::default()
            });
        }
        let cells = heat_map(&result).unwrap().cells;
        assert_eq!(cells.len(), 2 * 200, "three seconds each");
        assert_eq!((cells[2].x, cells[2].count), ((3.0, 6.0), 3_000));
        assert_eq!(cells[1].y.0, 100.0);
        assert!(cells[1].depth > 0.2 && cells[0].depth == 1.0);
        assert!(heat_map(&RunResult::default()).is_none());
    }
}
