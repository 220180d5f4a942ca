//! Every scenario in small against real brokers: mosquitto and ringmq.

use crate::broker::Broker;
use crate::{figure, mqload, mqload_alone};

/// A scenario, its options and what the result must contain.
const SCENARIOS: &[(&str, &str)] = &[
    (
        "fan-in --clients 3 --rate 1000 --duration 500ms",
        "expected 500, received 500, lost 0",
    ),
    (
        "fan-in --clients 3 --rate 1000 --duration 500ms --qos 1 --poisson --mqtt 5 --threads 2",
        "lost 0, duplicates",
    ),
    (
        "fan-out --clients 5 --rate 200 --duration 500ms --qos 2",
        "expected 500, received 500, lost 0, duplicates 0",
    ),
    (
        "pairs --clients 3 --max --messages 100 --qos 1",
        "expected 300, received 300, lost 0",
    ),
    (
        "pairs --clients 3 --max --messages 100 --qos 2 --mqtt 5",
        "expected 300, received 300, lost 0, duplicates 0",
    ),
    (
        "pairs --clients 2 --rate 100 --duration 500ms --mqtt 5 --topics 3 --topic-alias",
        "received 50, lost 0",
    ),
    (
        "pairs --clients 2 --rate 20 --duration 500ms --payload-size 512k",
        "expected 10, received 10, lost 0",
    ),
    (
        "pairs --clients 2 --rate 100 --duration 500ms --payload-size 16-4k",
        "received 50, lost 0",
    ),
    (
        "pairs --clients 2 --rate 100 --duration 500ms --payload-size 16:3,1k-4k:1 --protocol 3.1 --client-id c{i}{g}",
        "received 50, lost 0",
    ),
    (
        "pairs --clients 2 --rate 100 --duration 500ms --protocol 5 --qos 1 --user-property a=b --user-property c=d \
         --content-type text/plain --message-expiry-s 60 --topic-alias --payload-size 16-64 --keep-alive-s 5",
        "received 50, lost 0",
    ),
    (
        "fan-out --clients 6 --publishers 3 --rate 300 --duration 500ms --qos 1 --protocol 3.1,3.1.1,5",
        "expected 900, received 900, lost 0, duplicates 0, reordered 0",
    ),
    (
        "pairs --clients 3 --rate 300 --duration 500ms --qos 2 --protocol 3.1.1,5 --user-property a=b",
        "expected 150, received 150, lost 0, duplicates 0, reordered 0",
    ),
    (
        "shared-group --clients 3 --rate 300 --duration 500ms --protocol 3.1.1,5",
        "expected 150, received 150, lost 0",
    ),
    (
        "pairs --clients 2 --sweep 100:200:100 --step-duration 300ms --source 127.0.0.0/8",
        "a sweep of 2 rates",
    ),
    (
        "round-trip --clients 2 --rate 100 --duration 500ms --qos 1",
        "expected 100, received 100, lost 0",
    ),
    (
        "round-trip --clients 3 --rate 100 --duration 500ms --qos 1 --protocol 5 --user-property a=b",
        "expected 100, received 100, lost 0",
    ),
    (
        "shared-group --clients 2 --rate 400 --duration 500ms",
        "expected 200, received 200, lost 0",
    ),
    (
        "retained-storm --clients 2 --retained 50",
        "expected 100, received 100, lost 0",
    ),
    (
        "slow-consumer --clients 2 --rate 100 --duration 500ms --slow-bytes-per-s 100000",
        "expected 150, received 150, lost 0",
    ),
    (
        "wildcard-mix --clients 2 --rate 100 --duration 500ms",
        "expected 250, received 250, lost 0",
    ),
    (
        "backlog-drain --clients 2 --rate 100 --duration 500ms --qos 1 --mqtt 5",
        "expected 50, received 50, lost 0",
    ),
    (
        "will-storm --clients 50 --leaving 20",
        "QoS 1: expected 50, received 50, lost 0, duplicates 0",
    ),
    (
        "will-storm --clients 50 --leaving 20 --watcher-each",
        "QoS 1: expected 50, received 50, lost 0, duplicates 0",
    ),
    (
        "will-storm --clients 50 --leaving 20 --qos 2 --protocol 5",
        "QoS 2: expected 50, received 50, lost 0, duplicates 0",
    ),
    (
        "connect-storm --clients 50 --rounds 3",
        "connected 150, failed 0, lost connections 0",
    ),
    (
        "reconnect-storm --clients 50 --rounds 2 --threads 2",
        "connected 150, failed 0, lost connections 0",
    ),
    (
        "large-payloads --clients 2 --duration 500ms --qos 1",
        "expected 10, received 10, lost 0",
    ),
    ("churn --clients 5 --rounds 3", "  unsubscribe "),
    (
        "takeover-storm --clients 5",
        "connected 10, failed 0, lost connections 0",
    ),
    (
        "connect-ramp --clients 50 --hold 100ms --reconnects 1",
        "connected 100, failed 0, lost connections 0",
    ),
    (
        "connect-ramp --clients 50 --hold 300ms --connect-rate 1000 --broker-pid PID",
        "50 connections idle: ",
    ),
];

