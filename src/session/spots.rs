//! Spots of messages in a session that lie in a segment of the log: found without a look at all that waits, which may be
//! millions.

use std::ops::Range;
use std::rc::Rc;

use super::stored::{StoredDelivery, Waiting};
use super::window::Entry;
use super::{Change, Session};
use crate::mqtt::{Hold, PacketId, Place, Publication};

/// Names the same message while others come and leave, unless messages of a shared group are taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spot {
    /// In flight.
    Sent(PacketId),
    /// In the queue, as [`Queue::first_number`](super::Queue::first_number) counts.
    Waiting(u32),
}

/// How a session has a message that the log has in some segment.
#[derive(Clone, Debug)]
pub enum Lying {
    /// It was read back, and the log still names that place for it.
    Here(Rc<Publication>),
    /// It is not in memory.
    Stored(Place),
}

fn is_segment(hold: &Hold, segment: u32) -> bool {
    hold.segment() == segment && hold.former().is_none()
}

fn here_in(publication: &Rc<Publication>, segment: u32) -> Option<Lying> {
    let hold = publication.kept_at.hold()?;
    is_segment(&hold, segment).then(|| Lying::Here(Rc::clone(publication)))
}

fn stored_in(stored: &StoredDelivery, segment: u32) -> Option<Lying> {
    is_segment(stored.hold(), segment).then(|| Lying::Stored(stored.place()))
}

impl Session {
    /// What is in flight and lies in this segment.
    pub fn sent_from(&self, segment: u32) -> impl Iterator<Item = (Spot, Lying)> + '_ {
        let entries = self.window.entries.iter().enumerate();
        entries.filter_map(move |(index, entry)| {
            let lying = match entry {
                Entry::Publish(delivery) => here_in(&delivery.publication, segment)?,
                Entry::Stored(stored) => stored_in(stored, segment)?,
                Entry::Release(_) | Entry::Done => return None,
            };
            Some((Spot::Sent(self.window.id_at(index)), lying))
        })
    }

    /// What waits and lies in this segment, by the numbers of [`Spot::Waiting`], of the messages with these indices, which
    /// must be there.
    pub fn waiting_from(
        &self,
        segment: u32,
        indices: Range<usize>,
    ) -> impl Iterator<Item = (u32, Lying)> + '_ {
        let numbers = self.queue.first_number().wrapping_add(indices.start as u32)..;
        let waiting = self.queue.waiting.range(indices);
        waiting.enumerate().filter_map(move |(index, one)| {
            let lying = match one {
                Waiting::Here(delivery) => here_in(&delivery.publication, segment)?,
                Waiting::Stored(stored) => stored_in(stored, segment)?,
            };
            let number = numbers.start.wrapping_add(index as u32);
            Some((number, lying))
        })
    }

    /// The message that is not in memory and lies there, if it is still at its spot.
    #[must_use]
    pub fn stored_at_spot(&self, spot: Spot, place: &Place) -> Option<&StoredDelivery> {
        let stored = match spot {
            Spot::Sent(id) => match &self.window.entries[self.window.index_of(id).ok()?] {
                Entry::Stored(stored) => stored,
                _ => return None,
            },
            Spot::Waiting(number) => self.queue.waiting.get(self.index_of(number))?.stored()?,
        };
        let is_it = !stored.lies_in_former() && stored.place() == *place;
        is_it.then_some(stored)
    }

    /// The same, to be changed.
    pub fn stored_at_spot_mut(&mut self, spot: Spot, place: &Place) -> Option<&mut StoredDelivery> {
        self.stored_at_spot(spot, place)?;
        match spot {
            Spot::Sent(id) => {
                let index = self.window.index_of(id).ok()?;
                match &mut self.window.entries[index] {
                    Entry::Stored(stored) => Some(stored),
                    _ => None,
                }
            }
            Spot::Waiting(number) => {
                let index = self.index_of(number);
                match self.queue.waiting.get_mut(index)? {
                    Waiting::Stored(stored) => Some(stored),
                    Waiting::Here(_) => None,
                }
            }
        }
    }

    /// What lay there is in memory from here on, and in no log.
    pub fn load_at_spot(&mut self, spot: Spot, place: &Place, publication: Rc<Publication>) {
        let Some(stored) = self.stored_at_spot(spot, place) else {
            return;
        };
        let (delivery, cost) = (stored.with(publication), stored.cost_bytes());
        match spot {
            Spot::Sent(id) => {
                if let Ok(index) = self.window.index_of(id) {
                    self.window.stored_bytes -= cost;
                    self.window.entries[index] = Entry::Publish(delivery);
                }
            }
            Spot::Waiting(number) => {
                let index = self.index_of(number);
                self.queue.put_at(index, delivery, cost);
            }
        }
    }

    fn index_of(&self, number: u32) -> usize {
        number.wrapping_sub(self.queue.first_number()) as usize
    }

    /// That the log has the publication anew; `None`: nothing is at the spot any more.
    #[must_use]
    pub fn moved_change(&self, spot: Spot, publication: Rc<Publication>) -> Option<Change> {
        Some(match spot {
            Spot::Sent(id) => {
                self.window.index_of(id).ok()?;
                Change::MovedSent(id, publication)
            }
            Spot::Waiting(number) => {
                let index = self.index_of(number);
                self.queue.waiting.get(index)?;
                Change::Moved(index as u32, publication)
            }
        })
    }
}
