//! The in-flight window: publications sent to the client at QoS 1 and 2 and not yet acknowledged.
//!
//! Packet identifiers are handed out in rising order and entries stay in that order, so the entry of
//! an identifier is found by subtraction. An entry acknowledged out of order leaves a gap that is
//! removed when everything before it is acknowledged; identifiers in the window are never reused
//! [MQTT-2.2.1-4].

use std::collections::VecDeque;
use std::rc::Rc;

use super::changes::{record, Change, Recorder};
use super::stored::{Holds, Load, Origin, StoredDelivery};
use super::{Delivery, SessionKey, Waiting};
use crate::mqtt::{PacketId, Publication, Qos};
use crate::mutant::{is_on, Mutant};

/// Identifiers are 1..=65,535.
pub(super) const IDS: u32 = 65_535;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// PUBLISH sent: waits for PUBACK (QoS 1) or PUBREC (QoS 2).
    Publish(Delivery),
    /// The same, and its publication must be read back before it is sent again.
    Stored(StoredDelivery),
    /// PUBREL sent: waits for PUBCOMP. The message itself is no longer needed [MQTT-4.3.3-6]. The flag
    /// is set when its PUBLISH took send quota of this connection, to be given back then.
    Release(bool),
    Done,
}

const _: () = assert!(size_of::<Entry>() == size_of::<Delivery>());

