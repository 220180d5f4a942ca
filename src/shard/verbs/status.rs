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
                topic,
                shared_topic: None,
                payload: value.as_bytes(),
                shared: None,
                properties: &[],
                qos: Qos::ExactlyOnce,
                retain: true,
                expires_at: None,
                owned: None,
                serial: 0,
                waiter: Waiter::Nobody,
                needs_commit: false,
            };
            self.accept(&mut message, None, now);
        }
    }
}
