//! Messages received, by flow: one publisher's messages at one receiver. Exact counts of lost, doubled
//! and overtaken messages, topic by topic.

use std::collections::HashMap;

use ringmq::mqtt::Qos;

/// Gaps remembered per topic of a flow. When more are open the oldest is given up: its messages are lost,
/// and would count as duplicates if they came after all.
const GAPS_MAX: usize = 4_096;
/// Flows looked through one by one; above it a map is kept.
const LINEAR_MAX: usize = 4;

/// Sequences seen on one topic. They begin at 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Track {
    /// One above the highest sequence seen.
    next: u64,
    /// Sequences not seen below `next`, as (first, one above the last).
    gaps: Vec<(u64, u64)>,
}

/// How a message is related to those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    InOrder,
    /// After a later one.
    Late,
    Again,
}

impl Track {
    #[inline]
    fn record(&mut self, sequence: u64) -> Arrival {
        if sequence == self.next {
            self.next += 1;
            Arrival::InOrder
        } else {
            self.record_out_of_turn(sequence)
        }
    }

    fn record_out_of_turn(&mut self, sequence: u64) -> Arrival {
        if sequence > self.next {
            if self.gaps.len() == GAPS_MAX {
                self.gaps.remove(0);
            }
            self.gaps.push((self.next, sequence));
            self.next = sequence + 1;
            return Arrival::InOrder;
        }
        let found = self.gaps.binary_search_by(|&(first, end)| {
            if end <= sequence {
                std::cmp::Ordering::Less
            } else if first > sequence {
                std::cmp::Ordering::Greater
            } else {
                std::cmp::Ordering::Equal
            }
        });
        let Ok(at) = found else {
            return Arrival::Again;
        };
        let (first, end) = self.gaps[at];
        match (first == sequence, sequence + 1 == end) {
            (true, true) => {
                self.gaps.remove(at);
            }
            (true, false) => self.gaps[at].0 += 1,
            (false, true) => self.gaps[at].1 -= 1,
            (false, false) => {
                self.gaps[at].1 = sequence;
                self.gaps.insert(at + 1, (sequence + 1, end));
            }
        }
        Arrival::Late
    }
}

/// What a publisher's messages must look like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Hashes of the topics that the publisher takes in turn; empty: they are not known.
    pub topics: Box<[u32]>,
    /// The group whose properties they have.
    pub group: u16,
    /// QoS they were published with.
    pub qos: Qos,
    pub is_retained: bool,
}

/// Messages of one publisher at one receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    pub publisher: u32,
    pub received: u64,
    pub duplicates: u64,
    /// Came after a later one of the same topic.
    pub reordered: u64,
    /// Not received although a later one of the same topic was; all that is known of flows recorded
    /// elsewhere.
    holes: u64,
    pub expected: Expected,
    track: Track,
    /// Of a publisher with several topics: one for each.
    tracks: Box<[Track]>,
}

impl Flow {
    #[must_use]
    pub fn new(publisher: u32, expected: Expected) -> Self {
        let topics = expected.topics.len();
        let tracks = vec![Track::default(); if topics > 1 { topics } else { 0 }];
        Self {
            publisher,
            expected,
            tracks: tracks.into(),
            ..Self::default()
        }
    }

    /// Counts of a flow that was recorded elsewhere; it takes no more messages.
    #[must_use]
    pub fn of_counts(publisher: u32, counts: [u64; 4]) -> Self {
        let [received, duplicates, reordered, holes] = counts;
        Self {
            publisher,
            received,
            duplicates: duplicates.min(received), // or `distinct` would be below 0
            reordered,
            holes,
            ..Self::default()
        }
    }

    /// Its counts: received, duplicates, reordered, holes.
    #[must_use]
    pub fn counts(&self) -> [u64; 4] {
        [self.received, self.duplicates, self.reordered, self.holes()]
    }

    /// Hash of the topic that the message with this sequence was published to, when it is known.
    #[must_use]
    #[inline]
    pub fn topic_of(&self, sequence: u64) -> Option<u32> {
        match &self.expected.topics[..] {
            [] => None,
            [only] => Some(*only),
            topics => Some(topics[(sequence % topics.len() as u64) as usize]),
        }
    }

    #[inline]
    pub fn record(&mut self, sequence: u64) -> Arrival {
        self.received += 1;
        let arrival = if self.tracks.is_empty() {
            self.track.record(sequence)
        } else {
            let topics = self.tracks.len() as u64;
            self.tracks[(sequence % topics) as usize].record(sequence / topics)
        };
        match arrival {
            Arrival::InOrder => {}
            Arrival::Late => self.reordered += 1,
            Arrival::Again => self.duplicates += 1,
        }
        arrival
    }

