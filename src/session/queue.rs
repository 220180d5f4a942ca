//! Publications waiting for room in the window or for their client to return. Bounded by count and
//! by bytes.

use std::ops::Range;
use std::rc::Rc;

use super::changes::{record, Change, Recorder};
use super::chunks::Chunks;
use super::stored::{Holds, Load, StoredDelivery, Waiting};
use super::{Delivery, SessionKey};
use crate::limits::QueuePolicy;
use crate::mqtt::{Publication, Qos};

/// Result of offering a publication to a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueOffer {
    Queued,
    /// Queued; this many older ones were dropped for it.
    DroppedOldest(usize),
    DroppedNewest,
    /// The policy is to disconnect the client; the new one was dropped.
    Overflow,
}

/// Bounds of a queue as they stand when a publication is offered.
#[derive(Clone, Copy, Debug)]
pub struct QueueBounds {
    pub messages_max: usize,
    /// Bytes the queue may hold now (what is in flight is already taken off).
    pub bytes_max: usize,
    pub policy: QueuePolicy,
}

/// First in, first out: order per topic and QoS follows [MQTT-4.6.0-5].
#[derive(Debug, Default)]
pub struct Queue {
    pub(super) waiting: Chunks<Waiting>,
    bytes: usize,
    /// Of them, those whose publications are in memory.
    here_bytes: usize,
    /// It has held a QoS 0 message since it was last empty.
    holds_qos0: bool,
    /// How many have left it, wrapping.
    left: u32,
    pub(super) recorder: Option<Rc<Recorder>>,
}

impl Queue {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A QoS 0 message sent past the queue might overtake one of its topic in it.
    #[must_use]
    pub fn may_hold_qos0(&self) -> bool {
        self.holds_qos0 && !self.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of what is in memory.
    #[must_use]
    pub fn here_bytes(&self) -> usize {
        self.here_bytes
    }

    /// Adds a publication, within the bounds. An empty queue takes any one publication, so that a
    /// message larger than the byte bound is not refused permanently.
    pub fn offer(&mut self, delivery: Delivery, bounds: &QueueBounds) -> QueueOffer {
        self.offer_waiting(Waiting::Here(delivery), bounds)
    }

    pub(super) fn offer_waiting(&mut self, one: Waiting, bounds: &QueueBounds) -> QueueOffer {
        let cost = one.cost_bytes();
        let mut dropped = 0;
        while !self.waiting.is_empty()
            && (self.waiting.len() >= bounds.messages_max || self.bytes + cost > bounds.bytes_max)
        {
            match bounds.policy {
                QueuePolicy::DropOldest => {
                    self.drop_oldest();
                    dropped += 1;
                }
                QueuePolicy::DropNewest => return QueueOffer::DroppedNewest,
                QueuePolicy::Disconnect => return QueueOffer::Overflow,
                // Its publishers learn of it by and by; a message that cannot wait for that is one too many.
                QueuePolicy::Block
                    if one.qos() > Qos::AtMostOnce && self.is_excess(cost, bounds) =>
                {
                    break
                }
                QueuePolicy::Block => return QueueOffer::DroppedNewest,
            }
        }
        record(&self.recorder, || match &one {
            Waiting::Here(delivery) => Change::Queued(delivery.clone()),
            Waiting::Stored(stored) => Change::QueuedStored(stored.clone()),
        });
        self.put(one);
        if dropped == 0 {
            QueueOffer::Queued
        } else {
            QueueOffer::DroppedOldest(dropped)
        }
    }

    /// What a queue takes beyond its bounds while its publishers do not know of it: as many bytes again.
    fn is_excess(&self, cost: usize, bounds: &QueueBounds) -> bool {
        self.bytes + cost <= bounds.bytes_max.saturating_mul(2)
    }

    /// Adds a publication whatever the bounds are.
    pub(super) fn put(&mut self, mut one: Waiting) {
        if let (Waiting::Stored(stored), Some(Waiting::Stored(last))) =
            (&mut one, self.waiting.back())
        {
            stored.share_origin(last);
        }
        let cost = one.cost_bytes();
        self.bytes += cost;
        if one.delivery().is_some() {
            self.here_bytes += cost;
        }
        let is_qos0 = one.qos() == Qos::AtMostOnce;
        self.holds_qos0 = is_qos0 || self.may_hold_qos0();
        self.waiting.push_back(one);
    }

    /// Takes the oldest, if it is in memory.
    pub fn pop(&mut self) -> Option<Delivery> {
        match self.waiting.front()? {
            Waiting::Here(_) => match self.take_oldest()? {
                Waiting::Here(delivery) => {
                    if let Some(recorder) = &self.recorder {
                        recorder.record_unqueued(&delivery);
                    }
                    Some(delivery)
                }
                Waiting::Stored(_) => None,
            },
            Waiting::Stored(_) => None,
        }
    }

    /// Drops the oldest, wherever it is.
    pub(super) fn drop_oldest(&mut self) -> bool {
        let is_dropped = self.take_oldest().is_some();
        if is_dropped {
            record(&self.recorder, || Change::Unqueued);
        }
        is_dropped
    }

    /// Nothing is recorded.
    pub fn take_oldest(&mut self) -> Option<Waiting> {
        let oldest = self.waiting.pop_front()?;
        self.left = self.left.wrapping_add(1);
        let cost = oldest.cost_bytes();
        self.bytes -= cost;
        if oldest.delivery().is_some() {
            self.here_bytes -= cost;
        }
        Some(oldest)
    }

    /// Drops so many of the oldest. Nothing is recorded.
    pub fn shorten(&mut self, messages: usize) {
        for _ in 0..messages {
            if self.take_oldest().is_none() {
                return;
            }
        }
    }

    /// The number of the oldest: how many have left before it, wrapping. Those behind it have the next ones.
    #[must_use]
    pub fn first_number(&self) -> u32 {
        self.left
    }

    #[must_use]
    pub fn front(&self) -> Option<&Waiting> {
        self.waiting.front()
    }

    /// Everything that waits, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.iter()
    }