fn run_all(broker: &Broker) {
    for (scenario, expected) in SCENARIOS {
        let scenario = scenario.replace("PID", &broker.id().to_string());
        let mut arguments: Vec<&str> = scenario.split_whitespace().collect();
        arguments.extend(["--target", &broker.target]);
        let (text, success) = mqload(&arguments);
        assert!(success, "{scenario}: {text}");
        assert!(text.contains(expected), "{scenario}: {text}");
    }
}

#[test]
fn every_scenario_against_mosquitto() {
    run_all(&Broker::mosquitto(""));
}

#[test]
fn every_scenario_against_ringmq() {
    run_all(&Broker::ringmq(&[]));
}

#[test]
fn the_highest_rate_is_found_against_mosquitto() {
    let broker = Broker::mosquitto("");
    // An objective that no rate of a few thousand messages misses for good and that saturation does.
    let options =
        "pairs --clients 2 --rate 2000 --duration 300ms --drain 1s --find-max --p99 200ms";
    let mut arguments: Vec<&str> = options.split_whitespace().collect();
    arguments.extend(["--target", &broker.target]);
    let (text, _) = mqload(&arguments);
    let found = figure(&text, "highest rate found with p99 below", "200.00 ms:");
    assert!(found >= 100, "{text}");
    assert!(text.contains("per second: meets the objective"), "{text}");
    let says_why = text.contains("above this rate");
    assert!(says_why, "a limit has a reason: {text}");
}

#[test]
fn every_scenario_has_help_and_is_in_the_readme() {
    let (help, _) = mqload_alone(&["--help"]);
    let commands = help.split_once("Commands:").unwrap().1;
    let commands = commands.split_once("Options:").unwrap().0;
    let names: Vec<&str> = commands
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() >= 18, "{names:?}");
    let readme = include_str!("../README.md");
    for name in names {
        let (help, success) = mqload_alone(&[name, "--help"]);
        assert!(success && help.contains("Usage: mqload"), "{name}: {help}");
        assert!(
            readme.contains(&format!("`{name}`")) || readme.contains(&format!("mqload {name} ")),
            "{name}"
        );
        let is_tested = SCENARIOS
            .iter()
            .any(|(scenario, _)| scenario.starts_with(name));
        // Of these, TLS storms are in transports.rs, files in scenario_files.rs, kills in durable.rs, MQTT-SN in the
        // broker's test_mqtt_sn.py.
        let elsewhere = [
            "publish",
            "listen",
            "sink",
            "sn",
            "liar",
            "report",
            "agent",
            "run",
            "check",
            "handshake-storm",
            "resumption-storm",
            "compare",
            "durable-sessions",
            "durable-retained",
            "durable-wills",
        ];
        let has_test = is_tested || elsewhere.contains(&name);
        assert!(has_test, "{name} meets no broker in a test");
    }
}
