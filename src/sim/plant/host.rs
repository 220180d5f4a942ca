//! A client that subscribes to a plant and keeps what it is sent.

use crate::mqtt::frame::{next_frame, PACKET_SIZE_MAX};
use crate::mqtt::packet::ConnectProperties;
use crate::mqtt::{decode, encode, Connect, Packet, PacketId, Qos, Sender};
use crate::mqtt::{SubscriptionOptions, UserProperties, Version};

/// A PUBLISH that has come.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) qos: Qos,
    pub(super) retain: bool,
}

#[derive(Debug)]
pub(super) struct Host {
    pub(super) link: usize,
    pub(super) unread: Vec<u8>,
    pub(super) has_subscribed: bool,
}

impl Host {
    /// A client on a new link, and what it sends first.
    pub(super) fn new(link: usize, name: &str, filters: &[&str]) -> (Self, Vec<u8>) {
        let mut out = Vec::new();
        let connect = Connect {
            version: Version::V311,
            is_bridge: false,
            clean_start: true,
            keep_alive_s: 0,
            client_id: name,
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties::default(),
        };
        encode::connect(&mut out, &connect);
        let options = SubscriptionOptions {
            qos: Qos::AtLeastOnce,
            ..SubscriptionOptions::default()
        };
        let filters: Vec<_> = filters.iter().map(|filter| (*filter, options)).collect();
        let subscribe = encode::SubscribeOut {
            packet_id: PacketId::new(1).expect("it is not 0"),
            subscription_identifier: None,
            user_properties: UserProperties { raw: &[] },
            filters: &filters,
        };
        encode::subscribe(&mut out, Version::V311, &subscribe);
        let host = Self {
            link,
            unread: Vec::new(),
            has_subscribed: false,
        };
        (host, out)
    }

    /// What has come, and what is answered.
    pub(super) fn read(&mut self) -> (Vec<Got>, Vec<u8>) {
        let unread = std::mem::take(&mut self.unread);
        let (mut at, mut got, mut out) = (0, Vec::new(), Vec::new());
        while let Ok(Some(frame)) = next_frame(&unread[at..], PACKET_SIZE_MAX) {
            at += frame.length;
            match decode::packet(Version::V311, Sender::Server, &frame) {
                Ok(Packet::SubAck(_)) => self.has_subscribed = true,
                Ok(Packet::Publish(publish)) => {
                    if let Some(id) = publish.packet_id {
                        out.extend_from_slice(&[0x40, 2]);
                        out.extend_from_slice(&id.get().to_be_bytes());
                    }
                    got.push(Got {
                        topic: publish.topic.into(),
                        payload: publish.payload.into(),
                        qos: publish.qos,
                        retain: publish.retain,
                    });
                }
                _ => {}
            }
        }
        self.unread = unread[at..].to_vec();
        (got, out)
    }
}
