//! What is wrong is seen, and what is right is not called wrong.

use std::time::Duration;

use crate::process::{mqload, sink, Outcome};
use crate::stub::{start, Fault};

/// 200 messages in one second from one publisher to one subscriber.
fn run(fault: Fault, more: &str) -> Outcome {
    mqload(
        start(fault),
        &format!("pairs --clients 1 --rate 200 --messages 200 --duration 5s --drain 500ms {more}"),
    )
}

#[test]
fn a_right_broker_passes() {
    let outcome = run(Fault::None, "--qos 1");
    assert!(outcome.passed, "{}", outcome.text);
    assert_eq!(
        (outcome.truth("expected"), outcome.truth("received")),
        (200, 200)
    );
}

#[test]
fn a_stall_shows_as_latency_of_all_that_were_due() {
    // 200 messages a second; for 500 ms nothing goes on. Half of the messages were due in that time and
    // wait from 500 ms down to 0: the median of all 200 is near 0, the 90th percentile
    // near 300 ms, the longest at least 500 ms. Counted from the real send time only one would be late.
    let outcome = run(
        Fault::Stall(50, Duration::from_millis(500)),
        "--qos 1 --assert-p99-ms 100",
    );
    let ms = |name: &str| outcome.number(&format!("/latencies/end_to_end/{name}")) / 1e3;
    assert!(ms("max_us") >= 495.0, "{}", outcome.text);
    assert!(ms("p99_us") >= 470.0, "{}", outcome.text);
    assert!(ms("p90_us") >= 280.0, "{}", outcome.text);
    assert!(!outcome.passed, "the assertion must fail");
    assert_eq!(outcome.truth("lost"), 0);
}

#[test]
fn a_lost_message_of_qos_1_is_a_broken_promise() {
    let outcome = run(Fault::Drop(77), "--qos 1");
    assert!(!outcome.passed);
    assert_eq!(outcome.truth("lost"), 1, "{}", outcome.text);
    assert!(outcome.text.contains("BROKEN PROMISE"), "{}", outcome.text);
}

#[test]
fn a_lost_message_of_qos_0_is_counted_and_allowed() {
    let outcome = run(Fault::Drop(77), "--qos 0");
    assert!(outcome.passed, "{}", outcome.text);
    assert_eq!(outcome.truth("lost"), 1);
    assert!(!run(Fault::Drop(77), "--qos 0 --assert-loss 0").passed);
}

#[test]
fn a_doubled_message_is_counted() {
    let outcome = run(Fault::Duplicate(77), "--qos 1");
    assert_eq!(
        (outcome.truth("duplicates"), outcome.truth("lost")),
        (1, 0),
        "{}",
        outcome.text
    );
}

#[test]
fn an_overtaken_message_is_a_broken_promise() {
    let outcome = run(Fault::Delay(77), "--qos 1");
    assert!(!outcome.passed);
    assert_eq!(
        (outcome.truth("reordered"), outcome.truth("lost")),
        (1, 0),
        "{}",
        outcome.text
    );
}

#[test]
fn a_refused_connect_is_a_sentence() {
    let outcome = run(Fault::Refuse, "");
    assert!(!outcome.passed);
    assert!(outcome.text.contains("refused CONNECT"), "{}", outcome.text);
}

#[test]
fn a_broker_that_dies_leaves_partial_results() {
    let outcome = run(Fault::Die(100), "--qos 1");
    assert!(!outcome.passed);
    assert!(outcome.truth("received") >= 50, "{}", outcome.text);
    assert!(
        outcome.text.contains("closed a connection"),
        "{}",
        outcome.text
    );
}

#[test]
fn nobody_there_is_a_sentence() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let outcome = mqload(address, "pairs --clients 1");
    assert!(!outcome.passed);
    assert!(
        outcome.text.contains(&address.to_string()),
        "{}",
        outcome.text
    );
}

#[test]
fn the_sink_gives_back_what_it_gets() {
    let (address, _sink) = sink(&["--fan-back"]);
    for qos in 0..3 {
        let outcome = mqload(
            address,
            &format!("fan-in --clients 3 --qos {qos} --messages 500 --rate 5000 --mqtt 5"),
        );
        assert!(outcome.passed, "{}", outcome.text);
        assert_eq!(
            (outcome.truth("expected"), outcome.truth("received")),
            (1_500, 1_500),
            "QoS {qos}: {}",
            outcome.text
        );
    }
}

#[test]
fn the_sink_takes_large_payloads() {
    let (address, _sink) = sink(&[]);
    let outcome = mqload(
        address,
        "large --clients 1 --qos 1 --size 400k --messages 5 --rate 50 --drain 200ms",
    );
    assert_eq!(
        outcome.number("/totals/acknowledged"),
        5.0,
        "{}",
        outcome.text
    );
}
