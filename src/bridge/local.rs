//! Packets of our own broker: its answers, and messages by lines that go out.

use super::counts::Drop;
use super::ids::IdSet;
use super::properties;
use super::relay::{ended, put_ack, Ended, Relay, Stage};
use super::remote::{put_subscribe, put_unsubscribe, SUBSCRIBE_ID};
use super::terms::{Notify, RetainFlag};
use crate::mqtt::decode;
use crate::mqtt::frame::Frame;
use crate::mqtt::packet::{ConnAck, RetainHandling};
use crate::mqtt::topic::is_valid_name;
use crate::mqtt::{encode, Ack, AckKind, Packet, Publish, PublishOut, Qos, ReasonCode, Sender};
use crate::mqtt::{SubscriptionOptions, Version};
use crate::mutant::{is_on, Mutant};

impl Relay {
    pub(super) fn on_local(&mut self, frame: &Frame<'_>, down: &mut Vec<u8>) -> Result<(), Ended> {
        let packet = decode::packet(Version::V5, Sender::Server, frame)
            .map_err(|violation| self.broke("our own broker", &violation))?;
        let before = down.len();
        match packet {
            Packet::ConnAck(connack) => self.on_joined(&connack, down)?,
            Packet::Publish(publish) => self.on_own_message(&publish, down),
            Packet::PubAck(ack) => self.on_own_ack(AckKind::PubAck, &ack, down),
            Packet::PubRec(ack) => self.on_own_ack(AckKind::PubRec, &ack, down),
            Packet::PubComp(ack) => self.on_own_ack(AckKind::PubComp, &ack, down),
            Packet::PubRel(_) if is_on(Mutant::BridgeForgetsRelease) => {}
            Packet::PubRel(ack) if !self.released.remove(ack.packet_id.get()) => {
                let version = self.link.version;
                put_ack(down, version, AckKind::PubRel, ack.packet_id, ack.reason);
            }
            Packet::SubAck(suback) => {
                self.on_grants(&suback, true);
                self.subscribe_there(down);
            }
            Packet::Disconnect(disconnect) => {
                return Err(ended(format!(
                    "our own broker has closed it with 0x{:02X}: {}",
                    disconnect.reason as u8,
                    disconnect.reason.description()
                )));
            }
            _ => {}
        }
        self.sent |= down.len() > before;
        Ok(())
    }

    fn on_joined(&mut self, connack: &ConnAck<'_>, down: &mut Vec<u8>) -> Result<(), Ended> {
        if connack.reason.is_error() {
            return Err(ended(format!(
                "our own broker does not accept its client \"{}\" (0x{:02X}: {})",
                self.link.bridge.local_id(),
                connack.reason as u8,
                connack.reason.description()
            )));
        }
        if !connack.session_present && self.remote.session_present {
            self.freed_out = Some(IdSet::default());
        }
        self.stage = Stage::AwaitGrants;
        self.notify(down);
        let (version, given_up) = (self.link.version, &self.link.given_up);
        put_unsubscribe(down, version, SUBSCRIBE_ID - 1, given_up);
        let (goes_out, subscribes) = (self.link.bridge.goes_out(), self.subscribes_there());
        self.grants_left = u8::from(goes_out) + u8::from(subscribes);
        if !goes_out {
            self.subscribe_there(down);
        }
        if self.grants_left == 0 {
            self.grant();
        }
        Ok(())
    }

    /// The remote learns that the bridge is connected; by will it learns that it is not.
    fn notify(&self, down: &mut Vec<u8>) {
        if self.link.bridge.notify != Notify::Both {
            return;
        }
        let topic = self.link.bridge.state_topic();
        let out = PublishOut {
            retain: self.remote.retains,
            topic: &topic,
            payload_len: 1,
            payload: b"1",
            ..PublishOut::default()
        };
        encode::publish(down, self.link.version, &out);
    }

    /// Earlier than 5.0 each SUBSCRIBE brings all that is retained again, so it is left out for a session that has
    /// all of them.
    fn subscribes_there(&self) -> bool {
        let has_all = self.link.has_subscribed && self.remote.session_present;
        self.link.bridge.comes_in() && (self.link.version.is_v5() || !has_all)
    }

    fn subscribe_there(&mut self, down: &mut Vec<u8>) {
        if !self.subscribes_there() {
            return;
        }
        // What is in flight is one run of identifiers, so that before the first of them is free.
        let packet_id = match self.first_out {
            None | Some(0 | 1) => SUBSCRIBE_ID,
            Some(first) => first - 1,
        };
        let is_v5 = self.link.version.is_v5();
        let lines = self.link.bridge.lines.iter().filter(|line| line.comes_in());
        let filters: Vec<_> = lines
            .map(|line| {
                let options = SubscriptionOptions {
                    qos: line.qos.min(self.remote.qos_max),
                    no_local: is_v5 && !line.is_shared(),
                    retain_as_published: is_v5,
                    retain_handling: RetainHandling::SendIfNew,
                };
                (line.subscribed(line.remote_filter()), options)
            })
            .collect();
        put_subscribe(down, self.link.version, packet_id, &filters);
        self.sent = true;
    }

