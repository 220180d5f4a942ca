//! Clients that send anything into a broker of three shards: its bounds hold, what it sends is
//! proper MQTT within the client's limits, it comes to rest, and two clients that keep the rules are
//! still served.

use ringmq::limits::{Limits, QueuePolicy};
use ringmq::mqtt::frame::{next_frame, PACKET_SIZE_MAX};
use ringmq::mqtt::{decode, Packet, ReasonCode, Sender, Version};
use ringmq::time::Span;

use crate::broker::Broker;
use crate::features::note;
use crate::steps::steps;

/// Clients that send what the input says.
const WILD: usize = 3;
/// Then come two that keep the rules.
const SUBSCRIBER: usize = WILD;
const PUBLISHER: usize = WILD + 1;
/// Steps of one input.
const STEPS_MAX: usize = 12;

/// A client's name and topic that nobody makes up.
const NAME: &[u8] = b"\0\x0Bwell-7f3a-s";
const PUBLISHER_NAME: &[u8] = b"\0\x0Bwell-7f3a-p";
const TOPIC: &[u8] = b"\0\x0Bwell/7f3a/t";

/// See the module. Of a step's first byte two bits are the client, three what it does, the others
/// how; those of the first step also choose limits.
pub fn body(input: &[u8]) {
    let mut broker = Broker::new(3, limits(input.first().map_or(0, |kind| kind >> 5)));
    let mut wild = [Wild::default(), Wild::default(), Wild::default()];
    for client in 0..WILD {
        broker.open(client, client);
    }
    well_behaved(&mut broker);
    for (kind, bytes) in steps(input).take(STEPS_MAX) {
        let client = usize::from(kind & 3) % WILD;
        match kind >> 2 & 7 {
            0..=3 => send(&mut broker, &mut wild[client], client, bytes, usize::MAX),
            4 => {
                let piece_len = usize::from(kind >> 5) + 1;
                send(&mut broker, &mut wild[client], client, bytes, piece_len);
            }
            5 => {
                wild[client].hear(&mut broker, client);
                broker.open(client, usize::from(kind >> 5));
                wild[client] = Wild::default();
                send(&mut broker, &mut wild[client], client, bytes, usize::MAX);
            }
            6 => {
                let ms = bytes.first().map_or(10, |&byte| 1 << (byte % 18));
                broker.wait(Span::from_millis(ms));
            }
            _ if broker.clients[client].is_stalled => {
                broker.resume_reading(client);
                broker.settle();
            }
            _ => {
                send(&mut broker, &mut wild[client], client, bytes, usize::MAX);
                broker.clients[client].is_stalled = true;
            }
        }
        for (client, wild) in wild.iter_mut().enumerate() {
            wild.hear(&mut broker, client);
        }
    }
    still_served(&mut broker);
}

/// Small, so that inputs reach them.
fn limits(how: u8) -> Limits {
    Limits {
        packet_size_max: 600,
        outgoing_window_max: 3,
        receive_maximum: 3,
        queue_messages_max: 4,
        queue_bytes_max: 2_000,
        queue_policy: match how % 4 {
            0 => QueuePolicy::Disconnect,
            1 => QueuePolicy::DropNewest,
            _ => QueuePolicy::DropOldest,
        },
        queue_qos0: how > 3,
        topic_levels_max: 6,
        topic_alias_maximum: 3,
        topic_alias_outgoing_max: 3,
        subscriptions_max: 6,
        client_id_bytes_max: 40,
        session_expiry_max_s: 100,
        connections_max: 64,
        sessions_max: 64,
        retained_messages_max: 6,
        retained_bytes_max: 3_000,
        outgoing_bytes_max: 1_000,
        ..Limits::default()
    }
}

fn send(broker: &mut Broker, wild: &mut Wild, client: usize, bytes: &[u8], piece_len: usize) {
    if broker.clients[client].is_open() && !wild.is_blocked {
        broker.clients[client].piece_len = piece_len;
        broker.send(client, bytes);
        wild.sent.extend_from_slice(bytes);
    }
    broker.settle();
    // A client that does not read what it is sent is not read from.
    wild.is_blocked = broker.unsent(client) > 0;
}

/// What a client of the input knows of its connection.
#[derive(Default)]
struct Wild {
    sent: Vec<u8>,
    version: Option<Version>,
    /// Maximum Packet Size of its CONNECT.
    packet_size_max: usize,
    is_blocked: bool,
    is_over: bool,
    /// Packets heard; the first is CONNACK.
    heard: usize,
}