    /// What has made those with these indices the last of the queue, one after the other.
    #[must_use]
    pub fn as_changes(&self, indices: Range<usize>) -> Vec<Change> {
        let waiting = self.waiting.range(indices);
        waiting
            .map(|one| match one {
                Waiting::Here(delivery) => Change::Queued(delivery.clone()),
                Waiting::Stored(stored) => Change::QueuedStored(stored.clone()),
            })
            .collect()
    }

    /// The reverse of one of [`as_changes`](Self::as_changes); false: it is another change.
    pub fn put_recorded(&mut self, change: Change, key: SessionKey, holds: Holds<'_>) -> bool {
        let one = match change {
            Change::Queued(delivery) => Waiting::Here(delivery),
            Change::QueuedStored(mut stored) => {
                if let Some(hold) = holds(stored.place().segment) {
                    stored.keep(key, &hold);
                }
                Waiting::Stored(stored)
            }
            _ => return false,
        };
        self.put(one);
        true
    }

    /// Takes publications out of memory that the log has: all that are in front of those that are there already, and
    /// all behind them.
    pub fn store(&mut self, key: SessionKey, holds: Holds<'_>) {
        let is_stored = |one: &Waiting| one.stored().is_some();
        let first = self.waiting.iter().position(is_stored);
        let len = self.waiting.len();
        let mut from_the_end = (0..len).rev();
        let behind = from_the_end.find(|index| self.waiting.get(*index).is_some_and(is_stored));
        let ranges = match (first, behind) {
            (Some(first), Some(last)) => [0..first, last + 1..len],
            _ => [0..len, 0..0],
        };
        for range in ranges {
            let before = range.start.checked_sub(1);
            let before = before.and_then(|index| self.waiting.get(index)?.stored());
            let mut last = before.and_then(StoredDelivery::origin);
            for index in range {
                if let Some(one) = self.waiting.get_mut(index) {
                    self.here_bytes -= one.store(key, holds, &mut last);
                }
            }
        }
    }

