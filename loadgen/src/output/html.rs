//! Results as one HTML page that needs nothing else: plots are SVG inside it, and there is no script.

use std::fmt::Write as _;

use super::plot::{color, is_dashed, plot, Axis, Line, Scale};
use super::text::main_latency;
use crate::live;
use crate::results::{Latency, RunResult, Second};

const STYLE: &str = include_str!("page.css");

/// The page for one result, or for several side by side, scenario by scenario.
///
/// # Errors
/// A sentence when a plot cannot be drawn.
pub fn page(results: &[RunResult]) -> Result<String, String> {
    let mut scenarios: Vec<&str> = Vec::new();
    for result in results {
        if !scenarios.contains(&result.scenario.as_str()) {
            scenarios.push(&result.scenario);
        }
    }
    let title = escape(&format!("mqload: {}", scenarios.join(", ")));
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    );
    for scenario in scenarios {
        let own: Vec<&RunResult> = results
            .iter()
            .filter(|result| result.scenario == scenario)
            .collect();
        section(&mut html, scenario, &own)?;
    }
    html.push_str("</body></html>\n");
    Ok(html)
}

fn section(html: &mut String, scenario: &str, results: &[&RunResult]) -> Result<(), String> {
    let _ = writeln!(html, "<section><h2>{}</h2>", escape(scenario));
    summary(html, results);
    for (caption, x, y, lines) in plots(results) {
        if lines.iter().all(|line| line.points.is_empty()) {
            continue;
        }
        let drawn =
            plot(&x, &y, &lines).map_err(|error| format!("cannot draw {caption:?}: {error}"))?;
        let _ = write!(html, "<figure><figcaption>{caption}</figcaption>");
        legend(html, &lines);
        let _ = writeln!(html, "{drawn}</figure>");
    }
    for result in results {
        details(html, result);
    }
    html.push_str("</section>\n");
    Ok(())
}

/// Runs side by side; ratios are to the first.
fn summary(html: &mut String, results: &[&RunResult]) {
    let mut rows = Vec::new();
    let first = results
        .first()
        .map_or(0.0, |first| first.totals.received_per_s);
    for result in results {
        let own = main_latency(result);
        let time =
            |value: fn(&Latency) -> f64| own.map_or("–".into(), |own| duration(value(own)));
        let ratio = if first > 0.0 {
            format!("{:.2}", result.totals.received_per_s / first)
        } else {
            "–".into()
        };
        rows.push(vec![
            format!("{}{}", escape(&result.label), badges(result)),
            count(result.totals.published_per_s),
            count(result.totals.received_per_s),
            ratio,
            time(|own| own.p50_us),
            time(|own| own.p99_us),
            time(|own| own.p999_us),
            time(|own| own.max_us),
            count(result.truth.lost.iter().sum::<u64>() as f64),
            cpu_per_message(result),
        ]);
    }
    let heads = [
        "run",
        "published/s",
        "received/s",
        "ratio",
        "p50",
        "p99",
        "p99.9",
        "max",
        "lost",
        "CPU/message",
    ];
    table(html, &heads, &rows);
}

/// What a reader must know before any figure.
fn badges(result: &RunResult) -> String {
    let mut badges = String::new();
    let mut add = |text: &str| {
        let _ = write!(badges, " <span class=\"badge\">{text}</span>");
    };
    if result.interrupted.is_some() {
        add("partial");
    }
    if result.generator.is_bottleneck {
        add("generator was the limit");
    }
    if result.assertions.iter().any(|assertion| !assertion.passed) {
        add("assertion failed");
    }
    badges
}

fn cpu_per_message(result: &RunResult) -> String {
    match &result.broker {
        Some(broker) if result.totals.received > 0 => {
            let nanoseconds = broker.cpu_s * 1e9 / result.totals.received as f64;
            format!("{} ns", count(nanoseconds))
        }
        _ => "–".into(),
    }
}

