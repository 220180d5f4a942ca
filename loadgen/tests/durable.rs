//! Brokers that are killed and started again: one that keeps what it has acknowledged, and others that do not.

use crate::broker::Broker;
use crate::{figure, mqload};

/// Runs a scenario whose kills are of `broker`.
fn run(scenario: &str, broker: &mut Broker) -> (String, bool) {
    let (pid, restart) = (broker.id().to_string(), broker.command_line());
    let mut words: Vec<&str> = scenario.split_whitespace().collect();
    let own = ["--drain", "2s", "--target", &broker.target];
    words.extend(own.iter().copied());
    words.extend(["--broker-pid", &pid, "--restart-command", &restart]);
    mqload(&words)
}

const SESSIONS: &str = "durable-sessions --clients 4 --rate 400 --duration 2s --kills 2";

#[test]
fn a_broker_that_keeps_its_promises_is_believed() {
    for (scenario, shards, qos) in [
        (format!("{SESSIONS} --qos 1"), "2", "QoS 1:"),
        (format!("{SESSIONS} --qos 2 --protocol 5"), "1", "QoS 2:"),
        (
            "durable-retained --retained 200 --duration 1s --kills 1".into(),
            "2",
            "QoS 1:",
        ),
        (
            "durable-wills --clients 10 --duration 2s --kills 2 --qos 2".into(),
            "2",
            "QoS 2:",
        ),
    ] {
        let mut broker = Broker::ringmq_durable(shards);
        let (text, success) = run(&scenario, &mut broker);
        assert!(success, "{scenario}: {text}");
        assert_eq!(figure(&text, qos, "lost"), 0, "{scenario}: {text}");
        assert!(figure(&text, qos, "received") >= 20, "{scenario}: {text}");
        assert!(
            text.contains("the broker was killed "),
            "{scenario}: {text}"
        );
    }
}

#[test]
fn a_broker_that_forgets_its_sessions_is_seen_through() {
    let mut broker = Broker::ringmq(&[]);
    let (text, success) = run(SESSIONS, &mut broker);
    assert!(!success, "{text}");
    let sentence = "did not have the session of a client that came back after it was killed";
    assert!(text.contains(sentence), "{text}");
}

#[test]
fn a_broker_that_acknowledges_before_it_writes_is_seen_through() {
    for scenario in [
        SESSIONS,
        "durable-wills --clients 10 --duration 1s --kills 1",
    ] {
        let mut broker = Broker::mosquitto_saving(1);
        let (text, success) = run(scenario, &mut broker);
        assert!(!success, "{scenario}: {text}");
        assert!(
            text.contains("acknowledged messages were lost"),
            "{scenario}: {text}"
        );
    }
}

#[test]
fn a_broker_that_does_not_come_back_ends_the_run() {
    let broker = Broker::ringmq_durable("1");
    let pid = broker.id().to_string();
    let words = format!("{SESSIONS} --target {} --broker-pid {pid}", broker.target);
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.extend(["--restart-command", "false"]);
    let (text, success) = mqload(&words);
    assert!(!success, "{text}");
    assert!(
        text.contains("the broker has not come back, it ended with exit status: 1"),
        "{text}"
    );
    let (text, success) = mqload(&["durable-wills", "--restart-command", "true"]);
    assert!(
        !success && text.contains("name it with --broker-pid"),
        "{text}"
    );
}
