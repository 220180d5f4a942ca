//! Each scenario in small against every broker of this machine.

use crate::process::{brokers, mqload, Outcome};

/// Runs the words of `arguments` against each broker; all must pass, then `check` looks closer.
fn each(arguments: &str, check: impl Fn(&Outcome)) {
    for broker in brokers() {
        let outcome = mqload(broker.address, arguments);
        assert!(outcome.passed, "{}: {}", broker.name, outcome.text);
        check(&outcome);
    }
}

/// All messages came, and there were some.
fn whole(outcome: &Outcome) {
    assert!(outcome.truth("expected") > 0, "{}", outcome.text);
    assert_eq!(
        outcome.truth("expected"),
        outcome.truth("received"),
        "{}",
        outcome.text
    );
}

#[test]
fn fan_in() {
    each("fan-in --clients 5 --rate 1000 --messages 100", whole);
}

#[test]
fn fan_out() {
    each(
        "fan-out --clients 10 --rate 200 --messages 100 --mqtt 5",
        whole,
    );
}

#[test]
fn pairs_of_each_qos() {
    for qos in 0..3 {
        each(
            &format!("pairs --clients 5 --rate 1000 --messages 50 --qos {qos} --mqtt 5"),
            whole,
        );
    }
}

#[test]
fn closed_loop() {
    each(
        "pairs --clients 2 --max --qos 1 --window 8 --messages 200",
        whole,
    );
}

#[test]
fn shared() {
    each(
        "shared --clients 4 --members 3 --rate 500 --messages 50 --qos 1 --drain 500ms",
        whole,
    );
}

#[test]
fn request_response() {
    each(
        "request-response --clients 4 --rate 400 --messages 50 --qos 1 --drain 500ms",
        |outcome| {
            whole(outcome);
            assert_eq!(
                outcome.number("/latencies/round_trip/count"),
                200.0,
                "{}",
                outcome.text
            );
        },
    );
}

#[test]
fn idle() {
    each("idle --clients 100 --hold 200ms", |outcome| {
        assert_eq!(outcome.number("/totals/connected"), 100.0)
    });
}

#[test]
fn reconnect_storm() {
    each(
        "reconnect-storm --clients 20 --rounds 3 --persistent",
        |outcome| {
            assert_eq!(outcome.number("/totals/connected"), 60.0);
        },
    );
}

#[test]
fn retained() {
    each(
        "retained --clients 3 --retained 200 --rate 2000 --qos 1 --drain 500ms",
        |outcome| {
            assert_eq!(
                outcome.number("/totals/received"),
                600.0,
                "{}",
                outcome.text
            );
        },
    );
}

#[test]
fn backlog() {
    each(
        "backlog --clients 3 --qos 1 --rate 500 --messages 50 --mqtt 5",
        whole,
    );
}

#[test]
fn slow_consumer() {
    // Only the reader that keeps up is counted.
    each(
        "slow-consumer --clients 2 --rate 200 --messages 100 --drain 500ms",
        |outcome| {
            whole(outcome);
            assert_eq!(outcome.truth("expected"), 100, "{}", outcome.text);
        },
    );
}

#[test]
fn will_storm() {
    each("will-storm --clients 20 --drain 1s", |outcome| {
        assert_eq!(outcome.truth("received"), 20, "{}", outcome.text)
    });
}

#[test]
fn takeover_storm() {
    each("takeover-storm --clients 20", |outcome| {
        assert_eq!(
            outcome.number("/totals/connected"),
            40.0,
            "{}",
            outcome.text
        );
    });
}

#[test]
fn churn() {
    each(
        "churn --clients 10 --rounds 3 --rate 300 --messages 50",
        whole,
    );
}

#[test]
fn wildcard_mix() {
    each(
        "wildcard-mix --clients 3 --rate 300 --messages 30",
        |outcome| {
            whole(outcome);
            // Each message goes to one exact subscriber, three of each wide shape, and one narrow.
            assert_eq!(outcome.truth("expected"), 90 * 8, "{}", outcome.text);
        },
    );
}

#[test]
fn large() {
    each(
        "large --clients 2 --rate 20 --messages 5 --qos 1 --size 200k",
        whole,
    );
}