impl Entry {
    /// See [`Waiting::store`](super::Waiting).
    fn store(&mut self, key: SessionKey, holds: Holds<'_>, last: &mut Option<Rc<Origin>>) -> usize {
        let Self::Publish(delivery) = self else {
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

    fn load(&mut self, load: Load<'_>, stored_bytes: &mut usize) -> bool {
        let Self::Stored(stored) = self else {
            return true;
        };
        let Some(publication) = load(stored) else {
            return false;
        };
        *stored_bytes -= stored.cost_bytes();
        *self = Self::Publish(stored.load(publication));
        true
    }

    fn stored_bytes(&self) -> usize {
        match self {
            Self::Stored(stored) => stored.cost_bytes(),
            _ => 0,
        }
    }

    /// Of a publication that is not acknowledged.
    fn qos(&self) -> Option<Qos> {
        match self {
            Self::Publish(delivery) => Some(delivery.qos),
            Self::Stored(stored) => Some(stored.qos()),
            Self::Release(_) | Self::Done => None,
        }
    }

    /// `$share/{name}/{filter}` of a publication that came by a shared subscription.
    fn shared(&self) -> Option<&Rc<str>> {
        match self {
            Self::Publish(delivery) => delivery.shared.as_ref(),
            Self::Stored(stored) => stored.shared(),
            Self::Release(_) | Self::Done => None,
        }
    }

    /// Of a publication that is not acknowledged.
    fn cost_bytes(&self) -> usize {
        match self {
            Self::Publish(delivery) => delivery.cost_bytes(),
            Self::Stored(stored) => stored.cost_bytes(),
            Self::Release(_) | Self::Done => 0,
        }
    }
}

/// An acknowledgement that fits nothing in flight; the answer is 0x92 where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckError;

/// What has to be sent again on session resume, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Resend<'a> {
    Publish(PacketId, &'a Delivery),
    Release(PacketId),
}

/// In-flight window of a session; the send quota in it belongs to the connection.
#[derive(Debug, Default)]
pub struct Window {
    pub(super) entries: VecDeque<Entry>,
    /// Identifier of `entries[0]`, zero-based.
    pub(super) first: u32,
    /// Entries before this index need no resending on this connection.
    pub(super) resent: usize,
    /// PUBLISH packets that may still be sent on this connection [MQTT-4.9.0-2].
    pub(super) quota: u16,
    pub(super) quota_max: u16,
    pub(super) bytes: usize,
    /// Of them, those whose publications are not in memory.
    pub(super) stored_bytes: usize,
    pub(super) recorder: Option<Rc<Recorder>>,
}

impl Window {
    /// A new connection: the quota starts afresh [MQTT-4.9.0-1] and everything unacknowledged is to
    /// be sent again [MQTT-4.4.0-1].
    pub fn start(&mut self, quota: u16) {
        if is_on(Mutant::ReusePacketId) {
            self.first = 0;
        }
        if is_on(Mutant::KeepQuotaOnResume) && !self.entries.is_empty() {
            self.resent = 0;
            return;
        }
        self.quota = quota;
        self.quota_max = quota;
        self.resent = 0;
        for entry in &mut self.entries {
            if let Entry::Release(took_quota) = entry {
                *took_quota = is_on(Mutant::WrongQuotaAfterResume);
            }
        }
    }

    /// The connection is closed: nothing may be sent.
    pub fn stop(&mut self) {
        self.quota = 0;
        self.quota_max = 0;
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of the publications in flight.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of what is in memory.
    #[must_use]
    pub fn here_bytes(&self) -> usize {
        self.bytes - self.stored_bytes
    }

    /// Entries held, acknowledged gaps included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when a new publication may be sent now: send quota is left, everything older was sent again on
    /// this connection, and an identifier is free.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.quota > 0 && self.resent == self.entries.len() && self.entries.len() < IDS as usize
    }

    /// Something has to be sent again on this connection, when the quota allows.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.resent < self.entries.len()
    }

    /// The identifier that the next [`Window::push`] gives.
    #[must_use]
    pub fn next_id(&self) -> PacketId {
        self.id_at(self.entries.len())
    }

    /// Takes a publication that is being sent; call only when [`Window::has_room`].
    pub fn push(&mut self, delivery: Delivery) -> PacketId {
        assert!(self.has_room(), "the window has no room");
        record(&self.recorder, || Change::Sent(delivery.clone()));
        self.resent += 1;
        self.quota -= 1;
        self.put(delivery)
    }

    /// Takes a publication that was sent once, on whichever connection. An identifier must be free.
    #[inline]
    pub(super) fn put(&mut self, delivery: Delivery) -> PacketId {
        let id = self.id_at(self.entries.len());
        self.bytes += delivery.cost_bytes();
        self.entries.push_back(Entry::Publish(delivery));
        id
    }

    /// The publication of what is in flight is recorded anew.
    pub(super) fn moved(&mut self, id: PacketId, publication: Rc<Publication>) -> bool {
        let Ok(index) = self.index_of(id) else {
            return false;
        };
        let entry = &mut self.entries[index];
        let delivery = match entry {
            Entry::Publish(delivery) => Delivery {
                publication,
                ..delivery.clone()
            },
            Entry::Stored(stored) => stored.with(publication),
            Entry::Release(_) | Entry::Done => return false,
        };
        self.bytes = self.bytes - entry.cost_bytes() + delivery.cost_bytes();
        self.stored_bytes -= entry.stored_bytes();
        *entry = Entry::Publish(delivery);
        true
    }

    /// The same of one that is not in memory.
    pub(super) fn put_stored(&mut self, stored: StoredDelivery) {
        self.bytes += stored.cost_bytes();
        self.stored_bytes += stored.cost_bytes();
        self.entries.push_back(Entry::Stored(stored));
    }

    /// An identifier is free.
    pub(super) fn has_identifier(&self) -> bool {
        self.entries.len() < IDS as usize
    }

    /// The next thing to send again, or `None` when all is sent or the quota is used up.
    pub fn next_resend(&mut self) -> Option<Resend<'_>> {
        while let Some(Entry::Done) = self.entries.get(self.resent) {
            self.resent += 1;
        }
        let index = self.resent;
        let id = self.id_at(index);
        match self.entries.get(index)? {
            Entry::Publish(delivery) => {
                if self.quota == 0 {
                    return None;
                }
                self.quota -= 1;
                self.resent += 1;
                Some(Resend::Publish(id, delivery))
            }
            Entry::Release(_) => {
                self.resent += 1;
                Some(Resend::Release(id))
            }
            Entry::Stored(_) | Entry::Done => None,
        }
    }

    /// What is to be sent next must be read back before.
    #[must_use]
    pub fn next_stored(&self) -> Option<&StoredDelivery> {
        let mut unsent = self.entries.range(self.resent..);
        match unsent.find(|entry| **entry != Entry::Done)? {
            Entry::Stored(stored) if self.quota > 0 => Some(stored),
            _ => None,
        }
    }

    /// PUBACK: the QoS 1 message is done.
    pub fn puback(&mut self, id: PacketId) -> Result<(), AckError> {
        self.finish(id, |entry| entry.qos() == Some(Qos::AtLeastOnce))
    }

