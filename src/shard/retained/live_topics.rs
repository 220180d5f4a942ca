//! Topics that a client was sent live while walks over retained messages are open.
//!
//! A walk leaves out a topic that came live after its subscription: the walk's copy could only be the
//! same or older. What an earlier subscription brought does not count: between the two a publication
//! may have been missed, and only the walk finds it.

use std::collections::HashMap;

use crate::ids::ShardId;
use crate::shard::durable::ticket::HeldNumber;
use crate::shard::mesh::barrier::DataSent;

/// Entries per session. Beyond them a walk may repeat an older value.
const LIVE_TOPICS_MAX: usize = 65_536;

/// Shard that a delivered publication came from, and its place in the order of what that shard sent here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum PublicationSource {
    /// Of this shard's own publishers.
    Local,
    /// The `nth` publication, from 1, that this shard had sent here.
    Peer { shard: ShardId, nth: u64 },
    /// The one that this shard holds under this number.
    Held { shard: ShardId, number: HeldNumber },
}

/// When a subscription took effect: at once here, at a peer when it applied the barrier.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) struct Since<'a> {
    /// Number of the walk; walks of a session are numbered from 1.
    pub(in crate::shard) walk: u64,
    /// What each shard had sent by then; `None` without peers.
    pub(in crate::shard) data_sent: Option<&'a DataSent>,
    /// The shard that walks.
    pub(in crate::shard) here: ShardId,
}

/// Of one order: this shard's, another's, or that of what another holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Order {
    Local,
    Peer(ShardId),
    Held(ShardId),
}

/// Topic (hashed) and order to the newest walk (local) or the place in it.
#[derive(Debug)]
pub(in crate::shard) struct LiveTopics {
    seen: HashMap<(u64, Order), u64, ahash::RandomState>,
}

impl LiveTopics {
    pub(in crate::shard) fn new(hasher: ahash::RandomState) -> Self {
        Self {
            seen: HashMap::with_hasher(hasher),
        }
    }

    /// A retained publication was delivered live; `newest_walk` is the newest of the session.
    pub(in crate::shard) fn saw(
        &mut self,
        topic_hash: u64,
        origin: PublicationSource,
        newest_walk: u64,
    ) {
        if self.seen.len() >= LIVE_TOPICS_MAX {
            return;
        }
        let (order, at) = match origin {
            PublicationSource::Local => (Order::Local, newest_walk),
            PublicationSource::Peer { shard, nth } => (Order::Peer(shard), nth),
            PublicationSource::Held { shard, number } => (Order::Held(shard), number.0),
        };
        self.seen.insert((topic_hash, order), at);
    }

    /// True when the topic was delivered by a publication accepted after the subscription.
    pub(in crate::shard) fn came_since(&self, topic_hash: u64, since: &Since<'_>) -> bool {
        if self.seen.is_empty() {
            return false;
        }
        let local = self.seen.get(&(topic_hash, Order::Local));
        if local.is_some_and(|walk| *walk >= since.walk) {
            return true;
        }
        let shards = since.data_sent.map_or(0, Vec::len);
        let peers = since
            .data_sent
            .into_iter()
            .flatten()
            .zip((0..).map(ShardId));
        peers.into_iter().any(|(sent_to, shard)| {
            let came = |order, at: usize| {
                let before = sent_to.get(at).copied().unwrap_or(0);
                let seen = self.seen.get(&(topic_hash, order));
                seen.is_some_and(|nth| *nth > before)
            };
            let here = since.here.index();
            came(Order::Peer(shard), here) || came(Order::Held(shard), shards + here)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_accepted_after_the_subscription_counts() {
        let mut live = LiveTopics::new(ahash::RandomState::with_seeds(1, 2, 3, 4));
        let peer = |nth| PublicationSource::Peer {
            shard: ShardId(1),
            nth,
        };
        let data_sent: DataSent = vec![[0, 0].into(), [5, 0].into()];
        let since = |walk| Since {
            walk,
            data_sent: Some(&data_sent),
            here: ShardId(0),
        };
        live.saw(7, peer(5), 1);
        assert!(!live.came_since(7, &since(1)), "sent before the barrier");
        live.saw(7, peer(6), 1);
        assert!(live.came_since(7, &since(1)), "sent after it");
        assert!(!live.came_since(8, &since(1)), "another topic");
        live.saw(8, PublicationSource::Local, 1);
        assert!(live.came_since(8, &since(1)), "here");
        assert!(
            !live.came_since(8, &since(2)),
            "before the second SUBSCRIBE"
        );
    }
}
