//! mqload against stubs that misbehave on purpose, and against real brokers in small.

mod agents;
mod agreement;
mod backend;
mod broker;
mod brokers;
mod cases;
mod comings;
mod compare;
mod durable;
mod failures;
mod how_to;
mod lie_table;
mod lies;
mod metrics;
mod output;
mod own_data;
mod page;
mod reconnect;
mod reload;
mod scenario_files;
mod schema;
mod terminal;
mod tools;
mod transports;

/// Runs mqload; its standard output, and whether it succeeded.
fn mqload(arguments: &[&str]) -> (String, bool) {
    let own = ["--quiet", "--unpinned"]; // tests run side by side
    mqload_alone(&[arguments, &own[..]].concat())
}

/// The same with these arguments only.
fn mqload_alone(arguments: &[&str]) -> (String, bool) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_mqload"))
        .args(arguments)
        .output()
        .expect("mqload starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    (format!("{text}{errors}"), output.status.success())
}

/// A result that went to standard output, and the text after it.
fn json_first(text: &str) -> (serde_json::Value, &str) {
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    match values.next() {
        Some(Ok(json)) => (json, &text[values.byte_offset()..]),
        _ => panic!("no JSON first: {text}"),
    }
}

/// The number before `word` or after it, in the line that contains `line`.
fn figure(text: &str, line: &str, word: &str) -> u64 {
    let found = text.lines().find(|candidate| candidate.contains(line));
    let rest = found
        .and_then(|found| found.split_once(word))
        .map_or("", |(_, rest)| rest);
    let digits: String = rest
        .trim_start()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits
        .parse()
        .unwrap_or_else(|_| panic!("no {word:?} in {text}"))
}