    /// PUBREC below 0x80: the message is with the client; PUBREL is to be sent. A repeated PUBREC is
    /// answered by PUBREL again.
    pub fn pubrec(&mut self, id: PacketId) -> Result<(), AckError> {
        let index = self.index_of(id)?;
        let entry = &mut self.entries[index];
        match entry {
            Entry::Publish(delivery) if delivery.qos == Qos::ExactlyOnce => {
                self.bytes -= delivery.cost_bytes();
                *entry = Entry::Release(index < self.resent);
                record(&self.recorder, || Change::Released(id));
                Ok(())
            }
            Entry::Stored(stored) if stored.qos() == Qos::ExactlyOnce => {
                self.bytes -= stored.cost_bytes();
                self.stored_bytes -= stored.cost_bytes();
                *entry = Entry::Release(index < self.resent);
                record(&self.recorder, || Change::Released(id));
                Ok(())
            }
            Entry::Release(_) => Ok(()),
            _ => Err(AckError),
        }
    }

    /// PUBREC of 0x80 or above: the client refused, the message is done [MQTT-4.4.0-2].
    pub fn pubrec_refused(&mut self, id: PacketId) -> Result<(), AckError> {
        self.finish(id, |entry| entry.qos() == Some(Qos::ExactlyOnce))
    }

    /// PUBCOMP: the QoS 2 exchange is complete.
    pub fn pubcomp(&mut self, id: PacketId) -> Result<(), AckError> {
        self.finish(id, |entry| matches!(entry, Entry::Release(_)))
    }

    /// A publication that cannot be sent again: done, as if acknowledged.
    pub fn discard(&mut self, id: PacketId) -> Result<(), AckError> {
        self.finish(id, |_| true)
    }

