//! Scenario files: the examples as they are shipped, and what their assertions decide.

use std::path::PathBuf;

use crate::broker::Broker;
use crate::{figure, mqload, mqload_alone};

fn example(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    folder.join(name).to_str().unwrap().to_string()
}

/// The examples as they are, but for bounds on time, which a machine with other work does not keep.
fn every_example(broker: &Broker, more: &[&str]) {
    let is_slow = more.contains(&"--scale");
    for (name, stages, least) in [
        ("ci-gate.toml", "warm-up, steady", 4_500),
        ("telemetry.toml", "ramp up, hold, burst, ramp down", 20_000),
        ("chat.toml", "quiet, party, going home", 2_000),
    ] {
        let text = std::fs::read_to_string(example(name)).unwrap();
        let lines = text.lines().map(|line| {
            if line.starts_with("p99_ms") || line.starts_with("assert = { p99_ms") {
                ""
            } else {
                line
            }
        });
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(name);
        std::fs::write(&file, lines.collect::<Vec<_>>().join("\n")).unwrap();
        let file = file.to_str().unwrap();
        let json = directory.path().join("result.json");
        let json_path = json.to_str().unwrap();
        let words = ["run", file, "--target", &broker.target, "--json", json_path];
        let (text, success) = mqload(&[&words[..], more].concat());
        let least = if is_slow { least / 20 } else { least };
        assert!(success, "{name}: {text}");
        assert!(text.contains("assertion passed: loss <= 0"), "{text}");
        let result = mqload::output::read(&json).unwrap();
        let names: Vec<&str> = result.stages.iter().map(|stage| &stage.name[..]).collect();
        assert_eq!(names.join(", "), stages, "{text}");
        assert!(result.truth.received[1] >= least, "{name}: {text}");
        assert_eq!(result.truth.broken_promises, [""; 0], "{text}");
        let published: u64 = result.stages.iter().map(|stage| stage.published).sum();
        // Thinkers may answer the last acknowledgement between two stages, wills come with aborts.
        assert!(published <= result.totals.published, "{text}");
        assert!(published * 10 >= result.totals.published * 9, "{text}");
    }
}

#[test]
fn every_example_against_aedes() {
    every_example(&Broker::aedes(), &["--protocol", "3.1.1"]);
}

/// A tenth of the rates: it takes some 400 messages per second.
#[test]
fn every_example_against_amqtt() {
    every_example(&Broker::amqtt(), &["--protocol", "3.1.1", "--scale", "0.1"]);
}

/// What only MQTT 5 has is named when it is left out, and rates are those asked for.
#[test]
fn examples_are_adapted() {
    let broker = Broker::mosquitto("log_type all");
    let file = example("telemetry.toml");
    let words = [
        "run",
        &file,
        "--protocol",
        "3.1",
        "--scale",
        "0.1",
        "--json",
        "-",
    ];
    let (text, success) = mqload(&[&words[..], &["--target", &broker.target]].concat());
    assert!(success, "{text}");
    let left_out = "content_type, message_expiry_s, session_expiry_s, topic_alias, user_properties";
    assert!(
        text.contains(&format!("only MQTT 5 has and left out: {left_out}")),
        "{text}"
    );
    assert!(text.contains("\"rate_per_s\": 200.0"), "{text}");
    assert!(broker.log().contains("(p1, ") && !broker.log().contains("(p5, "));
}

#[test]
fn every_example_against_mosquitto() {
    every_example(&Broker::mosquitto(""), &[]);
}

#[test]
fn every_example_against_ringmq() {
    every_example(&Broker::ringmq(&[]), &[]);
}

/// Runs a file with this text; what was printed, and whether it succeeded.
fn run(broker: &Broker, text: &str) -> (String, bool) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("own.toml");
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    mqload(&["run", file, "--target", &broker.target])
}

const PAIR: &str =
    "drain = \"1s\"\n[groups.p]\nclients = 2\npublish = { topic = \"own/{r}/{i}\", qos = 1 }\n\
                    [groups.s]\nclients = 2\nsubscribe = { filter = \"own/{r}/{i}\", qos = 1 }\n";

