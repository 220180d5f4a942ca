//! Packets that a client receives, and whether the broker may send them.

use super::super::history::{Arrival, Planned};
use super::super::plan::CONTESTED;
use super::super::world::World;
use super::{Client, Request, Stage};
use crate::mqtt::{
    decode, frame, Ack, AckKind, Disconnect, Packet, PacketId, PacketType, Publish, Qos,
    ReasonCode, Sender, SubAck,
};

impl Client {
    pub(super) fn read(&mut self, world: &mut World, plan: &mut [Planned]) {
        let Some(socket) = self.socket else { return };
        match world.receive(socket) {
            None => {
                world.note(|| format!("{} sees its connection closed", self.name));
                self.cuts += 1;
                let at = world.tick();
                self.end_connection(at, None);
                return;
            }
            Some(bytes) => self.inbox.extend(bytes),
        }
        let inbox = std::mem::take(&mut self.inbox);
        let mut at = 0;
        loop {
            match frame::next_frame(&inbox[at..], u32::MAX) {
                Ok(None) => break,
                Err(error) => {
                    self.fail(&format!("the broker sent no packet: {error}"));
                    break;
                }
                Ok(Some(frame)) => {
                    at += frame.length;
                    self.packets += usize::from(frame.packet_type() != Some(PacketType::PingResp));
                    let size_max = self.profile.packet_size_max.unwrap_or(u32::MAX);
                    if frame.length > size_max as usize {
                        self.fail(&format!("{} bytes in one packet", frame.length));
                    }
                    match decode::packet(self.profile.version, Sender::Server, &frame) {
                        Ok(packet) => self.handle(world, &packet, plan),
                        Err(error) => {
                            let text = format!("the broker sent {error}: {:02x?}", frame.body);
                            self.fail(&text);
                        }
                    }
                }
            }
        }
        self.inbox = inbox[at..].to_vec();
    }

    fn handle(&mut self, world: &mut World, packet: &Packet<'_>, plan: &mut [Planned]) {
        match packet {
            Packet::ConnAck(connack) if connack.reason == ReasonCode::Success => {
                let present = connack.session_present;
                world.note(|| format!("{} is connected, session {present}", self.name));
                self.connected(world, present, plan);
            }
            Packet::ConnAck(_) if self.is_shutdown => {}
            Packet::ConnAck(connack) => self.refused(world, connack.reason, plan),
            Packet::Publish(publish) => self.arrived(world, publish, plan),
            Packet::PubRel(ack) => {
                self.held.remove(&ack.packet_id.get());
                self.unsent_acks
                    .push_back((AckKind::PubComp, ack.packet_id.get()));
            }
            Packet::PubAck(ack) => self.finish_publish(world, ack, plan),
            Packet::PubComp(ack) => {
                let id = ack.packet_id.get();
                self.outstanding.retain(|(known, ..)| *known != id);
            }
            Packet::PubRec(ack) => self.release(world, ack, plan),
            Packet::SubAck(suback) => self.subscribed(world, suback),
            Packet::UnsubAck(unsuback) => self.unsubscribed(world, unsuback),
            Packet::PingResp => {}
            Packet::Disconnect(disconnect) => self.disconnected(world, disconnect),
            other => self.fail(&format!("unexpected {other:?}")),
        }
    }

    fn finish_publish(&mut self, world: &mut World, ack: &Ack<'_>, plan: &mut [Planned]) {
        let id = ack.packet_id.get();
        if let Some(publication) = self.publication(id) {
            self.answered(world, publication, ack.reason, plan);
        }
        self.outstanding.retain(|(known, ..)| *known != id);
    }

    fn release(&mut self, world: &mut World, ack: &Ack<'_>, plan: &mut [Planned]) {
        let id = ack.packet_id.get();
        if let Some(publication) = self.publication(id) {
            self.answered(world, publication, ack.reason, plan);
        }
        if ack.reason.is_error() {
            self.outstanding.retain(|(known, ..)| *known != id); // [MQTT-4.3.3-8]
            return;
        }
        for (known, _, stage) in &mut self.outstanding {
            if *known == id {
                *stage = Stage::Release;
            }
        }
        self.send_ack(world, AckKind::PubRel, id);
    }

    /// What is under way with this identifier.
    fn publication(&self, id: u16) -> Option<usize> {
        let mut outstanding = self.outstanding.iter();
        let found = outstanding.find(|(known, ..)| *known == id);
        found.map(|(_, publication, _)| *publication)
    }

    fn subscribed(&mut self, world: &mut World, suback: &SubAck<'_>) {
        let Some(Request::Subscribe(indexes)) = self.request.take() else {
            self.fail("SUBACK without a SUBSCRIBE");
            return;
        };
        world.note(|| format!("{} has its SUBACK {:?}", self.name, suback.codes));
        if suback.codes.len() != indexes.len() {
            self.fail(&format!("SUBACK {:?}", suback.codes));
        }
        let at = world.tick();
        for (index, code) in indexes.into_iter().zip(suback.codes) {
            self.judge_suback(world, at, index, *code);
        }
    }

    fn unsubscribed(&mut self, world: &mut World, unsuback: &SubAck<'_>) {
        let Some(Request::Unsubscribe(index)) = self.request.take() else {
            self.fail("UNSUBACK without an UNSUBSCRIBE");
            return;
        };
        world.note(|| format!("{} has its UNSUBACK", self.name));
        self.subscribed[index].unsubscribed = Some(world.tick());
        // The UNSUBSCRIBE may be a repeat of one that was done.
        if self.profile.version.is_v5() && !matches!(unsuback.codes, [0x00 | 0x11]) {
            self.fail(&format!("UNSUBACK {:?}", unsuback.codes));
        }
    }

