//! Results on disk, and bounds that make a run fail.

use std::process::Command;

use crate::broker::Broker;
use crate::mqload;

#[test]
fn a_sweep_is_a_row_per_rate_in_every_form() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::mosquitto("");
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_string();
    let [json, csv, html] = ["a.json", "a.csv", "a.html"].map(file);
    let options = format!(
        "pairs --clients 2 --sweep 100:300:100 --step-duration 500ms --target {} --json {json} --csv {csv} --html {html}",
        broker.target
    );
    let (text, success) = mqload(&options.split_whitespace().collect::<Vec<_>>());
    assert!(success, "{text}");
    let result: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    let steps = result["steps"].as_array().unwrap();
    let rates: Vec<_> = steps
        .iter()
        .map(|step| step["rate_per_s"].as_f64().unwrap())
        .collect();
    assert_eq!(rates, [100.0, 200.0, 300.0]);
    for (step, rate) in steps.iter().zip(rates) {
        let published = step["published_per_s"].as_f64().unwrap();
        assert!(published <= rate * 1.1 && published >= rate * 0.8, "{step}");
        assert!(step["p99_us"].as_f64().unwrap() > 0.0, "{step}");
    }
    let csv = std::fs::read_to_string(csv).unwrap();
    assert_eq!(csv.lines().count(), 4, "{csv}");
    assert!(csv.lines().nth(2).unwrap().starts_with("200.000,"), "{csv}");
    let html = std::fs::read_to_string(html).unwrap();
    assert!(html.contains("Latency by rate, 99th percentile"));
    for rate in ["100", "200", "300"] {
        assert!(html.contains(&format!("<tr><td>{rate}</td>")), "{rate}");
        assert!(text.contains(&format!(" {rate} ")), "{text}");
    }
}

#[test]
fn a_run_is_written_in_every_form_and_compared() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::mosquitto("");
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_string();
    let [json, csv, hdr, html, both] = ["a.json", "a.csv", "a.hdr", "a.html", "b.html"].map(file);
    let common = [
        "pairs",
        "--clients",
        "2",
        "--rate",
        "100",
        "--duration",
        "2500ms",
        "--target",
        &broker.target,
    ];
    let written = [
        "--json",
        &json,
        "--csv",
        &csv,
        "--hdr",
        &hdr,
        "--html",
        &html,
        "--assert-loss",
        "0",
    ];
    let (text, passed) = mqload(&[&common[..], &written[..]].concat());
    assert!(passed, "{text}");
    assert!(text.contains("assertion passed: loss <= 0"), "{text}");
    let result: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(
        result["truth"]["received"][0],
        result["truth"]["expected"][0]
    );
    assert!(
        result["totals"]["received"].as_u64().unwrap() >= 249,
        "{result}"
    );
    assert!(std::fs::read_to_string(csv).unwrap().lines().count() >= 2);
    let hdr = std::fs::read_to_string(hdr).unwrap();
    let (intervals, values) = merged_interval_counts(&hdr, "end_to_end");
    assert!(intervals >= 2, "one per second: {hdr}");
    assert_eq!(values, result["latencies"]["end_to_end"]["count"].as_u64());
    let output = Command::new(env!("CARGO_BIN_EXE_mqload"))
        .args(["report", &json, &json, "--html", &both])
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("1.00"));
    // Of both: four plots, and a heat map of each.
    for (page, plots) in [(html, 4..=5), (both, 6..=6)] {
        let page = std::fs::read_to_string(page).unwrap();
        let found = page.matches("<svg").count();
        assert!(plots.contains(&found), "{found}");
    }
    let (text, passed) = mqload(&[&common[..], &["--assert-rate-min", "1000000"]].concat());
    assert!(!passed && text.contains("assertion FAILED"), "{text}");
}

#[test]
fn what_is_no_result_is_a_sentence() {
    let output = Command::new(env!("CARGO_BIN_EXE_mqload"))
        .args(["report", "Cargo.toml"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("Cargo.toml is no result of mqload"), "{text}");
}

/// Intervals with a tag in an HdrHistogram log, and the number of values in all of them.
fn merged_interval_counts(log: &str, tag: &str) -> (usize, Option<u64>) {
    use base64::prelude::{Engine as _, BASE64_STANDARD};
    let intervals = log
        .lines()
        .filter_map(|line| line.strip_prefix(&format!("Tag={tag},")));
    let counts: Vec<u64> = intervals
        .map(|interval| {
            let encoded = interval.rsplit(',').next().unwrap();
            let bytes = BASE64_STANDARD.decode(encoded).unwrap();
            mqload::output::decode_histogram(&bytes).unwrap().len()
        })
        .collect();
    (counts.len(), Some(counts.iter().sum()))
}
