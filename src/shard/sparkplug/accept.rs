//! A publication in the namespace of Sparkplug is accepted.

use std::borrow::Cow;

use crate::ids::SessionId;
use crate::mqtt::topic::TOPIC_BYTES_MAX;
use crate::mqtt::Qos;
use crate::mutant::{is_on, Mutant};
use crate::shard::delivery::message::Message;
use crate::shard::notices::About;
use crate::shard::Shard;
use crate::sparkplug::{certificate_topic, stamped, Kind, Seen, Sighting, Topic};
use crate::time::Time;

impl Shard {
    /// As any publication, and what Sparkplug asks of its server besides. False: there is no subscriber.
    #[cold]
    pub(in crate::shard) fn accept_sparkplug(
        &mut self,
        message: &mut Message<'_>,
        publisher: Option<SessionId>,
        now: Time,
    ) -> bool {
        self.outbox.stats.sparkplug_messages += 1;
        let at = self.turn.clocks.to_wall(now);
        let Some(topic) = Topic::parse(message.topic) else {
            self.outbox.stats.sparkplug_not_topic += 1;
            return self.accept_any(message, publisher, now);
        };
        let Ok(sighting) = Sighting::of(&topic, message.payload, at) else {
            self.note_not_sparkplug(message.topic, now);
            return self.accept_any(message, publisher, now);
        };
        let of_node = match &sighting.seen {
            Seen::Edge { kind, device, .. } => Some((*kind, device.is_some())),
            Seen::Host(_) | Seen::Kept { .. } => None,
        };
        let is_dead = of_node == Some((Kind::Death, false)) && !is_on(Mutant::KeepDeathTimestamp);
        let has_subscribers = match is_dead && self.config.limits.sparkplug_ndeath_timestamp {
            true => self.accept_stamped(message, at.0, publisher, now),
            false => self.accept_any(message, publisher, now),
        };
        if matches!(of_node, Some((Kind::Birth, _))) {
            self.keep_certificate(message, now);
        }
        self.report(sighting, now);
        has_subscribers
    }

    /// With the time of its delivery (tck-id-conformance-mqtt-aware-ndeath-timestamp): what a will says was
    /// written when its client connected.
    fn accept_stamped(
        &mut self,
        message: &mut Message<'_>,
        timestamp: u64,
        publisher: Option<SessionId>,
        now: Time,
    ) -> bool {
        let payload = stamped(message.payload, timestamp);
        let payload = payload.map_or(Cow::Borrowed(message.payload), Cow::Owned);
        let mut own = Message {
            payload: &payload,
            shared: None,
            owned: None,
            shared_topic: message.shared_topic.clone(),
            ..*message
        };
        let has_subscribers = self.accept_any(&mut own, publisher, now);
        message.needs_commit = own.needs_commit;
        has_subscribers
    }

    /// Retains a birth as the certificate of its node or device, with all its properties but its expiry.
    fn keep_certificate(&mut self, birth: &mut Message<'_>, now: Time) {
        let topic = certificate_topic(birth.topic);
        if topic.len() > TOPIC_BYTES_MAX || !self.config.limits.retains() {
            self.outbox.stats.retained_refused += 1;
            return;
        }
        self.outbox.stats.sparkplug_certificates += 1;
        let mut certificate = Message {
            topic: &topic,
            shared_topic: None,
            shared: birth.shared.clone(),
            qos: Qos::AtLeastOnce,
            retain: !is_on(Mutant::ForgetCertificate),
            expires_at: None,
            owned: None,
            serial: 0,
            needs_commit: false,
            ..*birth
        };
        self.accept_any(&mut certificate, None, now);
        // What acknowledges the birth promises the certificate, too.
        birth.needs_commit |= certificate.needs_commit && !is_on(Mutant::AckBeforeCertificate);
    }

    fn note_not_sparkplug(&mut self, topic: &str, now: Time) {
        self.outbox.stats.sparkplug_not_payload += 1;
        let about = About::loss("sparkplug payload", None, 1);
        self.notice(&about, now, || {
            let topic = topic.escape_debug();
            format!("sparkplug: what came to \"{topic}\" is no payload of Sparkplug: it passes as it is")
        });
    }
}
