//! Destinations: where a publication goes besides the sessions of its shard, and how lasting interest is.

use crate::ids::{ShardId, SHARDS_MAX};

/// One place that has subscribers of its own. Code that sends to one matches on it, so that another kind does
/// not compile before its way there exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    Shard(ShardId),
}

impl Destination {
    /// Its place in a set, and its name in an entry of [`Interests`](super::interests::Interests).
    #[inline]
    pub(super) fn number(self) -> u16 {
        let Self::Shard(shard) = self;
        shard.0
    }

    #[inline]
    pub(super) fn of_number(number: u16) -> Self {
        Self::Shard(ShardId(number))
    }
}

impl From<ShardId> for Destination {
    #[inline]
    fn from(shard: ShardId) -> Self {
        Self::Shard(shard)
    }
}

/// A set of destinations. Its form is private to this file: two machine words now, copied in routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Destinations(u128);

const _: () = assert!(SHARDS_MAX == u128::BITS as usize, "each has a bit");

impl Destinations {
    pub const EMPTY: Self = Self(0);

    #[inline]
    pub fn insert(&mut self, destination: Destination) {
        self.0 |= 1 << destination.number();
    }

    #[inline]
    pub fn remove(&mut self, destination: Destination) {
        self.0 &= !(1 << destination.number());
    }

    #[inline]
    #[must_use]
    pub fn contains(self, destination: Destination) -> bool {
        self.0 >> destination.number() & 1 == 1
    }

    #[inline]
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline]
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Some are in both.
    #[inline]
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Those that are in both.
    #[inline]
    #[must_use]
    pub fn within(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// In the order of their numbers.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = Destination> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            (rest != 0).then(|| {
                let lowest = rest.trailing_zeros();
                rest &= rest - 1;
                Destination::of_number(lowest as u16)
            })
        })
    }
}

/// What the sessions of one place want of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Interest {
    /// Nothing: no ordinary subscription.
    Absent,
    /// Only of sessions that end with their connection.
    Transient,
    /// Also of a session that outlives its connection: it must not miss what was acknowledged.
    Durable,
}

impl Interest {
    /// Of a place that has subscribers.
    #[must_use]
    pub fn of_some(durable: bool) -> Self {
        match durable {
            true => Self::Durable,
            false => Self::Transient,
        }
    }
}

/// Where there are subscribers, and where there are durable ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Interested {
    pub(super) all: Destinations,
    pub(super) durable: Destinations,
}

impl Interested {
    #[inline]
    pub(super) fn insert(&mut self, destination: Destination, durable: bool) {
        self.all.insert(destination);
        if durable {
            self.durable.insert(destination);
        }
    }

    #[inline]
    pub(super) fn add_all(&mut self, other: Self) {
        self.all = self.all.union(other.all);
        self.durable = self.durable.union(other.durable);
    }

    pub(super) fn of(&self, destination: Destination) -> Interest {
        match self.all.contains(destination) {
            true => Interest::of_some(self.durable.contains(destination)),
            false => Interest::Absent,
        }
    }

    pub(super) fn set(&mut self, destination: Destination, interest: Interest) {
        self.all.remove(destination);
        self.durable.remove(destination);
        if interest > Interest::Absent {
            self.insert(destination, interest == Interest::Durable);
        }
    }
}
