//! rumqttc, a client nobody here wrote, against the process at 1, 2 and 4 shards.

mod v311;
mod v5;

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::time::Duration;

const SHARDS: [usize; 3] = [1, 2, 4];
const DEADLINE: Duration = Duration::from_secs(20);
const MESSAGES: usize = 300;

/// A message as a subscriber was given it.
#[derive(Debug, PartialEq)]
struct Message {
    topic: String,
    payload: Vec<u8>,
    qos: u8,
    is_retained: bool,
}

/// What a client's event loop tells.
enum Seen {
    Connected { session_present: bool },
    Subscribed,
    Finished,
    Message(Message),
}

/// The next message, passing over all else.
fn next_message(seen: &Receiver<Seen>) -> Message {
    loop {
        if let Seen::Message(message) = seen.recv_timeout(DEADLINE).expect("a message") {
            return message;
        }
    }
}

fn wait_connected(seen: &Receiver<Seen>) -> bool {
    match seen.recv_timeout(DEADLINE).expect("CONNACK") {
        Seen::Connected { session_present } => session_present,
        _ => panic!("something came before CONNACK"),
    }
}

/// Waits for a SUBACK.
fn wait_subscribed(seen: &Receiver<Seen>) {
    while !matches!(
        seen.recv_timeout(DEADLINE).expect("SUBACK"),
        Seen::Subscribed
    ) {}
}

/// Waits until `count` publications are acknowledged in full.
fn wait_finished(seen: &Receiver<Seen>, count: usize) {
    let mut finished = 0;
    while finished < count {
        if let Seen::Finished = seen.recv_timeout(DEADLINE).expect("PUBACK or PUBCOMP") {
            finished += 1;
        }
    }
}

/// Messages `0..MESSAGES` of every QoS came, each QoS in order.
fn check_all_arrived(seen: &Receiver<Seen>) {
    let mut numbers: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
    for _ in 0..3 * MESSAGES {
        let message = next_message(seen);
        let payload = String::from_utf8(message.payload).expect("a number");
        assert_eq!(message.topic, format!("numbers/{}", message.qos));
        let list = numbers.entry(message.qos).or_default();
        list.push(payload.parse().expect("a number"));
    }
    let expected: Vec<usize> = (0..MESSAGES).collect();
    for qos in 0..3 {
        assert_eq!(numbers.get(&qos), Some(&expected), "QoS {qos}");
    }
}
