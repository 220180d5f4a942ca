//! Every scenario in small against real brokers: mosquitto when it is installed, ringmq when
//! `RINGMQ` names its program.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::mqload;

/// Ends the broker with the test.
struct Broker {
    child: Child,
    target: String,
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn await_port(child: Child, port: u16) -> Broker {
    let target = format!("127.0.0.1:{port}");
    while TcpStream::connect(&target).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Broker { child, target }
}

fn mosquitto() -> Option<Broker> {
    let program = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"]
        .into_iter()
        .find(|path| Path::new(path).exists())?;
    let port = free_port();
    let file = std::env::temp_dir().join(format!("mqload-test-{port}.conf"));
    let text =
        format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 100000\n");
    std::fs::write(&file, text).unwrap();
    let child = Command::new(program)
        .arg("-c")
        .arg(&file)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Some(await_port(child, port))
}

fn ringmq() -> Option<Broker> {
    let program = std::env::var_os("RINGMQ")?;
    let port = free_port();
    let child = Command::new(program)
        .args(["--port", &port.to_string(), "--shards", "1"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Some(await_port(child, port))
}

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
        "round-trip --clients 2 --rate 100 --duration 500ms --qos 1",
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
        "will-storm --clients 10 --drain 500ms",
        "received            10 ",
    ),
    ("churn --clients 5 --rounds 3", "(30 values)"),
    (
        "takeover-storm --clients 5",
        "connected 10, failed 0, lost connections 0",
    ),
    (
        "connect-ramp --clients 50 --hold 100ms --reconnects 1",
        "connected 100, failed 0, lost connections 0",
    ),
];

fn run_all(broker: &Broker) {
    for (scenario, expected) in SCENARIOS {
        let mut arguments: Vec<&str> = scenario.split_whitespace().collect();
        arguments.extend(["--target", &broker.target]);
        let (text, success) = mqload(&arguments);
        assert!(success, "{scenario}: {text}");
        assert!(text.contains(expected), "{scenario}: {text}");
    }
}

#[test]
fn every_scenario_against_mosquitto() {
    match mosquitto() {
        Some(broker) => run_all(&broker),
        None => eprintln!("mosquitto is not installed: not tested"),
    }
}

#[test]
fn every_scenario_against_ringmq() {
    match ringmq() {
        Some(broker) => run_all(&broker),
        None => eprintln!("RINGMQ does not name a broker's program: not tested"),
    }
}
