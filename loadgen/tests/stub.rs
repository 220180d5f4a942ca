//! A small broker of one thread per connection that stalls, drops, doubles and reorders on request.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringmq::mqtt::encode::{self, AckKind, PublishOut};
use ringmq::mqtt::frame::next_frame;
use ringmq::mqtt::{
    decode, topic, Ack, ConnAck, Packet, ReasonCode, Sender, SubAck, UserProperties, Version,
};

use crate::{figure, mqload};

/// What the stub does to its Nth message.
#[derive(Clone, Copy)]
enum Fault {
    None,
    /// Waits before this one.
    Stall(u64, Duration),
    /// Of every hundred messages: drops the 10th, sends the 20th twice, the 30th after the 31st.
    Spoil,
    Refuse(ReasonCode),
    /// Closes all connections at this one.
    Die(u64),
}

#[derive(Default)]
struct Shared {
    subscribers: Vec<(String, TcpStream)>,
    count: u64,
    held: Option<Vec<u8>>,
    all: HashMap<usize, TcpStream>,
}

fn start(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let shared = Arc::new(Mutex::new(Shared::default()));
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let shared = Arc::clone(&shared);
            shared
                .lock()
                .unwrap()
                .all
                .insert(number, stream.try_clone().unwrap());
            std::thread::spawn(move || serve(stream, &shared, fault));
        }
    });
    address
}

fn serve(mut stream: TcpStream, shared: &Mutex<Shared>, fault: Fault) {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 65_536]);
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        bytes.extend_from_slice(&buffer[..count]);
        let mut used = 0;
        while let Some(frame) = next_frame(&bytes[used..], 1 << 20).unwrap() {
            used += frame.length;
            let packet = decode::packet(Version::V311, Sender::Client, &frame).unwrap();
            let out = answer(&packet, &stream, shared, fault);
            let _ = stream.write_all(&out);
        }
        bytes.drain(..used);
    }
}

/// Bytes that answer a packet.
fn answer(
    packet: &Packet<'_>,
    stream: &TcpStream,
    shared: &Mutex<Shared>,
    fault: Fault,
) -> Vec<u8> {
    let mut out = Vec::new();
    match packet {
        Packet::Connect(_) => {
            let reason = if let Fault::Refuse(reason) = fault {
                reason
            } else {
                ReasonCode::Success
            };
            encode::connack(
                &mut out,
                Version::V311,
                &ConnAck {
                    reason,
                    ..ConnAck::default()
                },
            );
        }
        Packet::Subscribe(subscribe) => {
            for (filter, _) in subscribe.filters.iter() {
                let copy = stream.try_clone().unwrap();
                shared
                    .lock()
                    .unwrap()
                    .subscribers
                    .push((filter.to_string(), copy));
            }
            let suback = SubAck {
                packet_id: subscribe.packet_id,
                reason_string: None,
                user_properties: UserProperties::default(),
                codes: &[0],
            };
            encode::suback(&mut out, Version::V311, &suback);
        }
        Packet::Publish(publish) => {
            let message = PublishOut {
                topic: publish.topic,
                payload: publish.payload,
                payload_len: publish.payload.len(),
                ..PublishOut::default()
            };
            if let Some(packet_id) = publish.packet_id {
                let ack = Ack {
                    packet_id,
                    reason: ReasonCode::Success,
                    reason_string: None,
                    user_properties: UserProperties::default(),
                };
                encode::ack(&mut out, Version::V311, AckKind::PubAck, &ack);
            }
            let mut encoded = Vec::new();
            encode::publish(&mut encoded, Version::V311, &message);
            pass_on(&mut shared.lock().unwrap(), publish.topic, &encoded, fault);
        }
        _ => {}
    }
    out
}

