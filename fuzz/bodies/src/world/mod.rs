//! Clients that send anything into a broker of three shards: its bounds hold, what it sends is
//! proper MQTT within the client's limits, it comes to rest, and two clients that keep the rules are
//! still served.

mod speak;
mod wild;

use ringmq::limits::{Limits, QueuePolicy};
use ringmq::time::Span;

use crate::broker::Broker;
use crate::steps::steps;
use speak::speak;
use wild::Wild;

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
        let it = &mut wild[client];
        match kind >> 2 & 7 {
            0..=1 => it.send_raw(&mut broker, client, bytes, usize::MAX),
            2 => it.send_raw(&mut broker, client, bytes, usize::from(kind >> 5) + 1),
            3 => {
                it.hear(&mut broker, client);
                broker.open(client, usize::from(kind >> 5));
                *it = Wild::default();
                it.send_raw(&mut broker, client, bytes, usize::MAX);
            }
            4 => {
                let ms = bytes.first().map_or(10, |&byte| 1 << (byte % 18));
                broker.wait(Span::from_millis(ms));
            }
            5 if broker.client(client).is_stalled => {
                broker.resume_reading(client);
                broker.settle();
            }
            5 => {
                broker.client(client).is_stalled = true;
                it.send_raw(&mut broker, client, bytes, usize::MAX);
            }
            _ => speak(&mut broker, it, client, bytes),
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
        sparkplug: true,
        sparkplug_states_max: 4,
        ..Limits::default()
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
    let heard = broker.take(SUBSCRIBER);
    assert_eq!(heard, [0x20, 2, 0, 0, 0x90, 3, 0, 1, 1]);
    let heard = broker.take(PUBLISHER);
    assert_eq!(heard, [0x20, 2, 0, 0]);
}

/// PINGREQ is answered, and a publication reaches its subscriber.
fn still_served(broker: &mut Broker) {
    broker.send(SUBSCRIBER, &[0xC0, 0]);
    broker.settle();
    assert!(broker.is_open(SUBSCRIBER), "it was closed");
    assert!(broker.is_open(PUBLISHER), "it was closed");
    let heard = broker.take(SUBSCRIBER);
    assert!(heard.ends_with(&[0xD0, 0]), "PINGREQ is not answered");
    broker.send(PUBLISHER, &packet(0x32, &[TOPIC, &[0, 9], b"still here"]));
    broker.settle();
    let heard = broker.take(PUBLISHER);
    assert_eq!(heard, [0x40, 2, 0, 9], "a publication is not acknowledged");
    let heard = broker.take(SUBSCRIBER);
    assert!(heard.ends_with(b"still here"), "a publication is lost");
}

/// A packet of less than 128 bytes.
fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut packet = vec![first, body.len() as u8];
    packet.extend(body);
    packet
}
