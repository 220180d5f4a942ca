//! Timers of one shard: a hierarchical wheel with O(1) insert and cancel.
//!
//! Time is cut into ticks. Level 0 has one slot per tick; a slot of level `n` covers 64 slots of level
//! `n - 1`. A timer sits in the level of the highest 6-bit digit in which its tick differs from the
//! current one, and moves down as that digit comes round.

use std::num::NonZeroU32;

use crate::time::Time;

/// Resolution in nanoseconds: timers fire at most this much late, never early.
const TICK_NS: u64 = 10_000_000;
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
/// 64^7 ticks of 10 ms are 1,395 years: more than any deadline of the protocol (2^32 s).
const LEVELS: usize = 7;
const NONE: u32 = u32::MAX;
/// Timers moved to lower levels at a time: half a million connections may share a slot of 41 s, and
/// moving them at once would hold the shard for tens of milliseconds.
const MOVED_MAX: usize = 1_024;

/// A pending timer; stale after it fired or was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) struct TimerId {
    index: u32,
    /// From 1 on, so that no timer takes no more memory than one.
    generation: NonZeroU32,
}

#[derive(Debug)]
struct Entry<K> {
    key: Option<K>,
    generation: NonZeroU32,
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
pub(in crate::shard) struct TimerWheel<K> {
    entries: Vec<Entry<K>>,
    free: Vec<u32>,
    slots: [[Slot; SLOTS]; LEVELS],
    /// Which slots of a level hold timers.
    filled: [u64; LEVELS],
    /// Every timer of an earlier tick has fired.
    tick: u64,
    /// Level and slot whose timers are being moved; `tick` stands still until they all are.
    moving: Option<(usize, usize)>,
}

impl<K: Copy> TimerWheel<K> {
    pub(in crate::shard) fn new(now: Time) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            slots: [[Slot {
                first: NONE,
                last: NONE,
            }; SLOTS]; LEVELS],
            filled: [0; LEVELS],
            tick: now.0 / TICK_NS,
            moving: None,
        }
    }

    /// A timer that fires at `deadline` or up to a tick later; at once when that has passed.
    pub(in crate::shard) fn insert(&mut self, deadline: Time, key: K) -> TimerId {
        let tick = deadline.0.div_ceil(TICK_NS).max(self.tick);
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry {
                key: None,
                generation: NonZeroU32::MIN,
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
    pub(in crate::shard) fn cancel(&mut self, id: TimerId) -> bool {
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

    /// The purpose of a pending timer.
    pub(in crate::shard) fn key(&self, id: TimerId) -> Option<K> {
        let entry = self.entries.get(id.index as usize);
        entry.filter(|entry| entry.generation == id.generation)?.key
    }

    /// The deadline of a pending timer, or up to a tick later.
    pub(in crate::shard) fn deadline(&self, id: TimerId) -> Option<Time> {
        let entry = self.entries.get(id.index as usize)?;
        let is_pending = entry.generation == id.generation && entry.key.is_some();
        is_pending.then_some(Time(entry.tick.saturating_mul(TICK_NS)))
    }

    /// True when the timer is pending and its time has come: those before it have not all been handled.
    pub(in crate::shard) fn is_due(&self, id: TimerId, now: Time) -> bool {
        self.entries.get(id.index as usize).is_some_and(|entry| {
            entry.generation == id.generation
                && entry.key.is_some()
                && entry.tick <= now.0 / TICK_NS
        })
    }

    /// The deadline of the timer that was popped last, or up to a tick later.
    pub(in crate::shard) fn popped_deadline(&self) -> Time {
        Time(self.tick.saturating_mul(TICK_NS))
    }

    /// When [`TimerWheel::pop_expired`] has something to do; may be early, never late.
    pub(in crate::shard) fn next_deadline(&self) -> Option<Time> {
        let (level, slot) = self.next_slot()?;
        Some(Time(self.due(level, slot).saturating_mul(TICK_NS)))
    }

    /// The next timer that is due, earliest tick first. `None`: nothing is due, or enough was done
    /// for now and [`TimerWheel::next_deadline`] is not after `now`.
    pub(in crate::shard) fn pop_expired(&mut self, now: Time) -> Option<K> {
        let now_tick = now.0 / TICK_NS;
        let mut moved = 0;
        while let Some((level, slot)) = self.next_slot() {
            let due = self.due(level, slot);
            if due > now_tick {
                break;
            }
            self.tick = due;
            if level == 0 {
                let index = self.slots[0][slot].first;
                self.unlink(index);
                return self.release(index);
            }
            self.moving = Some((level, slot));
            while self.slots[level][slot].first != NONE {
                if moved == MOVED_MAX {
                    return None;
                }
                moved += 1;
                let index = self.slots[level][slot].first;
                self.unlink(index);
                self.link(index);
            }
            self.moving = None;
        }
        // Every slot begins later, so no timer's level changes; new ones get the level that suits
        // the present.
        self.moving = None;
        self.tick = self.tick.max(now_tick);
        None
    }

    /// The earliest slot with timers. Lower levels hold earlier ticks than higher ones.
    fn next_slot(&self) -> Option<(usize, usize)> {
        let is_filled = |(level, slot): &(usize, usize)| self.filled[*level] >> slot & 1 == 1;
        if let Some(moving) = self.moving.filter(is_filled) {
            return Some(moving);
        }
        (0..LEVELS)
            .find(|level| self.filled[*level] != 0)
            .map(|level| {
                // All slots of a level lie at or after the current digit: earlier ones have wrapped
                // into a higher level.
                (level, self.filled[level].trailing_zeros() as usize)
            })
    }

    /// The tick at which a slot has something to do.
    fn due(&self, level: usize, slot: usize) -> u64 {
        self.slot_start(level, slot).max(self.tick)
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
        entry.generation = entry.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
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

    #[test]
    fn many_timers_of_one_slot_are_moved_in_parts_and_all_fire() {
        let count = 10 * MOVED_MAX as u64;
        let mut wheel = TimerWheel::new(Time(0));
        let minute = 60 * 100 * TICK_NS;
        for n in 0..count {
            wheel.insert(Time(minute + n % 100 * TICK_NS), n);
        }
        let now = Time(minute + 50 * TICK_NS);
        let mut fired = Vec::new();
        let mut pauses = 0;
        while wheel.next_deadline().is_some_and(|due| due <= now) {
            match wheel.pop_expired(now) {
                Some(n) => fired.push(n),
                None => pauses += 1,
            }
        }
        assert!(pauses >= 9, "{pauses}");
        assert!(fired.iter().map(|n| n % 100).is_sorted());
        let due = (0..count).filter(|n| n % 100 <= 50).count();
        assert_eq!(fired.len(), due);
    }

    #[test]
    fn what_is_inserted_and_cancelled_while_timers_are_moved_is_not_lost() {
        let mut wheel = TimerWheel::new(Time(0));
        let at = Time(5_000 * TICK_NS);
        let ids: Vec<TimerId> = (0..3 * MOVED_MAX as u64)
            .map(|n| wheel.insert(at, n))
            .collect();
        assert_eq!(wheel.pop_expired(at), None, "not all are moved yet");
        wheel.insert(Time(1), 1_000_000);
        wheel.insert(Time(at.0 + TICK_NS), 1_000_001);
        for id in ids {
            assert!(wheel.cancel(id));
        }
        assert_eq!(wheel.pop_expired(at), Some(1_000_000));
        assert_eq!(wheel.pop_expired(at), None);
        assert_eq!(wheel.next_deadline(), Some(Time(at.0 + TICK_NS)));
        // The slot is used again when its turn comes round.
        let later = Time(at.0 + 64 * 64 * TICK_NS);
        wheel.insert(later, 1_000_002);
        assert_eq!(wheel.pop_expired(later), Some(1_000_001));
        assert_eq!(wheel.pop_expired(Time(later.0 - 1)), None);
        assert_eq!(wheel.pop_expired(later), Some(1_000_002));
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn timers_of_one_tick_fire_in_the_order_they_were_inserted() {
        let mut wheel = TimerWheel::new(Time(0));
        for n in 0..100 {
            wheel.insert(Time(777 * TICK_NS), n);
        }
        let now = Time(777 * TICK_NS);
        let fired: Vec<i32> = std::iter::from_fn(|| wheel.pop_expired(now)).collect();
        assert!(fired.into_iter().eq(0..100));
    }

    #[test]
    fn the_farthest_time_is_never_reached_and_does_no_harm() {
        let mut wheel = TimerWheel::new(Time(0));
        let id = wheel.insert(Time::FAR, 1);
        assert_eq!(wheel.pop_expired(Time(u64::MAX - TICK_NS)), None);
        assert!(wheel.next_deadline().is_some());
        assert!(wheel.cancel(id));
        assert_eq!(wheel.next_deadline(), None);
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
                        let mut last_tick = 0;
                        while let Some(key) = wheel.pop_expired(now) {
                            let (deadline, _) = model.remove(&key).unwrap();
                            prop_assert!(deadline <= now);
                            let tick = deadline.0.div_ceil(TICK_NS);
                            prop_assert!(tick >= last_tick, "earliest first");
                            last_tick = tick;
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
