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

/// As SIGSTOP leaves it: nothing is answered, connections stay open, and buffers take what is sent.
#[test]
fn a_broker_that_is_stopped_cannot_pass() {
    let broker = Broker::mosquitto("log_type all");
    let load = format!(
        "pairs --clients 5 --rate 500 --duration 2s --drain 500ms --qos 1 --timeout 1s --assert-p99-ms 50 \
         --json - --target {}",
        broker.target
    );
    let run = std::thread::spawn(move || mqload(&words(&load)));
    while !broker.log().contains("Received PUBLISH from") {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    broker.stop();
    let (text, success) = run.join().unwrap();
    let (json, text) = crate::json_first(&text);
    assert!(
        !success && text.contains("assertion FAILED: p99_ms <= 50"),
        "{text}"
    );
    let truth = &json["truth"];
    assert_eq!(truth["lost"][1], 0, "what it has is not known: {text}");
    assert!(truth["cut_off"][1].as_u64().unwrap() > 100, "{text}");
    for name in ["end_to_end", "publish_ack"] {
        let latency = &json["latencies"][name];
        assert!(
            latency["censored"].as_u64().unwrap() > 100,
            "{name}: {text}"
        );
        // What was sent first has waited for as long as the load lasted.
        assert!(
            latency["p99_us"].as_f64().unwrap() > 500_000.0,
            "{name}: {text}"
        );
    }
    assert!(
        !text.contains("NOT THE BROKER'S"),
        "it is the broker's: {text}"
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

/// A null broker, to calibrate with: what it makes up is verified, and is no answer to its receivers.
#[test]
fn what_a_sink_sends_is_received_and_verified() {
    let mut sink = Sink::start(&["--fan-back", "--payload-size", "100"]);
    let load = format!(
        "listen --clients 2 --duration 300ms --target {}",
        sink.target
    );
    let (text, success) = mqload(&words(&load));
    assert!(success && text.contains("  end_to_end "), "{text}");
    assert!(!text.contains("round_trip"), "there was no request: {text}");
    assert!(
        crate::figure(&text, "  received", "received") > 100,
        "{text}"
    );
    sink.end();
    let mut sink = Sink::start(&[]);
    for (load, says) in [
        (
            "publish --clients 2 --max --messages 5000",
            "published        10000",
        ),
        (
            "publish --clients 2 --max --messages 500 --qos 2",
            "acknowledged 1000",
        ),
        (
            "connect-ramp --clients 300 --hold 100ms",
            "connected 300, failed 0",
        ),
    ] {
        let load = format!("{load} --target {}", sink.target);
        let (text, success) = mqload(&words(&load));
        assert!(success && text.contains(says), "{load}: {text}");
    }
    sink.end();
}

/// `mqload sink`; ends with its test.
struct Sink {
    child: std::process::Child,
    target: String,
}

impl Sink {
    fn start(options: &[&str]) -> Self {
        use std::io::BufRead;
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_mqload"))
            .args(["sink", "--listen", "127.0.0.1:0"])
            .args(options)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        std::thread::spawn(move || lines.lines().count()); // what else it says must go somewhere
        let target = line.trim().rsplit(' ').next().unwrap().to_string();
        Self { child, target }
    }

    fn end(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.end();
    }
}
