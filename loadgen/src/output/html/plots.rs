//! Plots of a page, and their axes.

use std::fmt::Write as _;

use super::markup::{escape, short_duration, thousands};
use crate::output::main_latency;
use crate::output::plot::{color, is_dashed, Axis, Line, Scale};
use crate::results::{Latency, RunResult, Second, SweepStep};

const BY_PERCENTILE: &str = "Latency by percentile";

pub(super) type Plot = (&'static str, Axis, Axis, Vec<Line>);

pub(super) fn plots(results: &[&RunResult]) -> Vec<Plot> {
    let mut plots = Vec::new();
    if results.iter().all(|result| !result.steps.is_empty()) {
        plots.extend(of_sweeps(results));
    }
    match results {
        [result] => plots.extend(of_one(result)),
        _ => plots.extend(of_several(results)),
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
        (latency, rates(), times_axis(), p99),
        ("Received by rate", rates(), per_second(), received),
    ]
}

fn of_one(result: &RunResult) -> [Plot; 4] {
    let both = vec![
        line("published", result, |second| second.published as f64),
        line("received", result, |second| second.received as f64),
    ];
    let times = vec![
        line("p50", result, |second| second.p50_us),
        line("p99", result, |second| second.p99_us),
        line("max", result, |second| second.max_us),
    ];
    let curves = result.latencies.iter();
    let curves = curves.map(|(name, latency)| curve(&name.replace('_', " "), Some(latency)));
    let connected = vec![line("connected", result, |second| second.connected as f64)];
    [
        ("Throughput", seconds(), per_second(), both),
        ("Latency", seconds(), times_axis(), times),
        (BY_PERCENTILE, percentiles(), times_axis(), curves.collect()),
        ("Clients connected", seconds(), clients_axis(), connected),
    ]
}

fn of_several(results: &[&RunResult]) -> [Plot; 4] {
    let each = |value: fn(&Second) -> f64| {
        let lines = results.iter();
        lines
            .map(|result| line(&result.label, result, value))
            .collect()
    };
    let received = each(|second| second.received as f64);
    let published = each(|second| second.published as f64);
    let p99 = each(|second| second.p99_us);
    let curves = results.iter();
    let curves = curves.map(|result| curve(&result.label, main_latency(result)));
    [
        ("Received", seconds(), per_second(), received),
        ("Published", seconds(), per_second(), published),
        ("Latency, 99th percentile", seconds(), times_axis(), p99),
        (BY_PERCENTILE, percentiles(), times_axis(), curves.collect()),
    ]
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
fn curve(name: &str, latency: Option<&Latency>) -> Line {
    let points = latency.map_or(Vec::new(), |latency| {
        let last = (latency.count.max(1) as f64).log10();
        let nines = |percentile: f64| -(1.0 - percentile / 100.0).max(1e-12).log10();
        let points = latency.curve.iter();
        points.map(|(at, us)| (nines(*at).min(last), *us)).collect()
    });
    Line {
        name: name.to_string(),
        points,
    }
}

fn seconds() -> Axis {
    Axis {
        title: "time, s",
        format: |value| format!("{value}"),
        scale: Scale::Linear,
    }
}

fn rates() -> Axis {
    Axis {
        title: "messages per second offered",
        format: thousands,
        scale: Scale::Linear,
    }
}

fn per_second() -> Axis {
    Axis {
        title: "messages per second",
        format: thousands,
        scale: Scale::Linear,
    }
}

fn clients_axis() -> Axis {
    Axis {
        title: "clients",
        format: thousands,
        scale: Scale::Linear,
    }
}

fn times_axis() -> Axis {
    Axis {
        title: "latency",
        format: short_duration,
        scale: Scale::Logarithmic,
    }
}

fn percentiles() -> Axis {
    Axis {
        title: "percentile",
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
        let latency = Latency {
            count: 1_000,
            curve: vec![(0.0, 1.0), (50.0, 2.0), (100.0, 9.0)],
            ..Latency::default()
        };
        let line = curve("l", Some(&latency));
        assert_eq!(line.points.last(), Some(&(3.0, 9.0)));
        assert_eq!((percentiles().format)(4.0), "99.99 %");
    }
}
