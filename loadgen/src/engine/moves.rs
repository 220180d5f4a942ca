//! Clients that come and go while messages are published.

use super::control::SECOND_NS;
use super::turns::Churn;
use super::worker::Worker;
use crate::client::State;
use crate::meter::Count;
use crate::plan::{Move, MoveKind};

impl Worker {
    /// Puts the moves of a load step into the order of their times.
    pub(super) fn begin_moves(&mut self, moves: &[Move], start_ns: u64) {
        for own in moves {
            if own.kind == MoveKind::Connect {
                for slot in self.group(own.group) {
                    let place = &mut self.slots[slot];
                    place.absent |= place.socket.is_none();
                }
                self.begin_connect(own.group, own.per_s, start_ns);
                continue;
            }
            if own.kind == MoveKind::Churn {
                self.begin_churn(own, start_ns);
                continue;
            }
            for slot in self.group(own.group) {
                let index = f64::from(self.slots[slot].client.index);
                let wait_s = own.per_s.map_or(0.0, |rate| index / rate);
                let due = start_ns + (wait_s * SECOND_NS as f64) as u64;
                self.work.leaving.0.push_back((due, slot as u32, own.kind));
            }
        }
        self.work.opening.make_contiguous().sort_unstable();
        let leaving = self.work.leaving.0.make_contiguous();
        leaving.sort_by_key(|(due, slot, _)| (*due, *slot));
    }

    fn begin_churn(&mut self, own: &Move, start_ns: u64) {
        let slots = self.group(own.group);
        let all = self.control.plan.groups[own.group].clients.max(1);
        let per_s = own.per_s.unwrap_or(1.0) * slots.len() as f64 / f64::from(all);
        if per_s > 0.0 {
            let (turn, workers) = self
                .control
                .plan
                .share
                .worker(self.id, self.control.workers());
            let phase = turn as f64 / workers as f64;
            let churn = Churn::new(slots, per_s, start_ns, phase);
            self.work.churns.push(churn);
        }
    }

    /// Has those leave whose time has come.
    pub(super) fn step_leave(&mut self, now: u64) -> bool {
        let mut busy = false;
        while let Some((slot, kind)) = self.work.leaving.take(now) {
            busy = true;
            let slot = slot as usize;
            if self.slots[slot].client.is_away {
                self.forget_reconnect(slot);
            }
            self.slots[slot].absent = true;
            if kind == MoveKind::Abort {
                self.abort(slot, now);
            } else if self.slots[slot].client.state == State::Ready {
                self.slots[slot].client.settled = false;
                self.work.unsettled += 1;
                self.disconnect(slot, now);
            }
        }
        busy
    }

    /// Sends DISCONNECT; the connection is closed when it is sent.
    pub(super) fn disconnect(&mut self, slot: usize, now: u64) {
        self.slots[slot].ending = true;
        self.with(slot, now, |client, _| client.disconnect());
    }

    /// Closes without DISCONNECT.
    pub(super) fn abort(&mut self, slot: usize, now: u64) {
        if self.slots[slot].socket.is_some() {
            self.with(slot, now, |client, cx| client.broken(true, cx));
            self.count(Count::Closed);
            self.close(slot);
        }
    }

    /// A client has come while messages are published: it takes part.
    pub(super) fn joined(&mut self, slot: usize, now: u64) {
        self.with(slot, now, |client, cx| {
            client.subscribe(cx);
        });
        self.mark_ready(slot);
    }
}
