//! Cases in which a load generator was fooled, or its users were, that no other file of these tests has.

use crate::broker::Broker;
use crate::{mqload, mqload_alone};

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// Order is by topic: of one message on each nothing can be out of order.
#[test]
fn retained_messages_of_many_topics_have_no_order() {
    let broker = Broker::ringmq(&[]);
    let load = format!(
        "retained-storm --clients 3 --retained 300 --qos 1 --assert-reordered 0 --target {}",
        broker.target
    );
    let (text, success) = mqload(&words(&load));
    assert!(
        success && text.contains("expected 900, received 900, lost 0"),
        "{text}"
    );
}

/// A broker that has died is not reported as delivering, nor its clients to be back.
#[test]
fn a_broker_that_dies_for_good_is_called_away() {
    let mut broker = Broker::mosquitto("log_type all");
    let load = format!(
        "pairs --clients 5 --rate 100 --duration 2s --drain 500ms --qos 1 --timeout 2s --reconnect --target {}",
        broker.target
    );
    let run = std::thread::spawn(move || mqload(&words(&load)));
    while !broker.log().contains("Received PUBLISH from") {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    broker.kill();
    let (text, success) = run.join().unwrap();
    assert!(!success && !text.contains("still delivering"), "{text}");
    let away = "error (10): a client's connection was lost and could not be opened again";
    assert!(
        text.contains(away) && text.contains("lost connections 10"),
        "{text}"
    );
    assert!(
        !text.contains("BROKEN PROMISE"),
        "what it had is not known: {text}"
    );
}

/// Both words for clients are understood wherever they mean something.
#[test]
fn publishers_and_subscribers_are_words_for_clients() {
    for (scenario, options) in [
        ("pairs", "--publishers 1"),
        ("pairs", "--subscribers 1"),
        ("large-payloads", "--publishers 1"),
        ("publish", "--publishers 1"),
        ("listen", "--subscribers 1"),
        ("round-trip", "--publishers 1"),
        ("fan-in", "--publishers 1 --subscribers 1"),
        ("fan-out", "--publishers 1 --subscribers 1"),
        ("shared-group", "--publishers 1 --subscribers 1"),
        ("retained-storm", "--subscribers 1"),
        ("slow-consumer", "--subscribers 1"),
        ("wildcard-mix", "--publishers 1"),
        ("backlog-drain", "--qos 1 --subscribers 1"),
    ] {
        let line = format!("{scenario} {options} --target 127.0.0.1:1 --quiet");
        let (text, _) = mqload_alone(&words(&line));
        assert!(text.contains("refused the connection"), "{line}: {text}");
    }
}
