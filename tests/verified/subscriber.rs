//! The receiving end of a flow. It knows the protocol; who sent what in which order is the flow's.

use std::collections::BTreeSet;

use super::client::Client;
use super::frames;

/// A message that arrived.
pub(crate) struct Arrival {
    pub(crate) publisher: u32,
    pub(crate) n: u64,
}

pub(crate) struct Subscriber {
    pub(crate) client: Client,
    filter: String,
    qos: u8,
    pub(crate) is_subscribed: bool,
    /// SUBSCRIBE again once in so many packets received, 0 never.
    pub(crate) resubscribe_one_in: u64,
    /// QoS 2 identifiers between PUBREC and PUBREL: session state, it outlives connections.
    unreleased: BTreeSet<u16>,
}

impl Subscriber {
    pub(crate) fn new(client: Client, filter: String, qos: u8) -> Self {
        Self {
            client,
            filter,
            qos,
            is_subscribed: false,
            resubscribe_one_in: 0,
            unreleased: BTreeSet::new(),
        }
    }

    /// Nothing is half received and the client is connected.
    pub(crate) fn is_finished(&self) -> bool {
        self.unreleased.is_empty() && self.client.is_up
    }

    /// Handles what has come; every message goes to `arrived`, also one at QoS 1 that came before.
    pub(crate) fn step(&mut self, arrived: &mut Vec<Arrival>) {
        self.client.move_bytes();
        while let Some((first, body)) = self.client.receive() {
            self.received(first, &body, arrived);
            if self.client.random.one_in(self.resubscribe_one_in) {
                self.subscribe(); // changes nothing, and may lose nothing [MQTT-3.8.4-3]
            }
            if self.is_subscribed && self.client.may_disturb() {
                break;
            }
        }
        self.client.write();
    }

    fn subscribe(&mut self) {
        let frame = frames::subscribe(self.client.is_v5, &self.filter, self.qos);
        self.client.send(&frame);
    }

    fn received(&mut self, first: u8, body: &[u8], arrived: &mut Vec<Arrival>) {
        match first & 0xf0 {
            0x20 if !self.is_subscribed => self.subscribe(),
            0x20 => {}
            0x90 => {
                assert_eq!(body.last(), Some(&self.qos), "{}: granted QoS", self.filter);
                self.is_subscribed = true;
            }
            0x30 => self.published(first, body, arrived),
            0x60 => {
                let id = frames::acknowledged(body);
                self.unreleased.remove(&id);
                self.client.send(&frames::acknowledgement(0x70, id));
            }
            _ => panic!("subscriber of {}: {first:02x} {body:02x?}", self.filter),
        }
    }

    fn published(&mut self, first: u8, body: &[u8], arrived: &mut Vec<Arrival>) {
        let message = frames::published(self.client.is_v5, first, body);
        assert_eq!(first >> 1 & 3, self.qos, "{}: QoS", self.filter);
        let answer = if self.qos == 2 { 0x50 } else { 0x40 };
        self.client
            .send(&frames::acknowledgement(answer, message.id));
        let text = std::str::from_utf8(message.payload).expect("text");
        let mut words = text.split(' ');
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        let (publisher, n) = number().zip(number()).expect("two numbers");
        if self.qos == 2 && !self.unreleased.insert(message.id) {
            assert!(first & 0x08 != 0, "{n} came again without DUP");
            return;
        }
        arrived.push(Arrival {
            publisher: publisher as u32,
            n,
        });
    }

    pub(crate) fn state(&self) -> String {
        format!(
            "{}: {} unreleased, up {}",
            self.filter,
            self.unreleased.len(),
            self.client.is_up
        )
    }
}