    /// Those that `load` reads back are in memory from here on: the first ones that are not, until it has none.
    pub(super) fn load(&mut self, load: Load<'_>) -> bool {
        let Self {
            waiting,
            here_bytes,
            ..
        } = self;
        waiting.iter_mut().all(|one| one.load(load, here_bytes))
    }

    /// The same, whichever they are.
    #[cfg(test)]
    pub(super) fn load_any(&mut self, load: Load<'_>) {
        for one in self.waiting.iter_mut() {
            one.load(load, &mut self.here_bytes);
        }
    }

    /// The publication of what waits there is recorded anew.
    pub(super) fn moved(&mut self, index: u32, publication: Rc<Publication>) -> bool {
        let Some(one) = self.waiting.get_mut(index as usize) else {
            return false;
        };
        let delivery = one.with(publication);
        if one.stored().is_some() {
            self.here_bytes += one.cost_bytes();
        }
        let (before, cost) = (one.cost_bytes(), delivery.cost_bytes());
        self.bytes = self.bytes + cost - before;
        self.here_bytes = self.here_bytes + cost - before;
        *one = Waiting::Here(delivery);
        true
    }

    /// What was not in memory is there from here on.
    pub(super) fn put_at(&mut self, index: usize, delivery: Delivery, cost: usize) {
        self.here_bytes += cost;
        *self.waiting.get_mut(index).expect("it waits there") = Waiting::Here(delivery);
    }

    /// Drops what lies in segments before this one; how many those were. Nothing is recorded.
    pub(super) fn drop_before(&mut self, segment: u32) -> usize {
        let before = self.waiting.len();
        let bytes = &mut self.bytes;
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let is_kept = |one: &Waiting| {
            let is_kept = !one
                .stored()
                .is_some_and(|stored| stored.lies_before(segment));
            if !is_kept {
                *bytes -= one.cost_bytes();
            }
            is_kept
        };
        self.waiting = waiting.filter(is_kept).collect();
        before - self.waiting.len()
    }

    /// Takes one out of memory, if the log has it.
    pub fn store_one(&mut self, index: u32, key: SessionKey, holds: Holds<'_>) {
        if let Some(one) = self.waiting.get_mut(index as usize) {
            self.here_bytes -= one.store(key, holds, &mut None);
        }
    }

    /// Gives back memory for more than there is.
    pub(super) fn shrink(&mut self) {
        self.waiting.shrink_to_fit();
    }

