//! A delivery whose publication is in the log and not in memory, until it is read back.

use std::rc::Rc;

use super::{Delivery, SessionKey};
use crate::mqtt::{Hold, KeptAt, Place, Publication, Qos};

/// Finds what keeps a segment; `None`: it may be used again.
pub type Holds<'a> = &'a mut dyn FnMut(u32) -> Option<Rc<Hold>>;

/// Gives what is read back of a place, if it is there.
pub type Load<'a> = &'a mut dyn FnMut(&StoredDelivery) -> Option<Publication>;

/// See the module. What is to be decided before it is read is here; the rest of it is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDelivery {
    pub(super) hold: Rc<Hold>,
    pub(super) offset: u32,
    pub(super) bytes: u32,
    pub(super) checksum: u32,
    pub(super) terms: Terms,
    pub(super) identifiers: Option<Rc<[u32]>>,
}

/// What a delivery is charged with in memory, its QoS and RETAIN flag, in one number: so an entry of a window or queue
/// is no larger than a delivery, whichever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms(u32);

const _: () = assert!(size_of::<Waiting>() == size_of::<Delivery>());

impl Terms {
    /// `None`: no MQTT packet is so large.
    pub(super) fn new(cost: usize, qos: Qos, retain: bool) -> Option<Self> {
        let cost = u32::try_from(cost).ok().filter(|cost| cost >> 29 == 0)?;
        Some(Self(cost << 3 | u32::from(retain) << 2 | qos as u32))
    }

    pub(super) fn cost(self) -> u32 {
        self.0 >> 3
    }

    fn qos(self) -> Qos {
        match self.0 & 3 {
            0 => Qos::AtMostOnce,
            1 => Qos::AtLeastOnce,
            _ => Qos::ExactlyOnce,
        }
    }

    fn retain(self) -> bool {
        self.0 & 1 << 2 != 0
    }
}

impl StoredDelivery {
    /// `None`: it is in no log, or must stay in memory: what came by a shared subscription may be given to another
    /// member at any moment.
    pub(super) fn of(delivery: &Delivery, holds: Holds<'_>) -> Option<Self> {
        if delivery.shared.is_some() {
            return None;
        }
        let kept_at = &delivery.publication.kept_at;
        let place = kept_at.place()?;
        let hold = kept_at.hold().or_else(|| holds(place.segment))?;
        Some(Self {
            hold,
            offset: place.offset,
            bytes: place.bytes,
            checksum: place.checksum,
            terms: Terms::new(delivery.cost_bytes(), delivery.qos, delivery.retain)?,
            identifiers: delivery.identifiers.clone(),
        })
    }

    #[must_use]
    pub fn place(&self) -> Place {
        Place {
            segment: self.hold.segment(),
            offset: self.offset,
            bytes: self.bytes,
            checksum: self.checksum,
        }
    }

    /// What it is charged with, as in memory.
    pub(super) fn cost_bytes(&self) -> usize {
        self.terms.cost() as usize
    }

    pub(super) fn qos(&self) -> Qos {
        self.terms.qos()
    }

    pub(super) fn retain(&self) -> bool {
        self.terms.retain()
    }

    /// With its publication, which was read from its place.
    pub(super) fn load(&self, mut publication: Publication) -> Delivery {
        publication.kept_at = KeptAt::held(self.place(), Rc::clone(&self.hold));
        self.with(Rc::new(publication))
    }

    pub(super) fn with(&self, publication: Rc<Publication>) -> Delivery {
        Delivery {
            publication,
            qos: self.qos(),
            retain: self.retain(),
            identifiers: self.identifiers.clone(),
            shared: None,
        }
    }

    pub(super) fn lies_before(&self, segment: u32) -> bool {
        self.hold.segment() < segment
    }

    /// It lies in a log of another number of shards, and is read back from there only to be copied.
    #[must_use]
    pub fn lies_in_former(&self) -> bool {
        self.hold.former().is_some()
    }

    #[must_use]
    pub fn hold(&self) -> &Rc<Hold> {
        &self.hold
    }

    /// Its record was copied as it is, into the segment of `hold`.
    pub fn copied_to(&mut self, offset: u32, key: SessionKey, hold: &Rc<Hold>) {
        self.offset = offset;
        self.keep(key, hold);
    }

    pub fn note(&self, key: SessionKey) {
        self.hold.note(key.0);
    }

    /// From here on what it names is kept for a session.
    pub fn keep(&mut self, key: SessionKey, hold: &Rc<Hold>) {
        if !Rc::ptr_eq(&self.hold, hold) {
            self.hold = Rc::clone(hold);
        }
        self.hold.note(key.0);
    }
}

/// A delivery that waits or is in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    Here(Delivery),
    Stored(StoredDelivery),
}

impl Waiting {
    #[must_use]
    pub fn qos(&self) -> Qos {
        match self {
            Self::Here(delivery) => delivery.qos,
            Self::Stored(stored) => stored.qos(),
        }
    }

    #[must_use]
    pub fn cost_bytes(&self) -> usize {
        match self {
            Self::Here(delivery) => delivery.cost_bytes(),
            Self::Stored(stored) => stored.cost_bytes(),
        }
    }

    #[must_use]
    pub fn delivery(&self) -> Option<&Delivery> {
        match self {
            Self::Here(delivery) => Some(delivery),
            Self::Stored(_) => None,
        }
    }

    #[must_use]
    pub fn stored(&self) -> Option<&StoredDelivery> {
        match self {
            Self::Here(_) => None,
            Self::Stored(stored) => Some(stored),
        }
    }

    /// The same of another copy of its publication.
    pub(super) fn with(&self, publication: Rc<Publication>) -> Delivery {
        match self {
            Self::Here(delivery) => Delivery {
                publication,
                ..delivery.clone()
            },
            Self::Stored(stored) => stored.with(publication),
        }
    }

    /// Reads its publication back, unless it is here; false: `load` does not have it. `here` counts what is.
    pub(super) fn load(&mut self, load: Load<'_>, here: &mut usize) -> bool {
        let Self::Stored(stored) = self else {
            return true;
        };
        let Some(publication) = load(stored) else {
            return false;
        };
        *here += stored.cost_bytes();
        *self = Self::Here(stored.load(publication));
        true
    }

    /// Takes the publication out of memory, if the log has it; the bytes that are free now.
    pub(super) fn store(&mut self, key: SessionKey, holds: Holds<'_>) -> usize {
        let Self::Here(delivery) = self else {
            return 0;
        };
        let Some(stored) = StoredDelivery::of(delivery, holds) else {
            return 0;
        };
        stored.note(key);
        let cost = stored.cost_bytes();
        *self = Self::Stored(stored);
        cost
    }
}
