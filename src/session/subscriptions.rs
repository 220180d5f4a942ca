//! The subscriptions of one session, by filter.
//!
//! Most clients have a few: those are a list in the order of their filters, which takes 72 bytes for
//! one of 21 bytes (`tests/memory.rs`), where a hash table would take 192 by its layout.

use std::collections::HashMap;
use std::rc::Rc;

use super::changes::{record, Change, Recorder};
use crate::limits::{LEVEL_BYTES, SUBSCRIPTION_BYTES};
use crate::mqtt::{topic, SubscriptionOptions};

/// Up to this many are a list. Beyond it a search that compares filters costs more than a hash.
const FEW_MAX: usize = 8;

/// Bytes a subscription takes: its text in the session and in the index, and its places in both.
#[must_use]
pub fn subscription_cost(filter: &str) -> usize {
    2 * filter.len() + SUBSCRIPTION_BYTES + LEVEL_BYTES * topic::levels(filter)
}

/// One subscription of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSubscription {
    pub options: SubscriptionOptions,
    pub identifier: Option<u32>,
    /// Retained messages are still to be sent for it. Known where there is a log: the next process sends them.
    pub owes_retained: bool,
}

type Entry = (Rc<str>, SessionSubscription);
type Table = HashMap<Rc<str>, SessionSubscription, ahash::RandomState>;

#[derive(Debug)]
enum Kind {
    /// Ordered.
    Few(Vec<Entry>),
    Many(Box<Table>),
}

/// Filter as subscribed (`$share/...` included) to options and identifier. Filters are compared
/// character by character [MQTT-3.10.4-1]. Lives on: its session. Bounded by `subscriptions-max` and
/// `subscription-bytes-max`.
#[derive(Debug)]
pub struct Subscriptions {
    hash_seed: u64,
    kind: Kind,
    bytes: usize,
    pub(super) recorder: Option<Rc<Recorder>>,
}

impl Subscriptions {
    pub(super) fn new(hash_seed: u64) -> Self {
        Self {
            hash_seed,
            kind: Kind::Few(Vec::new()),
            bytes: 0,
            recorder: None,
        }
    }