    /// PUBLISH of our own broker.
    fn on_own_message(&mut self, publish: &Publish<'_>, down: &mut Vec<u8>) {
        if let Some(packet_id) = publish.packet_id {
            self.first_out.get_or_insert(packet_id.get());
        }
        let name = match self.name_there(publish) {
            Ok(name) => name,
            Err((why, text)) => {
                self.dropped(why, text);
                self.answer_own(publish);
                return;
            }
        };
        let version = self.link.version;
        let mut properties = Vec::new();
        if version.is_v5() {
            let lines = &self.link.bridge.lines;
            let response = |topic: &str| {
                let mut lines = lines.iter().filter(|line| line.comes_in());
                lines.find_map(|line| line.to_remote(topic))
            };
            let broker = self.link.broker;
            properties::put(&mut properties, &publish.properties, response, broker);
        }
        let qos = publish.qos.min(self.remote.qos_max);
        let keeps = self.link.bridge.retain == RetainFlag::Keep && self.remote.retains;
        let out = PublishOut {
            dup: publish.dup && qos > Qos::AtMostOnce,
            qos,
            retain: publish.retain && keeps,
            topic: &name,
            packet_id: publish.packet_id.filter(|_| qos > Qos::AtMostOnce),
            message_expiry_interval_s: publish.properties.message_expiry_interval_s,
            properties: &properties,
            payload_len: publish.payload.len(),
            payload: publish.payload,
            ..PublishOut::default()
        };
        let size_max = self.remote.packet_size_max;
        let own_max = self.link.bridge.packet_size_max.unwrap_or(u32::MAX);
        let (size, max) = (encode::publish_size(version, &out), size_max.min(own_max));
        if size > max as usize {
            let text = format!(
                "\"{}\" would be a packet of {size} bytes, and the remote takes {max}",
                publish.topic
            );
            self.dropped(Drop::TooLarge, text);
            self.answer_own(publish);
            return;
        }
        self.free_there(publish, qos, down);
        encode::publish(down, version, &out);
        self.counts.messages_out += 1;
        self.counts.bytes_out += publish.payload.len() as u64;
        if let Some(packet_id) = out.packet_id {
            self.departs(packet_id);
        }
        if qos == Qos::AtMostOnce {
            self.answer_own(publish); // it was kept for a remote that took more
        }
        if let (true, Some(packet_id)) = (is_on(Mutant::BridgeAcksOwnEarly), publish.packet_id) {
            let done = ReasonCode::Success;
            put_ack(
                &mut self.owed,
                Version::V5,
                AckKind::PubRec,
                packet_id,
                done,
            );
        }
    }

    /// Its name at the remote, or why it is not passed on.
    fn name_there(&self, publish: &Publish<'_>) -> Result<String, (Drop, String)> {
        let topic = publish.topic;
        let mut lines = self.link.bridge.lines.iter().filter(|line| line.goes_out());
        let named = lines.find_map(|line| Some((line, line.to_remote(topic)?)));
        let Some((line, name)) = named else {
            let text = format!("no line that goes out is about \"{topic}\" any more");
            return Err((Drop::NoLine, text));
        };
        if !is_valid_name(&name) {
            let text = format!("\"{topic}\" would have no valid topic at the remote");
            return Err((Drop::InvalidTopic, text));
        }
        self.check_hops(line, topic, properties::path(&publish.properties))?;
        Ok(name)
    }

    /// Our session is done with a message that does not go out.
    fn answer_own(&mut self, publish: &Publish<'_>) {
        let Some(packet_id) = publish.packet_id else {
            return;
        };
        // A failure ends an exchange of QoS 2 with its first answer.
        let (kind, reason) = match publish.qos {
            Qos::ExactlyOnce => (AckKind::PubRec, ReasonCode::ImplementationSpecificError),
            _ => (AckKind::PubAck, ReasonCode::Success),
        };
        put_ack(&mut self.owed, Version::V5, kind, packet_id, reason);
    }

    /// Our session has begun anew, so its identifier means nothing that the remote has received before.
    fn free_there(&mut self, publish: &Publish<'_>, qos: Qos, down: &mut Vec<u8>) {
        let Some(packet_id) = publish.packet_id else {
            return;
        };
        if publish.qos == Qos::ExactlyOnce && qos == Qos::AtLeastOnce {
            self.lowered.insert(packet_id.get());
        }
        let Some(freed) = &mut self.freed_out else {
            return;
        };
        if qos == Qos::ExactlyOnce && freed.insert(packet_id.get()) && !publish.dup {
            self.unasked_out.insert(packet_id.get());
            let (version, reason) = (self.link.version, ReasonCode::Success);
            put_ack(down, version, AckKind::PubRel, packet_id, reason);
        }
    }

    /// PUBACK, PUBREC or PUBCOMP for a message of the remote.
    fn on_own_ack(&mut self, kind: AckKind, ack: &Ack<'_>, down: &mut Vec<u8>) {
        let id = ack.packet_id.get();
        if kind == AckKind::PubComp && self.unasked_in.remove(id) {
            return;
        }
        let is_refusal = kind != AckKind::PubComp && ack.reason.is_error();
        self.counts.refused_here += u64::from(is_refusal);
        put_ack(down, self.link.version, kind, ack.packet_id, ack.reason);
    }
}
