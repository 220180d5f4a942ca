//! One run in full: verdicts first, then figures, then how it was made.

use std::fmt::Write as _;

use super::figure::figure;
use super::markup::{count, date, duration, escape, figures, table};
use super::plots::of_stages;
use super::{badges, plan};
use crate::output::columns::{self, Medium};
use crate::results::{About, Assertion, Latency, RunResult};

/// One run: verdicts first, then figures, then how it was made.
///
/// # Errors
/// A sentence when a plot cannot be drawn.
pub(super) fn details(html: &mut String, result: &RunResult) -> Result<(), String> {
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
    for reason in &result.generator.reasons {
        let lead = match reason.about {
            About::Rate => "Not the broker's limit: ",
            About::Latency => "Not the broker's latency: ",
        };
        bad(lead, &reason.sentence);
    }
    for (sentence, times) in &result.errors {
        bad("", &format!("{sentence} ({times} times)"));
    }
    if result.closed_loop {
        let sentence = "Closed loop: what a stall of the broker keeps from being sent is not in the latencies.";
        let _ = writeln!(html, "<p>{sentence}</p>");
    }
    if let Some(saturation) = &result.saturated {
        let sentence = escape(&saturation.sentence());
        let _ = writeln!(html, "<p class=\"bad\">Saturated: {sentence}</p>");
    }
    for note in &result.notes {
        let _ = writeln!(html, "<p>{}</p>", escape(note));
    }
    assertions(html, result);
    figures(
        html,
        &columns::of(columns::SWEEP, Medium::Page, None),
        result.steps.iter(),
    );
    figures(
        html,
        &columns::of(columns::STAGES, Medium::Page, None),
        result.stages.iter(),
    );
    stages(html, result)?;
    latencies(html, result);
    truth(html, result);
    circumstances(html, result);
    html.push_str("</details>\n");
    Ok(())
}

/// Plots of each stage alone, to be opened.
fn stages(html: &mut String, result: &RunResult) -> Result<(), String> {
    for (name, plots) in of_stages(result) {
        let name = escape(&name);
        let _ = writeln!(
            html,
            "<details class=\"alone\"><summary>{name} alone</summary><div class=\"plots\">"
        );
        for plot in plots {
            figure(html, &plot)?;
        }
        html.push_str("</div></details>\n");
    }
    Ok(())
}

/// Assertions and what was measured.
fn assertions(html: &mut String, result: &RunResult) {
    let row = |own: &Assertion| {
        let verdict = if own.passed {
            "<span class=\"good\">✓ passed</span>"
        } else {
            "<span class=\"bad\">✗ failed</span>"
        };
        vec![
            escape(&own.text),
            escape(&own.measured_text()),
            verdict.into(),
        ]
    };
    let rows: Vec<_> = result.assertions.iter().map(row).collect();
    table(html, &["assertion", "measured", "verdict"], &rows);
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
        vec!["date".into(), date(result.started_unix_ms)],
        vec!["broker".into(), escape(result.broker_name.as_deref().unwrap_or("it does not say"))],
        vec!["targets".into(), escape(&result.targets.join(", "))],
        vec!["plan".into(), plan::lines(&result.plan).join("<br>")],
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
            "broker's process".into(),
            format!(
                "{:.2} s CPU; memory {} KB before, {} KB at most",
                broker.cpu_s,
                count(broker.rss_kb_start as f64),
                count(broker.rss_kb_max as f64)
            ),
        ]);
    }
    if let Some(idle) = &result.idle {
        let mut text = format!(
            "{}: {:.2} KB each in mqload",
            count(idle.connections as f64),
            idle.generator_kb_each
        );
        if let (Some(kb), Some(sockets)) = (idle.broker_kb_each, idle.broker_sockets) {
            let _ = write!(
                text,
                ", {kb:.2} KB each in the broker with {} sockets",
                count(sockets as f64)
            );
        }
        rows.push(vec!["idle connections".into(), text]);
    }
    html.push_str("<table class=\"facts\">");
    for row in rows {
        let _ = write!(html, "<tr><th>{}</th><td>{}</td></tr>", row[0], row[1]);
    }
    html.push_str("</table>\n");
}
