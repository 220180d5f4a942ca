//! Publications waiting for room in the window or for their client to return. Bounded by count and
//! by bytes.

use std::collections::VecDeque;
use std::rc::Rc;

use super::changes::{record, Change, Recorder};
use super::Delivery;
use crate::limits::QueuePolicy;
use crate::mqtt::Qos;

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
    waiting: VecDeque<Delivery>,
    bytes: usize,
    /// It has held a QoS 0 message since it was last empty.
    holds_qos0: bool,
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

    /// Adds a publication, within the bounds. An empty queue takes any one publication, so that a
    /// message larger than the byte bound is not refused permanently.
    pub fn offer(&mut self, delivery: Delivery, bounds: &QueueBounds) -> QueueOffer {
        let cost = delivery.cost_bytes();
        let mut dropped = 0;
        while !self.waiting.is_empty()
            && (self.waiting.len() >= bounds.messages_max || self.bytes + cost > bounds.bytes_max)
        {
            match bounds.policy {
                QueuePolicy::DropOldest => {
                    self.pop();
                    dropped += 1;
                }
                QueuePolicy::DropNewest => return QueueOffer::DroppedNewest,
                QueuePolicy::Disconnect => return QueueOffer::Overflow,
            }
        }
        record(&self.recorder, || Change::Queued(delivery.clone()));
        self.put(delivery);
        if dropped == 0 {
            QueueOffer::Queued
        } else {
            QueueOffer::DroppedOldest(dropped)
        }
    }

    /// Adds a publication whatever the bounds are.
    pub(super) fn put(&mut self, delivery: Delivery) {
        self.bytes += delivery.cost_bytes();
        let is_qos0 = delivery.qos == Qos::AtMostOnce;
        self.holds_qos0 = is_qos0 || self.may_hold_qos0();
        self.waiting.push_back(delivery);
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.waiting.pop_front()?;
        self.bytes -= delivery.cost_bytes();
        if let Some(recorder) = &self.recorder {
            recorder.record_unqueued(&delivery);
        }
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new(); // a quiet session holds no buffer
        }
        Some(delivery)
    }

    #[must_use]
    pub fn front(&self) -> Option<&Delivery> {
        self.waiting.front()
    }

    /// Everything that waits, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Delivery> {
        self.waiting.iter()
    }

    /// Takes out the publications of shared subscriptions for which `wanted`, in order.
    pub fn take_shared(&mut self, mut wanted: impl FnMut(&str) -> bool) -> Vec<Delivery> {
        let (taken, kept): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|delivery| delivery.shared.as_deref().is_some_and(&mut wanted));
        self.waiting = kept;
        self.bytes -= taken.iter().map(|d| d.cost_bytes()).sum::<usize>();
        if let Some(recorder) = &self.recorder {
            let mut names: Vec<_> = taken.iter().filter_map(|d| d.shared.clone()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                recorder.record(Change::HandedOn(name));
            }
        }
        taken.into()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use bytes::Bytes;

    use super::*;
    use crate::mqtt::Publication;

    fn delivery(text: &'static str) -> Delivery {
        Delivery {
            publication: Rc::new(Publication {
                topic: text.into(),
                payload: Bytes::new(),
                properties: Bytes::new(),
                qos: Qos::AtLeastOnce,
                retain: false,
                expires_at: None,
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
