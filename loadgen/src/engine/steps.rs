//! A worker's part of a step: begun by an order, taken on turn by turn, ended.

use super::control::Order;
use super::schedule::Schedule;
use super::work::{Leaving, Loading, OpenLoop, Thinkers};
use super::worker::Worker;
use crate::client::State;
use crate::meter::{Count, Timing};
use crate::plan::{Arrivals, Load, LoadStep, Step};

/// Connections a worker opens at once; more wait, so that the broker's backlog does not overflow.
const OPENING_MAX: usize = 256;
/// Messages of a schedule sent in one turn, so that reading is not kept waiting.
const TURN_MESSAGES: usize = 16_384;
/// Messages of a schedule are sent no more often than this: at high rates several at once, which
/// costs a fraction of the CPU time and delays each by less than the time of a wake-up.
const PACE_NS: u64 = 50_000;

/// Messages that were due before the end of a load are sent for so long after it.
const LATE_MAX_NS: u64 = 1_000_000_000;

impl Worker {
    /// Takes the next order when there is one; true when it does.
    pub(super) fn take_order(&mut self, now: u64) -> bool {
        if self.control.posted() <= self.work.orders_taken {
            return false;
        }
        let order = self.control.order(self.work.orders_taken);
        if let Some(Order::Cut) = order {
            self.work.orders_taken += 1;
            self.hand_over_timings();
            return true;
        }
        self.end_load();
        self.count_cpu(false);
        self.work.opening.clear();
        self.work.leaving = Leaving::default();
        self.work.churns.clear();
        self.work.unsettled = 0;
        self.work.ends_ns = None;
        self.work.orders_taken += 1;
        match order {
            Some(Order::Do { step, start_ns, .. }) => self.begin(&step, start_ns, now),
            Some(Order::Finish | Order::Cut) | None => self.give_up(now),
        }
        true
    }

    fn begin(&mut self, step: &Step, start_ns: u64, now: u64) {
        match step {
            Step::Connect { group, per_s } => {
                if !self.control.plan.has_load() {
                    self.count_cpu(true);
                }
                self.begin_connect(*group, *per_s, start_ns);
            }
            Step::Subscribe { group } => self.ask_all(*group, |worker, slot| {
                worker.with(slot, now, |client, cx| client.subscribe(cx))
            }),
            Step::Unsubscribe { group } => self.ask_all(*group, |worker, slot| {
                worker.with(slot, now, |client, cx| client.unsubscribe(cx))
            }),
            Step::Load(load) => self.begin_load(load, start_ns),
            Step::Drain { .. } | Step::AwaitTakeover { .. } => {}
            Step::Ping => {
                for group in 0..self.firsts.len() - 1 {
                    self.ask_all(group, |worker, slot| {
                        worker.with(slot, now, |client, cx| client.round_trip(cx));
                        true
                    });
                }
            }
            Step::Hold { time } => self.work.ends_ns = Some(start_ns + time.as_nanos() as u64),
            Step::Disconnect { group } => {
                self.forget_reconnects(*group);
                self.ask_all(*group, |worker, slot| {
                    worker.disconnect(slot, now);
                    true
                });
            }
            Step::Abort { group } => {
                self.forget_reconnects(*group);
                for slot in self.group(*group) {
                    self.abort(slot, now);
                }
            }
        }
    }

    pub(super) fn begin_connect(&mut self, group: usize, per_s: Option<f64>, start_ns: u64) {
        self.work.is_paced = per_s.is_some();
        for slot in self.group(group) {
            let place = &mut self.slots[slot];
            if place.socket.is_some() {
                continue;
            }
            place.client.settled = false;
            self.work.unsettled += 1;
            let wait = per_s.map_or(0.0, |rate| f64::from(place.client.index) / rate);
            let due = start_ns + (wait * 1e9) as u64;
            self.work.opening.push_back((due, slot as u32));
        }
    }

    /// Has each connected client of a group ask for something; `ask` returns false when there is nothing
    /// to wait for.
    fn ask_all(&mut self, group: usize, ask: impl Fn(&mut Self, usize) -> bool) {
        for slot in self.group(group) {
            if self.slots[slot].client.state == State::Ready {
                self.slots[slot].client.settled = false;
                self.work.unsettled += 1;
                if !ask(self, slot) {
                    self.settle(slot);
                }
            }
        }
    }

