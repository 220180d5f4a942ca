//! Packets that a client sends: PUBLISH, acknowledgements, SUBSCRIBE, UNSUBSCRIBE.

use std::num::NonZeroU16;

use super::super::history::{Planned, Subscribed};
use super::super::random::Random;
use super::super::world::World;
use super::{Client, Request, Stage};
use crate::mqtt::encode::{self, SubscribeOut, UnsubscribeOut};
use crate::mqtt::{
    Ack, AckKind, PacketId, PublishOut, Qos, ReasonCode, RetainHandling, SubscriptionOptions,
    UserProperties,
};

/// QoS 1 and 2 messages a client has unacknowledged at most.
const OUTSTANDING_MAX: usize = 20;
/// Topic aliases a client uses; the broker takes more.
const ALIASES_MAX: usize = 4;
/// Identifier of SUBSCRIBE and UNSUBSCRIBE.
const REQUEST_ID: PacketId = PacketId(NonZeroU16::MAX);

impl Client {
    fn say(&mut self, world: &mut World, bytes: &[u8]) {
        if let Some(socket) = self.socket {
            world.send(socket, bytes);
        }
    }

    pub(super) fn ping(&mut self, world: &mut World) {
        let mut out = Vec::new();
        encode::pingreq(&mut out);
        self.say(world, &out);
    }

    pub(super) fn publish(&mut self, world: &mut World, plan: &mut [Planned]) {
        let Some(&index) = self.to_publish.front() else {
            return;
        };
        if self.outstanding.len() >= OUTSTANDING_MAX {
            return;
        }
        self.to_publish.pop_front();
        let mut id = 0;
        if plan[index].qos > Qos::AtMostOnce {
            // Few identifiers, so that they are used again.
            while id == 0 || self.outstanding.iter().any(|(known, ..)| *known == id) {
                self.next_id = self.next_id % 40 + 1;
                id = self.next_id;
            }
            self.outstanding.push((id, index, Stage::Publish));
        }
        let at = world.tick();
        plan[index].sent.get_or_insert(at);
        self.note_unread(index, plan[index].qos);
        world.note(|| {
            let (name, planned) = (&self.name, &plan[index]);
            let (topic, qos, retain) = (&planned.topic, planned.qos, planned.retain);
            format!("{name} publishes {index} on {topic}, {qos:?}, retain {retain}")
        });
        self.send_publish(world, plan, index, id, false);
    }

    pub(super) fn send_publish(
        &mut self,
        world: &mut World,
        plan: &mut [Planned],
        index: usize,
        id: u16,
        dup: bool,
    ) {
        let planned = &mut plan[index];
        planned.sends += 1;
        let mut payload = (index as u64).to_be_bytes().to_vec();
        payload.resize(payload.len() + planned.padding, b'.');
        if planned.is_clear {
            payload.clear();
        }
        let is_v5 = self.profile.version.is_v5();
        let (topic, topic_alias) = self.alias(&planned.topic);
        let mut out = Vec::new();
        let packet = PublishOut {
            dup,
            qos: planned.qos,
            retain: planned.retain,
            topic: &topic,
            packet_id: PacketId::new(id),
            topic_alias,
            message_expiry_interval_s: planned.expiry_s.filter(|_| is_v5),
            payload_len: payload.len(),
            payload: &payload,
            ..PublishOut::default()
        };
        encode::publish(&mut out, self.profile.version, &packet);
        self.say(world, &out);
    }

    /// The topic as it is sent: in full, with a new alias, or the alias alone.
    fn alias(&mut self, topic: &str) -> (String, Option<NonZeroU16>) {
        if !self.profile.sends_aliases {
            return (topic.into(), None);
        }
        if let Some(alias) = self.aliases_out.get(topic) {
            return (String::new(), NonZeroU16::new(*alias));
        }
        let next = self.aliases_out.len() as u16 + 1;
        if usize::from(next) > ALIASES_MAX {
            return (topic.into(), None);
        }
        self.aliases_out.insert(topic.into(), next);
        (topic.into(), NonZeroU16::new(next))
    }

    pub(super) fn send_ack(&mut self, world: &mut World, kind: AckKind, id: u16) {
        let Some(packet_id) = PacketId::new(id) else {
            return;
        };
        let ack = Ack {
            packet_id,
            reason: ReasonCode::Success,
            reason_string: None,
            user_properties: UserProperties::default(),
        };
        let mut out = Vec::new();
        encode::ack(&mut out, self.profile.version, kind, &ack);
        self.say(world, &out);
    }