    /// Publications not yet acknowledged, in order.
    pub fn publications(&self) -> impl Iterator<Item = &Delivery> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Publish(delivery) => Some(delivery),
            Entry::Stored(_) | Entry::Release(_) | Entry::Done => None,
        })
    }

    /// The same with their identifiers.
    pub fn sent(&self) -> impl Iterator<Item = (PacketId, &Delivery)> {
        let entries = self.entries.iter().enumerate();
        entries.filter_map(|(index, entry)| match entry {
            Entry::Publish(delivery) => Some((self.id_at(index), delivery)),
            Entry::Stored(_) | Entry::Release(_) | Entry::Done => None,
        })
    }

    /// The shared subscriptions by which those came that are not acknowledged, wherever they are.
    pub(super) fn shared(&self) -> impl Iterator<Item = &Rc<str>> {
        self.entries.iter().filter_map(Entry::shared)
    }

    /// Takes publications out of memory that the log has; without a connection.
    pub(super) fn store(&mut self, key: SessionKey, holds: Holds<'_>) {
        let mut last = None;
        for entry in &mut self.entries {
            self.stored_bytes += entry.store(key, holds, &mut last);
        }
    }

    /// Those that `load` reads back are in memory from here on: the first ones that are not, until it has none.
    pub(super) fn load(&mut self, load: Load<'_>) -> bool {
        let Self {
            entries,
            stored_bytes,
            ..
        } = self;
        entries
            .iter_mut()
            .all(|entry| entry.load(load, stored_bytes))
    }

    /// The same, whichever they are.
    #[cfg(test)]
    pub(super) fn load_any(&mut self, load: Load<'_>) {
        for entry in &mut self.entries {
            entry.load(load, &mut self.stored_bytes);
        }
    }

    /// What lies in segments before this one is done, as if acknowledged; how many those were. Nothing is recorded.
    pub(super) fn drop_before(&mut self, segment: u32) -> usize {
        let mut dropped = 0;
        for entry in &mut self.entries {
            if matches!(entry, Entry::Stored(stored) if stored.lies_before(segment)) {
                self.bytes -= entry.cost_bytes();
                self.stored_bytes -= entry.stored_bytes();
                *entry = Entry::Done;
                dropped += 1;
            }
        }
        self.drop_done();
        dropped
    }

    /// Takes the last one out of memory, if the log has it.
    pub fn store_last(&mut self, key: SessionKey, holds: Holds<'_>) {
        if let Some(last) = self.entries.back_mut() {
            self.stored_bytes += last.store(key, holds, &mut None);
        }
    }

    /// The same of what is in flight under this identifier.
    pub fn store_one(&mut self, id: PacketId, key: SessionKey, holds: Holds<'_>) {
        if let Ok(index) = self.index_of(id) {
            self.stored_bytes += self.entries[index].store(key, holds, &mut None);
        }
    }

    /// Takes out the shared QoS 1 publications not yet acknowledged, in order and wherever they are, for another
    /// member of their group. QoS 2 deliveries stay: once begun they are finished here [MQTT-4.8.2-4].
    pub fn take_shared(&mut self, mut wanted: impl FnMut(&str) -> bool) -> Vec<Waiting> {
        let mut taken = Vec::new();
        for index in 0..self.entries.len() {
            let entry = &mut self.entries[index];
            let is_wanted = entry.qos() == Some(Qos::AtLeastOnce)
                && entry.shared().is_some_and(|name| wanted(name));
            if !is_wanted {
                continue;
            }
            self.bytes -= entry.cost_bytes();
            self.stored_bytes -= entry.stored_bytes();
            match std::mem::replace(entry, Entry::Done) {
                Entry::Publish(delivery) => taken.push(Waiting::Here(delivery)),
                Entry::Stored(stored) => taken.push(Waiting::Stored(stored)),
                Entry::Release(_) | Entry::Done => {}
            }
            record(&self.recorder, || Change::Finished(self.id_at(index)));
        }
        self.drop_done();
        taken
    }

    /// Ends the exchange of an identifier whose entry is the `expected` one. Its place is looked up once.
    #[inline]
    fn finish(
        &mut self,
        id: PacketId,
        expected: impl FnOnce(&Entry) -> bool,
    ) -> Result<(), AckError> {
        let index = self.index_of(id)?;
        let entry = &mut self.entries[index];
        if !expected(entry) {
            return Err(AckError);
        }
        let took_quota = match std::mem::replace(entry, Entry::Done) {
            Entry::Publish(delivery) => {
                self.bytes -= delivery.cost_bytes();
                index < self.resent
            }
            Entry::Stored(stored) => {
                self.drop_stored(stored);
                index < self.resent
            }
            Entry::Release(took_quota) => took_quota,
            Entry::Done => false,
        };
        record(&self.recorder, || Change::Finished(id));
        // What was not sent on this connection gives nothing back, or more than Receive Maximum
        // messages would be open [MQTT-3.3.4-9].
        if took_quota && self.quota < self.quota_max {
            self.quota += 1;
        }
        self.drop_done();
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn drop_stored(&mut self, stored: StoredDelivery) {
        self.bytes -= stored.cost_bytes();
        self.stored_bytes -= stored.cost_bytes();
    }

    #[inline(always)]
    fn drop_done(&mut self) {
        while let Some(Entry::Done) = self.entries.front() {
            std::mem::forget(self.entries.pop_front()); // it owns nothing that would have to be looked for
            self.first = wrapped(self.first + 1);
            self.resent = self.resent.saturating_sub(1);
        }
        if self.entries.is_empty() && self.entries.capacity() > 64 {
            self.entries = VecDeque::new();
        }
    }

    /// Gives back the memory of entries that have left.
    pub fn rest(&mut self) {
        self.entries.shrink_to_fit();
    }

    #[inline]
    pub(super) fn id_at(&self, index: usize) -> PacketId {
        let zero_based = wrapped(self.first + index as u32); // at most IDS entries
        PacketId::new(zero_based as u16 + 1).expect("one-based identifiers are not zero")
    }

    #[inline]
    pub(super) fn index_of(&self, id: PacketId) -> Result<usize, AckError> {
        let zero_based = u32::from(id.get()) - 1;
        let index = wrapped(zero_based + IDS - self.first) as usize;
        if index < self.entries.len() {
            Ok(index)
        } else {
            Err(AckError)
        }
    }
}

