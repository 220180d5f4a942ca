//! `mqload compare`: exit statuses, and what is written.

use std::path::{Path, PathBuf};
use std::process::Command;

use mqload::results::{Latency, RunResult, SCHEMA_VERSION};

/// Writes rounds around a rate, some 1 % apart.
fn rounds(folder: &Path, name: &str, received_per_s: f64) -> Vec<PathBuf> {
    let write = |round: u32| {
        let mut result = RunResult {
            schema_version: SCHEMA_VERSION,
            scenario: "pairs".into(),
            label: name.into(),
            ..RunResult::default()
        };
        result.totals.received = 1_000;
        result.totals.received_per_s = received_per_s * (1.0 + f64::from(round % 3) / 100.0);
        let latency = Latency {
            p50_us: 300.0 + f64::from(round),
            p99_us: 900.0 + f64::from(round),
            ..Latency::default()
        };
        result.latencies.insert("end_to_end".into(), latency);
        let path = folder.join(format!("{name}-{round}.json"));
        std::fs::write(&path, serde_json::to_string(&result).unwrap()).unwrap();
        path
    };
    (0..5).map(write).collect()
}

/// Compares; what it says, and its exit status.
fn compare(words: &[&str], files: &[&[PathBuf]]) -> (String, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqload"));
    command.arg("compare").args(files[0]);
    if let Some(new) = files.get(1) {
        command.arg("--to").args(*new);
    }
    let output = command.args(words).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (text.concat(), output.status.code().unwrap())
}

#[test]
fn the_exit_status_says_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let [base, same, worse] = [("base", 1e5), ("same", 1e5), ("worse", 8e4)]
        .map(|(name, rate)| rounds(folder.path(), name, rate));
    let five = ["--max-regression", "5%"];
    let (text, status) = compare(&five, &[&base, &same]);
    assert!(
        status == 0 && text.contains("no regression: every figure keeps its bound"),
        "{text}"
    );
    let (text, status) = compare(&five, &[&base, &worse]);
    assert!(
        status == 4 && text.contains("REGRESSION: one thing is worse"),
        "{text}"
    );
    let (text, status) = compare(&["--max-regression", "20%"], &[&base, &worse]);
    assert!(
        status == 3 && text.contains("inconclusive: received/s"),
        "{text}"
    );
    let (text, status) = compare(&[], &[&base, &worse]);
    assert!(status == 0 && text.contains("-20.0 %"), "{text}");
    let (text, status) = compare(&five, &[&base[..1], &worse[..1]]);
    assert!(
        status == 3 && text.contains("give 3 or more of each side"),
        "{text}"
    );
}

#[test]
fn sides_are_files_folders_or_labels() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    for side in [&one, &two] {
        std::fs::create_dir(side).unwrap();
    }
    let mut all = rounds(&one, "base", 1e5);
    all.extend(rounds(&two, "new", 8e4));
    let five = ["--max-regression", "5%"];
    let folders = [one, two];
    assert_eq!(compare(&five, &[&folders]).1, 4);
    assert_eq!(compare(&five, &[&all]).1, 4);
    let (text, status) = compare(&five, &[&all[..3]]);
    assert!(
        status == 1 && text.contains("do not make two sides"),
        "{text}"
    );
}

#[test]
fn other_plans_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let files = rounds(folder.path(), "base", 1e5);
    let other = folder.path().join("other.json");
    let text = std::fs::read_to_string(&files[0]).unwrap();
    let text = text.replace("\"keep_alive_s\":0", "\"keep_alive_s\":9");
    std::fs::write(&other, text).unwrap();
    let (text, status) = compare(&[], &[&files, &[other]]);
    let sentence = "cannot be compared: plan.keep_alive_s is 0 in one, 9 in the other";
    assert!(status == 1 && text.contains(sentence), "{text}");
}

#[test]
fn it_is_written_for_people_and_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    let [base, worse] =
        [("base", 1e5), ("worse", 8e4)].map(|(name, rate)| rounds(folder.path(), name, rate));
    let json = folder.path().join("c.json");
    let words = ["--max-regression", "5%", "--markdown", "-", "--json"];
    let words = [&words[..], &[json.to_str().unwrap()]].concat();
    let (text, status) = compare(&words, &[&base, &worse]);
    assert!(
        status == 4 && text.starts_with("**mqload compare: REGRESSION"),
        "{text}"
    );
    assert!(
        text.contains("| pairs | received/s | 101000 | 80800 | -20.0 % |"),
        "{text}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(json["judgement"], "regression");
    let row = &json["rows"][0];
    assert!(
        (row["change"].as_f64().unwrap() + 0.2).abs() < 1e-9,
        "{row}"
    );
    assert!(row["change_high"].as_f64().unwrap() < -0.15, "{row}");
}