impl Wild {
    /// Takes apart what came.
    fn hear(&mut self, broker: &mut Broker, client: usize) {
        if self.version.is_none() {
            self.learn_version();
        }
        let received = std::mem::take(&mut broker.clients[client].received);
        let mut rest = received.as_slice();
        let Some(version) = self.version else {
            return; // a refusal in a version of the broker's choice, or nothing
        };
        while !rest.is_empty() {
            let frame = next_frame(rest, PACKET_SIZE_MAX)
                .expect("the broker sends proper packets")
                .expect("the broker sends whole packets");
            assert!(!self.is_over, "something after the last packet");
            assert!(
                frame.length <= self.packet_size_max,
                "over Maximum Packet Size"
            );
            let packet = decode::packet(version, Sender::Server, &frame);
            let packet = packet.expect("the broker sends what the version has");
            self.check(&packet);
            note((version, frame.first, self.heard == 0));
            self.heard += 1;
            rest = &rest[frame.length..];
        }
    }

    fn check(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::ConnAck(ack) => {
                assert_eq!(self.heard, 0, "a second CONNACK");
                self.is_over = ack.reason != ReasonCode::Success;
                note(("connack", ack.reason as u8, ack.session_present));
            }
            Packet::Disconnect(disconnect) => {
                self.is_over = true;
                note(("disconnect", disconnect.reason as u8));
            }
            Packet::SubAck(ack) | Packet::UnsubAck(ack) => note(("codes", ack.codes)),
            Packet::PubAck(ack) | Packet::PubRec(ack) => note(("ack", ack.reason as u8)),
            Packet::Publish(publish) => note((
                publish.dup,
                publish.topic.is_empty(),
                publish.properties.raw.is_empty(),
                publish.properties.subscription_identifier.is_some(),
            )),
            _ => {}
        }
        let is_first = self.heard == 0;
        let may_be_first = matches!(packet, Packet::ConnAck(_));
        assert_eq!(is_first, may_be_first, "CONNACK comes first [MQTT-3.2.0-1]");
    }

    /// From its CONNECT, if that is one.
    fn learn_version(&mut self) {
        let Ok(Some(frame)) = next_frame(&self.sent, PACKET_SIZE_MAX) else {
            return;
        };
        if frame.first != 0x10 {
            return;
        }
        if let Ok(connect) = decode::connect(&frame) {
            self.version = Some(connect.version);
            self.packet_size_max = connect
                .properties
                .maximum_packet_size
                .map_or(usize::MAX, |size| size as usize);
        }
    }
}

/// Opens the two clients and subscribes one.
fn well_behaved(broker: &mut Broker) {
    broker.open(SUBSCRIBER, 0);
    broker.open(PUBLISHER, 1);
    for (client, name) in [(SUBSCRIBER, NAME), (PUBLISHER, PUBLISHER_NAME)] {
        broker.send(client, &packet(0x10, &[b"\0\x04MQTT\x04\x02\0\0", name]));
    }
    broker.send(SUBSCRIBER, &packet(0x82, &[&[0, 1], TOPIC, &[1]]));
    broker.settle();
    let heard = std::mem::take(&mut broker.clients[SUBSCRIBER].received);
    assert_eq!(heard, [0x20, 2, 0, 0, 0x90, 3, 0, 1, 1]);
    let heard = std::mem::take(&mut broker.clients[PUBLISHER].received);
    assert_eq!(heard, [0x20, 2, 0, 0]);
}

/// PINGREQ is answered, and a publication reaches its subscriber.
fn still_served(broker: &mut Broker) {
    broker.send(SUBSCRIBER, &[0xC0, 0]);
    broker.settle();
    assert!(broker.clients[SUBSCRIBER].is_open(), "it was closed");
    assert!(broker.clients[PUBLISHER].is_open(), "it was closed");
    let heard = std::mem::take(&mut broker.clients[SUBSCRIBER].received);
    assert!(heard.ends_with(&[0xD0, 0]), "PINGREQ is not answered");
    broker.send(PUBLISHER, &packet(0x32, &[TOPIC, &[0, 9], b"still here"]));
    broker.settle();
    let heard = std::mem::take(&mut broker.clients[PUBLISHER].received);
    assert_eq!(heard, [0x40, 2, 0, 9], "a publication is not acknowledged");
    let heard = std::mem::take(&mut broker.clients[SUBSCRIBER].received);
    assert!(heard.ends_with(b"still here"), "a publication is lost");
}

/// A packet of less than 128 bytes.
fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut packet = vec![first, body.len() as u8];
    packet.extend(body);
    packet
}
