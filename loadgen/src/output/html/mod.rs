//! Results as one HTML page that needs nothing else: plots are SVG inside it, which a small script lets one point at.
//! Its policy forbids it to load anything.

mod details;
mod figure;
mod markup;
mod plan;
mod plots;

use std::fmt::Write as _;

use super::columns::{self, Compared, Medium};
use crate::results::RunResult;
use details::details;
use figure::figure;
use markup::{cells, date, escape, table};
use plots::plots;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Nothing is loaded from anywhere, and no other script runs.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

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
         <meta name=\"viewport\" content=\"width=device-width\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"><title>{title}</title>\
         <style>{STYLE}</style></head><body>\n<header><h1>{title}</h1>\
         <button type=\"button\" id=\"scheme\" hidden>light or dark</button></header>\n{}",
        origin(results)
    );
    for scenario in scenarios {
        let own: Vec<&RunResult> = results
            .iter()
            .filter(|result| result.scenario == scenario)
            .collect();
        section(&mut html, scenario, &own)?;
    }
    let _ = writeln!(html, "<script>{SCRIPT}</script>\n</body></html>");
    Ok(html)
}

/// Where and when the figures were made, when that is the same for all.
fn origin(results: &[RunResult]) -> String {
    let Some(first) = results.first() else {
        return String::new();
    };
    let host = |result: &RunResult| {
        (
            result.kernel.clone(),
            result.cpu_model.clone(),
            result.cores,
        )
    };
    if results.iter().any(|result| host(result) != host(first)) {
        return String::new();
    }
    format!(
        "<p class=\"origin\">{}: mqload {} on {}, {} cores, Linux {}. Latency counts from the time a message \
         was due, not from the time it could be sent. Point at a plot, or reach it with the tab key and go along it with \
         the arrow keys.</p>\n",
        date(first.started_unix_ms),
        escape(&first.mqload_version),
        escape(&first.cpu_model),
        first.cores,
        escape(&first.kernel)
    )
}

fn section(html: &mut String, scenario: &str, results: &[&RunResult]) -> Result<(), String> {
    let _ = writeln!(html, "<section><h2>{}</h2>", escape(scenario));
    summary(html, results);
    html.push_str("<div class=\"plots\">\n");
    for plot in plots(results) {
        figure(html, &plot)?;
    }
    html.push_str("</div>\n");
    for result in results {
        details(html, result)?;
    }
    html.push_str("</section>\n");
    Ok(())
}

/// Runs side by side; ratios are to the first.
fn summary(html: &mut String, results: &[&RunResult]) {
    let columns = columns::comparison();
    let columns = columns::of(&columns, Medium::Page, None);
    let mut rows = Vec::new();
    for &result in results {
        let first = results.first().copied().unwrap_or(result);
        let mut row = vec![format!("{}{}", escape(&result.label), badges(result))];
        row.extend(cells(&columns, &Compared { result, first }));
        rows.push(row);
    }
    let headings = columns.iter().map(|column| column.heading);
    let headings: Vec<_> = ["run"].into_iter().chain(headings).collect();
    table(html, &headings, &rows);
}

/// Reservations about a run's figures, beside its name.
pub(super) fn badges(result: &RunResult) -> String {
    let mut badges = String::new();
    let mut add = |text: &str| {
        let _ = write!(badges, " <span class=\"badge\">{text}</span>");
    };
    if result.interrupted.is_some() {
        add("partial");
    }
    if result.generator.is_bottleneck {
        add("mostly mqload's own figures");
    }
    if result.saturated.is_some() {
        add("saturated");
    }
    if result.closed_loop {
        add("closed loop");
    }
    if result.inconclusive {
        add("inconclusive");
    }
    if result.assertions.iter().any(|assertion| !assertion.passed) {
        add("assertion failed");
    }
    badges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Latency, Second};

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
        assert_eq!(html.matches("<svg").count(), 4 + 3);
        assert_eq!(html.matches("</svg>").count(), 4 + 3);
        assert_eq!(html.matches("<section>").count(), 2);
        assert!(!html.contains("<b>"), "text must be escaped");
        assert!(!html.contains("src=") && !html.contains("url(") && !html.contains("href="));
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
        result.generator.reasons.push(crate::results::Reason {
            about: crate::results::About::Rate,
            sentence: "worker 0 was busy".into(),
        });
        let html = page(&[result]).unwrap();
        assert_eq!(html.matches("class=\"badge\">partial").count(), 2);
        assert!(html.contains("figures up to then: all connections were lost"));
        assert!(html.contains("worker 0 was busy"));
    }
}
