//! Messages that are dropped: each is counted with its reason and reported.

use crate::ids::SessionId;
use crate::mutant::{is_on, Mutant};
use crate::shard::clients::Clients;
use crate::shard::{Shard, ShardConfig};
use crate::time::Time;

impl Shard {
    /// Counts and reports a QoS 0 message dropped for a client that does not read fast enough.
    #[cold]
    pub(in crate::shard) fn drop_slow_reader(&mut self, session: SessionId, count: u64, now: Time) {
        self.outbox.stats.dropped_slow_reader += count;
        self.clients.count_dropped(session, count);
        let outgoing_max = self.limits().outgoing_bytes_max;
        self.notice_of_loss(session, ("slow reader", count), now, || {
            format!(
                "QoS 0 messages dropped: the client reads too slowly, more than \
                 outgoing-bytes-max ({outgoing_max} bytes) wait for it"
            )
        });
    }

    /// Counts and reports messages dropped by the policy of a full queue.
    #[cold]
    pub(in crate::shard) fn drop_queue_full(&mut self, session: SessionId, count: u64, now: Time) {
        if !is_on(Mutant::UncountedDrop) {
            self.outbox.stats.dropped_queue_full += count;
        }
        self.clients.count_dropped(session, count);
        let text = self.clients.queue_is_full(session, &self.config);
        self.notice_of_loss(session, ("queue full", count), now, || {
            format!("messages dropped: {text}")
        });
    }

    /// Counts and reports a message larger than its receiver takes [MQTT-3.1.2-25].
    #[cold]
    pub(in crate::shard) fn drop_too_large(&mut self, session: SessionId, count: u64, now: Time) {
        self.outbox.stats.dropped_too_large += count;
        self.clients.count_dropped(session, count);
        let max = self.clients.packet_size_max_of(session);
        self.notice_of_loss(session, ("too large", count), now, || {
            format!("messages dropped: larger than the client's Maximum Packet Size ({max} bytes)")
        });
    }
}

impl Clients {
    /// How full the queue of a session is, with the limit that is reached.
    pub(in crate::shard) fn queue_is_full(
        &self,
        session: SessionId,
        config: &ShardConfig,
    ) -> String {
        let entry = self.session(session);
        let terms = config.terms_of(entry);
        let (queue_messages_max, queue_bytes_max, _) = terms.queue(&config.limits);
        let (queue, window) = (&entry.session.queue, &entry.session.window);
        if queue.len() >= queue_messages_max as usize {
            return format!(
                "the session's queue is full, queue-messages-max ({queue_messages_max}) wait"
            );
        }
        let bytes = queue.bytes() + window.bytes();
        format!(
            "the session's queue is full, {bytes} bytes wait or are on their way and the next message \
             would go beyond queue-bytes-max ({queue_bytes_max} bytes)"
        )
    }

    /// Maximum Packet Size of a session's client.
    fn packet_size_max_of(&self, session: SessionId) -> u32 {
        let id = self.session(session).session.connection;
        let connection = id.map(|id| self.connection(id));
        connection.map_or(u32::MAX, |connection| connection.packet_size_max)
    }
}
