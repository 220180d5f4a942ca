//! The HTML page in a real browser, made of saved results alone.

use std::path::Path;
use std::process::Command;

use mqload::results::{Latency, RunResult, Second, StageResult};

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
            timed: Some("end_to_end".into()),
            buckets: vec![(20, 900), (29, 100)],
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
    assert_eq!(document.matches("<figure ").count(), 6, "{document}");
    for figure in document.split("<figure ").skip(1) {
        let figure = figure.split("</figure>").next().unwrap();
        if figure.contains("class=\"heat\"") {
            assert_eq!(figure.matches("class=\"heat\"").count(), 10, "{figure}");
            continue;
        }
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

/// Goes along the plots as a person does: what it then reads is put into the document.
const PERSON: &str = "<script>
    const out = [];
    const tip = (figure) => figure.querySelector('.tip').innerText;
    for (const figure of document.querySelectorAll('figure[data-plot]')) {
      const caption = figure.querySelector('figcaption').innerText;
      const key = (name) => figure.dispatchEvent(new KeyboardEvent('keydown', {key: name}));
      key('ArrowRight'); key('ArrowRight');
      out.push(caption + ' keys: ' + tip(figure));
      key('Escape');
      out.push(caption + ' hidden: ' + figure.querySelector('.tip').hidden);
      const svg = figure.querySelector('svg');
      const box = svg.getBoundingClientRect();
      const at = (name, x, y) => svg.dispatchEvent(new PointerEvent(name, {clientX: box.left + box.width * x, clientY: box.top + box.height * y}));
      at('pointermove', 0.9, 0.5);
      out.push(caption + ' pointer: ' + tip(figure));
      at('pointerleave', 0, 0);
    }
    const before = getComputedStyle(document.body).backgroundColor;
    document.getElementById('scheme').click();
    out.push('schemes differ: ' + (before !== getComputedStyle(document.body).backgroundColor));
    document.body.append(Object.assign(document.createElement('pre'), {id: 'read', textContent: out.join('\\n')}));
    </script></body>";

#[test]
fn a_plot_can_be_pointed_at_and_gone_along() {
    let directory = tempfile::tempdir().unwrap();
    let mut run = result("<img src=x onerror=alert(1)>", 800.0);
    for (name, start_s) in [("rise", 0.0), ("</script><b>", 2.5)] {
        run.stages.push(StageResult {
            name: name.into(),
            start_s,
            duration_s: 2.5,
            curve: vec![(0.0, 10.0), (100.0, 900.0)],
            received: 1_000,
            ..StageResult::default()
        });
    }
    run.series[3].errors = 7;
    run.series[4].connected = 9;
    let page = mqload::output::page(&[run]).unwrap();
    let file = directory.path().join("page.html");
    std::fs::write(&file, page.replace("</body>", PERSON)).unwrap();
    let profile = directory.path().join("profile");
    let (document, said) = in_chromium(&file, &profile);
    assert!(!said.contains("CONSOLE"), "the page is in error: {said}");
    let read = document.split("<pre id=\"read\">").nth(1).expect(&document);
    let read = read.split("</pre>").next().unwrap();
    for line in [
        "Throughput keys: 2 s, rise\npublished 1,000/s\nreceived 2,000/s",
        "Throughput pointer: 5 s, &lt;/script&gt;&lt;b&gt;\npublished 1,000/s",
        "Latency keys: 2 s, rise\np50 400 µs\np99 800 µs\nmax 1.60 ms",
        "Latency hidden: true",
        "Latency by percentile keys: p90\nend to end 400 µs",
        "Latency over time keys: 0 to 1 s, rise\n794 µs to 1.00 ms\n100 of 1,000 (10 %)",
        "Errors pointer: 5 s",
        "Clients connected pointer: 5 s, &lt;/script&gt;&lt;b&gt;\nconnected 9",
        "Latency by percentile, stage by stage keys:",
        "schemes differ: true",
    ] {
        assert!(read.contains(line), "{line:?} in {read}");
    }
    assert!(
        document.contains("rise alone"),
        "stages have plots of their own"
    );
    // Its policy keeps a page from asking anybody for anything: what tries to is an error in the console.
    let asks = page.replace("</body>", "<img src=\"http://127.0.0.1:9/x.png\"></body>");
    std::fs::write(&file, asks).unwrap();
    let (_, said) = in_chromium(&file, &directory.path().join("other"));
    assert!(
        said.contains("violates the following Content Security Policy"),
        "{said}"
    );
}
