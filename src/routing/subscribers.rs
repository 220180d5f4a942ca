//! The ordinary subscriptions of one filter, by session.
//!
//! Ordered by session, so that deliveries come in the same order in every run of a seed and walk the
//! shard's sessions in the order they lie in memory.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::destinations::Interest;
use super::route::Targets;
use crate::ids::SessionId;
use crate::mqtt::SubscriptionOptions;

/// One ordinary subscription of a local session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub options: SubscriptionOptions,
    pub identifier: Option<u32>,
    /// Its session outlives its connection.
    pub durable: bool,
}

/// Up to this many are a plain list: a map takes 236 bytes for one. Beyond it inserting into a list would
/// cost time proportional to its length.
const FEW_MAX: usize = 16;

/// Lives on: the sessions' shard. Bounded by its sessions.
#[derive(Debug, Default)]
pub(super) enum Subscribers {
    #[default]
    None,
    /// As most filters have it: in the filter's own cache line.
    One((SessionId, Subscription)),
    Several(Box<Several>),
}

const _: () = assert!(size_of::<Subscribers>() == 24);

/// Two or more.
#[derive(Debug)]
pub(super) struct Several {
    list: List,
    /// How many of them are durable.
    durable: usize,
    /// The subscribers as targets, once asked for.
    targets: OnceCell<Rc<Targets>>,
}

#[derive(Debug)]
enum List {
    Few(Vec<(SessionId, Subscription)>),
    Many(BTreeMap<SessionId, Subscription>),
}

impl Subscribers {
    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Several(several) => several.list.len(),
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    /// What this shard wants of the filter.
    #[inline]
    pub(super) fn interest(&self) -> Interest {
        match self {
            Self::None => Interest::Absent,
            Self::One((_, one)) => Interest::of_some(one.durable),
            Self::Several(several) => Interest::of_some(several.durable > 0),
        }
    }

    /// Adds or replaces; returns what was there before.
    pub(super) fn insert(
        &mut self,
        session: SessionId,
        subscription: Subscription,
    ) -> Option<Subscription> {
        match self {
            Self::None => {
                *self = Self::One((session, subscription));
                None
            }
            Self::One(one) if one.0 == session => Some(std::mem::replace(&mut one.1, subscription)),
            Self::One(one) => {
                let mut list = vec![*one, (session, subscription)];
                list.sort_unstable_by_key(|(id, _)| *id);
                *self = Self::Several(Box::new(Several {
                    durable: list.iter().filter(|(_, one)| one.durable).count(),
                    list: List::Few(list),
                    targets: OnceCell::new(),
                }));
                None
            }
            Self::Several(several) => {
                let before = several.list.insert(session, subscription);
                several.durable += usize::from(subscription.durable);
                several.durable -= usize::from(before.is_some_and(|before| before.durable));
                if before != Some(subscription) {
                    several.targets.take();
                }
                before
            }
        }
    }

    pub(super) fn remove(&mut self, session: SessionId) -> Option<Subscription> {
        match self {
            Self::One(one) if one.0 == session => {
                let removed = one.1;
                *self = Self::None;
                Some(removed)
            }
            Self::None | Self::One(_) => None,
            Self::Several(several) => {
                let removed = several.list.remove(session)?;
                several.durable -= usize::from(removed.durable);
                several.targets.take();
                if let Some(last) = several.list.only() {
                    *self = Self::One(last);
                }
                Some(removed)
            }
        }
    }

    /// In the order of sessions.
    pub(super) fn for_each(&self, mut visit: impl FnMut(SessionId, Subscription)) {
        match self {
            Self::None => {}
            Self::One((id, one)) => visit(*id, *one),
            Self::Several(several) => several.list.for_each(visit),
        }
    }

    /// The subscribers as targets, made by `make` and kept until they change; `None` when there are not
    /// two of them.
    pub(super) fn kept_targets(&self, make: impl FnOnce() -> Rc<Targets>) -> Option<&Rc<Targets>> {
        match self {
            Self::Several(several) => Some(several.targets.get_or_init(make)),
            _ => None,
        }
    }
}

impl List {
    fn len(&self) -> usize {
        match self {
            Self::Few(list) => list.len(),
            Self::Many(map) => map.len(),
        }
    }

    fn insert(&mut self, session: SessionId, subscription: Subscription) -> Option<Subscription> {
        match self {
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

    fn remove(&mut self, session: SessionId) -> Option<Subscription> {
        match self {
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

    /// The subscriber, if there is one left.
    fn only(&self) -> Option<(SessionId, Subscription)> {
        match self {
            Self::Few(list) if list.len() == 1 => Some(list[0]),
            _ => None,
        }
    }

    fn for_each(&self, mut visit: impl FnMut(SessionId, Subscription)) {
        match self {
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
            durable: identifier & 1 == 1,
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
                let most = model.values().map(|one| Interest::of_some(one.durable)).max();
                prop_assert_eq!(subscribers.interest(), most.unwrap_or(Interest::Absent));
                let mut all = Vec::new();
                subscribers.for_each(|id, one| all.push((id, one)));
                prop_assert!(all.into_iter().eq(model.iter().map(|(id, one)| (*id, *one))));
            }
        }
    }
}
