//! mqload where io_uring is denied, as in most containers: epoll does as well.

use std::process::Command;

use crate::broker::Broker;
use crate::lies::liar;
use crate::mqload;

/// Of each shape one.
const SCENARIOS: &[(&str, &str)] = &[
    (
        "fan-in --clients 3 --rate 1000 --duration 500ms --threads 2",
        "expected 500, received 500, lost 0",
    ),
    (
        "fan-out --clients 5 --rate 200 --duration 500ms --qos 2",
        "expected 500, received 500, lost 0, duplicates 0",
    ),
    (
        "pairs --clients 3 --max --messages 1000 --qos 1",
        "expected 3000, received 3000, lost 0",
    ),
    (
        "pairs --clients 2 --max --messages 50000",
        "expected 100000, received 100000, lost 0",
    ),
    (
        "large-payloads --clients 2 --duration 500ms --qos 1",
        "expected 10, received 10, lost 0",
    ),
    (
        "round-trip --clients 2 --rate 100 --duration 500ms --qos 1",
        "expected 100, received 100, lost 0",
    ),
    (
        "slow-consumer --clients 2 --rate 100 --duration 500ms --slow-bytes-per-s 100000",
        "expected 150, received 150, lost 0",
    ),
    (
        "retained-storm --clients 2 --retained 50",
        "expected 100, received 100, lost 0",
    ),
    (
        "will-storm --clients 50 --leaving 20",
        "QoS 1: expected 50, received 50, lost 0, duplicates 0",
    ),
    (
        "takeover-storm --clients 5",
        "connected 10, failed 0, lost connections 0",
    ),
    (
        "reconnect-storm --clients 50 --rounds 2",
        "connected 150, failed 0, lost connections 0",
    ),
    (
        "connect-ramp --clients 50 --hold 300ms --connect-rate 1000",
        "50 connections idle: ",
    ),
];

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[test]
fn every_shape_with_epoll() {
    let broker = Broker::mosquitto("");
    for (scenario, expected) in SCENARIOS {
        let line = format!("{scenario} --backend epoll --target {}", broker.target);
        let (text, success) = mqload(&words(&line));
        assert!(success && text.contains(expected), "{scenario}: {text}");
    }
}

/// Runs mqload in a process whose seccomp filter denies io_uring, as that of containers does.
fn denied(line: &str) -> (String, bool) {
    const FILTER: &str = "
import ctypes, os, struct, sys
rules = [(0x20, 0, 0, 0), (0x35, 0, 2, 425), (0x25, 1, 0, 427), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *rule) for rule in rules))
class Program(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('rules', ctypes.c_void_p)]
program = Program(len(rules), ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
";
    let output = Command::new("python3")
        .args(["-c", FILTER, env!("CARGO_BIN_EXE_mqload")])
        .args(words(line))
        .args(["--quiet", "--unpinned"])
        .output()
        .expect("python3 is missing: apt-get install python3");
    let text = [output.stdout, output.stderr].concat();
    (
        String::from_utf8_lossy(&text).into_owned(),
        output.status.success(),
    )
}

#[test]
fn epoll_is_taken_where_io_uring_is_denied() {
    let liar = liar("");
    let load = format!(
        "pairs --clients 2 --rate 200 --duration 500ms --qos 1 --target {}",
        liar.address
    );
    let (text, success) = denied(&load);
    assert!(success && text.contains("received 100, lost 0"), "{text}");
    let told = "note: sockets are watched by epoll, since io_uring is not available";
    assert!(text.contains(told) && text.contains("seccomp"), "{text}");
    let (text, success) = denied(&format!("{load} --backend io_uring"));
    assert!(
        !success && text.contains("--backend epoll does without"),
        "{text}"
    );
    let (text, success) = denied(&format!("{load} --backend epoll"));
    assert!(success && !text.contains("not available"), "{text}");
}
