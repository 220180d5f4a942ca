//! A client of the simulated brokers with a bridge between them.

use std::collections::BTreeSet;

use crate::mqtt::frame::{next_frame, PACKET_SIZE_MAX};
use crate::mqtt::packet::ConnectProperties;
use crate::mqtt::{decode, encode, Ack, AckKind, Connect, Packet, PacketId, PublishOut, Qos};
use crate::mqtt::{ReasonCode, Sender, SubscriptionOptions, UserProperties, Version};

/// A client with a session that lasts: publishes one message after the other with QoS 2, and takes what its
/// subscription brings.
#[derive(Default)]
pub(super) struct Person {
    pub(super) name: &'static str,
    pub(super) publishes: &'static str,
    pub(super) subscribes: &'static str,
    pub(super) link: Option<usize>,
    pub(super) unread: Vec<u8>,
    /// Messages that are wholly sent.
    pub(super) sent: u32,
    /// PUBREC has come for the next one.
    pub(super) is_received: bool,
    /// Identifiers taken and not yet released.
    pub(super) open: BTreeSet<u16>,
    pub(super) got: Vec<u32>,
    pub(super) has_subscribed: bool,
    /// Nothing is published before all that it should reach have subscribed.
    pub(super) may_send: bool,
    /// How many it has to send, and to take.
    pub(super) messages: u32,
}

impl Person {
    /// CONNECT and SUBSCRIBE, and what was not finished on the last connection.
    pub(super) fn hello(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let connect = Connect {
            version: Version::V5,
            is_bridge: false,
            clean_start: false,
            keep_alive_s: 0,
            client_id: self.name,
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties {
                session_expiry_interval_s: Some(u32::MAX),
                ..ConnectProperties::default()
            },
        };
        encode::connect(&mut out, &connect);
        let options = SubscriptionOptions {
            qos: Qos::ExactlyOnce,
            ..SubscriptionOptions::default()
        };
        let subscribe = encode::SubscribeOut {
            packet_id: PacketId::new(60_000).expect("it is not 0"),
            subscription_identifier: None,
            user_properties: UserProperties { raw: &[] },
            filters: &[(self.subscribes, options)],
        };
        encode::subscribe(&mut out, Version::V5, &subscribe);
        out
    }

    /// Handles what has come; returns what is to be sent.
    pub(super) fn read(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let unread = std::mem::take(&mut self.unread);
        let mut at = 0;
        while let Ok(Some(frame)) = next_frame(&unread[at..], PACKET_SIZE_MAX) {
            at += frame.length;
            match decode::packet(Version::V5, Sender::Server, &frame) {
                // It resumes, and has subscribed before: messages of others may go.
                Ok(Packet::SubAck(_)) => {
                    self.has_subscribed = true;
                    self.send_next(&mut out, true);
                }
                Ok(Packet::Publish(publish)) => {
                    let id = publish.packet_id.expect("it is of QoS 2");
                    if self.open.insert(id.get()) {
                        let text = String::from_utf8_lossy(publish.payload);
                        self.got.push(text.parse().expect("it is a number"));
                    }
                    put(&mut out, AckKind::PubRec, id);
                }
                Ok(Packet::PubRel(ack)) => {
                    self.open.remove(&ack.packet_id.get());
                    put(&mut out, AckKind::PubComp, ack.packet_id);
                }
                Ok(Packet::PubRec(ack)) => {
                    self.is_received = true;
                    put(&mut out, AckKind::PubRel, ack.packet_id);
                }
                Ok(Packet::PubComp(_)) => {
                    self.sent += 1;
                    self.is_received = false;
                    self.send_next(&mut out, false);
                }
                _ => {}
            }
        }
        self.unread = unread[at..].to_vec();
        out
    }

    pub(super) fn send_next(&mut self, out: &mut Vec<u8>, dup: bool) {
        if self.sent == self.messages || !self.may_send {
            return;
        }
        let id = PacketId::new(1 + self.sent as u16).expect("it is not 0");
        if self.is_received {
            put(out, AckKind::PubRel, id);
            return;
        }
        let payload = self.sent.to_string();
        let publish = PublishOut {
            dup,
            qos: Qos::ExactlyOnce,
            topic: self.publishes,
            packet_id: Some(id),
            payload_len: payload.len(),
            payload: payload.as_bytes(),
            ..PublishOut::default()
        };
        encode::publish(out, Version::V5, &publish);
    }
}

fn put(out: &mut Vec<u8>, kind: AckKind, packet_id: PacketId) {
    let ack = Ack {
        packet_id,
        reason: ReasonCode::Success,
        reason_string: None,
        user_properties: UserProperties { raw: &[] },
    };
    encode::ack(out, Version::V5, kind, &ack);
}
