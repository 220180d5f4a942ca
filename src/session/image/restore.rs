//! Session to image and back.

use std::rc::Rc;

use super::{DeliveryImage, SessionImage};
use crate::mutant::{is_on, Mutant};
use crate::session::window::Window;
use crate::session::{Delivery, Queue, QueueBounds, QueueOffer, Received, Session, Subscriptions};
use crate::time::Clocks;

impl Session {
    /// Its image, without what its shard keeps beside it: owner, rules, deadlines.
    #[must_use]
    pub fn image(&self, clocks: Clocks) -> SessionImage {
        let filters = self.subscriptions.keys();
        let mut subscriptions: Vec<_> = filters
            .filter_map(|filter| self.subscriptions.get_key_value(filter))
            .map(|(filter, record)| (Rc::clone(filter), *record))
            .collect();
        subscriptions.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let queue = self.queue.iter();
        SessionImage {
            client_id: Rc::clone(&self.client_id),
            owner: None,
            rules: None,
            expiry_interval_s: self.expiry_interval_s,
            expires_at: None,
            will: self.will.as_deref().cloned(),
            will_due: None,
            subscriptions,
            window: self.window.image(clocks),
            queue: queue.map(|one| DeliveryImage::of(one, clocks)).collect(),
            received: self.received.image(),
        }
    }

    /// A session without a connection, and how many queued messages did not fit the bounds.
    #[must_use]
    pub fn restore(
        image: SessionImage,
        hash_seed: u64,
        bounds: QueueBounds,
        clocks: Clocks,
    ) -> (Self, u64) {
        let mut held = Subscriptions::new(hash_seed);
        for (filter, record) in image.subscriptions {
            held.insert(filter, record);
        }
        let window = Window::restore(image.window, &held, clocks);
        let bounds = QueueBounds {
            bytes_max: bounds.bytes_max.saturating_sub(window.bytes()),
            ..bounds
        };
        let deliveries = image.queue.into_iter();
        let deliveries = deliveries.map(|delivery| delivery.restore(&held, clocks));
        let (queue, dropped) = queue_of(deliveries, bounds);
        let received = image.received;
        let received = match is_on(Mutant::ImageLosesReceived) {
            true => Received::default(),
            false => Received::of_lists(received.open, received.earlier),
        };
        let session = Self {
            client_id: image.client_id,
            connection: None,
            expiry_interval_s: image.expiry_interval_s,
            subscriptions: held,
            window,
            queue,
            received,
            will: image.will.map(Box::new),
        };
        (session, dropped)
    }
}

/// A queue of these deliveries in their order, within bounds that may be smaller than they were.
fn queue_of(
    deliveries: impl DoubleEndedIterator<Item = Delivery>,
    bounds: QueueBounds,
) -> (Queue, u64) {
    let (mut queue, mut dropped) = (Queue::default(), 0);
    let mut offer = |delivery| match queue.offer(delivery, &bounds) {
        QueueOffer::Queued => {}
        QueueOffer::DroppedOldest(count) => dropped += count as u64,
        QueueOffer::DroppedNewest | QueueOffer::Overflow => dropped += 1,
    };
    if is_on(Mutant::ImageReversesQueue) {
        deliveries.rev().for_each(&mut offer);
    } else {
        deliveries.for_each(&mut offer);
    }
    (queue, dropped)
}
