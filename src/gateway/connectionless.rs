//! QoS -1: publications without a connection, section 6.8, where their listener takes them.
//!
//! They come in on a link of the shard that reads them, one for each listener, under a fixed user: rules apply to it.
//! Nothing is ever answered.

use super::link;
use super::peer::Terms;
use super::Gateway;
use crate::ids::{ConnectionId, ListenerId};
use crate::mqtt::{encode, topic, PublishOut, Version};
use crate::mqtt_sn::{Publish, Settings, TopicRef};
use crate::shard::{Origin, RemoteEnd, Shard};
use crate::time::Time;

/// What the client id of such a link begins with.
const CLIENT_ID: &str = "mqtt-sn-qos-minus-one";
const TERMS: Terms = Terms {
    clean: true,
    will: false,
    duration_s: 0,
};

impl Gateway {
    /// A PUBLISH at QoS -1 of an address that is no client.
    pub(super) fn publish_connectionless(
        &mut self,
        shard: &mut Shard,
        listener: ListenerId,
        publish: &Publish<'_>,
        settings: &Settings,
        now: Time,
    ) {
        let Some(user) = &settings.minus_one_user else {
            self.stats.minus_one_refused += 1;
            return;
        };
        let topic = match &publish.topic {
            TopicRef::Normal(_) => None, // it belongs to some client
            TopicRef::Predefined(id) => settings.predefined.topic_for_all(*id),
            TopicRef::Short(name) => std::str::from_utf8(name).ok(),
        };
        let Some(topic) = topic.filter(|topic| topic::is_valid_name(topic)) else {
            self.stats.unknown_topic += 1;
            return;
        };
        let link = match self.connectionless.get(&listener) {
            Some(link) => Some(*link),
            None => self.open_connectionless(shard, listener, user, settings, now),
        };
        let wants = |link: &ConnectionId| self.run.is_of(*link) || shard.wants_input(*link);
        let Some(link) = link.filter(wants) else {
            self.stats.held_back += 1;
            return;
        };
        let packet = PublishOut {
            retain: publish.retain,
            topic,
            payload_len: publish.payload.len(),
            payload: publish.payload,
            ..PublishOut::default()
        };
        self.append(shard, link, now, |out| {
            encode::publish(out, Version::V5, &packet)
        });
    }

    fn open_connectionless(
        &mut self,
        shard: &mut Shard,
        listener: ListenerId,
        user: &str,
        settings: &Settings,
        now: Time,
    ) -> Option<ConnectionId> {
        let address = RemoteEnd::Ip(([0, 0, 0, 0], 0).into()); // of all of them
        let mut origin = Origin::new(address, listener);
        origin.identity = Some(Box::new(user.into()));
        let link = shard.handle_opened(origin, now)?;
        self.peers.join_alone(link);
        self.connectionless.insert(listener, link);
        let names = (0_u32..).map(|number| format!("{CLIENT_ID}-{}-{number}", listener.0));
        let mut own = names.filter(|name| shard.home_of(name) == self.own);
        let client_id = own.next()?;
        let mut packet = Vec::new();
        link::connect(&client_id, &TERMS, None, settings.datagram_max, &mut packet);
        shard.handle_bytes(link, &packet, now);
        Some(link)
    }

    /// A link was closed by the shard: the next publication opens another one.
    pub(super) fn close_connectionless(&mut self, link: ConnectionId) {
        self.connectionless.retain(|_, own| *own != link);
    }
}