    fn disconnected(&mut self, world: &World, disconnect: &Disconnect<'_>) {
        let is_expected = match disconnect.reason {
            ReasonCode::SessionTakenOver | ReasonCode::QuotaExceeded => true,
            ReasonCode::KeepAliveTimeout => self.profile.keep_alive_s > 0,
            ReasonCode::ServerShuttingDown => self.is_shutdown,
            ReasonCode::AdministrativeAction => world.timeline().len() > 1,
            _ => false,
        };
        if !is_expected {
            self.fail(&format!("disconnected: {disconnect:?}"));
        }
    }

    fn arrived(&mut self, world: &mut World, publish: &Publish<'_>, plan: &[Planned]) {
        let Some(topic) = self.resolve(publish) else {
            self.fail("a topic alias that was not introduced");
            return;
        };
        let id = publish.packet_id.map_or(0, PacketId::get);
        let is_repeat = self.note_received(publish, id);
        self.check_rate(world, publish.dup);
        if publish.payload.is_empty() {
            return; // a retained message was cleared
        }
        let (head, padding) = publish.payload.split_at(publish.payload.len().min(8));
        let index = head.try_into().map_or(u64::MAX, u64::from_be_bytes) as usize;
        let is_known = plan
            .get(index)
            .is_some_and(|p| p.topic == topic && p.padding == padding.len() && p.sends > 0);
        if !is_known {
            self.fail(&format!("publication {index} on {topic} was never sent"));
            return;
        }
        let tick = world.tick().tick;
        world.note(|| format!("{} gets {index} on {topic}", self.name));
        if is_repeat {
            return;
        }
        self.check_age(&topic, index, publish);
        self.check_expiry(world, &plan[index], index, publish);
        let properties = &publish.properties;
        let identifiers = properties.subscription_identifiers().collect();
        self.arrivals.push(Arrival {
            tick,
            publication: index,
            qos: publish.qos as u8,
            retain: publish.retain,
            dup: publish.dup,
            identifiers,
            connected: self.connect_sent.tick,
            expiry_s: properties.message_expiry_interval_s,
        });
    }

    fn resolve(&mut self, publish: &Publish<'_>) -> Option<String> {
        let Some(alias) = publish.properties.topic_alias else {
            return Some(publish.topic.into());
        };
        if alias.get() > self.profile.aliases {
            return None;
        }
        if publish.topic.is_empty() {
            return self.aliases_in.get(&alias.get()).cloned();
        }
        self.aliases_in.insert(alias.get(), publish.topic.into());
        Some(publish.topic.into())
    }

    /// Notes the identifier and what is to be acknowledged. True: a QoS 2 message it has already.
    fn note_received(&mut self, publish: &Publish<'_>, id: u16) -> bool {
        if publish.qos == Qos::AtMostOnce {
            return false;
        }
        // [MQTT-2.2.1-4]: neither on this connection nor, at QoS 2, on one before.
        let is_open = !self.unacknowledged.insert(id);
        if is_open || (!publish.dup && self.held.contains(&id)) {
            self.fail(&format!("identifier {id} is in use"));
        }
        let open = self.unacknowledged.len();
        let maximum = self.profile.receive_maximum;
        if self.profile.version.is_v5() && open > usize::from(maximum) {
            self.fail(&format!("{open} open messages, Receive Maximum {maximum}"));
        }
        let kind = match publish.qos {
            Qos::ExactlyOnce => AckKind::PubRec,
            _ => AckKind::PubAck,
        };
        self.unsent_acks.push_back((kind, id));
        publish.qos == Qos::ExactlyOnce && !self.held.insert(id)
    }

    /// A retained message is never older than what was seen of its topic at its QoS: one of QoS 0
    /// may overtake others that wait in the queue.
    fn check_age(&mut self, topic: &str, index: usize, publish: &Publish<'_>) {
        if !topic.starts_with("r/") || topic == CONTESTED {
            return;
        }
        // What a process has sent that ended then need not have been committed.
        if self.connect_sent.now < self.crashed_at {
            return;
        }
        let newest = self.newest.entry((topic.into(), publish.qos as u8));
        let newest = newest.or_insert(index);
        // A repeat may be older: it was sent before.
        let before = std::mem::replace(newest, index.max(*newest));
        if publish.retain && !publish.dup && index < before {
            self.fail(&format!("retained {index} on {topic} after {before}"));
        }
    }

    fn check_expiry(
        &mut self,
        world: &World,
        planned: &Planned,
        index: usize,
        publish: &Publish<'_>,
    ) {
        let Some(expiry_s) = planned.expiry_s else {
            return;
        };
        let left_s = publish.properties.message_expiry_interval_s;
        if self.profile.version.is_v5() && left_s.is_none_or(|left_s| left_s > expiry_s) {
            self.fail(&format!("{index} has {left_s:?} s left of {expiry_s} s"));
        }
        let Some(accepted) = planned.accepted else {
            return;
        };
        // Where the wall clock may have been set back, no time has passed between two processes.
        let since = match world.sets_wall() {
            true => accepted.now.max(self.crashed_at),
            false => accepted.now,
        };
        let expired = since + crate::time::Span::from_secs(u64::from(expiry_s) + 1);
        if !publish.dup && expired <= self.connect_sent.now {
            self.fail(&format!("{index} was sent after its expiry"));
        }
    }
}
