//! Failures of brokers: reported in sentences, with the figures up to then and the exit status.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{kill_process, kill_process_group, Pid, Signal};

use crate::broker::Broker;
use crate::reconnect::proxy;
use crate::{figure, mqload};

/// Runs mqload with `--json`; what it printed, whether it succeeded, and the JSON.
fn with_json(options: &str) -> (String, bool, serde_json::Value) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("result.json");
    let options = format!("{options} --json {}", file.to_str().unwrap());
    let (text, success) = mqload(&options.split_whitespace().collect::<Vec<_>>());
    let json = std::fs::read_to_string(file).expect("results are written all the same");
    (text, success, serde_json::from_str(&json).unwrap())
}

#[test]
fn nobody_listens() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = free.local_addr().unwrap().to_string();
    drop(free);
    let options = format!("pairs --clients 2 --target {target} --duration 1s");
    let (text, success, json) = with_json(&options);
    assert!(!success);
    assert!(
        text.contains("refused the connection: is the broker running there?"),
        "{text}"
    );
    assert_eq!(json["interrupted"], "none of 2 clients could connect");
    assert_eq!(json["totals"]["connect_failed"], 2);
}

#[test]
fn one_of_two_brokers_is_away() {
    let here = Broker::mosquitto("");
    let mut away = Broker::mosquitto("");
    let options = format!(
        "pairs --clients 4 --rate 200 --duration 500ms --target {} --target {}",
        here.target, away.target
    );
    let (text, success, json) = with_json(&options);
    assert!(success, "{text}");
    assert_eq!(figure(&text, "QoS 0:", "received"), 100, "{text}");
    assert_eq!(json["targets"].as_array().unwrap().len(), 2);
    away.kill();
    let (text, success, json) = with_json(&options);
    assert!(!success);
    assert!(text.contains(&format!("{} refused", away.target)), "{text}");
    assert_eq!(
        json["totals"]["connected"], 4,
        "half of the clients: {text}"
    );
    assert_eq!(json["totals"]["received"], 50, "{text}");
}

#[test]
fn the_broker_wants_a_password() {
    let broker = Broker::mosquitto("allow_anonymous false");
    for (version, sentence) in [
        ("3.1", "the broker refused CONNECT: not authorized"),
        ("3.1.1", "the broker refused CONNECT: not authorized"),
        ("5", "the broker refused CONNECT: not authorized"),
    ] {
        let options = format!(
            "pairs --clients 2 --user a --password b --protocol {version} --target {}",
            broker.target
        );
        let (text, success, json) = with_json(&options);
        assert!(!success);
        assert!(
            text.to_lowercase().contains(&sentence.to_lowercase()),
            "{text}"
        );
        assert_eq!(json["totals"]["connect_failed"], 2);
    }
}

#[test]
fn the_broker_dies_in_mid_run() {
    for limit in ["", " --broker-pid PID"] {
        let broker = Arc::new(Mutex::new(Broker::mosquitto("")));
        let dying = Arc::downgrade(&broker); // the proxy lives on, the broker's files must not
        let target = proxy(&broker.lock().unwrap(), 60_000, 1, move || {
            if let Some(broker) = dying.upgrade() {
                broker.lock().unwrap().kill();
            }
        });
        let limit = limit.replace("PID", &broker.lock().unwrap().id().to_string());
        let options = format!(
            "pairs --clients 4 --rate 2000 --duration 20s --qos 1 --target {target}{limit}"
        );
        let (text, success, json) = with_json(&options);
        assert!(!success);
        let why = json["interrupted"].as_str().unwrap();
        assert!(
            why.contains("all connections were lost") || why.contains("has ended"),
            "{why}"
        );
        assert!(json["totals"]["received"].as_u64().unwrap() > 100, "{text}");
        assert!(
            json["totals"]["disconnected"].as_u64().unwrap() >= 1,
            "{text}"
        );
        assert!(text.contains("PARTIAL"), "{text}");
    }
}

/// 150 messages at the first rate are some 15 KB, at the second 30 KB: the broker dies at the third.
#[test]
fn the_broker_dies_while_the_highest_rate_is_looked_for() {
    let broker = Arc::new(Mutex::new(Broker::mosquitto("")));
    let dying = Arc::downgrade(&broker); // the proxy lives on, the broker's files must not
    let target = proxy(&broker.lock().unwrap(), 60_000, 1, move || {
        if let Some(broker) = dying.upgrade() {
            broker.lock().unwrap().kill();
        }
    });
    let options = format!(
        "pairs --clients 2 --rate 500 --duration 300ms --find-max --p99 5s --target {target}"
    );
    let (text, success, json) = with_json(&options);
    assert!(!success, "{text}");
    assert!(
        text.contains("the highest rate tried that met the objective:"),
        "{text}"
    );
    let why = json["interrupted"].as_str().unwrap();
    assert!(why.contains("while looking for the highest rate"), "{why}");
}

