//! The history of a run, as the oracle sees it: subscriptions and publications with their moments, ends
//! of connections.

use super::rules::{Answer, Timeline};
use crate::mqtt::{topic, Qos, RetainHandling, SubscriptionOptions};
use crate::time::Time;

/// A moment of a run: the event's number and the virtual time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) tick: u64,
    pub(super) now: Time,
}

/// A publication of the run; its payload begins with its index.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) publisher: usize,
    /// The user its publisher logs in as.
    pub(super) user: usize,
    pub(super) topic: String,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    /// Clears the retained message: an empty payload.
    pub(super) is_clear: bool,
    pub(super) expiry_s: Option<u32>,
    /// Bytes of payload behind the index.
    pub(super) padding: usize,
    /// When its PUBLISH was first sent; of a will, when its connection ended.
    pub(super) sent: Option<At>,
    pub(super) sends: u32,
    /// When PUBACK or PUBREC was read.
    pub(super) accepted: Option<At>,
    /// Its publisher's session ended before it was acknowledged: it may have been accepted or not.
    pub(super) is_abandoned: bool,
    /// `None`: not a will.
    pub(super) will: Option<Fate>,
    /// Of a will: the tick of its CONNECT.
    pub(super) left: u64,
    /// The tick from which the broker cannot ask its rules about it any more.
    pub(super) decided: Option<u64>,
    /// Its acknowledgement has refused it.
    pub(super) is_refused: bool,
    /// The tick at which it was refused for want of room on the disk.
    pub(super) lacked_room: Option<u64>,
    /// What the rules decided about it, once the run is checked; with a full disk, also whether it was taken.
    pub(super) permission: Answer,
}

/// What must become of a will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Either is right: the end of its connection raced with the delay.
    Indeterminate,
    Must,
    MustNot,
}

impl Planned {
    /// What the rules decided about it while they can have been asked.
    pub(super) fn judge(&mut self, timeline: &Timeline) {
        let sent = self.sent.map_or(self.left, |at| at.tick);
        let ticks = (sent, self.decided.unwrap_or(u64::MAX));
        let answer = timeline.may_publish(self.user, &self.topic, ticks);
        self.permission = match (self.is_refused, answer) {
            // The first and only decision about it.
            (true, _) if self.sends == 1 => Answer::No,
            // There may have been room for it when it came before.
            (true, Answer::Yes) if self.lacked_room.is_some() => Answer::Open,
            _ => answer,
        };
    }

    /// The broker has it for certain.
    pub(super) fn is_certain(&self) -> bool {
        self.permission == Answer::Yes && self.is_accepted()
    }

    fn is_accepted(&self) -> bool {
        match self.will {
            Some(fate) => fate == Fate::Must,
            None => self.accepted.is_some(),
        }
    }
}

/// One subscription of one client, from its SUBSCRIBE to its end.
#[derive(Clone, Debug)]
pub(super) struct Subscribed {
    pub(super) filter: String,
    pub(super) options: SubscriptionOptions,
    pub(super) identifier: Option<u32>,
    pub(super) asked: At,
    /// When it was last asked for.
    pub(super) requested: At,
    pub(super) confirmed: Option<At>,
    pub(super) unsubscribe_sent: Option<At>,
    pub(super) unsubscribed: Option<At>,
    /// When the client learned that its session had ended, or rules that do not allow it had come to
    /// hold everywhere.
    pub(super) lost: Option<At>,
    /// Rules that may have ended it came after it was asked for.
    pub(super) is_doubted: bool,
    /// It was never made.
    pub(super) is_denied: bool,
    /// It is [lost](Self::lost) since rules that do not allow it hold everywhere.
    pub(super) is_ended_by_rules: bool,
}

impl Subscribed {
    pub(super) fn is_shared(&self) -> bool {
        topic::is_shared(&self.filter)
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        match topic::share(&self.filter) {
            Ok(Some(share)) => topic::matches(share.filter, name),
            _ => topic::matches(&self.filter, name),
        }
    }

    /// Confirmed, and nothing has been done to end it.
    pub(super) fn is_steady(&self) -> bool {
        self.confirmed.is_some()
            && self.unsubscribe_sent.is_none()
            && self.lost.is_none()
            && !self.is_doubted
    }

    pub(super) fn is_over(&self) -> bool {
        self.unsubscribed.is_some() || self.lost.is_some()
    }

    /// The client need not ask for it.
    pub(super) fn is_had(&self) -> bool {
        !self.is_over() && !self.is_doubted
    }

    /// Steady since before a publication was sent: it must receive it.
    pub(super) fn covers(&self, planned: &Planned) -> bool {
        let since = self.confirmed.map(|at| at.tick);
        let sent = planned.sent.map(|at| at.tick);
        self.is_steady()
            && self.matches(&planned.topic)
            && since.zip(sent).is_some_and(|(since, sent)| since < sent)
    }

    /// May bring a publication that arrived at `tick`.
    pub(super) fn may_bring(&self, planned: &Planned, tick: u64) -> bool {
        // A will whose fate is open may have been sent at any time.
        let sent = planned.sent.map_or(0, |at| at.tick);
        let ended = [self.unsubscribed, self.lost];
        let is_late = ended.into_iter().flatten().any(|end| end.tick < sent);
        self.matches(&planned.topic) && self.asked.tick <= tick && !is_late && !self.is_denied
    }

    /// Sends retained messages when it begins.
    pub(super) fn walks(&self) -> bool {
        self.options.retain_handling != RetainHandling::DoNotSend && !self.is_shared()
    }
}

/// A PUBLISH that arrived.
#[derive(Clone, Debug, Hash)]
pub(super) struct Arrival {
    pub(super) tick: u64,
    pub(super) publication: usize,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) dup: bool,
    pub(super) identifiers: Vec<u32>,
    /// When the CONNECT of its connection was sent.
    pub(super) connected: u64,
    pub(super) expiry_s: Option<u32>,
}
