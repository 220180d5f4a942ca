//! Clients that come and go by themselves, stages that are repeated, and targets that fail.

use crate::broker::Broker;
use crate::{figure, mqload};

fn run_file(broker: &Broker, text: &str) -> (String, bool) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("day.toml");
    std::fs::write(&path, text).unwrap();
    mqload(&["run", path.to_str().unwrap(), "--target", &broker.target])
}

const FLOW: &str = "\
[groups.meters]
clients = 3
publish = { topic = \"m/{i}\", qos = 1 }
[groups.backend]
clients = 1
subscribe = { filter = \"m/+\", qos = 1 }
[assert]
loss = 0
";

/// The rate is held, each client takes its turn, and flows beside it lose nothing.
#[test]
fn churn_is_steady_beside_flows() {
    for threads in [1, 2] {
        let broker = Broker::mosquitto("log_type all");
        let text = format!(
            "{FLOW}[groups.phones]\nclients = 5\nclient_id = \"phone-{{i}}\"\n\
             subscribe = {{ filter = \"phones/{{i}}\" }}\n\
             [[stages]]\ntime = \"2s\"\nload.meters = {{ rate = 100 }}\nchurn = {{ phones = 10 }}\n"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("day.toml");
        std::fs::write(&path, text).unwrap();
        let threads = threads.to_string();
        let words = [
            "run",
            path.to_str().unwrap(),
            "--target",
            &broker.target,
            "--threads",
            &threads,
        ];
        let (text, success) = mqload(&words);
        assert!(
            success && text.contains("lost 0, duplicates 0, reordered 0"),
            "{text}"
        );
        let log = broker.log();
        for phone in 0..5 {
            let count = |what: &str| log.matches(&format!("{what} phone-{phone}")).count();
            assert_eq!(
                count(" as"),
                5,
                "once before, and four times of 20 turns: {log}"
            );
            assert_eq!(count("Received SUBSCRIBE from"), 5, "{log}");
            assert_eq!(count("Received DISCONNECT from"), 5, "{log}");
        }
    }
}

/// A broker that takes too long for the churn is an error with a count.
#[test]
fn churn_that_is_not_held_is_an_error() {
    let liar = crate::lies::liar("withhold-connack=2");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("day.toml");
    let text = "[connection]\ntimeout = \"500ms\"\n[groups.phones]\nclients = 1\n[[stages]]\ntime = \"2s\"\nchurn = { phones = 50 }\n";
    std::fs::write(&path, text).unwrap();
    let target = liar.address.to_string();
    let (text, success) = mqload(&["run", path.to_str().unwrap(), "--target", &target]);
    assert!(
        !success && text.contains("the broker does not keep up with the churn"),
        "{text}"
    );
}

/// Each group's clients take the versions in turn, and both ends of a flow differ.
#[test]
fn versions_are_spoken_side_by_side() {
    let broker = Broker::mosquitto("log_type all");
    let load = "fan-out --clients 6 --publishers 3 --rate 300 --duration 500ms --qos 1 \
                --protocol 3.1,3.1.1,5 --user-property a=b --broker-name x --json -";
    let mut words: Vec<&str> = load.split_whitespace().collect();
    words.extend(["--target", &broker.target]);
    let (text, success) = mqload(&words);
    assert!(success, "{text}");
    assert!(text.contains("\"protocol\": \"3.1,3.1.1,5\""), "{text}");
    for version in ["(p1, ", "(p2, ", "(p5, "] {
        assert_eq!(
            broker.log().matches(version).count(),
            3,
            "{version}: {}",
            broker.log()
        );
    }
    let text = FLOW.replacen(
        "clients = 3",
        "clients = 3\nprotocol = [\"3.1.1\", \"5\"]",
        1,
    );
    let text = format!("{text}[[stages]]\ntime = \"500ms\"\nload.meters = {{ rate = 100 }}\n");
    let (text, success) = run_file(&broker, &text);
    assert!(success && text.contains("lost 0, duplicates 0"), "{text}");
    assert_eq!(broker.log().matches("(p5, ").count(), 4, "{}", broker.log());
}

#[test]
fn clients_live_their_lives() {
    let broker = Broker::mosquitto("log_type all");
    let text = format!(
        "repeat = 2\n{}[[stages]]\nname = \"day\"\ntime = \"1500ms\"\n\
         load.meters.life = {{ messages = 3, pause = \"5ms-20ms\", sleep = \"20ms-100ms\" }}\n\
         assert = {{ rate_min = 1 }}\n",
        FLOW.replace("clients = 3", "clients = 4")
    );
    let (text, success) = run_file(&broker, &text);
    assert!(
        success && text.contains("lost 0, duplicates 0, reordered 0"),
        "{text}"
    );
    for told in ["day (2)", "day (2): rate_min >= 1"] {
        assert!(text.contains(told), "{told}: {text}");
    }
    let log = broker.log();
    let lives = log.matches("Received DISCONNECT from mqload-").count() as u64;
    let messages = figure(&text, "published", "published");
    assert!(lives >= 20, "{lives} lives: {log}");
    // Each has three, but for those that the end of a stage cuts short, or the next begins anew.
    assert!(
        messages <= 3 * (lives + 4) && messages + 3 * 8 >= 3 * (lives - 5),
        "{messages} in {lives}: {text}"
    );
}

/// Who is refused at one target goes to the next, and no other.
#[test]
fn the_next_target_is_tried_when_one_fails() {
    let broker = Broker::mosquitto("");
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let closed = closed.to_string();
    let load =
        "pairs --clients 4 --rate 200 --duration 500ms --qos 1 --target CLOSED --target OPEN";
    let load = load
        .replace("CLOSED", &closed)
        .replace("OPEN", &broker.target);
    let words: Vec<&str> = load.split_whitespace().collect();
    let (text, success) = mqload(&words);
    assert!(!success && text.contains("failed 4"), "{text}");
    let more = ["--failover", "--json", "-", "--broker-name", "x"];
    let (text, success) = mqload(&[&words[..], &more].concat());
    let (json, text) = crate::json_first(&text);
    assert_eq!(json["totals"]["failed_over"], 4, "{text}");
    assert!(
        success && text.contains("expected 100, received 100, lost 0"),
        "{text}"
    );
    assert!(text.contains("connected 8, failed 0"), "{text}");
    assert!(
        text.contains("4 times a client went on to the next target"),
        "{text}"
    );
    let both = [
        "pairs",
        "--clients",
        "1",
        "--failover",
        "--target",
        &closed,
        "--target",
        &closed,
    ];
    let (text, success) = mqload(&both);
    assert!(
        !success && text.contains("refused the connection"),
        "{text}"
    );
    // An answer that refuses is an answer.
    let refusing = crate::lies::liar("refuse-connect");
    let refusing = refusing.address.to_string();
    let both = [
        "pairs",
        "--clients",
        "1",
        "--failover",
        "--target",
        &refusing,
        "--target",
        &broker.target,
    ];
    let (text, success) = mqload(&both);
    assert!(
        !success && text.contains("the broker refused CONNECT"),
        "{text}"
    );
}

/// Clients of a broker that ends come back at the other.
#[test]
fn clients_of_a_broker_that_ends_go_to_the_other() {
    let (mut first, second) = (Broker::mosquitto(""), Broker::mosquitto("log_type all"));
    let targets = [first.target.clone(), second.target.clone()];
    let run = std::thread::spawn(move || {
        let load = "pairs --clients 2 --rate 100 --duration 3s --qos 1 --reconnect --failover";
        let mut words: Vec<&str> = load.split_whitespace().collect();
        targets
            .iter()
            .for_each(|target| words.extend(["--target", target]));
        mqload(&words)
    });
    while !second.log().contains("Received PUBLISH from") {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    first.kill();
    let (text, _) = run.join().unwrap();
    assert!(text.contains("connected 6"), "{text}");
    assert!(
        text.contains("2 times a client went on to the next target"),
        "{text}"
    );
    assert!(!text.contains("BROKEN PROMISE"), "{text}");
}