    pub(super) fn acknowledge(&mut self, world: &mut World) {
        let Some((kind, id)) = self.unsent_acks.pop_front() else {
            return;
        };
        if matches!(kind, AckKind::PubAck | AckKind::PubComp) {
            self.unacknowledged.remove(&id);
        }
        self.send_ack(world, kind, id);
    }

    /// Subscribes to one to three of the filters it wants and does not have.
    pub(super) fn subscribe_some(&mut self, world: &mut World, random: &mut Random) {
        if self.request.is_some() {
            return;
        }
        let asked = world.tick();
        let mut indexes = Vec::new();
        let mut missing = self.wanted.clone();
        missing.retain(|(filter, ..)| {
            let mut known = self.subscribed.iter();
            !known.any(|s| s.is_had() && s.filter == *filter)
        });
        // One identifier belongs to all filters of a SUBSCRIBE.
        let identifier = missing.first().and_then(|(_, _, identifier)| *identifier);
        missing.truncate(1 + random.below(3));
        for (filter, mut options, _) in missing {
            let mut others = self.subscribed.iter();
            if others.any(|s| !s.is_over() && s.filter == filter) {
                // The broker may have it still: what is retained is to come all the same.
                options.retain_handling = RetainHandling::Send;
            }
            indexes.push(self.subscribed.len());
            self.subscribed.push(Subscribed {
                filter,
                options,
                identifier,
                asked,
                requested: asked,
                confirmed: None,
                unsubscribe_sent: None,
                unsubscribed: None,
                lost: None,
                is_doubted: false,
                is_denied: false,
                is_ended_by_rules: false,
            });
        }
        if !indexes.is_empty() {
            self.request = Some(Request::Subscribe(indexes));
            self.repeat_request(world);
        }
    }

    pub(super) fn unsubscribe_one(&mut self, world: &mut World, random: &mut Random) {
        let steady: Vec<usize> = (0..self.subscribed.len())
            .filter(|index| self.subscribed[*index].is_steady())
            .collect();
        if self.request.is_some() || steady.is_empty() {
            return;
        }
        let index = steady[random.below(steady.len())];
        self.subscribed[index].unsubscribe_sent = Some(world.tick());
        self.request = Some(Request::Unsubscribe(index));
        self.repeat_request(world);
    }

    /// The answer may have been lost with the connection: the request is sent again on resume.
    pub(super) fn request_again(&mut self) {
        if let Some(Request::Subscribe(indexes)) = &self.request {
            // A second SUBSCRIBE for a filter replaces the first, or is the first: as if asked now.
            for index in indexes {
                self.subscribed[*index].confirmed = None;
            }
        }
    }

    pub(super) fn repeat_request(&mut self, world: &mut World) {
        let mut out = Vec::new();
        let version = self.profile.version;
        let at = world.tick();
        if let Some(Request::Subscribe(indexes)) = &self.request {
            for index in indexes {
                self.subscribed[*index].requested = at;
            }
        }
        match &self.request {
            None => return,
            Some(Request::Subscribe(indexes)) => {
                let filters: Vec<(&str, SubscriptionOptions)> = indexes
                    .iter()
                    .map(|index| &self.subscribed[*index])
                    .map(|subscribed| (&*subscribed.filter, subscribed.options))
                    .collect();
                let identifier = self.subscribed[indexes[0]].identifier;
                let subscribe = SubscribeOut {
                    packet_id: REQUEST_ID,
                    subscription_identifier: identifier.filter(|_| version.is_v5()),
                    user_properties: UserProperties::default(),
                    filters: &filters,
                };
                world.note(|| format!("{} subscribes to {filters:?}", self.name));
                encode::subscribe(&mut out, version, &subscribe);
            }
            Some(Request::Unsubscribe(index)) => {
                let filters = [&*self.subscribed[*index].filter];
                let unsubscribe = UnsubscribeOut {
                    packet_id: REQUEST_ID,
                    user_properties: UserProperties::default(),
                    filters: &filters,
                };
                world.note(|| format!("{} unsubscribes from {filters:?}", self.name));
                encode::unsubscribe(&mut out, version, &unsubscribe);
            }
        }
        self.say(world, &out);
    }
}
