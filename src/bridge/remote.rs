//! Packets of the remote: its answers. Its messages are in [`super::incoming`].

use std::num::NonZeroU16;

use super::ids::IdSet;
use super::line::Line;
use super::properties;
use super::relay::{ended, put_ack, Ended, Event, Relay, Remote, Stage};
use crate::mqtt::decode;
use crate::mqtt::frame::Frame;
use crate::mqtt::packet::{ConnAck, ConnectProperties, RetainHandling, SubAck};
use crate::mqtt::{encode, AckKind, Connect, Packet, PacketId, Qos};
use crate::mqtt::{ReasonCode, Sender, SubscriptionOptions, UserProperties, Version};

/// Identifier of SUBSCRIBE at our own broker, which has none of its own there.
pub(super) const SUBSCRIBE_ID: u16 = 65_535;

impl Relay {
    pub(super) fn on_remote(
        &mut self,
        frame: &Frame<'_>,
        up: &mut Vec<u8>,
        down: &mut Vec<u8>,
    ) -> Result<(), Ended> {
        let mut version = self.link.version;
        let is_v5 = version.is_v5();
        if is_v5 && self.stage == Stage::AwaitRemote && frame.body.len() == 2 {
            version = Version::V311; // one that does not speak 5.0 refuses in its own words
        }
        let packet = decode::packet(version, Sender::Server, frame)
            .map_err(|violation| self.broke("the remote", &violation))?;
        match packet {
            Packet::ConnAck(connack)
                if version != self.link.version && !connack.reason.is_error() =>
            {
                Err(Ended {
                    text: "the remote answers CONNECT of 5.0 with CONNACK of 3.1.1".into(),
                    refused: Some(ReasonCode::UnsupportedProtocolVersion),
                })
            }
            Packet::ConnAck(connack) if self.stage == Stage::AwaitRemote => {
                self.on_connack(&connack, up)
            }
            Packet::Disconnect(disconnect) => {
                Err(self.closed_by_remote(disconnect.reason, disconnect.reason_string))
            }
            _ if self.stage == Stage::AwaitRemote => Err(ended(
                "the remote does not answer CONNECT with CONNACK".into(),
            )),
            Packet::Publish(publish) => self.on_message(&publish, up, down),
            Packet::PubAck(ack) => {
                self.on_ack_of_remote(AckKind::PubAck, ack.packet_id, ack.reason, up);
                Ok(())
            }
            Packet::PubRec(ack) => {
                self.on_ack_of_remote(AckKind::PubRec, ack.packet_id, ack.reason, up);
                Ok(())
            }
            Packet::PubComp(ack) => {
                self.moves(ack.packet_id, true);
                if !self.unasked_out.remove(ack.packet_id.get()) {
                    put_ack(up, Version::V5, AckKind::PubComp, ack.packet_id, ack.reason);
                }
                Ok(())
            }
            Packet::PubRel(ack) => {
                put_ack(up, Version::V5, AckKind::PubRel, ack.packet_id, ack.reason);
                Ok(())
            }
            Packet::SubAck(suback) => {
                self.on_grants(&suback, false);
                Ok(())
            }
            // A sign of life of one side is one of the bridge.
            Packet::PingResp => {
                encode::pingreq(up);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn closed_by_remote(&self, reason: ReasonCode, text: Option<&str>) -> Ended {
        let text = text.map(|text| format!(" (\"{}\")", text.escape_debug()));
        Ended {
            text: format!(
                "the remote has closed it with 0x{:02X}: {}{}",
                reason as u8,
                reason.description(),
                text.unwrap_or_default()
            ),
            refused: Some(reason),
        }
    }

    fn on_connack(&mut self, connack: &ConnAck<'_>, up: &mut Vec<u8>) -> Result<(), Ended> {
        let reason = connack.reason;
        if reason.is_error() {
            let text = connack.properties.reason_string;
            let text = text.map(|text| format!(" (\"{}\")", text.escape_debug()));
            return Err(Ended {
                text: format!(
                    "the remote has refused it with 0x{:02X}: {}{}",
                    reason as u8,
                    reason.description(),
                    text.unwrap_or_default()
                ),
                refused: Some(reason),
            });
        }
        let properties = &connack.properties;
        self.remote = Remote {
            session_present: connack.session_present,
            receive_maximum: (properties.receive_maximum).map_or(u16::MAX, NonZeroU16::get),
            packet_size_max: properties.maximum_packet_size.unwrap_or(u32::MAX),
            qos_max: properties.maximum_qos.unwrap_or(Qos::ExactlyOnce),
            retains: properties.retain_available.unwrap_or(true),
        };
        self.events.push_back(Event::Connected {
            session_present: connack.session_present,
        });
        if !connack.session_present {
            self.freed_in = Some(IdSet::default());
        }
        self.stage = Stage::AwaitLocal;
        self.join(up);
        Ok(())
    }

    /// Appends CONNECT and SUBSCRIBE for our own broker.
    fn join(&mut self, up: &mut Vec<u8>) {
        let bridge = &self.link.bridge;
        let own = bridge.packet_size_max.unwrap_or(u32::MAX);
        let growth = bridge.lines.iter().map(Line::growth).max().unwrap_or(0);
        let growth = growth + properties::ROOM;
        let size_max = self.remote.packet_size_max.min(own);
        let size_max = size_max.saturating_sub(growth as u32).max(1);
        let window = self.remote.receive_maximum.min(bridge.window).max(1);
        let id = bridge.local_id();
        let connect = Connect {
            version: Version::V5,
            is_bridge: false,
            clean_start: bridge.local_clean_start,
            keep_alive_s: 0,
            client_id: &id,
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties {
                session_expiry_interval_s: (!bridge.local_clean_start).then_some(u32::MAX),
                receive_maximum: NonZeroU16::new(window),
                maximum_packet_size: Some(size_max),
                request_problem_information: Some(false),
                ..ConnectProperties::default()
            },
        };
        encode::connect(up, &connect);
        // What is retained is sent once to each session of the remote.
        let handling = match self.remote.session_present {
            true => RetainHandling::SendIfNew,
            false => RetainHandling::Send,
        };
        self.subscribe_here(up, handling);
    }

    fn subscribe_here(&self, up: &mut Vec<u8>, handling: RetainHandling) {
        let lines = self.link.bridge.lines.iter().filter(|line| line.goes_out());
        let filters: Vec<_> = lines
            .map(|line| {
                let options = SubscriptionOptions {
                    qos: line.qos.min(self.remote.qos_max),
                    no_local: !line.is_shared(),
                    retain_as_published: true,
                    retain_handling: handling,
                };
                (line.subscribed(line.local_filter()), options)
            })
            .collect();
        put_subscribe(up, Version::V5, SUBSCRIBE_ID, &filters);
    }

    /// SUBACK of either side.
    pub(super) fn on_grants(&mut self, suback: &SubAck<'_>, is_local: bool) {
        let wanted = |line: &&Line| match is_local {
            true => line.goes_out(),
            false => line.comes_in(),
        };
        let refused: Vec<String> = (self.link.bridge.lines.iter())
            .filter(wanted)
            .zip(suback.codes)
            .filter(|(_, code)| **code >= 0x80)
            .map(|(line, code)| {
                let reason = ReasonCode::try_from(*code);
                let reason = reason.map_or("refused", ReasonCode::description);
                let (side, filter) = match is_local {
                    true => ("our own broker", line.local_filter()),
                    false => ("the remote", line.remote_filter()),
                };
                format!("{side} does not grant \"{filter}\" (0x{code:02X}: {reason})")
            })
            .collect();
        for text in refused {
            self.events.push_back(Event::Notice(None, text));
        }
        self.grant();
    }

    /// PUBACK or PUBREC.
    fn on_ack_of_remote(
        &mut self,
        kind: AckKind,
        packet_id: PacketId,
        reason: ReasonCode,
        up: &mut Vec<u8>,
    ) {
        self.moves(packet_id, kind == AckKind::PubAck || reason.is_error());
        if reason.is_error() {
            self.counts.refused_there += 1;
            let text = format!(
                "the remote has refused a message with 0x{:02X}: {}",
                reason as u8,
                reason.description()
            );
            self.events.push_back(Event::Notice(None, text));
        }
        if kind == AckKind::PubAck && self.lowered.remove(packet_id.get()) {
            // Of the two steps that our session takes only the first has a meaning there.
            put_ack(up, Version::V5, AckKind::PubRec, packet_id, reason);
            if !reason.is_error() {
                self.released.insert(packet_id.get());
                let done = ReasonCode::Success;
                put_ack(up, Version::V5, AckKind::PubComp, packet_id, done);
            }
            return;
        }
        put_ack(up, Version::V5, kind, packet_id, reason);
    }
}

/// Appends UNSUBSCRIBE, if there is a filter.
pub(super) fn put_unsubscribe(
    out: &mut Vec<u8>,
    version: Version,
    packet_id: u16,
    filters: &[String],
) {
    let Some(packet_id) = PacketId::new(packet_id).filter(|_| !filters.is_empty()) else {
        return;
    };
    let filters: Vec<_> = filters.iter().map(String::as_str).collect();
    let unsubscribe = encode::UnsubscribeOut {
        packet_id,
        user_properties: UserProperties { raw: &[] },
        filters: &filters,
    };
    encode::unsubscribe(out, version, &unsubscribe);
}

/// Appends SUBSCRIBE, if there is a filter.
pub(super) fn put_subscribe(
    out: &mut Vec<u8>,
    version: Version,
    packet_id: u16,
    filters: &[(String, SubscriptionOptions)],
) {
    let Some(packet_id) = PacketId::new(packet_id) else {
        return;
    };
    let filters: Vec<_> = filters
        .iter()
        .map(|(filter, options)| (filter.as_str(), *options))
        .collect();
    if filters.is_empty() {
        return;
    }
    let subscribe = encode::SubscribeOut {
        packet_id,
        subscription_identifier: None,
        user_properties: UserProperties { raw: &[] },
        filters: &filters,
    };
    encode::subscribe(out, version, &subscribe);
}