/// As timeout(1) does it: the signal comes to mqload, and again to the group that mqload is in.
#[test]
fn an_interruption_keeps_what_was_measured() {
    let broker = Broker::mosquitto("");
    for _ in 0..5 {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("result.json");
        let mut run = Command::new(env!("CARGO_BIN_EXE_mqload"))
            .args(["pairs", "--duration", "60s", "--unpinned", "--target"])
            .args([&broker.target, "--json"])
            .arg(&file)
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(run.stderr.take().unwrap());
        lines.read_line(&mut String::new()).unwrap(); // its first second
        std::thread::spawn(move || lines.lines().count()); // what else there is must go somewhere
        let id = Pid::from_child(&run);
        kill_process(id, Signal::INT).unwrap();
        kill_process_group(id, Signal::INT).unwrap();
        assert_eq!(run.wait().unwrap().code(), Some(1));
        let json = std::fs::read_to_string(&file).expect("results are written all the same");
        let result: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(result["interrupted"], "interrupted");
    }
}

#[test]
fn too_few_descriptors() {
    let script = format!(
        "ulimit -n 200; exec {} pairs --clients 1000 --quiet",
        env!("CARGO_BIN_EXE_mqload")
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        text.contains("2000 clients need 2064 open files and the limit is 200"),
        "{text}"
    );
    assert!(text.contains("ulimit -n 2064"), "{text}");
}

/// In a network of its own, where there are ten ports.
#[test]
fn too_few_ports() {
    let mqload = env!("CARGO_BIN_EXE_mqload");
    let script = format!(
        "ip link set lo up && echo 40000 40009 > /proc/sys/net/ipv4/ip_local_port_range || exit 9
         {mqload} sink --listen 127.0.0.1:1885 & sink=$!
         for try in 1 2 3 4 5; do
             {mqload} connect-ramp --target 127.0.0.1:1885 --clients 20 --hold 0s --quiet --unpinned $0 >out 2>&1
             status=$?
             grep -q 'is the broker running' out || break
             sleep 0.2
         done
         kill $sink
         cat out
         exit $status"
    );
    let run = |more: &str| {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("unshare");
        command.args(["-rn", "sh", "-c", &script, more]);
        let output = command.current_dir(directory.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (text, output.status.code())
    };
    let (text, status) = run("--threads=1");
    if status == Some(9) {
        return; // this system gives tests no networks
    }
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("no free local port towards 127.0.0.1:1885"),
        "{text}"
    );
    assert!(
        text.contains("give more source addresses with --source"),
        "{text}"
    );
    assert!(text.contains("connected 10, failed 10"), "{text}");
    let (text, status) = run("--source=127.0.0.0/30");
    assert_eq!(status, Some(0), "two addresses have twenty ports: {text}");
}

#[test]
fn a_source_that_is_not_ours() {
    let broker = Broker::mosquitto("");
    let (text, success) = mqload(&[
        "connect-ramp",
        "--clients",
        "1",
        "--source",
        "192.0.2.1",
        "--target",
        &broker.target,
    ]);
    assert!(!success);
    assert!(
        text.contains("192.0.2.1: this is no address of this machine"),
        "{text}"
    );
}

#[test]
fn options_that_contradict_each_other() {
    for (arguments, sentence) in [
        (
            &["fan-in", "--window", "5"][..],
            "--window needs --qos 1 or 2",
        ),
        (
            &["fan-in", "--target", "http://h"],
            "none of mqtt, mqtts, ws",
        ),
        (&["pairs", "--client-id", "c{i}"], "put {g} in it"),
        (&["connect-ramp", "--client-id", "c"], "put {i} in it"),
        (&["fan-in", "--session-expiry-s", "5"], "needs --protocol 5"),
        (&["fan-in", "--user-property", "a=b"], "need --protocol 5"),
        (
            &["fan-in", "--sweep", "1:2:1", "--max"],
            "--sweep needs an open loop",
        ),
        (
            &["fan-in", "--source", "1.2.3.4/33"],
            "a range like 127.0.0.0/8",
        ),
        (&["backlog-drain"], "needs --qos 1 or 2"),
        (
            &["fan-in", "--threads", "0"],
            "--threads must be at least 1",
        ),
        (
            &["fan-in", "--threads", "100000"],
            "workers at most make sense",
        ),
        (&["pairs", "--clients", "0"], "give a number from 1 to"),
        (&["fan-in", "--subscribers", "0"], "give a number from 1 to"),
        (&["pairs", "--topics", "0"], "give a number from 1 to"),
        (&["pairs", "--messages", "0"], "0 is not in 1.."),
        (&["pairs", "--duration", "0s"], "give more than 0"),
        (&["pairs", "--timeout", "0"], "give more than 0"),
        (&["pairs", "--duration", "5q"], "unknown unit \"q\""),
        (&["pairs", "--topic", "a/#"], "no wildcards"),
        (&["pairs", "--broker-pid", "4000000000"], "no such process"),
        (&["pairs", "--password", "x"], "give --user"),
        (
            &["pairs", "--json", "/dev/null", "--csv", "/dev/null"],
            "given for two results",
        ),
        (
            &["pairs", "--json", "-", "--html", "-"],
            "only one result can go to",
        ),
    ] {
        let (text, success) = mqload(arguments);
        assert!(!success);
        assert!(text.contains(sentence), "{text}");
    }
}
