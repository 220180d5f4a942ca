//! mqload against a broker that lies on request: what it does is known, so figures can be exact.

use mqload::liar::{self, Running};

use crate::{figure, mqload};

/// A broker with these lies, separated by blanks.
pub(crate) fn liar(lies: &str) -> Running {
    let lies: Vec<_> = lies
        .split_whitespace()
        .map(|lie| lie.parse().unwrap())
        .collect();
    liar::start("127.0.0.1:0".parse().unwrap(), &lies).unwrap()
}

/// Runs a scenario against a broker with these lies.
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
    // A name, and then p50, p90, p99, p99.9 and max, each with its unit.
    let milliseconds = |column: usize| {
        let mut words = line.split_whitespace().skip(1 + 2 * column);
        let value: f64 = words.next().unwrap().parse().unwrap();
        match words.next().unwrap() {
            "us" => value / 1e3,
            "s" => value * 1e3,
            _ => value,
        }
    };
    // 25 % of the messages wait; evenly spread from 0 to 500 ms. The 90th percentile is at 60 % of them.
    assert!(milliseconds(1) >= 250.0, "{line}");
    assert!(milliseconds(2) >= 450.0, "{line}");
    assert!(milliseconds(4) >= 495.0, "{line}");
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

/// A broker of known capacity: the answer is right on a quiet machine, and never below half on a busy one.
#[test]
fn the_highest_rate_is_that_of_a_token_bucket() {
    let liar = liar("capacity=1500");
    let search = "pairs --clients 4 --rate 300 --duration 1s --drain 1s --find-max --p99 200ms";
    let (text, _) = run(&liar, search);
    let found = figure(&text, "highest rate found with p99 below", "200.00 ms:");
    assert!((750..=1_600).contains(&found), "{found}: {text}");
    assert!(
        !text.contains("per second: the latency is mostly"),
        "{text}"
    );
}

/// The cut of a stage is one for counters and histograms: what is counted is timed.
#[test]
fn a_stage_of_messages_ends_when_they_are_settled() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("burst.toml");
    let text = "
        [groups.meters]
        clients = 20
        publish = { topic = \"burst/{r}/{i}\", qos = 1 }
        [groups.backend]
        clients = 2
        subscribe = { filter = \"burst/{r}/+\", qos = 1 }
        [[stages]]
        name = \"burst\"
        time = \"20s\"
        messages = 4
        load.meters = { max = true }
        assert = { p99_ms = 10000 }
        [[stages]]
        name = \"after\"
        time = \"300ms\"
        load.meters = { rate = 100 }
        ";
    std::fs::write(&file, text).unwrap();
    let json = directory.path().join("result.json");
    let scenario = format!("run {} --json {}", file.display(), json.display());
    let (text, success) = run(&liar("capacity=400"), &scenario);
    assert!(success, "{text}");
    let json = std::fs::read_to_string(json).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let burst = &json["stages"][0];
    assert_eq!(burst["published"], 80, "{text}");
    assert_eq!(burst["received"], 160, "{text}");
    assert_eq!(burst["timed"], "end_to_end", "{text}");
    assert!(burst["p50_us"].as_f64().unwrap() > 50_000.0, "{burst}");
    assert_eq!(json["stages"][1]["received"], 60, "{text}");
    assert_eq!(json["closed_loop"], true);
}

#[test]
fn a_closed_loop_says_that_it_is_one() {
    let (text, success) = against(
        "",
        "pairs --clients 2 --max --window 1 --qos 1 --duration 300ms",
    );
    assert!(
        success && text.contains("closed loop: what a stall"),
        "{text}"
    );
}

#[test]
fn old_connections_end_and_it_is_timed() {
    let (text, success) = against("", "takeover-storm --clients 20 --timeout 3s");
    assert!(success, "{text}");
    let timed = text.lines().find(|line| line.contains("  takeover "));
    assert!(timed.unwrap().ends_with(" 20"), "{text}");
    assert!(!text.contains("published"), "nothing was: {text}");
}

#[test]
fn stored_messages_are_timed_from_asking_for_them() {
    for scenario in [
        "retained-storm --clients 4 --retained 100 --assert-reordered 0 --drain 500ms",
        "backlog-drain --clients 4 --rate 200 --duration 2s --qos 1 --drain 500ms",
    ] {
        let (text, success) = against("", scenario);
        assert!(success, "{text}");
        for name in ["first_stored", "last_stored"] {
            let timed = text.lines().find(|line| line.contains(name)).unwrap();
            assert!(timed.ends_with(" 4"), "{text}");
            assert!(
                !timed.contains(" s "),
                "waiting before is not in it: {timed}"
            );
        }
        assert!(text.contains("stored messages: 400 within"), "{text}");
        assert!(!text.contains("end_to_end"), "{text}");
    }
}

#[test]
fn a_broker_that_falls_behind_is_saturated() {
    let load = "pairs --clients 2 --rate 1000 --duration 2s --drain 3s";
    let (text, _) = against("capacity=500", load);
    assert!(
        text.contains("SATURATED: the broker did not keep up: when the load ended"),
        "{text}"
    );
}

#[test]
fn payloads_too_small_for_a_bound_are_refused() {
    let load = "pairs --clients 2 --payload-size 8 --assert-reordered 0";
    let (text, success) = against("", load);
    assert!(
        !success && text.contains("need payloads of 16 bytes"),
        "{text}"
    );
}
