//! The sending end of a flow: numbered messages, each finished once.

use std::collections::BTreeMap;

use super::client::Client;
use super::frames::{self, Publish};

/// Messages a publisher has under way at most.
const WINDOW: usize = 16;

pub(super) struct Publisher {
    pub(super) client: Client,
    number: u32,
    topic: String,
    qos: u8,
    /// Bytes of the largest payloads; most are small.
    payload_bytes_max: u64,
    pub(super) next: u64,
    /// Published and not finished, in order.
    under_way: BTreeMap<u64, UnderWay>,
}

struct UnderWay {
    /// PUBREC was received: PUBREL is owed, not PUBLISH.
    is_received: bool,
    padding: usize,
}

impl Publisher {
    pub(super) fn new(client: Client, number: u32, topic: String, qos: u8, bytes_max: u64) -> Self {
        Self {
            client,
            number,
            topic,
            qos,
            payload_bytes_max: bytes_max,
            next: 0,
            under_way: BTreeMap::new(),
        }
    }

    /// Nothing is under way and the client is connected.
    pub(super) fn is_finished(&self) -> bool {
        self.under_way.is_empty() && self.client.is_up
    }

    /// Handles what has come.
    pub(super) fn step(&mut self) {
        self.client.move_bytes();
        while let Some((first, body)) = self.client.receive() {
            self.received(first, &body);
            if self.client.may_disturb() {
                break;
            }
        }
        self.client.write();
    }

    /// Publishes up to so many messages more.
    pub(super) fn publish(&mut self, count_max: u64) {
        if !self.client.is_up {
            return;
        }
        let end = self.next + count_max;
        while self.next < end && self.under_way.len() < WINDOW {
            let random = &mut self.client.random;
            let bytes_max = match random.below(20) {
                0 => self.payload_bytes_max,
                1..4 => self.payload_bytes_max / 16,
                _ => self.payload_bytes_max / 256,
            };
            let under_way = UnderWay {
                is_received: false,
                padding: random.below(bytes_max + 1) as usize,
            };
            let frame = self.frame(self.next, &under_way, false);
            self.client.send(&frame);
            self.under_way.insert(self.next, under_way);
            self.next += 1;
        }
        self.client.write();
    }

    fn received(&mut self, first: u8, body: &[u8]) {
        match first & 0xf0 {
            0x20 => self.publish_again(),
            0x40 | 0x70 => {
                let finished = self.by_id(frames::acknowledged(body));
                let finished = finished.and_then(|n| self.under_way.remove(&n));
                assert!(finished.is_some(), "{}: acknowledged twice", self.topic);
            }
            0x50 => {
                let id = frames::acknowledged(body);
                let n = self.by_id(id).expect("PUBREC for a message under way");
                let under_way = self.under_way.get_mut(&n).expect("found");
                under_way.is_received = true;
                self.client.send(&frames::acknowledgement(0x62, id));
            }
            _ => panic!("publisher of {}: {first:02x} {body:02x?}", self.topic),
        }
    }

    /// After a reconnect: what is not finished, in its order [MQTT-4.4.0-1].
    fn publish_again(&mut self) {
        for (&n, under_way) in &self.under_way {
            let frame = if under_way.is_received {
                frames::acknowledgement(0x62, id_of(n))
            } else {
                self.frame(n, under_way, true)
            };
            self.client.send(&frame);
        }
    }

    fn frame(&self, n: u64, under_way: &UnderWay, is_dup: bool) -> Vec<u8> {
        let padding = under_way.padding;
        frames::publish(&Publish {
            is_v5: self.client.is_v5,
            topic: &self.topic,
            qos: self.qos,
            id: id_of(n),
            is_dup,
            is_retained: false,
            payload: format!("{} {n} {:x<padding$}", self.number, "").as_bytes(),
        })
    }

    fn by_id(&self, id: u16) -> Option<u64> {
        self.under_way.keys().copied().find(|&n| id_of(n) == id)
    }

    pub(super) fn state(&self) -> String {
        let received = self.under_way.values().filter(|sent| sent.is_received);
        format!(
            "{}: {} published, {} under way from {:?}, {} of them received, up {}",
            self.topic,
            self.next,
            self.under_way.len(),
            self.under_way.keys().next(),
            received.count(),
            self.client.is_up
        )
    }
}

/// Far more identifiers than a window: those under way are different.
fn id_of(n: u64) -> u16 {
    (n % 65_535) as u16 + 1
}
