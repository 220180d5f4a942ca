//! The HTML page in a real browser, made of saved results alone.

use std::path::Path;
use std::process::Command;

use mqload::results::{Latency, RunResult, Second};

fn result(label: &str, p99_us: f64) -> RunResult {
    let mut result = RunResult {
        schema_version: mqload::results::SCHEMA_VERSION,
        scenario: "pairs".into(),
        label: label.into(),
        ..RunResult::default()
    };
    for at in 1..=5 {
        result.series.push(Second {
            at_s: f64::from(at),
            received: 1_000 * at as u64,
            published: 1_000,
            p50_us: p99_us / 2.0,
            p99_us,
            max_us: p99_us * 2.0,
            ..Second::default()
        });
    }
    let latency = Latency {
        count: 10_000,
        p99_us,
        curve: vec![
            (0.0, 10.0),
            (90.0, p99_us / 2.0),
            (99.0, p99_us),
            (100.0, p99_us * 2.0),
        ],
        ..Latency::default()
    };
    result.latencies.insert("end_to_end".into(), latency);
    result
}

/// The page's document after the browser has built it, and the browser's messages meanwhile.
fn in_chromium(page: &Path, profile: &Path) -> (String, String) {
    let mut command = Command::new("chromium");
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
        ])
        .args([
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--enable-logging=stderr",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", page.display()));
    let output = command
        .output()
        .expect("chromium is missing: apt-get install chromium");
    assert!(output.status.success(), "chromium failed: {output:?}");
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn saved_results_are_drawn_by_a_browser() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    for (name, run) in [
        ("a.json", result("first", 800.0)),
        ("b.json", result("second", 90_000.0)),
    ] {
        std::fs::write(file(name), serde_json::to_string(&run).unwrap()).unwrap();
    }
    let page = file("page.html");
    let output = Command::new(env!("CARGO_BIN_EXE_mqload"))
        .arg("report")
        .args([file("a.json"), file("b.json")])
        .arg("--html")
        .arg(&page)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let (document, said) = in_chromium(&page, &file("profile"));
    assert!(!said.contains("CONSOLE"), "the page is in error: {said}");
    assert_eq!(document.matches("<figure>").count(), 4, "{document}");
    for figure in document.split("<figure>").skip(1) {
        let figure = figure.split("</figure>").next().unwrap();
        // The parser has understood each as a drawing with a line per result, axes and their text.
        assert!(figure.contains("</svg>"), "{figure}");
        for color in ["#3B82F6", "#F97316"] {
            let line = format!("stroke=\"{color}\"");
            let drawn = figure.split("<polyline").skip(1).filter(|element| {
                element
                    .split('>')
                    .next()
                    .is_some_and(|attributes| attributes.contains(&line))
            });
            assert_eq!(drawn.count(), 1, "a line in {color}: {figure}");
        }
        assert!(figure.matches("<text").count() >= 8, "{figure}");
        for label in ["first", "second"] {
            assert!(figure.contains(label), "the legend names {label}: {figure}");
        }
    }
    assert!(
        document.contains("90.00 ms"),
        "the table has the percentiles"
    );
}
