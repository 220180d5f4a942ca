//! Messages of the remote, by lines that come in.

use super::counts::Drop;
use super::line::{Direction, Line};
use super::properties;
use super::relay::{ended, put_ack, Ended, Relay};
use crate::mqtt::topic::is_valid_name;
use crate::mqtt::{encode, AckKind, PacketId, Publish, PublishOut, Qos, ReasonCode, Version};
use crate::mutant::{is_on, Mutant};

/// Flags and lengths of PUBLISH around its topic and payload, at most.
const PUBLISH_OVERHEAD: usize = 32;

impl Relay {
    /// PUBLISH of the remote.
    pub(super) fn on_message(
        &mut self,
        publish: &Publish<'_>,
        up: &mut Vec<u8>,
        down: &mut Vec<u8>,
    ) -> Result<(), Ended> {
        if publish.topic.is_empty() || publish.properties.topic_alias.is_some() {
            return Err(ended(
                "the remote uses a topic alias, and none was allowed to it".into(),
            ));
        }
        let name = match self.name_here(publish) {
            Ok(name) => name,
            Err((why, text)) => {
                self.dropped(why, text);
                self.answer_dropped(publish, down);
                return Ok(());
            }
        };
        if is_on(Mutant::BridgeAcksRemoteEarly) {
            self.answer_dropped(publish, down);
        }
        if let Some(packet_id) = publish.packet_id {
            if publish.qos == Qos::ExactlyOnce {
                self.free_here(packet_id, publish.dup, up);
            }
        }
        let mut properties = Vec::new();
        let lines = &self.link.bridge.lines;
        let response = |topic: &str| {
            let mut lines = lines.iter().filter(|line| line.goes_out());
            lines.find_map(|line| line.to_local(topic))
        };
        let broker = self.link.broker;
        properties::put(&mut properties, &publish.properties, response, broker);
        let out = PublishOut {
            dup: publish.dup,
            qos: publish.qos,
            retain: publish.retain,
            topic: &name,
            packet_id: publish.packet_id,
            message_expiry_interval_s: publish.properties.message_expiry_interval_s,
            properties: &properties,
            payload_len: publish.payload.len(),
            payload: publish.payload,
            ..PublishOut::default()
        };
        encode::publish(up, Version::V5, &out);
        self.counts.messages_in += 1;
        self.counts.bytes_in += publish.payload.len() as u64;
        Ok(())
    }

    /// Its local name, or why it is not passed on.
    fn name_here(&self, publish: &Publish<'_>) -> Result<String, (Drop, String)> {
        let topic = publish.topic;
        let mut lines = self.link.bridge.lines.iter().filter(|line| line.comes_in());
        let named = lines.find_map(|line| Some((line, line.to_local(topic)?)));
        let Some((line, name)) = named else {
            let text =
                format!("the remote has sent \"{topic}\", which no line that comes in is about");
            return Err((Drop::NoLine, text));
        };
        if !is_valid_name(&name) {
            let text = format!("\"{topic}\" of the remote would have no valid topic here");
            return Err((Drop::InvalidTopic, text));
        }
        let growth = name.len().saturating_sub(topic.len());
        let size = publish.payload.len()
            + publish.topic.len()
            + publish.properties.raw.len()
            + growth
            + PUBLISH_OVERHEAD;
        let max = self.link.limits.packet_size_max;
        if size > max as usize {
            let text = format!(
                "\"{topic}\" of the remote has {size} bytes with its name here, packet-size-max is {max}"
            );
            return Err((Drop::TooLarge, text));
        }
        let path = properties::path(&publish.properties);
        if properties::has_passed(path, self.link.broker) {
            let text = format!(
                "\"{topic}\" of the remote has been at this broker before: a loop of bridges"
            );
            return Err((Drop::Loop, text));
        }
        self.check_hops(line, topic, path)?;
        Ok(name)
    }

    /// A line that goes both ways takes what has passed few bridges only.
    pub(super) fn check_hops(
        &self,
        line: &Line,
        topic: &str,
        path: &str,
    ) -> Result<(), (Drop, String)> {
        let (hops, max) = (properties::hops(path), self.link.bridge.hops_max);
        if line.direction != Direction::Both || hops < usize::from(max) {
            return Ok(());
        }
        let text =
            format!("\"{topic}\" has passed {hops} bridges, and hops-max of this one is {max}");
        Err((Drop::Loop, text))
    }

    /// A message that is larger than our own broker takes. False: more of it is needed.
    pub(super) fn on_too_large(&mut self, bytes: &[u8], size: u32, down: &mut Vec<u8>) -> bool {
        let lengths = bytes.iter().skip(1).take_while(|byte| **byte >= 0x80);
        let topic_at = 2 + lengths.count();
        let Some([high, low]) = bytes.get(topic_at..topic_at + 2) else {
            return false;
        };
        let topic_len = usize::from(u16::from_be_bytes([*high, *low]));
        let id_at = topic_at + 2 + topic_len;
        let Some([high, low]) = bytes.get(id_at..id_at + 2) else {
            return false;
        };
        let topic = String::from_utf8_lossy(&bytes[topic_at + 2..id_at]);
        let max = self.link.limits.packet_size_max;
        let text = format!("\"{topic}\" of the remote has {size} bytes, packet-size-max is {max}");
        let kind = match (bytes[0] >> 1) & 0b11 {
            1 => Some(AckKind::PubAck),
            2 => Some(AckKind::PubRec),
            _ => None,
        };
        let packet_id = PacketId::new(u16::from_be_bytes([*high, *low]));
        if let (Some(kind), Some(packet_id)) = (kind, packet_id) {
            let reason = ReasonCode::Success;
            put_ack(down, self.link.version, kind, packet_id, reason);
            self.sent = true;
        }
        self.dropped(Drop::TooLarge, text);
        true
    }

    /// The remote need not send it again.
    fn answer_dropped(&mut self, publish: &Publish<'_>, down: &mut Vec<u8>) {
        let Some(packet_id) = publish.packet_id else {
            return;
        };
        let kind = match publish.qos {
            Qos::ExactlyOnce => AckKind::PubRec,
            _ => AckKind::PubAck,
        };
        put_ack(
            down,
            self.link.version,
            kind,
            packet_id,
            ReasonCode::Success,
        );
        self.sent = true;
    }

    /// The remote has begun anew, so its identifier means nothing that our session has received before.
    fn free_here(&mut self, packet_id: PacketId, dup: bool, up: &mut Vec<u8>) {
        let Some(freed) = &mut self.freed_in else {
            return;
        };
        if freed.insert(packet_id.get()) && !dup {
            self.unasked_in.insert(packet_id.get());
            let reason = ReasonCode::Success;
            put_ack(up, Version::V5, AckKind::PubRel, packet_id, reason);
        }
    }
}