fn pass_on(shared: &mut Shared, name: &str, encoded: &[u8], fault: Fault) {
    let count = shared.count;
    shared.count += 1;
    let mut sends = vec![encoded.to_vec()];
    match fault {
        Fault::Stall(at, time) if at == count => std::thread::sleep(time),
        Fault::Spoil if count % 100 == 10 => sends.clear(),
        Fault::Spoil if count % 100 == 20 => sends.push(encoded.to_vec()),
        Fault::Spoil if count % 100 == 30 => shared.held = sends.pop(),
        Fault::Spoil if count % 100 == 31 => sends.extend(shared.held.take()),
        Fault::Die(at) if at == count => {
            for stream in shared.all.values() {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        }
        _ => {}
    }
    for (_, stream) in shared
        .subscribers
        .iter_mut()
        .filter(|(filter, _)| topic::matches(filter, name))
    {
        for bytes in &sends {
            let _ = stream.write_all(bytes);
        }
    }
}

fn fan_in(fault: Fault) -> (String, bool) {
    fan_in_with(fault, &[])
}

fn fan_in_with(fault: Fault, more: &[&str]) -> (String, bool) {
    let target = start(fault).to_string();
    let load = [
        "--clients",
        "1",
        "--rate",
        "1000",
        "--duration",
        "2s",
        "--drain",
        "1s",
    ];
    mqload(&[&["fan-in", "--target", &target][..], &load[..], more].concat())
}

#[test]
fn a_good_stub_loses_nothing() {
    let (text, success) = fan_in(Fault::None);
    assert!(success, "{text}");
    assert!(
        text.contains("expected 2000, received 2000, lost 0, duplicates 0, reordered 0"),
        "{text}"
    );
}

/// A stall of 500 ms in a run of 2 s delays a quarter of the messages: 250 ms at the middle of
/// them, which a schedule that waited for the broker would hide.
#[test]
fn a_stall_shows_in_the_percentiles() {
    let (text, _) = fan_in(Fault::Stall(500, Duration::from_millis(500)));
    assert!(text.contains("lost 0,"), "{text}");
    let line = text
        .lines()
        .find(|line| line.contains("end_to_end"))
        .unwrap();
    let milliseconds = |name: &str| {
        let rest = line.split_once(name).unwrap().1.trim_start();
        let mut words = rest.split_whitespace();
        let value: f64 = words.next().unwrap().parse().unwrap();
        match words.next().unwrap() {
            "us" => value / 1e3,
            "s" => value * 1e3,
            _ => value,
        }
    };
    // 25 % of the messages wait; evenly spread from 0 to 500 ms. The 90th percentile is at 60 % of them.
    assert!(milliseconds("p90") >= 250.0, "{line}");
    assert!(milliseconds("p99") >= 450.0, "{line}");
    assert!(milliseconds("max") >= 495.0, "{line}");
}

#[test]
fn losses_duplicates_and_reordering_are_counted_exactly() {
    let (text, success) = fan_in(Fault::Spoil);
    assert!(
        text.contains("expected 2000, received 1980, lost 20, duplicates 20, reordered 20"),
        "{text}"
    );
    assert!(!success, "order was promised: {text}");
    assert!(
        text.contains("BROKEN PROMISE: QoS 0: 20 messages came after a later one"),
        "{text}"
    );
}

/// What is acknowledged and does not arrive is more than a loss.
#[test]
fn acknowledged_messages_that_are_lost_are_broken_promises() {
    let (text, success) = fan_in_with(Fault::Spoil, &["--qos", "1"]);
    assert!(!success, "{text}");
    assert!(
        text.contains("BROKEN PROMISE: QoS 1: 20 acknowledged messages were lost"),
        "{text}"
    );
}

#[test]
fn a_refusal_is_a_sentence() {
    let (text, success) = fan_in(Fault::Refuse(ReasonCode::NotAuthorized));
    assert!(!success);
    assert!(text.contains("the broker refused CONNECT"), "{text}");
    assert!(text.contains("none of 1 clients could connect"), "{text}");
}

#[test]
fn a_dying_broker_leaves_partial_results() {
    let (text, success) = fan_in(Fault::Die(500));
    assert!(!success);
    assert!(text.contains("all connections were lost"), "{text}");
    assert!(figure(&text, "QoS 0:", "received") >= 400, "{text}");
}
