//! Keeping and clearing the retained message of a topic, at its home.

use crate::mqtt::Qos;
use crate::mutant::{is_on, Mutant};
use crate::routing::is_status;
use crate::shard::delivery::message::Message;
use crate::shard::notices::About;
use crate::shard::Shard;
use crate::sparkplug::is_certificate;
use crate::time::Time;

/// Expired retained messages removed when a new one comes: more than one, so that they get fewer.
const EXPIRED_SWEPT_MAX: usize = 16;

impl Shard {
    /// Keeps or clears the retained message of a topic whose home is this shard.
    pub(in crate::shard) fn retain(&mut self, message: &mut Message<'_>, now: Time) {
        if message.payload.is_empty() {
            if !is_on(Mutant::ForgetClear) {
                self.routes.retained.clear(message.topic); // [MQTT-3.3.1-6], [MQTT-3.3.1-7]
            }
            return;
        }
        let is_stale = is_on(Mutant::KeepStaleCertificate) && is_certificate(message.topic);
        if is_stale && self.routes.retained.get(message.topic).is_some() {
            return;
        }
        self.routes.retained.expire(now, EXPIRED_SWEPT_MAX);
        // At QoS 0 its publisher cannot be refused, nor is a birth for its certificate. What was accepted at another QoS is kept.
        let is_recorded = !is_status(message.topic);
        let is_refusable = message.qos == Qos::AtMostOnce || is_certificate(message.topic);
        if is_refusable && is_recorded && self.is_disk_full() {
            self.retain_not(message, "disk", "nothing more can be kept in data-dir", now);
            return;
        }
        if self.admission.pressure.memory && self.routes.retained.grows_with(&message.owned()) {
            self.retain_not(message, "memory", "memory-max is reached", now);
            return;
        }
        if self.routes.retained.set(message.owned()).is_err() {
            self.outbox.stats.retained_refused += 1;
            let (held, bytes) = (self.routes.retained.len(), self.routes.retained.bytes());
            let shards = u64::from(self.config.shards);
            let limits = self.limits();
            let (messages_max, bytes_max) = (
                crate::limits::share_of(limits.retained_messages_max, shards as u32),
                limits.retained_bytes_max / shards,
            );
            self.notice(&About::loss("retained", None, 1), now, || {
                let topic = message.topic.escape_debug();
                format!(
                    "retained message of \"{topic}\" not kept: this shard's part of \
                     retained-messages-max ({held} of {messages_max}) or of retained-bytes-max \
                     ({bytes} of {bytes_max} bytes) has no room for it"
                )
            });
        }
    }

    #[cold]
    fn retain_not(&mut self, message: &Message<'_>, short_of: &str, why: &str, now: Time) {
        self.routes.retained.clear(message.topic); // an older value must not look like the latest
        self.outbox.stats.retained_refused += 1;
        let class = format!("retained, {short_of}");
        self.notice(&About::loss(&class, None, 1), now, || {
            let topic = message.topic.escape_debug();
            format!("retained message of \"{topic}\" not kept: {why}")
        });
    }
}