    /// What they take, here and in the index (see [`subscription_cost`]).
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes all of them out, as the session ends: the filters, in no order that anything may depend on.
    pub fn take_filters(&mut self) -> Vec<Rc<str>> {
        self.bytes = 0;
        match std::mem::replace(&mut self.kind, Kind::Few(Vec::new())) {
            Kind::Few(list) => list.into_iter().map(|(filter, _)| filter).collect(),
            Kind::Many(table) => table.into_keys().collect(),
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        match &self.kind {
            Kind::Few(list) => list.len(),
            Kind::Many(table) => table.len(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A subscription and its filter as the session holds it.
    #[must_use]
    pub fn get_key_value(&self, filter: &str) -> Option<(&Rc<str>, &SessionSubscription)> {
        match &self.kind {
            Kind::Few(list) => {
                let (key, value) = &list[find(list, filter).ok()?];
                Some((key, value))
            }
            Kind::Many(table) => table.get_key_value(filter),
        }
    }

    #[must_use]
    pub fn get(&self, filter: &str) -> Option<&SessionSubscription> {
        self.get_key_value(filter).map(|(_, value)| value)
    }

    #[must_use]
    pub fn contains_key(&self, filter: &str) -> bool {
        self.get(filter).is_some()
    }

    /// Adds or replaces; returns what was there before.
    pub fn insert(
        &mut self,
        filter: Rc<str>,
        subscription: SessionSubscription,
    ) -> Option<SessionSubscription> {
        let cost = subscription_cost(&filter);
        record(&self.recorder, || {
            Change::Subscribed(Rc::clone(&filter), subscription)
        });
        let before = self.put(filter, subscription);
        if before.is_none() {
            self.bytes += cost;
        }
        before
    }

    /// All retained messages that a subscription asked for are sent.
    pub fn sent_retained(&mut self, filter: &Rc<str>) {
        let subscription = match &mut self.kind {
            Kind::Few(list) => find(list, filter).ok().map(|at| &mut list[at].1),
            Kind::Many(table) => table.get_mut(filter),
        };
        let owing = subscription.filter(|subscription| subscription.owes_retained);
        if let Some(subscription) = owing {
            subscription.owes_retained = false;
            record(&self.recorder, || Change::SentRetained(Rc::clone(filter)));
        }
    }

    fn put(
        &mut self,
        filter: Rc<str>,
        subscription: SessionSubscription,
    ) -> Option<SessionSubscription> {
        match &mut self.kind {
            Kind::Few(list) => match find(list, &filter) {
                Ok(at) => Some(std::mem::replace(&mut list[at].1, subscription)),
                Err(at) if list.len() < FEW_MAX => {
                    list.reserve_exact(1);
                    list.insert(at, (filter, subscription));
                    None
                }
                Err(_) => {
                    let hasher = ahash::RandomState::with_seeds(self.hash_seed, 4, 5, 6);
                    let mut table = Table::with_hasher(hasher);
                    table.extend(list.drain(..));
                    table.insert(filter, subscription);
                    self.kind = Kind::Many(Box::new(table));
                    None
                }
            },
            Kind::Many(table) => table.insert(filter, subscription),
        }
    }

    pub fn remove(&mut self, filter: &str) -> Option<SessionSubscription> {
        let removed = self.take(filter)?;
        self.bytes -= subscription_cost(filter);
        record(&self.recorder, || Change::Unsubscribed(filter.into()));
        Some(removed)
    }

    fn take(&mut self, filter: &str) -> Option<SessionSubscription> {
        match &mut self.kind {
            Kind::Few(list) => {
                let at = find(list, filter).ok()?;
                Some(list.remove(at).1)
            }
            Kind::Many(table) => {
                let removed = table.remove(filter);
                // Half, so that one filter coming and going does not convert each time.
                if table.len() <= FEW_MAX / 2 {
                    let mut list: Vec<Entry> = table.drain().collect();
                    list.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
                    self.kind = Kind::Few(list);
                }
                removed
            }
        }
    }

    /// The filters, in no order that anything may depend on.
    pub fn keys(&self) -> impl Iterator<Item = &Rc<str>> {
        let (few, many) = match &self.kind {
            Kind::Few(list) => (Some(list), None),
            Kind::Many(table) => (None, Some(table)),
        };
        let few = few.into_iter().flatten().map(|(filter, _)| filter);
        few.chain(many.into_iter().flat_map(|table| table.keys()))
    }
}

fn find(list: &[Entry], filter: &str) -> Result<usize, usize> {
    list.binary_search_by(|(known, _)| (**known).cmp(filter))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn subscription(identifier: u32) -> SessionSubscription {
        SessionSubscription {
            options: SubscriptionOptions::default(),
            identifier: Some(identifier),
            owes_retained: false,
        }
    }

    proptest! {
        #[test]
        fn list_and_table_are_one_map(
            operations in prop::collection::vec((0..20_u32, any::<bool>()), 0..200),
        ) {
            let mut subscriptions = Subscriptions::new(1);
            let mut model = BTreeMap::new();
            for (n, (name, add)) in (0..).zip(operations) {
                let filter: Rc<str> = format!("f/{name}").into();
                let before = if add {
                    let replaced = subscriptions.insert(Rc::clone(&filter), subscription(n));
                    prop_assert_eq!(replaced, model.insert(Rc::clone(&filter), subscription(n)));
                    Some(subscription(n))
                } else {
                    prop_assert_eq!(subscriptions.remove(&filter), model.remove(&filter));
                    None
                };
                prop_assert_eq!(subscriptions.get(&filter).copied(), before);
                prop_assert_eq!(subscriptions.len(), model.len());
                let bytes: usize = model.keys().map(|filter| subscription_cost(filter)).sum();
                prop_assert_eq!(subscriptions.bytes(), bytes);
                let mut keys: Vec<&Rc<str>> = subscriptions.keys().collect();
                keys.sort_unstable();
                prop_assert!(keys.into_iter().eq(model.keys()));
                for (filter, known) in &model {
                    let found = subscriptions.get_key_value(filter);
                    prop_assert_eq!(found, Some((filter, known)));
                }
            }
            let mut filters = subscriptions.take_filters();
            filters.sort_unstable();
            prop_assert!(filters.iter().eq(model.keys()));
            prop_assert_eq!((subscriptions.len(), subscriptions.bytes()), (0, 0));
        }
    }
}
