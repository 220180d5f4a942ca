//! Session to image and back.

use std::rc::Rc;

use super::{SessionImage, WaitingImage};
use crate::mutant::{is_on, Mutant};
use crate::session::window::Window;
use crate::session::{Queue, QueueBounds, QueueOffer, Received, Session, Subscriptions, Waiting};
use crate::time::Clocks;

impl Session {
    /// Its image, without what its shard keeps beside it: owner, rules, deadlines.
    #[must_use]
    pub fn image(&self, clocks: Clocks) -> SessionImage {
        let queue = self.queue.iter();
        self.image_with(
            clocks,
            queue.map(|one| WaitingImage::of(one, clocks)).collect(),
        )
    }

    fn image_with(&self, clocks: Clocks, queue: Vec<WaitingImage>) -> SessionImage {
        let filters = self.subscriptions.keys();
        let mut subscriptions: Vec<_> = filters
            .filter_map(|filter| self.subscriptions.get_key_value(filter))
            .map(|(filter, record)| (Rc::clone(filter), *record))
            .collect();
        subscriptions.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
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
            queue,
            received: self.received.image(),
            sensor: self.sensor.as_deref().cloned(),
        }
    }

    /// The same without what waits.
    #[must_use]
    pub fn image_without_queue(&self, clocks: Clocks) -> SessionImage {
        self.image_with(clocks, Vec::new())
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
            sensor: image.sensor.map(Box::new),
        };
        (session, dropped)
    }
}

/// A queue of these deliveries in their order, within bounds that may be smaller than they were.
fn queue_of(
    deliveries: impl DoubleEndedIterator<Item = Waiting>,
    bounds: QueueBounds,
) -> (Queue, u64) {
    let (mut queue, mut dropped) = (Queue::default(), 0);
    let mut offer = |one| match queue.offer_waiting(one, &bounds) {
        QueueOffer::Queued => {}
        QueueOffer::DroppedOldest(count) => dropped += count as u64,
        QueueOffer::DroppedNewest | QueueOffer::Overflow => dropped += 1,
    };
    if is_on(Mutant::ImageReversesQueue) {
        deliveries.rev().for_each(&mut offer);
    } else {
        deliveries.for_each(&mut offer);
    }
    queue.shrink();
    (queue, dropped)
}