    /// Takes out the publications of shared subscriptions for which `wanted`, in order, wherever they are.
    pub fn take_shared(&mut self, mut wanted: impl FnMut(&str) -> bool) -> Vec<Waiting> {
        let waiting = std::mem::take(&mut self.waiting);
        let mut is_wanted = |one: &Waiting| one.shared().is_some_and(|name| wanted(name));
        let mut taken = Vec::new();
        for one in waiting.into_iter() {
            match is_wanted(&one) {
                true => taken.push(one),
                false => self.waiting.push_back(one),
            }
        }
        // Those that stay keep their numbers, or get higher ones.
        self.left = self.left.wrapping_add(taken.len() as u32);
        for one in &taken {
            self.bytes -= one.cost_bytes();
            self.here_bytes -= one.delivery().map_or(0, Delivery::cost_bytes);
        }
        if let Some(recorder) = &self.recorder {
            let mut names: Vec<_> = taken.iter().filter_map(Waiting::shared).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                recorder.record(Change::HandedOn(Rc::clone(name)));
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use bytes::Bytes;

    use super::*;
    use crate::mqtt::{Hold, KeptAt, Place, Publication};

    fn delivery(text: &'static str) -> Delivery {
        Delivery {
            publication: Rc::new(Publication {
                topic: text.into(),
                payload: Bytes::new(),
                properties: Bytes::new(),
                qos: Qos::AtLeastOnce,
                retain: false,
                expires_at: None,
                kept_at: KeptAt::default(),
            }),
            qos: Qos::AtLeastOnce,
            retain: false,
            identifiers: None,
            shared: None,
        }
    }

    fn bounds(policy: QueuePolicy) -> QueueBounds {
        QueueBounds {
            messages_max: 2,
            bytes_max: 1 << 20,
            policy,
        }
    }

    #[test]
    fn each_policy_does_what_its_name_says() {
        for (policy, offer, left) in [
            (
                QueuePolicy::DropOldest,
                QueueOffer::DroppedOldest(1),
                ["b", "c"],
            ),
            (
                QueuePolicy::DropNewest,
                QueueOffer::DroppedNewest,
                ["a", "b"],
            ),
            (QueuePolicy::Disconnect, QueueOffer::Overflow, ["a", "b"]),
        ] {
            let mut queue = Queue::default();
            assert_eq!(
                queue.offer(delivery("a"), &bounds(policy)),
                QueueOffer::Queued
            );
            assert_eq!(
                queue.offer(delivery("b"), &bounds(policy)),
                QueueOffer::Queued
            );
            assert_eq!(queue.offer(delivery("c"), &bounds(policy)), offer);
            for expected in left {
                assert_eq!(&*queue.pop().unwrap().publication.topic, expected);
            }
            assert_eq!((queue.len(), queue.bytes()), (0, 0));
        }
    }

    #[test]
    fn knows_of_qos_0_until_it_is_empty() {
        let mut queue = Queue::default();
        let mut first = delivery("a");
        first.qos = Qos::AtMostOnce;
        queue.offer(first, &bounds(QueuePolicy::DropNewest));
        queue.offer(delivery("b"), &bounds(QueuePolicy::DropNewest));
        assert!(queue.may_hold_qos0());
        queue.pop();
        queue.pop();
        assert!(!queue.may_hold_qos0());
        queue.offer(delivery("c"), &bounds(QueuePolicy::DropNewest));
        assert!(!queue.may_hold_qos0());
    }

    /// Of many messages of one group, what they have in common is in memory once.
    #[test]
    fn what_is_stored_shares_how_it_came() {
        let mut queue = Queue::default();
        for n in 0..4 {
            let mut one = delivery("t");
            one.shared = Some(if n < 3 { "$share/g/t" } else { "$share/h/t" }.into());
            let place = Place {
                segment: 1,
                ..Place::default()
            };
            one.publication.kept_at.set(place);
            let bounds = QueueBounds {
                messages_max: 9,
                ..bounds(QueuePolicy::DropNewest)
            };
            queue.offer(one, &bounds);
            queue.store(SessionKey(1), &mut |segment| Some(Hold::new(segment)));
        }
        assert_eq!(queue.here_bytes(), 0);
        let origins: Vec<_> = queue
            .iter()
            .map(|one| one.stored().unwrap().origin().unwrap())
            .collect();
        let is_same: Vec<bool> = origins
            .windows(2)
            .map(|two| Rc::ptr_eq(&two[0], &two[1]))
            .collect();
        assert_eq!(is_same, [true, true, false]);
        let taken = queue.take_shared(|name| name == "$share/g/t");
        assert_eq!((taken.len(), queue.len(), queue.here_bytes()), (3, 1, 0));
        let left = queue.iter().map(Waiting::cost_bytes).sum::<usize>();
        assert_eq!(queue.bytes(), left);
    }

    #[test]
    fn bytes_bound_holds_and_one_large_message_still_fits() {
        let mut queue = Queue::default();
        let small = QueueBounds {
            messages_max: 9,
            bytes_max: 1,
            policy: QueuePolicy::DropOldest,
        };
        assert_eq!(queue.offer(delivery("a"), &small), QueueOffer::Queued);
        assert_eq!(
            queue.offer(delivery("b"), &small),
            QueueOffer::DroppedOldest(1)
        );
        assert_eq!(queue.len(), 1);
    }
}
