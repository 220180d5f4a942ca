//! Uplink: messages to packets of its link.

use std::hash::{DefaultHasher, Hash, Hasher};

use compact_str::CompactString;

use super::busy::Awaited;
use super::directory::Source;
use super::keeping::{id_of, uses_predefined};
use super::link;
use super::peer::PROVEN;
use super::peer::{Peer, State};
use super::requests::{Kind, Request};
use super::{run, Gateway};
use crate::mqtt::encode::{SubscribeOut, UnsubscribeOut};
use crate::mqtt::{
    encode, topic, AckKind, PacketId, PublishOut, Qos, SubscriptionOptions, UserProperties, Version,
};
use crate::mqtt_sn::{
    Message, Publish, ReturnCode, Settings, Subscribe, TopicName, TopicRef, Unsubscribe,
};
use crate::shard::Shard;
use crate::time::{Span, Time};

impl Gateway {
    /// A message has come to the home of its client.
    pub(super) fn take(
        &mut self,
        shard: &mut Shard,
        source: Source,
        message: &Message<'_>,
        now: Time,
    ) {
        if let Message::Connect(connect) = message {
            self.connect(shard, source, connect, now);
            return;
        }
        let Some(index) = self.peers.of_key(source.hash, &source.key) else {
            self.unknown_here(shard, source, message, now);
            return;
        };
        let peer = self.peers.get(index);
        match (peer.state, message) {
            (State::WillTopic | State::WillMessage, Message::WillTopic(will)) => {
                self.will_topic(shard, index, *will, now);
            }
            (State::WillMessage, Message::WillMsg(payload)) => {
                self.will_message(shard, index, payload, now);
            }
            (_, Message::Disconnect(duration)) => {
                self.disconnect(shard, index, *duration, now);
            }
            (State::Asleep | State::Awake, Message::PingReq(id)) if !id.is_empty() => {
                self.wake(shard, index, id, now);
            }
            (State::Active | State::Awake, _) => self.act(shard, index, message, now),
            _ => self.stats.out_of_order += 1,
        }
        self.arm(index);
    }

    /// A message of a client that is active or awake.
    fn act(&mut self, shard: &mut Shard, index: u32, message: &Message<'_>, now: Time) {
        self.heard(index, now);
        match *message {
            Message::Register { msg_id, topic, .. } => {
                self.register(shard, index, (msg_id, topic), now);
            }
            Message::Publish(publish) => {
                self.publish(shard, index, &publish, now);
                if run::joins(message) {
                    return; // it has no answer
                }
            }
            Message::Subscribe(subscribe) => self.subscribe(shard, index, &subscribe, now),
            Message::Unsubscribe(unsubscribe) => {
                self.unsubscribe(shard, index, &unsubscribe, now);
            }
            Message::PingReq(id) => {
                let peer = self.peers.get(index);
                let is_it = id.is_empty() || *id == *peer.client_id;
                let answer = if is_it {
                    Message::PingResp
                } else {
                    Message::Disconnect(None)
                };
                self.outbox.send(&peer.key, &answer);
            }
            Message::PingResp => {}
            Message::RegAck {
                topic_id,
                msg_id,
                code,
            } => self.registered(shard, index, (topic_id, msg_id), code, now),
            Message::PubAck { msg_id, code, .. } => {
                self.acknowledged(shard, index, msg_id, code, now);
            }
            Message::PubRec(msg_id) => self.received(shard, index, msg_id, now),
            Message::PubRel(msg_id) => {
                if let Some(id) = PacketId::new(msg_id) {
                    self.give(shard, index, now, |out| link::ack(AckKind::PubRel, id, out));
                }
            }
            Message::PubComp(msg_id) => self.completed(shard, index, msg_id, now),
            Message::WillTopicUpd(will) => self.update_will_topic(shard, index, will, now),
            Message::WillMsgUpd(payload) => {
                self.update_will_message(shard, index, payload, now);
            }
            _ => self.stats.out_of_order += 1,
        }
        if self.peers.generation(index).is_some() {
            self.pull(shard, index, now);
        }
    }

    /// A client has shown that it is there.
    pub(super) fn heard(&mut self, index: u32, now: Time) {
        let peer = self.peers.get_mut(index);
        (peer.is_pinged, peer.credit) = (false, PROVEN);
        if peer.state == State::Active {
            peer.heard = now;
        }
    }

