//! A client that may send anything, and what it holds the broker to.

use std::collections::{BTreeMap, BTreeSet};

use ringmq::mqtt::frame::{next_frame, PACKET_SIZE_MAX};
use ringmq::mqtt::{decode, Packet, Publish, Qos, ReasonCode, Sender, Version};

use crate::broker::Broker;
use crate::features::note;

/// What a client of the input knows of its connection.
#[derive(Default)]
pub(super) struct Wild {
    sent: Vec<u8>,
    pub(super) version: Option<Version>,
    /// Of its CONNECT.
    packet_size_max: usize,
    receive_maximum: usize,
    topic_alias_maximum: u16,
    /// It has sent bytes of which it does not know what they acknowledge.
    is_raw: bool,
    is_blocked: bool,
    is_over: bool,
    /// Packets heard; the first is CONNACK.
    heard: usize,
    /// Aliases the broker has set.
    aliases: BTreeMap<u16, String>,
    /// QoS 1 and 2 publications not yet acknowledged or complete.
    open: BTreeSet<u16>,
    /// Acknowledgements to send.
    to_send: Vec<[u8; 4]>,
}

impl Wild {
    /// Bytes of any kind, given to the shard in pieces.
    pub(super) fn send_raw(
        &mut self,
        broker: &mut Broker,
        client: usize,
        bytes: &[u8],
        piece_len: usize,
    ) {
        self.is_raw |= !self.sent.is_empty();
        if broker.is_open(client) {
            broker.client(client).piece_len = piece_len;
        }
        self.send(broker, client, bytes);
    }

    /// Sends, unless the broker still refuses to read what was sent before.
    pub(super) fn send(&mut self, broker: &mut Broker, client: usize, bytes: &[u8]) {
        if broker.is_open(client) && !self.is_blocked {
            broker.send(client, bytes);
            self.sent.extend_from_slice(bytes);
        }
        broker.settle();
        self.is_blocked = broker.unsent(client) > 0;
    }

    /// Sends the acknowledgements of everything heard.
    pub(super) fn acknowledge(&mut self, broker: &mut Broker, client: usize) {
        for ack in std::mem::take(&mut self.to_send) {
            if self.is_blocked {
                break;
            }
            const PUBREC: u8 = 0x50;
            if ack[0] != PUBREC {
                self.open.remove(&u16::from_be_bytes([ack[2], ack[3]]));
            }
            self.send(broker, client, &ack);
        }
    }

    /// Takes apart what came.
    pub(super) fn hear(&mut self, broker: &mut Broker, client: usize) {
        if self.version.is_none() {
            self.learn();
        }
        let received = broker.take(client);
        let mut rest = received.as_slice();
        let Some(version) = self.version else {
            return; // a refusal in a version of the broker's choice, or nothing
        };
        while !rest.is_empty() {
            let frame = next_frame(rest, PACKET_SIZE_MAX)
                .expect("the broker sends proper packets")
                .expect("the broker sends whole packets");
            assert!(!self.is_over, "something after the last packet");
            let is_small = frame.length <= self.packet_size_max;
            assert!(is_small, "over Maximum Packet Size [MQTT-3.1.2-24]");
            let packet = decode::packet(version, Sender::Server, &frame);
            let packet = packet.expect("the broker sends what the version has");
            let is_first = matches!(packet, Packet::ConnAck(_));
            assert_eq!(self.heard == 0, is_first, "CONNACK comes first, once");
            self.check(&packet);
            note((version, frame.first, self.heard.min(3)));
            self.heard += 1;
            rest = &rest[frame.length..];
        }
    }

    fn check(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::ConnAck(ack) => {
                self.is_over = ack.reason != ReasonCode::Success;
                note(("connack", ack.reason as u8, ack.session_present));
            }
            Packet::Disconnect(disconnect) => {
                self.is_over = true;
                note(("disconnect", disconnect.reason as u8));
            }
            Packet::SubAck(ack) | Packet::UnsubAck(ack) => note(("codes", ack.codes)),
            Packet::PubAck(ack) | Packet::PubRec(ack) => note(("ack", ack.reason as u8)),
            Packet::PubRel(ack) => {
                let [high, low] = ack.packet_id.get().to_be_bytes();
                self.to_send.push([0x70, 2, high, low]);
            }
            Packet::Publish(publish) => self.check_publish(publish),
            _ => {}
        }
    }

    fn check_publish(&mut self, publish: &Publish<'_>) {
        if let Some(alias) = publish.properties.topic_alias {
            let alias = alias.get();
            assert!(alias <= self.topic_alias_maximum, "alias [MQTT-3.3.2-9]");
            if publish.topic.is_empty() {
                assert!(self.aliases.contains_key(&alias), "an alias never set");
            } else {
                self.aliases.insert(alias, publish.topic.to_owned());
            }
        }
        if let Some(id) = publish.packet_id {
            let [high, low] = id.get().to_be_bytes();
            let is_new = self.open.insert(id.get());
            if !self.is_raw {
                assert!(is_new, "identifier in use [MQTT-2.2.1-4]");
                let is_within = self.open.len() <= self.receive_maximum;
                assert!(is_within, "over Receive Maximum [MQTT-3.3.4-9]");
            }
            let ack = if publish.qos == Qos::AtLeastOnce {
                0x40
            } else {
                0x50
            };
            self.to_send.push([ack, 2, high, low]);
        }
        note((
            publish.dup,
            publish.qos as u8,
            publish.topic.is_empty(),
            publish.properties.subscription_identifier.is_some(),
            self.open.len().min(4),
        ));
    }

    /// What its CONNECT says, if that is one.
    fn learn(&mut self) {
        let Ok(Some(frame)) = next_frame(&self.sent, PACKET_SIZE_MAX) else {
            return;
        };
        if frame.first != 0x10 {
            return;
        }
        if let Ok(connect) = decode::connect(&frame) {
            let properties = &connect.properties;
            self.version = Some(connect.version);
            self.packet_size_max = properties
                .maximum_packet_size
                .map_or(usize::MAX, |size| size as usize);
            self.receive_maximum = properties
                .receive_maximum
                .map_or(usize::MAX, |maximum| usize::from(maximum.get()));
            self.topic_alias_maximum = properties.topic_alias_maximum.unwrap_or(0);
        }
        // More than CONNECT was sent with it.
        self.is_raw |= frame.length < self.sent.len();
    }
}
