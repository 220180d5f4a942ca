//! Packets that make sense, from a few choices: what random bytes would hardly ever come to.

use ringmq::mqtt::Version;

use super::wild::Wild;
use super::{packet, Broker};
use crate::choices::Choices;

/// Packets of one step.
const PACKETS_MAX: usize = 8;

/// One step of a client.
pub(super) fn speak(broker: &mut Broker, wild: &mut Wild, client: usize, bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    for _ in 0..PACKETS_MAX {
        if choices.is_empty() {
            break;
        }
        let what = choices.byte() % 12;
        if what == 0 || wild.version.is_none() {
            wild.hear(broker, client);
            broker.open(client, choices.below(3));
            *wild = Wild::default();
            let connect = connect(&mut choices);
            wild.send(broker, client, &connect);
            wild.hear(broker, client);
            continue;
        }
        let version = wild.version.unwrap_or(Version::V311);
        match what {
            1..=3 => wild.send(broker, client, &subscribe(&mut choices, version)),
            4..=7 => {
                let publish = publish(&mut choices, version);
                for _ in 0..=choices.below(6) {
                    wild.send(broker, client, &publish);
                }
                let released = packet(0x62, &[&[0, 1]]);
                wild.send(broker, client, &released);
            }
            8..=9 => wild.acknowledge(broker, client),
            10 => wild.send(broker, client, &unsubscribe(&mut choices, version)),
            _ if choices.flag() => wild.send(broker, client, &[0xC0, 0]),
            _ => wild.send(broker, client, &[0xE0, 0]),
        }
        wild.hear(broker, client);
    }
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = vec![0, text.len() as u8];
    bytes.extend(text.bytes());
    bytes
}

/// Nothing in 3.1 and 3.1.1; with the length before them in 5.0.
fn properties(version: Version, properties: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if version.is_v5() {
        bytes.push(properties.len() as u8);
        bytes.extend(properties);
    }
    bytes
}

/// CONNECT with one of three client ids, so that clients take over from each other.
fn connect(choices: &mut Choices<'_>) -> Vec<u8> {
    let version = choices.version();
    let start: &[u8] = match version {
        Version::V31 => b"\0\x06MQIsdp\x03",
        Version::V311 => b"\0\x04MQTT\x04",
        Version::V5 => b"\0\x04MQTT\x05",
    };
    let how = choices.byte();
    let has_will = how & 4 != 0;
    let flags = if how & 1 != 0 { 2 } else { 0 } | if has_will { 0b0000_1100 } else { 0 };
    let mut own = Vec::new();
    if how & 2 != 0 {
        own.extend([0x11, 0, 0, 0, 50]); // Session Expiry Interval
    }
    if how & 8 != 0 {
        own.extend([0x21, 0, 1 + choices.byte() % 3]); // Receive Maximum
    }
    if how & 16 != 0 {
        own.extend([0x22, 0, choices.byte() % 4]); // Topic Alias Maximum
    }
    if how & 96 == 96 {
        own.extend([0x27, 0, 0, 0, 20 + choices.byte() % 40]); // Maximum Packet Size
    }
    let own = properties(version, &own);
    let id = string(choices.one_of(&["A", "B", "C"]));
    let mut will = Vec::new();
    if has_will {
        will.extend(properties(version, &[]));
        will.extend(string("t"));
        will.extend(string("will"));
    }
    packet(0x10, &[start, &[flags, 0, 0], &own, &id, &will])
}

const FILTERS: [&str; 8] = ["t", "t", "a/+", "#", "$share/g/t", "$share/g/#", "t/#", "+"];

fn subscribe(choices: &mut Choices<'_>, version: Version) -> Vec<u8> {
    let mut filters = Vec::new();
    for _ in 0..=choices.below(2) {
        filters.extend(string(choices.one_of(&FILTERS)));
        let options = choices.byte();
        filters.push(match version {
            Version::V5 => (options % 3) | (options & 0b1000),
            Version::V31 | Version::V311 => options % 3,
        });
    }
    let identifier = if choices.flag() { &[0x0B, 7][..] } else { &[] };
    packet(0x82, &[&[0, 1], &properties(version, identifier), &filters])
}

fn unsubscribe(choices: &mut Choices<'_>, version: Version) -> Vec<u8> {
    let filter = string(choices.one_of(&FILTERS));
    packet(0xA2, &[&[0, 2], &properties(version, &[]), &filter])
}

fn publish(choices: &mut Choices<'_>, version: Version) -> Vec<u8> {
    let qos = choices.byte() % 3;
    let is_retained = u8::from(choices.byte() > 200);
    let topic = string(choices.one_of(&["t", "t", "a/b", "t/x"]));
    let id: &[u8] = if qos > 0 { &[0, 1] } else { &[] };
    let own: &[u8] = match choices.byte() {
        0..=180 => &[],
        181..=220 => &[0x02, 0, 0, 0, 2],
        221..=240 => &[0x23, 0, 1],
        _ => &[0x26, 0, 1, b'k', 0, 1, b'v'],
    };
    let payload = [b'p'; 64];
    let payload = &payload[..choices.below(64)];
    let first = 0x30 | qos << 1 | is_retained;
    let own = properties(version, own);
    packet(first, &[&topic, id, &own, payload])
}