type Plot = (&'static str, Axis, Axis, Vec<Line>);

fn plots(results: &[&RunResult]) -> Vec<Plot> {
    let mut plots = Vec::new();
    if let [result] = results {
        let both = vec![
            line("published", result, |second| second.published as f64),
            line("received", result, |second| second.received as f64),
        ];
        plots.push(("Throughput", seconds(), per_second(), both));
        let times = vec![
            line("p50", result, |second| second.p50_us),
            line("p99", result, |second| second.p99_us),
            line("max", result, |second| second.max_us),
        ];
        plots.push(("Latency", seconds(), times_axis(), times));
        let curves = result.latencies.iter();
        let curves = curves.map(|(name, latency)| curve(&name.replace('_', " "), Some(latency)));
        plots.push((
            "Latency by percentile",
            percentiles(),
            times_axis(),
            curves.collect(),
        ));
        return plots;
    }
    let each = |value: fn(&Second) -> f64| {
        let lines = results.iter();
        lines
            .map(|result| line(&result.label, result, value))
            .collect()
    };
    let received = each(|second| second.received as f64);
    plots.push(("Received", seconds(), per_second(), received));
    let published = each(|second| second.published as f64);
    plots.push(("Published", seconds(), per_second(), published));
    plots.push((
        "Latency, 99th percentile",
        seconds(),
        times_axis(),
        each(|second| second.p99_us),
    ));
    let curves = results.iter();
    let curves = curves.map(|result| curve(&result.label, main_latency(result)));
    plots.push((
        "Latency by percentile",
        percentiles(),
        times_axis(),
        curves.collect(),
    ));
    plots
}

fn line(name: &str, result: &RunResult, value: fn(&Second) -> f64) -> Line {
    let points = result.series.iter();
    Line {
        name: name.to_string(),
        points: points.map(|second| (second.at_s, value(second))).collect(),
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

fn per_second() -> Axis {
    Axis {
        title: "messages per second",
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

/// 1.5 M, 20 k, 300.
fn thousands(value: f64) -> String {
    let digits = |value: f64| {
        let text = format!("{value:.1}");
        text.strip_suffix(".0").map_or(text.clone(), str::to_string)
    };
    match value {
        _ if value >= 1e6 => format!("{} M", digits(value / 1e6)),
        _ if value >= 1e3 => format!("{} k", digits(value / 1e3)),
        _ => digits(value),
    }
}

/// Microseconds for a table.
fn duration(us: f64) -> String {
    live::duration(us).replace(" us", " µs")
}

/// Microseconds as a mark of an axis.
fn short_duration(us: f64) -> String {
    match us {
        _ if us >= 999_999.0 => format!("{:.0} s", us / 1e6),
        _ if us >= 999.0 => format!("{:.0} ms", us / 1e3),
        _ if us >= 0.999 => format!("{us:.0} µs"),
        _ => format!("{:.0} ns", us * 1e3),
    }
}

/// A count with its thousands apart.
fn count(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push('\u{202F}'); // a narrow space that does not break
        }
        text.push(digit);
    }
    text
}

fn legend(html: &mut String, lines: &[Line]) {
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

/// One run: verdicts first, then figures, then how it was made.
fn details(html: &mut String, result: &RunResult) {
    let _ = writeln!(
        html,
        "<details open><summary>{}{}</summary>",
        escape(&result.label),
        badges(result)
    );
    let mut bad = |lead: &str, sentence: &str| {
        let _ = writeln!(html, "<p class=\"bad\">{lead}{}</p>", escape(sentence));
    };
    if let Some(sentence) = &result.interrupted {
        bad(
            "Partial: the run ended early, these are the figures up to then: ",
            sentence,
        );
    }
    for sentence in &result.truth.broken_promises {
        bad("Broken promise: ", sentence);
    }
    for sentence in &result.generator.reasons {
        bad("Not the broker's limit: ", sentence);
    }
    for (sentence, times) in &result.errors {
        bad("", &format!("{sentence} ({times} times)"));
    }
    for assertion in result
        .assertions
        .iter()
        .filter(|assertion| !assertion.passed)
    {
        bad(
            "Assertion failed: ",
            &format!("{}, measured {}", assertion.text, assertion.measured),
        );
    }
    for note in &result.notes {
        let _ = writeln!(html, "<p>{}</p>", escape(note));
    }
    latencies(html, result);
    truth(html, result);
    circumstances(html, result);
    html.push_str("</details>\n");
}

fn latencies(html: &mut String, result: &RunResult) {
    let row = |(name, own): (&String, &Latency)| {
        let mut row = vec![escape(&name.replace('_', " "))];
        let times = [
            own.p50_us,
            own.p90_us,
            own.p99_us,
            own.p999_us,
            own.p9999_us,
            own.max_us,
        ];
        row.extend(times.map(duration));
        row.push(count(own.count as f64));
        row
    };
    let rows: Vec<_> = result.latencies.iter().map(row).collect();
    let heads = [
        "latency", "p50", "p90", "p99", "p99.9", "p99.99", "max", "values",
    ];
    table(html, &heads, &rows);
}

fn truth(html: &mut String, result: &RunResult) {
    let own = &result.truth;
    let row = |qos: usize| {
        let counts = [
            own.expected,
            own.received,
            own.lost,
            own.duplicates,
            own.reordered,
        ];
        let mut row = vec![format!("QoS {qos}")];
        row.extend(counts.map(|by_qos| count(by_qos[qos] as f64)));
        row
    };
    let rows: Vec<_> = (0..3)
        .filter(|qos| own.expected[*qos] > 0)
        .map(row)
        .collect();
    let heads = [
        "messages",
        "expected",
        "received",
        "lost",
        "duplicates",
        "reordered",
    ];
    table(html, &heads, &rows);
}

fn circumstances(html: &mut String, result: &RunResult) {
    let percent = |shares: &[f64]| {
        let shares: Vec<String> = shares
            .iter()
            .map(|share| format!("{:.0} %", share * 100.0))
            .collect();
        shares.join(", ")
    };
    let generator = &result.generator;
    let mut rows = vec![
        vec!["command".into(), format!("<code>{}</code>", escape(&result.command))],
        vec!["targets".into(), escape(&result.targets.join(", "))],
        vec![
            "versions".into(),
            escape(&format!(
                "mqload {}, Linux {}, {}, {} cores, seed {}",
                result.mqload_version, result.kernel, result.cpu_model, result.cores, result.seed
            )),
        ],
        vec![
            "load".into(),
            format!("{} clients, {:.1} s", count(result.clients as f64), result.duration_s),
        ],
        vec![
            "generator".into(),
            format!(
                "{} workers, busy {}; schedule lag p99 {}, over 1 ms late {:.1} %; send queue up to {} bytes",
                result.threads,
                percent(&generator.worker_cpu),
                duration(generator.schedule_lag_p99_us),
                generator.late_share * 100.0,
                count(generator.send_queue_bytes_max as f64)
            ),
        ],
    ];
    if let Some(broker) = &result.broker {
        rows.push(vec![
            "broker".into(),
            format!(
                "{:.2} s CPU; memory {} KB before, {} KB at most",
                broker.cpu_s,
                count(broker.rss_kb_start as f64),
                count(broker.rss_kb_max as f64)
            ),
        ]);
    }
    html.push_str("<table class=\"facts\">");
    for row in rows {
        let _ = write!(html, "<tr><th>{}</th><td>{}</td></tr>", row[0], row[1]);
    }
    html.push_str("</table>\n");
}

/// A table of figures; its cells are markup already. Nothing when it has no rows.
fn table(html: &mut String, heads: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    html.push_str("<div class=\"wide\"><table class=\"figures\"><thead><tr>");
    for head in heads {
        let _ = write!(html, "<th>{head}</th>");
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            let _ = write!(html, "<td>{cell}</td>");
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>\n");
}

/// Text that cannot become markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(scenario: &str) -> RunResult {
        let mut result = RunResult {
            scenario: scenario.into(),
            label: "<b>&\"".into(),
            ..RunResult::default()
        };
        for at in 0..5 {
            result.series.push(Second {
                at_s: f64::from(at),
                received: 100,
                p99_us: 10.0,
                ..Second::default()
            });
        }
        let latency = Latency {
            count: 1_000,
            curve: vec![(0.0, 1.0), (50.0, 2.0), (100.0, 9.0)],
            ..Latency::default()
        };
        result.latencies.insert("end_to_end".into(), latency);
        result
    }

    #[test]
    fn a_page_is_whole_and_names_no_other_place() {
        let html = page(&[sample("pairs"), sample("pairs"), sample("fan-in")]).unwrap();
        assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>\n"));
        // Four for those side by side, three for the one alone.
        assert_eq!(html.matches("<svg").count(), 7);
        assert_eq!(html.matches("</svg>").count(), 7);
        assert_eq!(html.matches("<section>").count(), 2);
        assert!(!html.contains("<b>"), "text must be escaped");
        assert!(!html.contains("<script") && !html.contains("src="));
    }

    #[test]
    fn an_empty_result_is_a_page_too() {
        assert!(page(&[RunResult::default()]).is_ok());
        assert!(page(&[]).is_ok());
    }

    #[test]
    fn what_spoils_a_figure_is_said_beside_it() {
        let mut result = sample("pairs");
        result.interrupted = Some("all connections were lost".into());
        result.generator.is_bottleneck = true;
        result.generator.reasons.push("worker 0 was busy".into());
        let html = page(&[result]).unwrap();
        assert_eq!(html.matches("class=\"badge\">partial").count(), 2);
        assert!(html.contains("figures up to then: all connections were lost"));
        assert!(html.contains("Not the broker's limit: worker 0 was busy"));
    }

    #[test]
    fn the_curve_ends_where_the_values_do() {
        let result = sample("pairs");
        let line = curve("l", result.latencies.get("end_to_end"));
        assert_eq!(line.points.last(), Some(&(3.0, 9.0)));
    }

    #[test]
    fn marks_are_short() {
        assert_eq!(thousands(1_500_000.0), "1.5 M");
        assert_eq!(thousands(20_000.0), "20 k");
        assert_eq!(short_duration(1_000.0), "1 ms");
        assert_eq!(short_duration(100.0), "100 µs");
        assert_eq!(count(1_234_567.0), "1\u{202F}234\u{202F}567");
        assert_eq!((percentiles().format)(4.0), "99.99 %");
    }
}
