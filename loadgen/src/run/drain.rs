//! The end of a load: waiting for what is on its way, and a round trip that shows whether the broker is
//! done or has stopped.

use std::time::Duration;

use super::step::Reading;
use super::Run;
use crate::engine::clock::now_ns;
use crate::meter::{Count, Counts};
use crate::plan::Step;

/// A drain ends after this many times its quiet time, even while messages still come: a broker that
/// was flooded may deliver for minutes.
const DRAIN_FACTOR: u32 = 5;

impl Run {
    /// Waits until everything has come or nothing comes any more, and has each connection make a round
    /// trip: only a broker that answers it has had its time, and what is missing then is lost.
    pub(super) fn drain(&mut self, place: usize, quiet: Duration) {
        self.drain_ends_ns = now_ns() + (quiet * DRAIN_FACTOR).as_nanos() as u64;
        loop {
            self.step(Some(place), Step::Drain { quiet });
            if self.totals.stopped.is_some() {
                return;
            }
            let before = self.counts();
            self.step(None, Step::Ping);
            let after = self.counts();
            let mute = after.get(Count::LatePingResp) - before.get(Count::LatePingResp);
            if mute > 0 && self.totals.stopped.is_none() {
                self.totals.stop(format!(
                    "{mute} connections got no answer to PINGREQ within {:.1} s: the broker has stopped \
                     serving them, and what had not arrived by then counts as cut off, not as lost",
                    self.control.plan.connection.timeout.as_secs_f64()
                ));
            }
            let came = |count: Count| after.get(count) != before.get(count);
            let goes_on = came(Count::Received) || came(Count::Acknowledged);
            if !goes_on || self.totals.stopped.is_some() || self.is_drained(&after) {
                return;
            }
        }
    }

    /// Everything has arrived, nothing has come for the quiet time, or the drain has taken too long.
    pub(super) fn is_drain_over(&mut self, quiet: Duration, reading: &Reading) -> bool {
        let Reading {
            now_ns,
            counts,
            silence,
        } = reading;
        // A client that is away may come back, and has something to send or to get.
        let away = self.away(counts);
        let is_still = silence.as_nanos() >= u128::from(self.workers.delays.settle_ns);
        // Without the counters of lost generators, sums do not show that everything has arrived.
        let are_whole = self.totals.missing.is_empty();
        let is_drained = is_still && are_whole && self.is_drained(counts);
        if away == 0 && (is_drained || *silence > quiet) {
            return true;
        }
        let is_too_long = *now_ns > self.drain_ends_ns;
        if is_too_long {
            let most = (quiet * DRAIN_FACTOR).as_secs_f64();
            self.totals.stop(if away > 0 {
                format!(
                    "{away} connections were lost and could not be opened again within {most:.0} s after \
                     the load had ended"
                )
            } else {
                format!(
                    "the broker was still delivering {most:.0} s after the load had ended ({DRAIN_FACTOR} \
                     x --drain); what had not arrived by then counts as cut off, not as lost"
                )
            });
        }
        is_too_long
    }

    /// Clients whose connections were lost and may be opened again.
    fn away(&self, counts: &Counts) -> u64 {
        if !self.may_reconnect() {
            return 0;
        }
        let lost = counts.get(Count::Disconnected);
        lost.saturating_sub(counts.get(Count::Reconnected))
    }
}
