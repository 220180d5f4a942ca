//! Places of the state in the log: the segments that are needed still, and by what.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::ticket::HeldNumber;
use crate::journal::SegmentNumber;
use crate::session::SessionKey;

/// What is written down whole, and therefore keeps the segment it lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Session(SessionKey),
    Retained(Rc<str>),
    Held(HeldNumber),
    /// The numbers of what crosses between shards.
    Crossings,
}

#[derive(Debug, Default)]
struct Place {
    live: usize,
    /// Everything that was ever written here last; some of it lies elsewhere by now. Sessions, of which there are most,
    /// by their keys alone.
    sessions: Vec<SessionKey>,
    others: Vec<Item>,
}

impl Place {
    fn push(&mut self, item: Item) {
        match item {
            Item::Session(key) => self.sessions.push(key),
            item => self.others.push(item),
        }
    }

    fn pop(&mut self) -> Option<Item> {
        let session = self.sessions.pop().map(Item::Session);
        session.or_else(|| self.others.pop())
    }
}

/// Lives on: the shard's ledger. Bounded by sessions and retained messages, and by what one segment holds.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<SegmentNumber, Place>);

impl Places {
    /// Something was written into `to`, and lay in `from` before.
    pub(super) fn moved(&mut self, item: Item, from: Option<SegmentNumber>, to: SegmentNumber) {
        if from == Some(to) {
            return;
        }
        self.left(from);
        let place = self.0.entry(to).or_default();
        place.live += 1;
        place.push(item);
    }

    /// Something that lay in `from` is no more.
    pub(super) fn left(&mut self, from: Option<SegmentNumber>) {
        if let Some(place) = from.and_then(|from| self.0.get_mut(&from)) {
            place.live -= 1;
        }
    }

    /// The oldest segment that is needed, of those before `current`, which is.
    pub(super) fn oldest_needed(&mut self, current: SegmentNumber) -> SegmentNumber {
        while let Some(first) = self.0.first_entry() {
            if first.get().live > 0 {
                return current.min(*first.key());
            }
            first.remove();
        }
        current
    }

    /// One that was [taken](Self::take_from) is not written anew yet.
    pub(super) fn put_back(&mut self, item: Item, segment: SegmentNumber) {
        self.0.entry(segment).or_default().push(item);
    }

    /// One of those that may lie in `segment`, to be written anew; it must be asked whether it still does.
    pub(super) fn take_from(&mut self, segment: SegmentNumber) -> Option<Item> {
        self.0.get_mut(&segment)?.pop()
    }
}