    /// Different messages received.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        self.received - self.duplicates
    }

    /// Messages that have not come although later ones of their topics have.
    #[must_use]
    pub fn holes(&self) -> u64 {
        let tracks = self.tracks.iter().chain([&self.track]);
        let seen: u64 = tracks.map(|track| track.next).sum();
        self.holes + seen.saturating_sub(if seen > 0 { self.distinct() } else { 0 })
    }
}

/// The flows of one receiver.
#[derive(Clone, Debug, Default)]
pub struct Flows {
    flows: Vec<Flow>,
    /// Place in `flows` by publisher, when there are many.
    // Boxed: most receivers have one flow and none of this.
    #[allow(clippy::box_collection)]
    places: Option<Box<HashMap<u32, u32, ahash::RandomState>>>,
    last: usize,
}

impl Flows {
    /// The flow of a publisher; `expected` is asked at its first message.
    #[inline]
    pub fn of(&mut self, publisher: u32, expected: impl FnOnce() -> Expected) -> &mut Flow {
        let is_last = |flow: &Flow| flow.publisher == publisher;
        if !self.flows.get(self.last).is_some_and(is_last) {
            self.last = self.place(publisher, expected);
        }
        &mut self.flows[self.last]
    }

    fn place(&mut self, publisher: u32, expected: impl FnOnce() -> Expected) -> usize {
        let found = match &self.places {
            Some(places) => places.get(&publisher).map(|place| *place as usize),
            None => self
                .flows
                .iter()
                .position(|flow| flow.publisher == publisher),
        };
        if let Some(place) = found {
            return place;
        }
        self.flows.push(Flow::new(publisher, expected()));
        let place = self.flows.len() - 1;
        if let Some(places) = &mut self.places {
            places.insert(publisher, place as u32);
        } else if place >= LINEAR_MAX {
            let by_publisher = self
                .flows
                .iter()
                .zip(0..)
                .map(|(flow, at)| (flow.publisher, at));
            self.places = Some(Box::new(by_publisher.collect()));
        }
        place
    }

    #[must_use]
    pub fn into_flows(self) -> Vec<Flow> {
        self.flows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(topics: usize, sequences: &[u64]) -> Flow {
        let expected = Expected {
            topics: (0..topics as u32).collect(),
            ..Expected::default()
        };
        let mut flow = Flow::new(1, expected);
        for sequence in sequences {
            flow.record(*sequence);
        }
        flow
    }

    #[test]
    fn in_order_is_all_well() {
        assert_eq!(flow(1, &[0, 1, 2]).counts(), [3, 0, 0, 0]);
    }

    #[test]
    fn gaps_are_filled_late_once() {
        let flow = flow(1, &[0, 5, 2, 2, 1, 3, 4, 4, 0]);
        assert_eq!(flow.counts(), [9, 3, 4, 0]);
        assert!(flow.track.gaps.is_empty());
    }

    /// [MQTT-4.6.0-6] is by topic: sequences 0, 2, 4 are of one and 1, 3 of the other.
    #[test]
    fn order_is_of_one_topic() {
        assert_eq!(flow(2, &[1, 3, 0, 2, 4]).counts(), [5, 0, 0, 0]);
        assert_eq!(flow(2, &[3, 1, 0, 4, 4]).counts(), [5, 1, 1, 1]);
        assert_eq!(flow(1, &[1, 3, 0, 2, 4]).reordered, 2);
        let many: Vec<u64> = (0..20_000).rev().collect();
        assert_eq!(flow(20_000, &many).counts(), [20_000, 0, 0, 0]);
    }

    #[test]
    fn holes_are_below_the_last_that_came() {
        assert_eq!(flow(1, &[0, 1, 5]).holes(), 3);
        assert_eq!(flow(1, &[]).holes(), 0);
        let flow = Flow::of_counts(1, [5, 9, 1, 2]);
        assert_eq!((flow.distinct(), flow.holes()), (0, 2));
    }

    #[test]
    fn flows_are_kept_apart_when_many() {
        let mut flows = Flows::default();
        for sequence in 0..3 {
            for publisher in 0..20 {
                let flow = flows.of(publisher * 7, Expected::default);
                flow.record(sequence);
            }
        }
        let flows = flows.into_flows();
        assert_eq!(flows.len(), 20);
        assert!(flows
            .iter()
            .all(|flow| flow.distinct() == 3 && flow.reordered == 0));
    }
}
