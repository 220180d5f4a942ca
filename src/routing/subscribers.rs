//! The ordinary subscriptions of one filter, by session.
//!
//! Ordered by session, so that deliveries come in the same order in every run of a seed and walk the
//! shard's sessions in the order they lie in memory.

use std::collections::BTreeMap;

use crate::ids::SessionId;
use crate::mqtt::SubscriptionOptions;

/// One ordinary subscription of a local session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub options: SubscriptionOptions,
    pub identifier: Option<u32>,
}

/// Up to this many are a plain list: a map takes 236 bytes for one. Beyond it inserting into a list would
/// cost time proportional to its length.
const FEW_MAX: usize = 16;

/// Lives on: the sessions' shard. Bounded by its sessions.
#[derive(Debug)]
pub(super) enum Subscribers {
    /// As most filters have it.
    One((SessionId, Subscription)),
    Few(Vec<(SessionId, Subscription)>),
    Many(BTreeMap<SessionId, Subscription>),
}

impl Default for Subscribers {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Subscribers {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Few(list) => list.len(),
            Self::Many(map) => map.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds or replaces; returns what was there before.
    pub(super) fn insert(
        &mut self,
        session: SessionId,
        subscription: Subscription,
    ) -> Option<Subscription> {
        match self {
            Self::One(one) if one.0 == session => Some(std::mem::replace(&mut one.1, subscription)),
            Self::One(one) => {
                let mut list = vec![*one, (session, subscription)];
                list.sort_unstable_by_key(|(id, _)| *id);
                *self = Self::Few(list);
                None
            }
            Self::Few(list) if list.is_empty() => {
                *self = Self::One((session, subscription));
                None
            }
            Self::Few(list) => match list.binary_search_by_key(&session, |(id, _)| *id) {
                Ok(at) => Some(std::mem::replace(&mut list[at].1, subscription)),
                Err(at) if list.len() < FEW_MAX => {
                    list.reserve_exact(1);
                    list.insert(at, (session, subscription));
                    None
                }
                Err(_) => {
                    let mut map: BTreeMap<_, _> = std::mem::take(list).into_iter().collect();
                    map.insert(session, subscription);
                    *self = Self::Many(map);
                    None
                }
            },
            Self::Many(map) => map.insert(session, subscription),
        }
    }

    pub(super) fn remove(&mut self, session: SessionId) -> Option<Subscription> {
        match self {
            Self::One(one) if one.0 == session => {
                let removed = one.1;
                *self = Self::default();
                Some(removed)
            }
            Self::One(_) => None,
            Self::Few(list) => {
                let at = list.binary_search_by_key(&session, |(id, _)| *id).ok()?;
                Some(list.remove(at).1)
            }
            Self::Many(map) => {
                let removed = map.remove(&session);
                // Half, so that one client coming and going does not convert each time.
                if map.len() <= FEW_MAX / 2 {
                    *self = Self::Few(std::mem::take(map).into_iter().collect());
                }
                removed
            }
        }
    }

    /// In the order of sessions.
    pub(super) fn for_each(&self, mut visit: impl FnMut(SessionId, Subscription)) {
        match self {
            Self::One((id, one)) => visit(*id, *one),
            Self::Few(list) => list.iter().for_each(|(id, one)| visit(*id, *one)),
            Self::Many(map) => map.iter().for_each(|(id, one)| visit(*id, *one)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subscription(identifier: u32) -> Subscription {
        Subscription {
            options: SubscriptionOptions::default(),
            identifier: Some(identifier),
        }
    }

    proptest! {
        #[test]
        fn list_and_map_are_one_ordered_map(
            operations in prop::collection::vec((0..40_u32, any::<bool>()), 0..200),
        ) {
            let mut subscribers = Subscribers::default();
            let mut model = BTreeMap::new();
            for (n, (index, add)) in (0..).zip(operations) {
                let session = SessionId { index, generation: 0 };
                if add {
                    let before = subscribers.insert(session, subscription(n));
                    prop_assert_eq!(before, model.insert(session, subscription(n)));
                } else {
                    prop_assert_eq!(subscribers.remove(session), model.remove(&session));
                }
                prop_assert_eq!(subscribers.len(), model.len());
                let mut all = Vec::new();
                subscribers.for_each(|id, one| all.push((id, one)));
                prop_assert!(all.into_iter().eq(model.iter().map(|(id, one)| (*id, *one))));
            }
        }
    }
}