/// The remainder by [`IDS`] of less than twice as much, without a multiplication.
#[inline]
fn wrapped(value: u32) -> u32 {
    debug_assert!(value < 2 * IDS);
    if value < IDS {
        value
    } else {
        value - IDS
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use bytes::Bytes;

    use super::*;
    use crate::mqtt::{KeptAt, Publication};

    fn delivery(qos: Qos, shared: Option<&str>) -> Delivery {
        Delivery {
            publication: Rc::new(Publication {
                topic: "t".into(),
                payload: Bytes::from_static(b"x"),
                properties: Bytes::new(),
                qos,
                retain: false,
                expires_at: None,
                kept_at: KeptAt::default(),
            }),
            qos,
            retain: false,
            identifiers: None,
            shared: shared.map(Rc::from),
        }
    }

    fn id(id: u16) -> PacketId {
        PacketId::new(id).unwrap()
    }

    #[test]
    fn acknowledging_out_of_order_never_reuses_an_identifier() {
        let mut window = Window::default();
        window.start(3);
        for expected in 1..=3 {
            assert_eq!(window.push(delivery(Qos::AtLeastOnce, None)), id(expected));
        }
        assert!(!window.has_room());
        window.puback(id(2)).unwrap();
        assert_eq!(window.push(delivery(Qos::AtLeastOnce, None)), id(4));
        assert_eq!(window.puback(id(2)), Err(AckError));
        for done in [1, 3, 4] {
            window.puback(id(done)).unwrap();
        }
        assert!(window.is_empty());
        assert_eq!(window.bytes(), 0);
    }

    #[test]
    fn identifiers_wrap_past_65535_to_1() {
        let mut window = Window::default();
        window.start(10);
        for turn in 0..70_000_u32 {
            let got = window.push(delivery(Qos::AtLeastOnce, None));
            assert_eq!(u32::from(got.get()), turn % 65_535 + 1);
            window.puback(got).unwrap();
        }
    }

    #[test]
    fn a_stuck_identifier_stops_the_window_before_it_would_be_reused() {
        let mut window = Window::default();
        window.start(2);
        window.push(delivery(Qos::AtLeastOnce, None));
        for _ in 1..65_535 {
            let next = window.push(delivery(Qos::AtLeastOnce, None));
            window.puback(next).unwrap();
        }
        assert!(!window.has_room());
        window.puback(id(1)).unwrap();
        assert!(window.has_room());
        assert_eq!(window.len(), 0);
    }

    #[test]
    fn resume_repeats_in_order_within_the_new_quota() {
        let mut window = Window::default();
        window.start(5);
        let first = window.push(delivery(Qos::ExactlyOnce, None));
        let second = window.push(delivery(Qos::AtLeastOnce, None));
        let third = window.push(delivery(Qos::AtLeastOnce, None));
        window.pubrec(first).unwrap();
        window.stop();
        window.start(1);
        assert_eq!(window.next_resend(), Some(Resend::Release(first)));
        assert!(matches!(window.next_resend(), Some(Resend::Publish(got, _)) if got == second));
        assert_eq!(window.next_resend(), None);
        assert!(!window.has_room());
        window.pubcomp(first).unwrap();
        // PUBCOMP of a PUBLISH of an earlier connection gives nothing back.
        assert_eq!(window.next_resend(), None);
        window.puback(second).unwrap();
        assert!(matches!(window.next_resend(), Some(Resend::Publish(got, _)) if got == third));
        window.puback(third).unwrap();
        assert!(window.is_empty() && window.has_room());
    }

    #[test]
    fn wrong_kinds_of_acknowledgement_are_refused() {
        let mut window = Window::default();
        window.start(5);
        let one = window.push(delivery(Qos::AtLeastOnce, None));
        let two = window.push(delivery(Qos::ExactlyOnce, None));
        assert_eq!(window.pubrec(one), Err(AckError));
        assert_eq!(window.pubcomp(two), Err(AckError));
        assert_eq!(window.puback(two), Err(AckError));
        window.pubrec(two).unwrap();
        window.pubrec(two).unwrap();
        assert_eq!(window.pubrec_refused(two), Err(AckError));
        window.pubcomp(two).unwrap();
        assert_eq!(window.puback(id(9)), Err(AckError));
    }

    #[test]
    fn only_shared_qos_1_moves_to_another_member() {
        let mut window = Window::default();
        window.start(5);
        window.push(delivery(Qos::AtLeastOnce, Some("$share/g/t")));
        window.push(delivery(Qos::ExactlyOnce, Some("$share/g/t")));
        window.push(delivery(Qos::AtLeastOnce, None));
        assert_eq!(window.take_shared(|_| true).len(), 1);
        assert_eq!(window.len(), 2);
        assert_eq!(window.puback(id(1)), Err(AckError));
    }
}
