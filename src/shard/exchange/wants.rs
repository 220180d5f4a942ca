//! Filters: which shards here and which other nodes want a topic, with the filters' texts.
//!
//! The texts are kept once in a process, since what a dead node wanted must be taken back from the shards, which know
//! hashes only.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::ids::ShardId;
use crate::routing::{Destination, Destinations, Interest};

/// Who wants a filter.
#[derive(Clone, Copy, Debug, Default)]
struct Who {
    all: Destinations,
    durable: Destinations,
}

impl Who {
    fn of(self, places: Destinations) -> Interest {
        match self.all.meets(places) {
            true => Interest::of_some(self.durable.meets(places)),
            false => Interest::Absent,
        }
    }
}

/// What has changed by a change of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// What all shards here want together now.
    pub(super) here: Option<Interest>,
    /// Whether other nodes want it now.
    pub(super) elsewhere: Option<bool>,
}

/// Lives on: the exchange. Bounded by the subscriptions of all nodes.
#[derive(Debug)]
pub(super) struct Wants {
    filters: BTreeMap<Box<str>, Who>,
    here: Destinations,
    elsewhere: Destinations,
}

impl Wants {
    /// Shards here are numbered below `shards`, other nodes above.
    pub(super) fn new(shards: u16) -> Self {
        let set = |numbers: std::ops::Range<u16>| {
            let mut set = Destinations::EMPTY;
            numbers.for_each(|number| set.insert(ShardId(number).into()));
            set
        };
        Self {
            filters: BTreeMap::new(),
            here: set(0..shards),
            elsewhere: set(shards + 1..crate::ids::SHARDS_MAX as u16),
        }
    }

    pub(super) fn here(&self) -> Destinations {
        self.here
    }

    pub(super) fn elsewhere(&self) -> Destinations {
        self.elsewhere
    }

    pub(super) fn set(&mut self, filter: &str, who: Destination, interest: Interest) -> Changed {
        if !self.filters.contains_key(filter) {
            if interest == Interest::Absent {
                return Changed::default();
            }
            self.filters.insert(filter.into(), Who::default());
        }
        let entry = self
            .filters
            .get_mut(filter)
            .expect("it is there or was put there");
        let before = *entry;
        entry.all.remove(who);
        entry.durable.remove(who);
        if interest != Interest::Absent {
            entry.all.insert(who);
        }
        if interest == Interest::Durable {
            entry.durable.insert(who);
        }
        let now = *entry;
        if now.all.is_empty() {
            self.filters.remove(filter);
        }
        let (here, elsewhere) = (now.of(self.here), now.all.meets(self.elsewhere));
        Changed {
            here: (here != before.of(self.here)).then_some(here),
            elsewhere: (elsewhere != before.all.meets(self.elsewhere)).then_some(elsewhere),
        }
    }

    /// Filters that shards here want, behind `after`, at most so many.
    pub(super) fn piece<'a>(
        &'a self,
        after: Option<&str>,
        most: usize,
    ) -> impl Iterator<Item = (&'a str, Interest)> + 'a {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let all = self.filters.range::<str, _>((from, Bound::Unbounded));
        let here = self.here;
        all.map(move |(filter, who)| (&**filter, who.of(here)))
            .filter(|(_, interest)| *interest != Interest::Absent)
            .take(most)
    }

    /// All filters that one wants.
    pub(super) fn of(&self, who: Destination) -> Vec<Box<str>> {
        let all = self.filters.iter();
        let wanted = all.filter(|(_, entry)| entry.all.contains(who));
        wanted.map(|(filter, _)| filter.clone()).collect()
    }
}