    fn publish(&mut self, shard: &mut Shard, index: u32, publish: &Publish<'_>, now: Time) {
        let settings = self.settings_of(self.peers.get(index).key.listener);
        let peer = self.peers.get_mut(index);
        let mut short = None;
        let name = topic_of(peer, publish.topic, &settings, &mut short).map(CompactString::from);
        let topic_id = publish.topic.field();
        let refuse = |code| Message::PubAck {
            topic_id,
            msg_id: publish.msg_id,
            code,
        };
        let Some(name) = name else {
            self.stats.unknown_topic += 1;
            let key = &self.peers.get(index).key;
            if publish.qos.is_some() {
                self.outbox.send(key, &refuse(ReturnCode::InvalidTopicId));
            }
            return;
        };
        if let TopicRef::Predefined(id) = publish.topic {
            uses_predefined(shard, peer, id);
        }
        // QoS -1 of a client has no answer, as QoS 0.
        let qos = publish.qos.unwrap_or(Qos::AtMostOnce);
        if qos > peer.qos_max || (publish.retain && !peer.retain_available) {
            if publish.qos.is_some() {
                self.outbox
                    .send(&peer.key, &refuse(ReturnCode::NotSupported));
            }
            return;
        }
        let packet_id = PacketId::new(publish.msg_id).filter(|_| qos > Qos::AtMostOnce);
        if qos > Qos::AtMostOnce {
            let request = Request {
                kind: Kind::Publish,
                msg_id: publish.msg_id,
                topic_id,
                hash: 0,
            };
            if packet_id.is_none() || !peer.busy.requests.add(request) {
                self.stats.out_of_order += 1;
                return;
            }
        }
        let packet = PublishOut {
            dup: publish.dup && qos > Qos::AtMostOnce,
            qos,
            retain: publish.retain,
            topic: &name,
            packet_id,
            payload_len: publish.payload.len(),
            payload: publish.payload,
            ..PublishOut::default()
        };
        let write = |out: &mut Vec<u8>| encode::publish(out, Version::V5, &packet);
        if qos == Qos::AtMostOnce {
            self.give_in_run(shard, index, now, write);
        } else if !self.give(shard, index, now, write) {
            let peer = self.peers.get_mut(index);
            let _ = peer.busy.requests.take(Kind::Publish, publish.msg_id);
            self.outbox.send(&peer.key, &refuse(ReturnCode::Congestion));
        }
    }

    fn subscribe(&mut self, shard: &mut Shard, index: u32, subscribe: &Subscribe<'_>, now: Time) {
        let settings = self.settings_of(self.peers.get(index).key.listener);
        let peer = self.peers.get_mut(index);
        let mut short = None;
        let filter = filter_of(peer, subscribe.topic, &settings, &mut short).map(Box::<str>::from);
        let topic_id = filter
            .as_deref()
            .and_then(|filter| id_of(shard, peer, subscribe.topic, filter, &settings));
        let request = Request {
            kind: Kind::Subscribe,
            msg_id: subscribe.msg_id,
            topic_id: topic_id.unwrap_or(0),
            hash: hash_of(&(subscribe.qos as u8, filter.as_deref())),
        };
        if self.is_repeat(index, &request, now) {
            return;
        }
        let peer = self.peers.get_mut(index);
        let packet_id = PacketId::new(subscribe.msg_id);
        let (Some(filter), Some(packet_id), Some(_)) = (filter, packet_id, topic_id) else {
            self.stats.unknown_topic += 1;
            let code = match subscribe.topic {
                TopicName::Predefined(_) => ReturnCode::InvalidTopicId,
                _ => ReturnCode::NotSupported,
            };
            self.answer_subscribe(index, request, Qos::AtMostOnce, code, now);
            return;
        };
        if !peer.busy.requests.add(request) {
            self.stats.out_of_order += 1;
            return;
        }
        let options = SubscriptionOptions {
            qos: subscribe.qos,
            ..SubscriptionOptions::default()
        };
        let filters = [(&*filter, options)];
        let packet = SubscribeOut {
            packet_id,
            subscription_identifier: None,
            user_properties: UserProperties::default(),
            filters: &filters,
        };
        let write = |out: &mut Vec<u8>| encode::subscribe(out, Version::V5, &packet);
        if !self.give(shard, index, now, write) {
            let peer = self.peers.get_mut(index);
            let _ = peer.busy.requests.take(Kind::Subscribe, subscribe.msg_id);
        }
    }

