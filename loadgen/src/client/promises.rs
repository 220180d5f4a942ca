//! Promises of the broker to one client and what has become of them: answers that are late, and the age of
//! what has no answer when the run is over.

use super::{Client, Context, State};
use crate::meter::{Count, Timing};
use crate::plan::Plan;

/// An answer that the broker has promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    ConnAck,
    SubAck,
    UnsubAck,
    PingResp,
}

impl Promise {
    /// The packet's name, and the count of those that have not come in time.
    #[must_use]
    pub fn describe(self) -> (&'static str, Count) {
        match self {
            Self::ConnAck => ("CONNACK", Count::LateConnAck),
            Self::SubAck => ("SUBACK", Count::LateSubAck),
            Self::UnsubAck => ("UNSUBACK", Count::LateUnsubAck),
            Self::PingResp => ("PINGRESP", Count::LatePingResp),
        }
    }
}

impl Client {
    /// True when an answer asked for `timeout_ns` ago has not come. It is not waited for any more, but
    /// may still come.
    pub fn misses(&mut self, promise: Promise, now_ns: u64, timeout_ns: u64) -> bool {
        let is_old = self.asked_ns + timeout_ns <= now_ns;
        match promise {
            Promise::ConnAck => {
                is_old && matches!(self.state, State::Opening | State::AwaitsConnAck)
            }
            Promise::SubAck => is_old && std::mem::take(&mut self.awaits_suback),
            Promise::UnsubAck => is_old && std::mem::take(&mut self.awaits_unsuback),
            Promise::PingResp => {
                let is_missing = self.pings > 0 && self.pinged_ns + timeout_ns <= now_ns;
                if is_missing {
                    self.pings = 0;
                    self.is_mute = true;
                    self.awaits_pingresp = false;
                }
                is_missing
            }
        }
    }

    /// True when its subscriptions have not been granted as asked.
    #[must_use]
    pub fn lacks_subscriptions(&self) -> bool {
        self.subscribes && !self.is_subscribed
    }

    /// Highest QoS that the broker has granted.
    #[must_use]
    pub fn granted(&self) -> Option<ringmq::mqtt::Qos> {
        self.granted
    }

    /// Counts PUBLISH packets that have had no answer for `timeout_ns`, each once.
    pub fn look_for_late_acks(&mut self, timeout_ns: u64, cx: &mut Context<'_>) {
        let Some(publisher) = &mut self.publisher else {
            return;
        };
        if self.state != State::Ready || publisher.in_flight.count() == 0 {
            return;
        }
        let late = publisher
            .in_flight
            .late(cx.now_ns.saturating_sub(timeout_ns));
        let (ack, ack_count) = if publisher.is_exactly_once() {
            ("PUBREC", Count::LatePubRec)
        } else {
            ("PUBACK", Count::LatePubAck)
        };
        for (number, name, count) in [
            (late.0, ack, ack_count),
            (late.1, "PUBCOMP", Count::LatePubComp),
        ] {
            cx.meter.counts.add(count, number);
            let seconds = timeout_ns as f64 / 1e9;
            cx.meter
                .errors(format!("{name} did not come within {seconds:.1} s"), number);
        }
    }

    /// The run is over: what has had no answer enters the percentiles with its age, and what was not
    /// sent is given up. One that has left, as the plan has it, is owed no more answers.
    pub fn give_up(&mut self, has_left: bool, cx: &mut Context<'_>) {
        let group = self.own(cx.plan);
        if let Some(stored) = &self.stored {
            let took = stored.last_ns.saturating_sub(stored.asked_ns);
            cx.meter.time(Timing::LastStored, took);
        }
        if group.is_taken_over && self.state == State::Ready {
            cx.meter.count(Count::NotTakenOver);
        }
        let timing = if group.answers_to.is_some() {
            None
        } else {
            delivery_timing(cx.plan, usize::from(self.group))
        };
        let Some(publisher) = &mut self.publisher else {
            return;
        };
        let owed = publisher.in_flight.intended();
        for intended_ns in owed.filter(|_| !has_left) {
            let age = cx.now_ns.saturating_sub(intended_ns);
            cx.meter.time(Timing::PublishAck, age);
            cx.meter.count(Count::CensoredAcks);
            if !self.is_away {
                cx.meter.count(Count::Unacknowledged);
            }
        }
        let held_back = std::mem::take(&mut publisher.held_back);
        for header in &held_back {
            let age = header.latency_ns(cx.now_ns);
            if publisher.is_acknowledged() {
                cx.meter.time(Timing::PublishAck, age);
                cx.meter.count(Count::CensoredAcks);
            }
            if let Some(timing) = timing {
                cx.meter.time(timing, age);
                cx.meter.count(Count::CensoredDeliveries);
            }
            cx.meter.count(Count::NotSent);
        }
        // Those of answers are not counted there.
        publisher.sequence = publisher.sequence.saturating_sub(held_back.len() as u64);
    }
}

/// How deliveries of a group's messages are timed; `None` when no client waits for them.
fn delivery_timing(plan: &Plan, group: usize) -> Option<Timing> {
    let has_answers = plan.groups.iter().any(|own| own.answers_to.is_some());
    if has_answers {
        return Some(Timing::RoundTrip);
    }
    let listens = |own: &crate::plan::Group| {
        !own.subscriptions.is_empty() && !own.untimed && !own.gets_stored
    };
    plan.groups[group].publishing.as_ref()?;
    plan.groups.iter().any(listens).then_some(Timing::EndToEnd)
}
