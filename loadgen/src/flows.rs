//! Messages received, by flow: one publisher's messages at one receiver. Exact counts of lost, doubled
//! and overtaken messages.

use std::collections::HashMap;

/// Gaps remembered per flow. When more are open the oldest is given up: its messages are lost, and
/// would count as duplicates if they came after all.
const GAPS_MAX: usize = 4_096;
/// Flows looked through one by one; above it a map is kept.
const LINEAR_MAX: usize = 4;

/// Messages of one publisher at one receiver. Sequences begin at 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    pub publisher: u32,
    /// One above the highest sequence seen.
    next: u64,
    pub received: u64,
    pub duplicates: u64,
    /// Came after a later one.
    pub reordered: u64,
    /// Sequences not seen below `next`, as (first, one above the last).
    gaps: Vec<(u64, u64)>,
}

impl Flow {
    #[must_use]
    pub fn new(publisher: u32) -> Self {
        Self {
            publisher,
            ..Self::default()
        }
    }

    /// Counts of a flow that was recorded elsewhere; it takes no more messages.
    #[must_use]
    pub fn of_counts(publisher: u32, received: u64, duplicates: u64, reordered: u64) -> Self {
        Self {
            publisher,
            received,
            duplicates,
            reordered,
            ..Self::default()
        }
    }

    #[inline]
    pub fn record(&mut self, sequence: u64) {
        self.received += 1;
        if sequence == self.next {
            self.next += 1;
        } else {
            self.record_out_of_turn(sequence);
        }
    }

    fn record_out_of_turn(&mut self, sequence: u64) {
        if sequence > self.next {
            if self.gaps.len() == GAPS_MAX {
                self.gaps.remove(0);
            }
            self.gaps.push((self.next, sequence));
            self.next = sequence + 1;
            return;
        }
        let found = self
            .gaps
            .binary_search_by(|&(first, end)| {
                if end <= sequence {
                    std::cmp::Ordering::Less
                } else if first > sequence {
                    std::cmp::Ordering::Greater
                } else {
                    std::cmp::Ordering::Equal
                }
            })
            .ok();
        let Some(at) = found else {
            self.duplicates += 1;
            return;
        };
        self.reordered += 1;
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
    }

    /// Different messages received.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        self.received - self.duplicates
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
    #[inline]
    pub fn record(&mut self, publisher: u32, sequence: u64) {
        if let Some(flow) = self.flows.get_mut(self.last) {
            if flow.publisher == publisher {
                return flow.record(sequence);
            }
        }
        self.last = self.place(publisher);
        self.flows[self.last].record(sequence);
    }

    fn place(&mut self, publisher: u32) -> usize {
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
        self.flows.push(Flow::new(publisher));
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

    fn flow(sequences: &[u64]) -> Flow {
        let mut flow = Flow::new(1);
        sequences.iter().for_each(|sequence| flow.record(*sequence));
        flow
    }

    #[test]
    fn in_order_is_all_well() {
        let flow = flow(&[0, 1, 2]);
        assert_eq!(
            (flow.distinct(), flow.duplicates, flow.reordered),
            (3, 0, 0)
        );
    }

    #[test]
    fn gaps_are_filled_late_once() {
        let flow = flow(&[0, 5, 2, 2, 1, 3, 4, 4, 0]);
        assert_eq!(
            (flow.distinct(), flow.duplicates, flow.reordered),
            (6, 3, 4)
        );
        assert!(flow.gaps.is_empty());
    }

    #[test]
    fn flows_are_kept_apart_when_many() {
        let mut flows = Flows::default();
        for sequence in 0..3 {
            for publisher in 0..20 {
                flows.record(publisher * 7, sequence);
            }
        }
        let flows = flows.into_flows();
        assert_eq!(flows.len(), 20);
        assert!(flows
            .iter()
            .all(|flow| flow.distinct() == 3 && flow.reordered == 0));
    }
}
