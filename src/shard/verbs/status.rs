//! Publications of the broker about itself, below `$SYS`: on the ordinary way, but no client's.

use crate::mqtt::Qos;
use crate::shard::delivery::message::Message;
use crate::shard::durable::ticket::Waiter;
use crate::shard::Shard;
use crate::time::Time;

impl Shard {
    /// Publishes topics with their values, retained. They count against no limit of retained messages, and
    /// no journal has them.
    pub fn handle_status(&mut self, values: &[(String, String)], now: Time) {
        for (topic, value) in values {
            let mut message = Message {
                qos: Qos::ExactlyOnce,
                retain: true,
                ..message_of(topic, value)
            };
            self.accept(&mut message, None, now);
        }
    }

    /// Publishes a line of the log: to those that are there, since lines can be many.
    pub fn handle_log_line(&mut self, topic: &str, line: &str, now: Time) {
        self.accept(&mut message_of(topic, line), None, now);
    }
}

/// The broker's own, not retained.
fn message_of<'a>(topic: &'a str, payload: &'a str) -> Message<'a> {
    Message {
        topic,
        shared_topic: None,
        payload: payload.as_bytes(),
        shared: None,
        properties: &[],
        qos: Qos::AtMostOnce,
        retain: false,
        expires_at: None,
        owned: None,
        serial: 0,
        waiter: Waiter::Nobody,
        needs_commit: false,
    }
}
