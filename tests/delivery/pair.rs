//! A publisher and a subscriber with a topic of their own.

use std::collections::{BTreeMap, BTreeSet};

use super::client::Client;
use super::frames;

/// Messages a publisher has under way at most.
const WINDOW: usize = 16;

pub(super) struct Pair {
    number: usize,
    qos: u8,
    messages: u16,
    topic: String,
    publisher: Client,
    subscriber: Client,
    is_subscribed: bool,
    next: u16,
    /// Published and not finished, in order: false waits for PUBACK or PUBREC, true for PUBCOMP.
    /// Message n has the packet identifier n + 1.
    under_way: BTreeMap<u16, bool>,
    /// QoS 2 identifiers between PUBREC and PUBREL: session state, it outlives connections.
    unreleased: BTreeSet<u16>,
    /// First arrivals, in order.
    arrived: Vec<u16>,
    seen: BTreeSet<u16>,
}

impl Pair {
    pub(super) fn new(port: u16, number: usize, qos: u8, messages: u16, cuts: u32) -> Self {
        let client = |role: &str, salt: usize| {
            let seed = (number * 2 + salt + 1) as u64;
            let is_v5 = (number + salt) % 2 == 1;
            Client::new(port, format!("{role}-{number}"), is_v5, cuts, seed)
        };
        Self {
            number,
            qos,
            messages,
            topic: format!("pair/{number}"),
            publisher: client("publisher", 0),
            subscriber: client("subscriber", 1),
            is_subscribed: false,
            next: 0,
            under_way: BTreeMap::new(),
            unreleased: BTreeSet::new(),
            arrived: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    pub(super) fn clients(&mut self) -> [&mut Client; 2] {
        [&mut self.publisher, &mut self.subscriber]
    }

    pub(super) fn is_complete(&self) -> bool {
        self.seen.len() == usize::from(self.messages)
            && self.next == self.messages
            && self.under_way.is_empty()
            && self.unreleased.is_empty()
    }

    pub(super) fn state(&self) -> String {
        format!(
            "pair {}: {} published, {:?} under way, {} arrived, {:?} unreleased, up {} and {}",
            self.number,
            self.next,
            self.under_way,
            self.seen.len(),
            self.unreleased,
            self.publisher.is_up,
            self.subscriber.is_up,
        )
    }

    pub(super) fn check(&self) {
        let expected: Vec<u16> = (0..self.messages).collect();
        assert_eq!(self.arrived, expected, "pair {}: order", self.number);
    }

    pub(super) fn step(&mut self) {
        self.subscriber.move_bytes();
        while let Some((first, body)) = self.subscriber.receive() {
            self.subscriber_received(first, &body);
            if self.is_subscribed && self.subscriber.may_cut() {
                break;
            }
        }
        self.subscriber.write();
        self.publisher.move_bytes();
        while let Some((first, body)) = self.publisher.receive() {
            self.publisher_received(first, &body);
            if self.publisher.may_cut() {
                break;
            }
        }
        self.publish();
        self.publisher.write();
    }

    fn subscriber_received(&mut self, first: u8, body: &[u8]) {
        let client = &mut self.subscriber;
        match first & 0xf0 {
            0x20 if !self.is_subscribed => {
                client.send(&frames::subscribe(client.is_v5, &self.topic, self.qos));
            }
            0x20 => {}
            0x90 => {
                assert_eq!(body.last(), Some(&self.qos), "granted QoS");
                self.is_subscribed = true;
            }
            0x30 => {
                let (id, n) = frames::published(client.is_v5, body);
                let is_exactly_once = self.qos == 2;
                assert_eq!(first >> 1 & 3, self.qos, "QoS");
                let answer = if is_exactly_once { 0x50 } else { 0x40 };
                client.send(&frames::acknowledgement(answer, id));
                if is_exactly_once && !self.unreleased.insert(id) {
                    assert!(first & 0x08 != 0, "{n} came again without DUP");
                    return;
                }
                if self.seen.insert(n) {
                    self.arrived.push(n);
                } else {
                    assert!(!is_exactly_once, "pair {}: {n} came twice", self.number);
                }
            }
            0x60 => {
                let id = frames::acknowledged(body);
                self.unreleased.remove(&id);
                client.send(&frames::acknowledgement(0x70, id));
            }
            _ => panic!("subscriber {}: {first:02x} {body:02x?}", self.number),
        }
    }

    fn publisher_received(&mut self, first: u8, body: &[u8]) {
        match first & 0xf0 {
            0x20 => self.publish_again(),
            0x40 | 0x70 => {
                let n = frames::acknowledged(body) - 1;
                assert!(
                    self.under_way.remove(&n).is_some(),
                    "{n} acknowledged twice"
                );
            }
            0x50 => {
                let id = frames::acknowledged(body);
                self.under_way.insert(id - 1, true);
                self.publisher.send(&frames::acknowledgement(0x62, id));
            }
            _ => panic!("publisher {}: {first:02x} {body:02x?}", self.number),
        }
    }

    /// After a reconnect: what is not finished, in its order [MQTT-4.4.0-1].
    fn publish_again(&mut self) {
        let client = &mut self.publisher;
        for (&n, &is_received) in &self.under_way {
            client.send(&if is_received {
                frames::acknowledgement(0x62, n + 1)
            } else {
                frames::publish(client.is_v5, &self.topic, self.qos, n + 1, true, n)
            });
        }
    }

    fn publish(&mut self) {
        if !self.is_subscribed || !self.publisher.is_up {
            return;
        }
        while self.next < self.messages && self.under_way.len() < WINDOW {
            let (n, client) = (self.next, &mut self.publisher);
            let frame = frames::publish(client.is_v5, &self.topic, self.qos, n + 1, false, n);
            client.send(&frame);
            self.under_way.insert(n, false);
            self.next += 1;
        }
    }
}
