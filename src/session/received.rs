//! Identifiers of QoS 2 publications received and not yet released: the receiver's half of exactly
//! once.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use super::changes::{record, Change, Recorder};
use crate::mqtt::PacketId;

/// Entries up to which an empty list keeps its memory.
const KEPT_MAX: usize = 64;

/// At most 65,535 identifiers; for v5 never more of one connection than the announced Receive Maximum.
#[derive(Debug, Default)]
pub struct Received {
    /// Since the first of its connection: most clients publish nothing at QoS 2.
    ids: Option<Box<Ids>>,
    pub(super) recorder: Option<Rc<Recorder>>,
}

#[derive(Debug, Default)]
struct Ids {
    /// Of PUBLISH packets of the present connection.
    present: RisingIds,
    /// Of earlier connections: they take none of the client's present send quota [MQTT-4.9.0-1].
    earlier: BTreeSet<u16>,
}

impl Received {
    /// A new connection: the client's send quota starts afresh.
    pub fn start(&mut self) {
        if let Some(ids) = &mut self.ids {
            ids.earlier.extend(std::mem::take(&mut ids.present).0);
        }
        self.ids.take_if(|ids| ids.earlier.is_empty());
    }

    /// A list of the present connection and of earlier ones, each rising.
    pub(super) fn lists(
        &self,
    ) -> (
        impl Iterator<Item = u16> + '_,
        impl Iterator<Item = u16> + '_,
    ) {
        let ids = self.ids.as_deref().into_iter();
        (
            ids.clone().flat_map(|ids| ids.present.0.iter().copied()),
            ids.flat_map(|ids| ids.earlier.iter().copied()),
        )
    }

    /// Of rising lists, as [`Received::lists`] gives them.
    pub(super) fn of_lists(open: Vec<u16>, earlier: Vec<u16>) -> Self {
        let is_empty = open.is_empty() && earlier.is_empty();
        let ids = || Ids {
            present: RisingIds(open.into()),
            earlier: earlier.into_iter().collect(),
        };
        Self {
            ids: (!is_empty).then(|| Box::new(ids())),
            recorder: None,
        }
    }

    /// True when the identifier is new; a repeat is acknowledged but not delivered
    /// [MQTT-4.3.3-10].
    pub fn insert(&mut self, id: PacketId) -> bool {
        let ids = self.ids.get_or_insert_default();
        let is_repeat = !ids.earlier.is_empty() && ids.earlier.remove(&id.get());
        let is_new = ids.present.insert(id.get()) && !is_repeat;
        if is_new {
            record(&self.recorder, || Change::Received(id));
        }
        is_new
    }

    #[must_use]
    pub fn contains(&self, id: PacketId) -> bool {
        let is_here = |ids: &Ids| ids.present.contains(id.get()) || ids.earlier.contains(&id.get());
        self.ids.as_deref().is_some_and(is_here)
    }

    /// Published on the present connection and not yet released.
    #[must_use]
    pub fn is_open(&self, id: PacketId) -> bool {
        let ids = self.ids.as_deref();
        ids.is_some_and(|ids| ids.present.contains(id.get()))
    }

    /// How many are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.ids.as_deref().map_or(0, |ids| ids.present.0.len())
    }

    /// PUBREL: after PUBCOMP the identifier is a new message [MQTT-4.3.3-12]. `None`: it was unknown.
    pub fn release(&mut self, id: PacketId) -> Option<Released> {
        let ids = self.ids.as_deref_mut()?;
        let released = if ids.present.remove(id.get()) {
            Some(Released::Open)
        } else {
            let is_earlier = ids.earlier.remove(&id.get());
            is_earlier.then_some(Released::Earlier)
        };
        if released.is_some() {
            record(&self.recorder, || Change::ReceivedReleased(id));
        }
        released
    }

    #[must_use]
    pub fn len(&self) -> usize {
        let ids = self.ids.as_deref();
        ids.map_or(0, |ids| ids.present.0.len() + ids.earlier.len())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What was released by a PUBREL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// Published on the present connection: its PUBCOMP gives quota back.
    Open,
    /// Published on an earlier one.
    Earlier,
}

/// Identifiers in rising order. Clients use them in that order and release the oldest first, which is at
/// the ends of this list; elsewhere at most half of it is moved, 64 KiB.
#[derive(Debug, Default)]
struct RisingIds(VecDeque<u16>);

impl RisingIds {
    /// True when it is new.
    fn insert(&mut self, id: u16) -> bool {
        if self.0.back().is_none_or(|last| *last < id) {
            self.0.push_back(id);
            return true;
        }
        match self.0.binary_search(&id) {
            Ok(_) => false,
            Err(at) => {
                self.0.insert(at, id);
                true
            }
        }
    }

    fn contains(&self, id: u16) -> bool {
        self.0.binary_search(&id).is_ok()
    }

    /// True when it was there.
    fn remove(&mut self, id: u16) -> bool {
        if self.0.front() == Some(&id) {
            self.0.pop_front();
        } else {
            let Ok(at) = self.0.binary_search(&id) else {
                return false;
            };
            self.0.remove(at);
        }
        if self.0.is_empty() && self.0.capacity() > KEPT_MAX {
            self.0 = VecDeque::new();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_published_before_a_reconnect_takes_no_quota() {
        let id = |id| PacketId::new(id).unwrap();
        let mut received = Received::default();
        assert!(received.insert(id(65_535)) && received.insert(id(1)));
        assert!(!received.insert(id(1)), "a repeat");
        received.start();
        assert_eq!((received.open(), received.len()), (0, 2));
        assert!(!received.insert(id(1)), "a repeat on another connection");
        assert_eq!((received.open(), received.len()), (1, 2));
        assert_eq!(received.release(id(1)), Some(Released::Open));
        assert_eq!(received.release(id(65_535)), Some(Released::Earlier));
        assert_eq!(received.release(id(65_535)), None);
        assert!(received.is_empty());
    }

    proptest! {
        #[test]
        fn rising_ids_are_a_set(operations in prop::collection::vec((0..3_u8, 1..40_u16), 1..300)) {
            let mut ids = RisingIds::default();
            let mut set = BTreeSet::new();
            for (operation, id) in operations {
                match operation {
                    0 => prop_assert_eq!(ids.insert(id), set.insert(id)),
                    1 => prop_assert_eq!(ids.remove(id), set.remove(&id)),
                    _ => prop_assert_eq!(ids.contains(id), set.contains(&id)),
                }
                prop_assert!(ids.0.iter().eq(&set));
            }
        }
    }
}