    fn begin_load(&mut self, step: &LoadStep, start_ns: u64) {
        let mut loading = Loading {
            starts_ns: start_ns,
            ends_ns: start_ns + step.time.as_nanos() as u64,
            open_loops: Vec::new(),
            by_group: vec![None; self.control.plan.groups.len()],
            ready: Vec::new(),
            thinkers: Thinkers::default(),
            sending: usize::from(step.groups.is_empty()), // only listening lasts its time
        };
        for (group, load) in &step.groups {
            let slots = self.group(*group);
            if slots.is_empty() {
                continue;
            }
            for slot in slots.clone() {
                let client = &mut self.slots[slot].client;
                client.prepare(&self.control.plan);
                let messages = step.messages.unwrap_or(u64::MAX >> 8);
                client.limit = client.sequence() + messages;
                if let Load::Closed { window } = load {
                    client.set_window(*window);
                }
            }
            if !matches!(load, Load::Open { .. }) {
                loading.by_group[*group] = Some(*load);
                loading.sending += slots.len();
            }
            match *load {
                Load::Open {
                    from_per_s,
                    to_per_s,
                    arrivals,
                } => {
                    let rates = (from_per_s, to_per_s);
                    let open_loop = self.open_loop(*group, step, (rates, arrivals), start_ns);
                    loading.open_loops.push(open_loop);
                    loading.sending += 1;
                }
                Load::Closed { .. } | Load::Unlimited { .. } => {
                    loading.ready.extend(slots.map(|slot| slot as u32));
                }
                Load::Life {
                    messages, sleep, ..
                } => {
                    for slot in slots {
                        let place = &mut self.slots[slot];
                        place.absent |= place.socket.is_none();
                        place.client.limit = place.client.sequence() + messages;
                        place.thinks = true;
                        loading.thinkers.begin(slot, sleep.1, start_ns);
                    }
                }
                Load::Think { most, .. } => {
                    for slot in slots {
                        self.slots[slot].thinks = true;
                        loading.thinkers.begin(slot, most, start_ns);
                    }
                }
            }
        }
        self.work.load = Some(loading);
        self.begin_moves(&step.moves, start_ns);
        self.count_cpu(true);
    }

    /// This worker's part of a group's schedule.
    fn open_loop(
        &self,
        group: usize,
        step: &LoadStep,
        (rates, arrivals): ((f64, f64), Arrivals),
        start_ns: u64,
    ) -> OpenLoop {
        let (plan, slots) = (&self.control.plan, self.group(group));
        let (turn, workers) = plan.share.worker(self.id, self.control.workers());
        let phase = turn as f64 / workers as f64;
        let share = slots.len() as f64 / f64::from(plan.groups[group].clients.max(1));
        let rates = (rates.0 * share, rates.1 * share);
        let seconds = step.time.as_secs_f64();
        OpenLoop {
            schedule: Schedule::new(rates, seconds, start_ns, arrivals, phase),
            next: slots.start,
            left: step
                .messages
                .map_or(u64::MAX, |each| each * slots.len() as u64),
            not_before_ns: 0,
            slots,
        }
    }

    fn end_load(&mut self) {
        if let Some(mut load) = self.work.load.take() {
            load.thinkers.end(&mut self.slots);
            self.count_cpu(false);
            let left = load.open_loops.iter().map(|own| own.schedule.left()).sum();
            self.meter.counts.add(Count::Overrun, left);
        }
    }

    /// Takes the step on; true when something was done.
    pub(super) fn step(&mut self, now: u64) -> bool {
        let mut busy = self.step_connect(now);
        busy |= self.step_leave(now);
        busy |= self.step_churn(now);
        if self.work.load.is_some() {
            busy |= self.step_load(now);
        }
        let waits = self.work.unsettled > 0
            || self.work.leaving.due_ns().is_some()
            || !self.work.coming.is_empty()
            || self.work.load.is_some()
            || self.work.ends_ns.is_some_and(|ends| now < ends);
        if !waits {
            let ended = self.work.orders_taken as u64;
            self.meter.counts.raise(Count::StepsEnded, ended);
        }
        busy
    }

    fn step_connect(&mut self, now: u64) -> bool {
        let mut busy = false;
        while let Some((due, slot)) = self.work.opening.front().copied() {
            let at_once = self.work.unsettled - self.work.opening.len();
            if due > now || at_once >= OPENING_MAX {
                break;
            }
            self.work.opening.pop_front();
            if self.work.is_paced {
                self.meter.time(Timing::ScheduleLag, now - due);
            }
            // At a rate, the time from connect(2) on counts from the time it was due.
            let asked_ns = if self.work.is_paced { due } else { now };
            self.connect_anew(slot as usize, asked_ns, now);
            busy = true;
        }
        busy
    }

