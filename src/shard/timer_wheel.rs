//! Timers of one shard: a hierarchical wheel with O(1) insert and cancel.
//!
//! Time is cut into ticks. Level 0 has one slot per tick; a slot of level `n` covers 64 slots of level
//! `n - 1`. A timer sits in the level of the highest 6-bit digit in which its tick differs from the
//! current one, and moves down as that digit comes round.

use crate::time::Time;

/// Resolution in nanoseconds: timers fire at most this much late, never early.
const TICK_NS: u64 = 10_000_000;
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
/// 64^7 ticks of 10 ms are 1,395 years: more than any deadline of the protocol (2^32 s).
const LEVELS: usize = 7;
const NONE: u32 = u32::MAX;

/// A pending timer; stale after it fired or was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimerId {
    index: u32,
    generation: u32,
}

#[derive(Debug)]
struct Entry<K> {
    key: Option<K>,
    generation: u32,
    tick: u64,
    previous: u32,
    next: u32,
    /// Level and slot it is linked into.
    at: (u8, u8),
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    first: u32,
    last: u32,
}

/// Memory is one entry per pending timer.
#[derive(Debug)]
pub(super) struct TimerWheel<K> {
    entries: Vec<Entry<K>>,
    free: Vec<u32>,
    slots: [[Slot; SLOTS]; LEVELS],
    /// Which slots of a level hold timers.
    filled: [u64; LEVELS],
    /// Every timer of an earlier tick has fired.
    tick: u64,
}

