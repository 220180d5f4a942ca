//! Doing again what was recorded of a session.

use std::rc::Rc;

use super::changes::{Change, Recorder};
use super::{Session, Waiting};
use crate::mqtt::Qos;

/// A change that cannot have been one of this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it fits nothing in the session: {0}")]
pub struct ApplyError(pub &'static str);

impl Session {
    /// From here on its changes are recorded, or, without a recorder, no longer.
    pub fn record_by(&mut self, recorder: Option<Rc<Recorder>>) {
        self.window.recorder = recorder.clone();
        self.queue.recorder = recorder.clone();
        self.received.recorder = recorder.clone();
        self.subscriptions.recorder = recorder;
    }

    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.window.recorder.is_some()
    }

    /// It has no connection, and nothing is left of its last one.
    pub fn forget_connection(&mut self) {
        self.window.start(0);
        self.window.stop();
        self.received.start();
        self.connection = None;
    }

    /// Does a recorded change again.
    ///
    /// # Errors
    /// The session does not have what the change is about; nothing has changed then.
    pub fn apply(&mut self, change: Change) -> Result<(), ApplyError> {
        let of = |is_known: bool, what| is_known.then_some(()).ok_or(ApplyError(what));
        match change {
            Change::Queued(delivery) => self.queue.put(Waiting::Here(delivery)),
            Change::QueuedStored(stored) => self.queue.put(Waiting::Stored(stored)),
            Change::Moved(index, publication) => {
                let is_there = self.queue.moved(index, publication);
                return of(is_there, "a message queued");
            }
            Change::MovedSent(id, publication) => {
                let is_there = self.window.moved(id, publication);
                return of(is_there, "a message sent");
            }
            Change::Unqueued => return of(self.queue.drop_oldest(), "a message queued"),
            Change::SentOldest => {
                of(self.window.has_identifier(), "an identifier")?;
                let is_acknowledged = |oldest: &Waiting| oldest.qos() > Qos::AtMostOnce;
                let is_there = self.queue.front().is_some_and(is_acknowledged);
                of(is_there, "a message queued")?;
                match self.queue.take_oldest() {
                    Some(Waiting::Here(delivery)) => drop(self.window.put(delivery)),
                    Some(Waiting::Stored(stored)) => self.window.put_stored(stored),
                    None => {}
                }
            }
            Change::Sent(delivery) => {
                of(self.window.has_identifier(), "an identifier")?;
                self.window.put(delivery);
            }
            Change::Finished(id) => return of(self.window.discard(id).is_ok(), "a message sent"),
            Change::Released(id) => return of(self.window.pubrec(id).is_ok(), "a message sent"),
            Change::HandedOn(name) => {
                self.queue.take_shared(|shared| *shared == *name);
            }
            Change::Received(id) => {
                self.received.insert(id);
            }
            Change::ReceivedReleased(id) => {
                return of(self.received.release(id).is_some(), "a message received");
            }
            Change::Subscribed(filter, record) => {
                self.subscriptions.insert(filter, record);
            }
            Change::TopicId(id, name) => self.give_topic_id(id, &name),
            Change::PredefinedId(id) => self.use_predefined_id(id),
            Change::KeptWill(will) => self.keep_will(will.map(Rc::unwrap_or_clone)),
            Change::SentRetained(filter) => self.subscriptions.sent_retained(&filter),
            Change::Unsubscribed(filter) => {
                return of(
                    self.subscriptions.remove(&filter).is_some(),
                    "a subscription",
                );
            }
        }
        Ok(())
    }
}
