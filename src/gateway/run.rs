//! Runs: publications at QoS 0 and -1 that come behind each other on one link, which the shard is given at once.
//!
//! Most of what a publication costs in a shard is paid once for a run, as for one that a client of MQTT has written at
//! once. A run ends with the datagrams that were received together, and before any message that is no such publication:
//! so all is handled in the order in which it came.

use super::Gateway;
use crate::ids::ConnectionId;
use crate::mqtt::Qos;
use crate::mqtt_sn::Message;
use crate::shard::Shard;
use crate::time::Time;

/// Bytes from which on a run ends.
pub(super) const RUN_MAX: usize = 32 << 10;

#[derive(Debug, Default)]
pub(super) struct Run {
    link: Option<ConnectionId>,
    /// Packets.
    bytes: Vec<u8>,
}

impl Run {
    /// It is one of this link.
    pub(super) fn is_of(&self, link: ConnectionId) -> bool {
        self.link == Some(link)
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// A message that may be part of a run.
pub(super) fn joins(message: &Message<'_>) -> bool {
    let is_plain = |qos: Option<Qos>| qos.is_none_or(|qos| qos == Qos::AtMostOnce);
    matches!(message, Message::Publish(publish) if is_plain(publish.qos))
}

impl Gateway {
    /// A packet of a link whose bytes the shard wants, or whose run this continues.
    pub(super) fn append(
        &mut self,
        shard: &mut Shard,
        link: ConnectionId,
        now: Time,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        if !self.run.is_of(link) {
            self.end_run(shard, now);
            self.run.link = Some(link);
        }
        write(&mut self.run.bytes);
        if self.run.bytes.len() >= RUN_MAX {
            self.end_run(shard, now);
        }
    }

    /// Gives the shard what is in the run.
    pub(super) fn end_run(&mut self, shard: &mut Shard, now: Time) {
        if let Some(link) = self.run.link.take() {
            shard.handle_bytes(link, &self.run.bytes, now);
            self.run.bytes.clear();
        }
    }

    /// The datagrams that were received together, or have crossed together, have all been given.
    pub fn handle_batch_end(&mut self, shard: &mut Shard, now: Time) {
        self.end_run(shard, now);
    }
}