impl<K: Copy> TimerWheel<K> {
    pub(super) fn new(now: Time) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            slots: [[Slot {
                first: NONE,
                last: NONE,
            }; SLOTS]; LEVELS],
            filled: [0; LEVELS],
            tick: now.0 / TICK_NS,
        }
    }

    /// A timer that fires at `deadline` or up to a tick later; at once when that has passed.
    pub(super) fn insert(&mut self, deadline: Time, key: K) -> TimerId {
        let tick = deadline.0.div_ceil(TICK_NS).max(self.tick);
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry {
                key: None,
                generation: 0,
                tick: 0,
                previous: NONE,
                next: NONE,
                at: (0, 0),
            });
            (self.entries.len() - 1) as u32
        });
        let entry = &mut self.entries[index as usize];
        entry.key = Some(key);
        entry.tick = tick;
        let generation = entry.generation;
        self.link(index);
        TimerId { index, generation }
    }

    /// False when the timer has fired or was cancelled before.
    pub(super) fn cancel(&mut self, id: TimerId) -> bool {
        let is_pending = self
            .entries
            .get(id.index as usize)
            .is_some_and(|entry| entry.generation == id.generation && entry.key.is_some());
        if is_pending {
            self.unlink(id.index);
            self.release(id.index);
        }
        is_pending
    }

    /// When [`TimerWheel::pop_expired`] has something to do; may be early, never late.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        let (level, slot) = self.next_slot()?;
        Some(Time(
            self.slot_start(level, slot)
                .max(self.tick)
                .saturating_mul(TICK_NS),
        ))
    }

    /// The next timer that is due, earliest tick first.
    pub(super) fn pop_expired(&mut self, now: Time) -> Option<K> {
        let now_tick = now.0 / TICK_NS;
        loop {
            let (level, slot) = self.next_slot()?;
            let start = self.slot_start(level, slot).max(self.tick);
            if start > now_tick {
                return None;
            }
            self.tick = start;
            if level == 0 {
                let index = self.slots[0][slot].first;
                self.unlink(index);
                return self.release(index);
            }
            // The slot's time has come round: its timers move to lower levels.
            while self.slots[level][slot].first != NONE {
                let index = self.slots[level][slot].first;
                self.unlink(index);
                self.link(index);
            }
        }
    }

    /// The earliest slot with timers. Lower levels hold earlier ticks than higher ones.
    fn next_slot(&self) -> Option<(usize, usize)> {
        (0..LEVELS)
            .find(|level| self.filled[*level] != 0)
            .map(|level| {
                // All slots of a level lie at or after the current digit: earlier ones have wrapped
                // into a higher level.
                (level, self.filled[level].trailing_zeros() as usize)
            })
    }

    /// First tick of a slot.
    fn slot_start(&self, level: usize, slot: usize) -> u64 {
        let shift = BITS * level as u32;
        let above = self.tick >> (shift + BITS) << (shift + BITS);
        above | (slot as u64) << shift
    }

    fn link(&mut self, index: u32) {
        let tick = self.entries[index as usize].tick;
        let differs = tick ^ self.tick;
        let digit = if differs == 0 {
            0
        } else {
            (63 - differs.leading_zeros()) / BITS
        };
        let level = (digit as usize).min(LEVELS - 1);
        let slot = (tick >> (BITS * level as u32)) as usize % SLOTS;
        let last = self.slots[level][slot].last;
        let entry = &mut self.entries[index as usize];
        entry.at = (level as u8, slot as u8);
        entry.previous = last;
        entry.next = NONE;
        if last == NONE {
            self.slots[level][slot].first = index;
        } else {
            self.entries[last as usize].next = index;
        }
        self.slots[level][slot].last = index;
        self.filled[level] |= 1 << slot;
    }

    fn unlink(&mut self, index: u32) {
        let Entry {
            previous,
            next,
            at: (level, slot),
            ..
        } = self.entries[index as usize];
        let (level, slot) = (usize::from(level), usize::from(slot));
        match previous {
            NONE => self.slots[level][slot].first = next,
            previous => self.entries[previous as usize].next = next,
        }
        match next {
            NONE => self.slots[level][slot].last = previous,
            next => self.entries[next as usize].previous = previous,
        }
        if self.slots[level][slot].first == NONE {
            self.filled[level] &= !(1 << slot);
        }
    }

    fn release(&mut self, index: u32) -> Option<K> {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(index);
        entry.key.take()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_far_timer_waits_and_a_jump_does_not_walk_empty_slots() {
        let mut wheel = TimerWheel::new(Time(0));
        let century = Time(u64::from(u32::MAX) * 1_000_000_000);
        wheel.insert(century, 1);
        assert_eq!(wheel.pop_expired(Time(century.0 - 1)), None);
        assert_eq!(wheel.pop_expired(century), Some(1));
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn cancelled_and_fired_timers_are_stale() {
        let mut wheel = TimerWheel::new(Time(0));
        let first = wheel.insert(Time(5), 'a');
        assert!(wheel.cancel(first));
        assert!(!wheel.cancel(first));
        let second = wheel.insert(Time(5), 'b');
        assert!(!wheel.cancel(first));
        assert_eq!(wheel.pop_expired(Time(TICK_NS)), Some('b'));
        assert!(!wheel.cancel(second));
    }

    #[derive(Clone, Debug)]
    enum Operation {
        Insert(u64),
        Cancel(usize),
        Advance(u64),
    }

    fn operation() -> impl Strategy<Value = Operation> {
        // From under a tick to years, each magnitude as likely as the next.
        let span = (0_u32..58).prop_flat_map(|bits| 0..=(1_u64 << bits));
        prop_oneof![
            4 => span.clone().prop_map(Operation::Insert),
            1 => any::<usize>().prop_map(Operation::Cancel),
            3 => span.prop_map(Operation::Advance),
        ]
    }

    proptest! {
        #[test]
        fn fires_what_a_sorted_map_says(operations in prop::collection::vec(operation(), 1..80)) {
            let mut now = Time(123_456_789);
            let mut wheel = TimerWheel::new(now);
            let mut model: BTreeMap<u32, (Time, TimerId)> = BTreeMap::new();
            for (key, operation) in (0_u32..).zip(operations) {
                match operation {
                    Operation::Insert(after) => {
                        let deadline = Time(now.0 + after);
                        model.insert(key, (deadline, wheel.insert(deadline, key)));
                    }
                    Operation::Cancel(at) if !model.is_empty() => {
                        let key = *model.keys().nth(at % model.len()).unwrap();
                        let (_, id) = model.remove(&key).unwrap();
                        prop_assert!(wheel.cancel(id));
                    }
                    Operation::Cancel(_) => {}
                    Operation::Advance(by) => {
                        now = Time(now.0 + by);
                        while let Some(key) = wheel.pop_expired(now) {
                            let (deadline, _) = model.remove(&key).unwrap();
                            prop_assert!(deadline <= now);
                        }
                        let late = Time(now.0.saturating_sub(TICK_NS));
                        prop_assert!(model.values().all(|(deadline, _)| *deadline > late));
                    }
                }
                let earliest = model.values().map(|(deadline, _)| *deadline).min();
                match (wheel.next_deadline(), earliest) {
                    (None, None) => {}
                    (Some(next), Some(earliest)) => prop_assert!(next.0 <= earliest.0 + TICK_NS),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
        }
    }
}
