//! Packet identifiers in use, and what is needed to send their messages again.

use std::collections::VecDeque;

use crate::payload::Header;

/// A PUBLISH of QoS 1 or 2 that is not done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    pub header: Header,
    /// When it should have been sent.
    pub intended_ns: u64,
    /// When it, or its PUBREL, was sent.
    pub sent_ns: u64,
    /// Its topic, by place.
    pub topic: u32,
    pub payload_bytes: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    message: Message,
    /// PUBREC has come: PUBREL is due [MQTT-4.3.3-7].
    is_received: bool,
    /// Its answer has not come in time.
    is_late: bool,
}

/// What is to be sent again for an identifier when a session is resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    Publish(Message),
    PubRel,
}

/// Packet identifiers in use.
#[derive(Default)]
pub struct InFlight {
    /// By identifier; place 0 is never used.
    entries: Vec<Option<Entry>>,
    free: Vec<u16>,
    count: u16,
    /// Not sent on this connection yet, in the order of the first sending [MQTT-4.6.0-1].
    again: VecDeque<u16>,
}

impl InFlight {
    #[must_use]
    #[inline]
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Identifiers that wait to be sent again.
    #[must_use]
    #[inline]
    pub fn again_count(&self) -> usize {
        self.again.len()
    }

    /// Takes an identifier. There is one: the window is at most 65,535.
    pub fn begin(&mut self, message: Message) -> u16 {
        let id = self.free.pop().unwrap_or_else(|| {
            if self.entries.is_empty() {
                self.entries.push(None); // identifier 0 does not exist
            }
            self.entries.push(None);
            (self.entries.len() - 1) as u16
        });
        self.entries[usize::from(id)] = Some(Entry {
            message,
            is_received: false,
            is_late: false,
        });
        self.count += 1;
        id
    }

    /// PUBREC has come, and PUBREL is sent.
    pub fn received(&mut self, id: u16, now_ns: u64) {
        if let Some(Some(entry)) = self.entries.get_mut(usize::from(id)) {
            entry.is_received = true;
            entry.message.sent_ns = now_ns;
        }
    }

    /// Ends one; its intended send time, or `None` when it was not in flight.
    pub fn end(&mut self, id: u16) -> Option<u64> {
        let entry = self.entries.get_mut(usize::from(id))?.take()?;
        self.free.push(id);
        self.count -= 1;
        Some(entry.message.intended_ns)
    }

    /// How many sent before `sent_ns` have had no answer, of PUBLISH and of PUBREL. Each counts once.
    pub fn late(&mut self, sent_ns: u64) -> (u64, u64) {
        let (mut publish, mut pubrel) = (0, 0);
        for entry in self.entries.iter_mut().flatten() {
            if !entry.is_late && entry.message.sent_ns <= sent_ns {
                entry.is_late = true;
                publish += u64::from(!entry.is_received);
                pubrel += u64::from(entry.is_received);
            }
        }
        (publish, pubrel)
    }

    /// Intended send times of all that have had no answer.
    pub fn intended(&self) -> impl Iterator<Item = u64> + '_ {
        let entries = self.entries.iter().flatten();
        entries.map(|entry| entry.message.intended_ns)
    }

    /// The session is resumed: everything in flight is to be sent again [MQTT-4.4.0-1].
    pub fn resume(&mut self) {
        let entries = self.entries.iter().zip(0..);
        let mut all: Vec<(u64, u64, u16)> = entries
            .filter_map(|(entry, id)| {
                let message = entry.as_ref()?.message;
                Some((message.intended_ns, message.header.sequence, id))
            })
            .collect();
        all.sort_unstable();
        self.again = all.into_iter().map(|(_, _, id)| id).collect();
    }

    /// The next to send again.
    #[must_use]
    pub fn next_again(&mut self, now_ns: u64) -> Option<(u16, Again)> {
        while let Some(id) = self.again.pop_front() {
            if let Some(Some(entry)) = self.entries.get_mut(usize::from(id)) {
                entry.message.sent_ns = now_ns;
                let again = if entry.is_received {
                    Again::PubRel
                } else {
                    Again::Publish(entry.message)
                };
                return Some((id, again));
            }
        }
        None
    }

    /// The session is lost: the fate of what was in flight is unknown. How many messages that were.
    pub fn abandon(&mut self) -> u64 {
        std::mem::take(self).count.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sequence: u64) -> Message {
        Message {
            header: Header::new(1, sequence, 100 + sequence),
            intended_ns: 100 + sequence,
            sent_ns: 7,
            topic: 0,
            payload_bytes: 16,
        }
    }

    #[test]
    fn all_in_flight_is_sent_again_in_order() {
        let mut own = InFlight::default();
        let ids: Vec<u16> = (0..4)
            .map(|sequence| own.begin(message(sequence)))
            .collect();
        assert_eq!(own.end(ids[0]), Some(100));
        assert_eq!(own.end(ids[0]), None, "only once");
        let last = own.begin(message(4));
        assert_eq!(last, ids[0], "a free identifier is used again");
        own.received(ids[2], 7);
        own.resume();
        assert_eq!(own.again_count(), 4);
        assert_eq!(
            own.next_again(7),
            Some((ids[1], Again::Publish(message(1))))
        );
        assert_eq!(own.next_again(7), Some((ids[2], Again::PubRel)));
        own.end(ids[3]);
        assert_eq!(own.next_again(7), Some((last, Again::Publish(message(4)))));
        assert_eq!(own.next_again(7), None);
        assert_eq!((own.count(), own.abandon(), own.count()), (3, 3, 0));
    }

    #[test]
    fn what_has_no_answer_is_late_once() {
        let mut own = InFlight::default();
        let sent = |sent_ns| Message {
            sent_ns,
            ..message(sent_ns)
        };
        let ids: Vec<u16> = [10, 20, 30].map(|at| own.begin(sent(at))).into();
        own.received(ids[0], 15);
        assert_eq!(own.late(14), (0, 0));
        assert_eq!(own.late(20), (1, 1));
        assert_eq!(own.late(20), (0, 0), "each once");
        own.end(ids[1]);
        assert_eq!(own.intended().collect::<Vec<_>>(), [110, 130]);
        assert_eq!(own.late(30), (1, 0));
    }

    #[test]
    fn what_is_not_in_flight_ends_nothing() {
        let mut own = InFlight::default();
        own.received(9, 7);
        assert_eq!((own.end(0), own.end(9), own.count()), (None, None, 0));
    }
}