    fn step_load(&mut self, now: u64) -> bool {
        let Some(mut loading) = self.work.load.take_if(|load| now >= load.starts_ns) else {
            return false;
        };
        let mut busy = false;
        for open_loop in &mut loading.open_loops {
            busy |= self.step_open_loop(open_loop, now);
            if open_loop.left == 0 {
                open_loop.left = u64::MAX;
                open_loop.schedule.end();
                loading.sending -= 1;
            }
        }
        let ready = std::mem::take(&mut loading.ready);
        let ends_ns = loading.ends_ns;
        self.work.load = Some(loading);
        if now < ends_ns {
            busy |= !ready.is_empty();
            for slot in ready {
                self.feed(slot as usize, now);
            }
            busy |= self.wake_thinkers(now);
        }
        let sending = self.work.load.as_ref().map_or(0, |load| load.sending);
        // What was due before the end is sent, by a generator that is late, too.
        let is_behind = self.work.load.as_ref().is_some_and(|load| {
            let mut open_loops = load.open_loops.iter();
            now < ends_ns + LATE_MAX_NS && open_loops.any(|own| own.schedule.due_ns() != u64::MAX)
        });
        if now >= ends_ns && !is_behind || sending == 0 {
            self.end_load();
            busy = true;
        }
        busy
    }

    /// Publishes what is due, up to a turn's worth.
    fn step_open_loop(&mut self, open_loop: &mut OpenLoop, now: u64) -> bool {
        let mut count = 0;
        if open_loop.due_ns() > now {
            return false;
        }
        open_loop.not_before_ns = now + PACE_NS;
        let may_return = self.control.plan.connection.reconnect_per_s.is_some();
        while open_loop.schedule.due_ns() <= now && count < TURN_MESSAGES && open_loop.left > 0 {
            let intended = open_loop.schedule.due_ns();
            let slot = open_loop.next;
            open_loop.next = if slot + 1 == open_loop.slots.end {
                open_loop.slots.start
            } else {
                slot + 1
            };
            let place = &self.slots[slot];
            let client = &place.client;
            // One that comes back catches up, and its messages' delay counts.
            let comes_back = client.is_away && may_return;
            if place.absent {
                // Its messages are of those that the plan does not have sent now.
            } else if client.state == State::Ready || comes_back {
                self.meter.time(Timing::ScheduleLag, now - intended);
                self.with(slot, now, |client, cx| client.publish(intended, cx));
            } else {
                self.count(Count::NotSent);
            }
            open_loop.schedule.step();
            open_loop.left -= 1;
            count += 1;
        }
        count > 0
    }

    /// Lets a client of a closed or unlimited load publish what it may.
    fn feed(&mut self, slot: usize, now: u64) {
        let place = &self.slots[slot];
        let most = match self.work.own_load(place.client.group) {
            Some(Load::Closed { .. }) => u32::MAX,
            Some(Load::Unlimited { batch }) => batch,
            Some(Load::Think { .. } | Load::Life { .. }) => return self.think(slot, now),
            _ => return,
        };
        if place.client.sequence() >= place.client.limit {
            return;
        }
        let done = self.with(slot, now, |client, cx| {
            let mut left = most;
            while left > 0 && client.sequence() < client.limit && client.can_publish() {
                client.publish(now, cx);
                left -= 1;
            }
            client.sequence() >= client.limit
        });
        if done {
            if let Some(load) = &mut self.work.load {
                load.sending -= 1;
            }
        }
    }

    /// Bytes have come: acknowledgements may let a client publish more.
    pub(super) fn after_bytes(&mut self, slot: usize, now: u64) {
        let client = &self.slots[slot].client;
        if client.held_back() > 0 {
            self.with(slot, now, |client, cx| client.publish_held_back(cx));
        } else if let Some(Load::Closed { .. } | Load::Think { .. } | Load::Life { .. }) =
            self.work.own_load(client.group)
        {
            self.feed(slot, now);
        }
    }

    /// A client of a load that it carries itself may send.
    pub(super) fn mark_ready(&mut self, slot: usize) {
        let group = self.slots[slot].client.group;
        if self.work.own_load(group).is_some() {
            if let Some(load) = &mut self.work.load {
                load.ready.push(slot as u32);
            }
        }
    }

    /// All has been sent: there is room again.
    pub(super) fn after_sent(&mut self, slot: usize) {
        let client = &self.slots[slot].client;
        if client.held_back() > 0 {
            let now = super::clock::now_ns();
            self.with(slot, now, |client, cx| client.publish_held_back(cx));
        } else {
            self.mark_ready(slot);
        }
    }

    /// The run is over: what has not been sent never will be.
    fn give_up(&mut self, now: u64) {
        for slot in 0..self.slots.len() {
            let has_left = self.slots[slot].absent;
            self.with(slot, now, |client, cx| client.give_up(has_left, cx));
        }
        self.work.finished = true;
    }
}