    fn unsubscribe(
        &mut self,
        shard: &mut Shard,
        index: u32,
        unsubscribe: &Unsubscribe<'_>,
        now: Time,
    ) {
        let settings = self.settings_of(self.peers.get(index).key.listener);
        let peer = self.peers.get_mut(index);
        let mut short = None;
        let filter =
            filter_of(peer, unsubscribe.topic, &settings, &mut short).map(Box::<str>::from);
        let request = Request {
            kind: Kind::Unsubscribe,
            msg_id: unsubscribe.msg_id,
            topic_id: 0,
            hash: hash_of(&filter),
        };
        if self.is_repeat(index, &request, now) {
            return;
        }
        let peer = self.peers.get_mut(index);
        let packet_id = PacketId::new(unsubscribe.msg_id);
        let (Some(filter), Some(packet_id)) = (filter, packet_id) else {
            // There was no such subscription, and UNSUBACK has no code.
            let answer = Message::UnsubAck(unsubscribe.msg_id);
            self.outbox.send(&peer.key, &answer);
            return;
        };
        if !peer.busy.requests.add(request) {
            self.stats.out_of_order += 1;
            return;
        }
        let packet = UnsubscribeOut {
            packet_id,
            user_properties: UserProperties::default(),
            filters: &[&filter],
        };
        let write = |out: &mut Vec<u8>| encode::unsubscribe(out, Version::V5, &packet);
        if !self.give(shard, index, now, write) {
            let peer = self.peers.get_mut(index);
            let _ = peer
                .busy
                .requests
                .take(Kind::Unsubscribe, unsubscribe.msg_id);
        }
    }

    /// A request is under way, or was answered: it is answered once more and not acted upon.
    fn is_repeat(&mut self, index: u32, request: &Request, now: Time) -> bool {
        let settings = self.settings_of(self.peers.get(index).key.listener);
        let peer = self.peers.get(index);
        if peer.busy.requests.has(request) {
            return true;
        }
        let span = Span(Peer::retry(&settings).0 * (u64::from(settings.retries) + 1));
        let since = Time(now.0.saturating_sub(span.0));
        let Some(answer) = peer.last_answer.repeated(request, since) else {
            return false;
        };
        self.outbox.send(&peer.key, &answer);
        true
    }

    /// The acknowledgement of an exchange, for the shard.
    pub(super) fn pass_ack(
        &mut self,
        shard: &mut Shard,
        index: u32,
        (kind, packet_id): (AckKind, PacketId),
        now: Time,
    ) {
        self.give(shard, index, now, |out| link::ack(kind, packet_id, out));
    }

    /// A PUBREC that repeats: its PUBREL was lost.
    fn received(&mut self, shard: &mut Shard, index: u32, msg_id: u16, now: Time) {
        let peer = self.peers.get_mut(index);
        let Some(packet_id) = PacketId::new(msg_id) else {
            self.stats.out_of_order += 1;
            return;
        };
        match peer.busy.outstanding.as_deref().map(|one| &one.what) {
            Some(Awaited::Publication { delivery, .. })
                if delivery.packet_id == Some(packet_id) && delivery.qos == Qos::ExactlyOnce =>
            {
                peer.busy.outstanding = None;
                self.pass_ack(shard, index, (AckKind::PubRec, packet_id), now);
            }
            Some(Awaited::Release(released)) if *released == packet_id => {
                self.outbox.send(&peer.key, &Message::PubRel(msg_id));
            }
            _ => {
                // Of an exchange that the session does not know any more: the client is to end it.
                self.pass_ack(shard, index, (AckKind::PubRec, packet_id), now);
            }
        }
    }

    fn completed(&mut self, shard: &mut Shard, index: u32, msg_id: u16, now: Time) {
        let peer = self.peers.get_mut(index);
        match peer.busy.outstanding.as_deref().map(|one| &one.what) {
            Some(Awaited::Release(released)) if released.get() == msg_id => {
                let packet_id = *released;
                peer.busy.outstanding = None;
                self.pass_ack(shard, index, (AckKind::PubComp, packet_id), now);
            }
            _ => self.stats.out_of_order += 1,
        }
    }
}

/// The topic that a PUBLISH names.
fn topic_of<'a>(
    peer: &'a Peer,
    topic: TopicRef,
    settings: &'a Settings,
    short: &'a mut Option<[u8; 2]>,
) -> Option<&'a str> {
    match topic {
        TopicRef::Normal(id) => peer.kept.topics.name(id),
        TopicRef::Predefined(id) => settings.predefined.topic(&peer.client_id, id),
        TopicRef::Short(name) => {
            let name = std::str::from_utf8(short.insert(name)).ok()?;
            topic::is_valid_name(name).then_some(name)
        }
    }
}

/// The filter that a SUBSCRIBE or UNSUBSCRIBE names.
fn filter_of<'a>(
    peer: &Peer,
    topic: TopicName<'a>,
    settings: &'a Settings,
    short: &'a mut Option<[u8; 2]>,
) -> Option<&'a str> {
    let name = match topic {
        TopicName::Full(name) => name,
        TopicName::Predefined(id) => settings.predefined.topic(&peer.client_id, id)?,
        TopicName::Short(name) => std::str::from_utf8(short.insert(name)).ok()?,
    };
    topic::check_filter(name).is_ok().then_some(name)
}

/// Fixed keys: it is compared with others of the same client only.
fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
