//! mqload against a broker that lies on request: what it does is known, so figures can be exact.

use mqload::liar::{self, Running};

use crate::{figure, mqload};

/// A broker that tells these lies, separated by blanks.
pub(crate) fn liar(lies: &str) -> Running {
    let lies: Vec<_> = lies
        .split_whitespace()
        .map(|lie| lie.parse().unwrap())
        .collect();
    liar::start("127.0.0.1:0".parse().unwrap(), &lies).unwrap()
}

/// Runs a scenario against a broker that tells these lies.
fn against(lies: &str, scenario: &str) -> (String, bool) {
    run(&liar(lies), scenario)
}

pub(crate) fn run(liar: &Running, scenario: &str) -> (String, bool) {
    let words = format!("{scenario} --target {}", liar.address);
    mqload(&words.split_whitespace().collect::<Vec<_>>())
}

fn fan_in(lies: &str) -> (String, bool) {
    fan_in_with(lies, "")
}

fn fan_in_with(lies: &str, more: &str) -> (String, bool) {
    let load = "fan-in --clients 1 --rate 1000 --duration 2s --drain 1s";
    against(lies, &format!("{load} {more}"))
}

#[test]
fn a_good_stub_loses_nothing() {
    let (text, success) = fan_in("");
    assert!(success, "{text}");
    assert!(
        text.contains("expected 2000, received 2000, lost 0, duplicates 0, reordered 0"),
        "{text}"
    );
}

/// A stall of 500 ms in a run of 2 s delays a quarter of the messages: 250 ms at the middle of
/// them, which a schedule that waited for the broker would hide.
#[test]
fn a_stall_shows_in_the_percentiles() {
    let (text, _) = fan_in("stall=500");
    assert!(text.contains("lost 0,"), "{text}");
    let line = text
        .lines()
        .find(|line| line.contains("end_to_end"))
        .unwrap();
    let milliseconds = |name: &str| {
        let rest = line.split_once(name).unwrap().1.trim_start();
        let mut words = rest.split_whitespace();
        let value: f64 = words.next().unwrap().parse().unwrap();
        match words.next().unwrap() {
            "us" => value / 1e3,
            "s" => value * 1e3,
            _ => value,
        }
    };
    // 25 % of the messages wait; evenly spread from 0 to 500 ms. The 90th percentile is at 60 % of them.
    assert!(milliseconds("p90") >= 250.0, "{line}");
    assert!(milliseconds("p99") >= 450.0, "{line}");
    assert!(milliseconds("max") >= 495.0, "{line}");
}

#[test]
fn losses_duplicates_and_reordering_are_counted_exactly() {
    let liar = liar("drop=100 duplicate=90 swap=80");
    let load = "fan-in --clients 1 --rate 1000 --duration 2s --drain 1s";
    let (text, success) = run(&liar, load);
    let lied = liar.ledger().lied;
    let (drop, duplicate, swap) = (lied["drop"], lied["duplicate"], lied["swap"]);
    assert!(drop >= 19 && duplicate >= 19 && swap >= 19, "{lied:?}");
    let expected = format!(
        "expected 2000, received {}, lost {drop}, duplicates {duplicate}, reordered {swap}",
        2_000 - drop
    );
    assert!(text.contains(&expected), "{expected}: {text}");
    assert!(!success, "order was promised: {text}");
    let broken = format!("BROKEN PROMISE: QoS 0: {swap} messages came after a later one");
    assert!(text.contains(&broken), "{text}");
}

/// What is acknowledged and does not arrive is more than a loss.
#[test]
fn acknowledged_messages_that_are_lost_are_broken_promises() {
    let (text, success) = fan_in_with("drop=100", "--qos 1");
    assert!(!success, "{text}");
    assert!(
        text.contains("BROKEN PROMISE: QoS 1: 20 acknowledged messages were lost"),
        "{text}"
    );
}

#[test]
fn a_refusal_is_a_sentence() {
    let (text, success) = fan_in("refuse-connect");
    assert!(!success);
    assert!(text.contains("the broker refused CONNECT"), "{text}");
    assert!(text.contains("none of 1 clients could connect"), "{text}");
}

#[test]
fn a_dying_broker_leaves_partial_results() {
    let (text, success) = fan_in("die=500");
    assert!(!success);
    assert!(text.contains("all connections were lost"), "{text}");
    assert!(figure(&text, "QoS 0:", "received") >= 400, "{text}");
}
