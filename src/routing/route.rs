//! The answer to "who gets this topic".

use std::rc::Rc;

use super::groups::GroupKey;
use crate::ids::{SessionId, ShardSet};
use crate::mqtt::Qos;

/// Everybody a topic goes to, as one shard sees it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Sessions of this shard, each once.
    pub targets: Box<[Target]>,
    /// Other shards with at least one ordinary subscriber.
    pub remote: ShardSet,
    /// Shared groups, members anywhere.
    pub groups: Box<[GroupKey]>,
}

/// One session of a route. Overlapping subscriptions are one target: one copy with the highest QoS
/// and all identifiers [MQTT-3.3.4-2], [MQTT-3.3.4-4].
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    pub session: SessionId,
    pub grant: Option<Grant>,
    /// What applies when the session is itself the publisher: subscriptions with No Local left out
    /// [MQTT-3.8.3-3].
    pub grant_if_own: Option<Grant>,
}

/// The fan-out loop walks targets in order: one fits a cache line.
const _: () = assert!(size_of::<Target>() <= 64);

/// What a subscriber is granted for a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub qos: Qos,
    pub retain_as_published: bool,
    /// Subscription identifiers of all matching subscriptions; usually empty.
    pub identifiers: Rc<[u32]>,
}
