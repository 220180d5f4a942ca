//! Places of publications in a log, where they can be read back when they are not in memory.
//!
//! Numbers here are the log's: of a segment, and bytes in it. Nothing is read here.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

/// The record of a publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// 0: none, segments count from 1.
    pub segment: u32,
    /// From the start of the segment.
    pub offset: u32,
    pub bytes: u32,
    /// Of the record's body.
    pub checksum: u32,
}

/// Keeps a segment of the log from being used again: shared by everything that is in it and nowhere else.
pub struct Hold {
    segment: u32,
    /// Of another number of shards, by the shard that had it; `None`: the shard's own log.
    former: Option<u16>,
    /// Keys of sessions with something there; they may have it no longer, and a key may come twice.
    sessions: Cell<Vec<u64>>,
}

impl Hold {
    #[must_use]
    pub fn new(segment: u32) -> Rc<Self> {
        Self::in_log(None, segment)
    }

    /// Of a log of another number of shards, by the shard that had it.
    #[must_use]
    pub fn in_log(former: Option<u16>, segment: u32) -> Rc<Self> {
        let sessions = Cell::default();
        Rc::new(Self {
            segment,
            former,
            sessions,
        })
    }

    /// The log is of another number of shards; by the shard that had it.
    #[must_use]
    pub fn former(&self) -> Option<u16> {
        self.former
    }

    #[must_use]
    pub fn segment(&self) -> u32 {
        self.segment
    }

    /// A session has something in the segment.
    pub fn note(&self, session: u64) {
        let mut sessions = self.sessions.take();
        if sessions.last() != Some(&session) {
            sessions.push(session);
        }
        self.sessions.set(sessions);
    }

    /// Sessions have other keys from here on, or are noted again.
    pub fn forget_sessions(&self) {
        self.sessions.take();
    }

    /// One of those that were noted.
    pub fn take_session(&self) -> Option<u64> {
        let mut sessions = self.sessions.take();
        let session = sessions.pop();
        self.sessions.set(sessions);
        session
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Hold({})", self.segment)
    }
}

impl PartialEq for Hold {
    fn eq(&self, other: &Self) -> bool {
        (self.former, self.segment) == (other.former, other.segment)
    }
}

impl Eq for Hold {}

/// Of a publication: where the log has it, if it has. Says nothing about what it is, so all are equal, and a copy
/// is in no log. One pointer, since most publications are in none.
#[derive(Default)]
pub struct KeptAt(Cell<Option<Box<Kept>>>);

struct Kept {
    place: Place,
    /// The log names this place for a session that has been read back.
    hold: Option<Rc<Hold>>,
}

impl KeptAt {
    /// In a segment that is there because of `hold`.
    #[must_use]
    pub fn held(place: Place, hold: Rc<Hold>) -> Self {
        let hold = Some(hold);
        Self(Cell::new(Some(Box::new(Kept { place, hold }))))
    }

    /// It is taken out while something is done with it, so no one else finds it borrowed.
    fn with<T>(&self, act: impl FnOnce(&mut Option<Box<Kept>>) -> T) -> T {
        let mut kept = self.0.take();
        let result = act(&mut kept);
        self.0.set(kept);
        result
    }

    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.with(|kept| kept.as_ref().map(|kept| kept.place))
    }

    /// It was written, and what it was held by before is not needed for it.
    pub fn set(&self, place: Place) {
        let hold = None;
        self.with(|kept| match kept {
            Some(kept) => **kept = Kept { place, hold },
            None => *kept = Some(Box::new(Kept { place, hold })),
        });
    }

    #[must_use]
    pub fn hold(&self) -> Option<Rc<Hold>> {
        self.with(|kept| kept.as_ref()?.hold.clone())
    }

    /// From here on it is in no log.
    pub fn forget(&self) {
        self.0.set(None);
    }

    /// The log has it in full wherever it names it.
    pub fn release(&self) {
        self.with(|kept| {
            if let Some(kept) = kept {
                kept.hold = None;
            }
        });
    }
}

impl Clone for KeptAt {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for KeptAt {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for KeptAt {}

impl fmt::Debug for KeptAt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place().fmt(out)
    }
}
