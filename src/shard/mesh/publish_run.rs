//! Publish runs on their way between shards.

use std::ops::Range;

use crate::mqtt::Version;

/// Plain QoS 0 packets of one topic as their publisher sent them, to be delivered by the receiving shard
/// to its own subscribers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::shard) struct PublishRun<'a> {
    pub(in crate::shard) version: Version,
    pub(in crate::shard) packets: &'a [u8],
    /// Where the topic of the first packet is.
    pub(in crate::shard) topic: Range<usize>,
    pub(in crate::shard) count: u64,
    /// Bytes of the largest packet.
    pub(in crate::shard) largest: usize,
    /// Bytes of all payloads.
    pub(in crate::shard) payloads: usize,
    /// A piece of a longer one, and not the last.
    pub(in crate::shard) has_more: bool,
}

impl<'a> PublishRun<'a> {
    pub(in crate::shard) fn topic(&self) -> &'a str {
        let topic = &self.packets[self.topic.clone()];
        std::str::from_utf8(topic).expect("text was text when it was written")
    }
}