#[test]
fn a_failed_assertion_is_a_failure() {
    let broker = Broker::mosquitto("");
    for (bounds, told) in [
        (
            "[assert]\nrate_min = 1000000\n",
            "FAILED: rate_min >= 1000000",
        ),
        ("[assert]\np99_ms = 0\n", "FAILED: p99_ms <= 0"),
        (
            "assert = { rate_min = 1e6 }\n",
            "FAILED: all: rate_min >= 1000000",
        ),
        (
            "assert = { p99_ms = 0.0001 }\n",
            "FAILED: all: p99_ms <= 0.0001",
        ),
    ] {
        let text = format!(
            "{PAIR}[[stages]]\nname = \"all\"\ntime = \"500ms\"\nload.p = {{ rate = 100 }}\n{bounds}"
        );
        let (text, success) = run(&broker, &text);
        assert!(!success, "{text}");
        assert!(text.contains(told), "{text}");
        assert_eq!(figure(&text, "QoS 1:", "received"), 50, "{text}");
    }
}

/// 2 clients that pause 50 ms after each acknowledgement send 20 messages a second each at most.
#[test]
fn who_thinks_sends_no_faster_than_that() {
    let broker = Broker::mosquitto("");
    let stage = "[[stages]]\ntime = \"2s\"\nload.p = { think = \"50ms\" }\n";
    let (text, success) = run(&broker, &format!("{PAIR}{stage}"));
    assert!(success, "{text}");
    let received = figure(&text, "QoS 1:", "received");
    assert!((2..=82).contains(&received), "{text}");
    // A number of messages ends it early.
    let stage = "[[stages]]\ntime = \"60s\"\nmessages = 3\nload.p = { think = \"1ms-5ms\" }\n";
    let (text, success) = run(&broker, &format!("{PAIR}{stage}"));
    assert!(success, "{text}");
    assert_eq!(figure(&text, "QoS 1:", "received"), 6, "{text}");
}

/// Clients come, leave without DISCONNECT and come again; the others' messages are verified all the time.
#[test]
fn who_comes_and_goes_disturbs_nobody() {
    let broker = Broker::mosquitto("");
    let text = format!(
        "{PAIR}[groups.guests]\nclients = 10\nsubscribe = {{ filter = \"own/{{r}}/#\" }}\n\
         [[stages]]\ntime = \"1s\"\nconnect.guests = 100\nload.p = {{ rate = 200 }}\n\
         [[stages]]\ntime = \"1s\"\nabort = [\"guests\"]\nload.p = {{ rate = 200 }}\n\
         [[stages]]\ntime = \"1s\"\nconnect = [\"guests\"]\n\
         [[stages]]\ntime = \"1s\"\ndisconnect.guests = 20\nload.p = {{ rate = 200 }}\n\
         [assert]\nloss = 0\n"
    );
    let (text, success) = run(&broker, &text);
    assert!(success, "{text}");
    assert_eq!(figure(&text, "QoS 1:", "expected"), 600, "{text}");
    assert!(
        text.contains("connected 24, failed 0, lost connections 0"),
        "{text}"
    );
    for (stage, connected) in [
        ("stage 1", 14),
        ("stage 2", 4),
        ("stage 3", 14),
        ("stage 4", 4),
    ] {
        let row = text.lines().find(|line| line.contains(stage)).unwrap();
        let words: Vec<&str> = row.split_whitespace().collect();
        let found: u64 = words[5].parse().unwrap();
        assert_eq!(found, connected, "{text}");
    }
}

#[test]
fn mistakes_are_told_and_nothing_is_run() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bad.toml");
    std::fs::write(&file, "[groups.a]\nclients = 0\ntopic = 1\n").unwrap();
    let path = file.to_str().unwrap();
    for command in ["check", "run"] {
        let (text, success) = mqload_alone(&[command, path]);
        assert!(!success);
        for told in [
            "bad.toml:2: groups.a.clients: 0 is not allowed",
            "bad.toml:3: groups.a.topic: no such key",
            "stages: a scenario needs at least one [[stages]]",
            "3 mistakes",
        ] {
            assert!(text.contains(told), "{command}: {text}");
        }
    }
    let (text, success) = mqload_alone(&["check", &example("chat.toml"), "nowhere.toml"]);
    assert!(!success);
    assert!(
        text.contains("chat: 4 groups, 51 clients, 3 stages, 9 s"),
        "{text}"
    );
    assert!(text.contains("nowhere.toml: cannot be read"), "{text}");
}
