//! A delivery whose publication is in the log and not in memory, until it is read back.

use std::rc::Rc;

use super::{Delivery, SessionKey};
use crate::mqtt::{Hold, Identifiers, KeptAt, Place, Publication, Qos};

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
    pub(super) origin: Option<Rc<Origin>>,
}

/// By which subscriptions it came: consecutive messages of a queue mostly have it in common, and share it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) identifiers: Option<Identifiers>,
    /// `$share/{name}/{filter}`
    pub(super) shared: Option<Rc<str>>,
}

impl Origin {
    /// `None`: no identifiers, not shared. `last` is that of the message before it.
    pub(super) fn of(
        identifiers: Option<&Identifiers>,
        shared: Option<&Rc<str>>,
        last: &mut Option<Rc<Self>>,
    ) -> Option<Rc<Self>> {
        if identifiers.is_none() && shared.is_none() {
            return None;
        }
        let is_it = |last: &&Rc<Self>| {
            (last.identifiers.as_ref(), last.shared.as_ref()) == (identifiers, shared)
        };
        if last.as_ref().filter(is_it).is_none() {
            let (identifiers, shared) = (identifiers.cloned(), shared.cloned());
            *last = Some(Rc::new(Self {
                identifiers,
                shared,
            }));
        }
        last.clone()
    }
}

/// What a delivery is charged with in memory, its QoS and RETAIN flag, in one number: so an entry of a window or queue
/// is no larger than a delivery, whichever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms(u32);

const _: () = assert!(size_of::<Waiting>() == size_of::<Delivery>());
const _: () = assert!(
    size_of::<Waiting>() == 40,
    "queues are what most memory is for"
);

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
    /// `None`: it is in no log. `last`: see [`Origin::of`].
    pub(super) fn of(
        delivery: &Delivery,
        holds: Holds<'_>,
        last: &mut Option<Rc<Origin>>,
    ) -> Option<Self> {
        let kept_at = &delivery.publication.kept_at;
        let place = kept_at.place()?;
        let hold = kept_at.hold().or_else(|| holds(place.segment))?;
        Some(Self {
            hold,
            offset: place.offset,
            bytes: place.bytes,
            checksum: place.checksum,
            terms: Terms::new(delivery.cost_bytes(), delivery.qos, delivery.retain)?,
            origin: Origin::of(
                delivery.identifiers.as_ref(),
                delivery.shared.as_ref(),
                last,
            ),
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
            identifiers: self.identifiers().cloned(),
            shared: self.shared().cloned(),
        }
    }

    pub(super) fn identifiers(&self) -> Option<&Identifiers> {
        self.origin.as_ref()?.identifiers.as_ref()
    }

    /// `$share/{name}/{filter}` when it came by a shared subscription.
    #[must_use]
    pub fn shared(&self) -> Option<&Rc<str>> {
        self.origin.as_ref()?.shared.as_ref()
    }

    pub(super) fn origin(&self) -> Option<Rc<Origin>> {
        self.origin.clone()
    }

    /// Takes less memory where the one before it came by the same subscriptions.
    pub(super) fn share_origin(&mut self, before: &Self) {
        if self.origin == before.origin {
            self.origin.clone_from(&before.origin);
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

    /// Its publication was written once more.
    pub fn written_anew(&mut self, place: &Place, key: SessionKey, hold: &Rc<Hold>) {
        self.offset = place.offset;
        self.bytes = place.bytes;
        self.checksum = place.checksum;
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

    /// `$share/{name}/{filter}` when it came by a shared subscription.
    #[must_use]
    pub fn shared(&self) -> Option<&Rc<str>> {
        match self {
            Self::Here(delivery) => delivery.shared.as_ref(),
            Self::Stored(stored) => stored.shared(),
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

    /// Takes the publication out of memory, if the log has it; the bytes that are free now. `last`: see [`Origin::of`].
    pub(super) fn store(
        &mut self,
        key: SessionKey,
        holds: Holds<'_>,
        last: &mut Option<Rc<Origin>>,
    ) -> usize {
        let Self::Here(delivery) = self else {
            return 0;
        };
        let Some(stored) = StoredDelivery::of(delivery, holds, last) else {
            return 0;
        };
        stored.note(key);
        let cost = stored.cost_bytes();
        *self = Self::Stored(stored);
        cost
    }
}
