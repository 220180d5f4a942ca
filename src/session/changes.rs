//! Changes of a session that outlives its connection, one by one: recorded by the methods that make them, and
//! done again by [`Session::apply`].
//!
//! [`Window`], [`Queue`], [`Received`] and [`Subscriptions`] record what they do themselves, and a change is
//! done again by the same methods, so none can be forgotten and none means something else when it is read back.
//! What belongs to the connection (send quota, what was sent again) is not recorded: it ends with it.
//!
//! [`Session::apply`]: super::Session::apply
//! [`Window`]: super::Window
//! [`Queue`]: super::Queue
//! [`Received`]: super::Received
//! [`Subscriptions`]: super::Subscriptions

use std::cell::Cell;
use std::rc::Rc;

use super::{Delivery, SessionSubscription, StoredDelivery, StoredWill};
use crate::mqtt::{PacketId, Publication};

/// Names a session in what is recorded. Counted, and never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub u64);

/// One change of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The last of the queue now.
    Queued(Delivery),
    /// The same, and its publication was recorded before, at another place of the log.
    QueuedStored(StoredDelivery),
    /// The publication of what waits there in the queue is recorded anew, and its former record is not needed.
    Moved(u32, Rc<Publication>),
    /// The same of what is in flight.
    MovedSent(PacketId, Rc<Publication>),
    /// The oldest of the queue has left it: sent at QoS 0, expired, too large, or dropped for a newer one.
    Unqueued,
    /// The oldest of the queue is in flight.
    SentOldest,
    /// In flight, without having been in the queue.
    Sent(Delivery),
    /// The exchange of an identifier is over: acknowledged, discarded, or given to another member of its group.
    Finished(PacketId),
    /// PUBREC came: PUBREL is owed in place of PUBLISH.
    Released(PacketId),
    /// What waits for this shared subscription is with another member of its group.
    HandedOn(Rc<str>),
    /// A QoS 2 publication was received.
    Received(PacketId),
    /// Its PUBREL was.
    ReceivedReleased(PacketId),
    Subscribed(Rc<str>, SessionSubscription),
    Unsubscribed(Rc<str>),
    /// The retained messages of a subscription are sent.
    SentRetained(Rc<str>),
    /// A topic id of MQTT-SN stands for this name.
    TopicId(u16, Rc<str>),
    /// A predefined one was used by its client.
    PredefinedId(u16),
    /// The will that the session of a client of MQTT-SN keeps.
    KeptWill(Option<Rc<StoredWill>>),
}

/// The changes of a shard's sessions, in their order, until they are written: its recorders write into one list.
/// Bounded by what a turn does.
#[derive(Clone, Default)]
pub struct SharedChanges(Rc<Changes>);

#[derive(Default)]
struct Changes {
    /// Taken out while something is done with it, so no one else finds it borrowed.
    list: Cell<Vec<(SessionKey, Change)>>,
    /// What left the queue with the last of them, if that is [`Change::Unqueued`].
    unqueued: Cell<Option<Delivery>>,
}

/// Changes up to which an emptied list keeps its memory.
const KEPT_MAX: usize = 4_096;

impl SharedChanges {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        let list = self.0.list.take();
        let len = list.len();
        self.0.list.set(list);
        len
    }

    /// Takes all of them out, into an empty list.
    pub fn take_into(&self, out: &mut Vec<(SessionKey, Change)>) {
        let emptied = match out.capacity() > KEPT_MAX {
            true => Vec::new(),
            false => std::mem::take(out),
        };
        self.0.unqueued.set(None);
        *out = self.0.list.replace(emptied);
    }
}

impl std::fmt::Debug for SharedChanges {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} changes", self.len())
    }
}

impl Changes {
    fn push(&self, key: SessionKey, change: Change) {
        let unqueued = self.unqueued.take();
        let mut list = self.list.take();
        if let (Change::Sent(sent), Some(unqueued)) = (&change, &unqueued) {
            let last = list.last_mut();
            if let Some((_, last)) = last.filter(|(of, _)| *of == key && is_same(sent, unqueued)) {
                *last = Change::SentOldest; // written without its payload
                self.list.set(list);
                return;
            }
        }
        list.push((key, change));
        self.list.set(list);
    }
}

fn is_same(one: &Delivery, other: &Delivery) -> bool {
    Rc::ptr_eq(&one.publication, &other.publication)
        && (one.qos, one.retain) == (other.qos, other.retain)
        && one.identifiers == other.identifiers
        && one.shared == other.shared
}

/// Records the changes of one session. Lives on: the session whose changes are written.
#[derive(Debug)]
pub struct Recorder {
    key: SessionKey,
    changes: SharedChanges,
}

impl Recorder {
    #[must_use]
    pub fn new(key: SessionKey, changes: &SharedChanges) -> Rc<Self> {
        let changes = changes.clone();
        Rc::new(Self { key, changes })
    }

    pub(super) fn record(&self, change: Change) {
        self.changes.0.push(self.key, change);
    }

    pub(super) fn record_unqueued(&self, delivery: &Delivery) {
        let changes = &self.changes.0;
        changes.push(self.key, Change::Unqueued);
        changes.unqueued.set(Some(delivery.clone()));
    }
}

/// Records what `change` gives, if there is a recorder.
#[inline(always)]
pub(super) fn record(recorder: &Option<Rc<Recorder>>, change: impl FnOnce() -> Change) {
    if let Some(recorder) = recorder {
        record_now(recorder, change);
    }
}

#[cold]
#[inline(never)]
fn record_now(recorder: &Recorder, change: impl FnOnce() -> Change) {
    recorder.record(change());
}
