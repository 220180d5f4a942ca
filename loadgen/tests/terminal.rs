//! mqload in terminals of different widths, as a person sees it.

use std::process::{Command, Stdio};

use crate::lies::liar;

/// Runs mqload in a terminal with so many columns; all that it wrote there, and whether it succeeded.
fn seen(columns: usize, words: &str, environment: &[(&str, &str)]) -> (String, bool) {
    let program = env!("CARGO_BIN_EXE_mqload");
    let line = format!("stty cols {columns} rows 50; exec {program} {words} --unpinned");
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("script is missing: apt-get install bsdutils");
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        output.status.success(),
    )
}

/// Lines, and states of a line that another has replaced, without what only a terminal understands.
fn visible(text: &str) -> Vec<String> {
    let plain = |part: &str| {
        let mut parts = part.split("\x1b[");
        let mut plain = parts.next().unwrap_or_default().to_string();
        for rest in parts {
            let end = rest.find(|letter: char| letter.is_ascii_alphabetic());
            plain += &rest[end.map_or(rest.len(), |end| end + 1)..];
        }
        plain
    };
    text.split(['\r', '\n']).map(plain).collect()
}

const LOAD: &str = "pairs --clients 2 --rate 500 --duration 2s --drain 500ms --qos 1";

#[test]
fn everything_fits_the_terminal() {
    let sweep = "pairs --clients 2 --sweep 100:300:100 --step-duration 1s --drain 300ms";
    for columns in [80, 200] {
        for (lies, load, says) in [
            (
                "drop=100 corrupt=90",
                LOAD,
                "acknowledged messages were lost",
            ),
            ("", sweep, "a sweep of 3 rates"),
        ] {
            let words = format!("{load} --target {}", liar(lies).address);
            let (text, success) = seen(columns, &words, &[]);
            assert_eq!(success, lies.is_empty(), "{text}");
            let lines = visible(&text);
            for line in &lines {
                assert!(line.chars().count() <= columns, "{columns}: {line}");
            }
            let joined = lines.join(" ");
            let found: Vec<&str> = joined.split_whitespace().collect();
            assert!(found.join(" ").contains(says), "{text}");
            let bars = lines.iter().filter(|line| line.contains(['█', '░']));
            let bars: Vec<_> = bars.collect();
            assert!(!bars.is_empty(), "{text}");
            // Wider ones have more to say.
            assert_eq!(bars[0].contains("clients"), columns == 200, "{text}");
        }
    }
}

#[test]
fn colours_can_be_taken_away() {
    let words = format!("{LOAD} --target {}", liar("drop=100").address);
    let (text, _) = seen(100, &words, &[]);
    assert!(text.contains("\x1b[31m  BROKEN PROMISE"), "{text}");
    for environment in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let (text, _) = seen(100, &words, &[environment]);
        assert!(text.contains("\n  BROKEN PROMISE"), "{text}");
        assert!(!text.contains("\x1b[31m"), "{text}");
    }
}
