//! Notices for the operator's log: refusals, losses, takeovers.
//!
//! An event that repeats for one client has a line when it begins and then a count once a minute, until it
//! ends: a client that is offline for a week must not fill the log with its full queue. Lines about
//! refusals, losses and takeovers have a budget each, so that a flood of one leaves room for the others.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use super::{Action, RemoteEnd, Shard};
use crate::shard::turn::timer_key::TimerKey;
use crate::time::{Span, Time};

/// Something for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub severity: Severity,
    pub client_id: Option<Box<str>>,
    pub peer: Option<RemoteEnd>,
    pub text: String,
    /// Others of its class that were left out before this one because there were too many.
    pub suppressed: u64,
}

/// Log level of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Info,
    /// About connections one by one; only with `log-level = "debug"`.
    Debug,
}

/// What a notice is about. Those that are about the same are counted together: of one class and
/// `detail`, and of one client, by its id or else its address without the port.
pub(super) struct About<'a> {
    pub(super) class: Class,
    pub(super) detail: &'a str,
    pub(super) client_id: Option<&'a str>,
    pub(super) peer: Option<RemoteEnd>,
    /// How often it has happened at once.
    pub(super) count: u64,
}

/// Each has its own budget of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Class {
    /// A client was refused or disconnected.
    Refusal,
    /// Messages or subscriptions were lost.
    Loss,
    /// A connection has taken over the session of another one.
    Takeover,
}

const CLASSES: usize = 3;
/// Lines per second, class and shard: enough to see what is wrong, too few to be the load.
const LINES_PER_S: u32 = 10;
/// From one count of an event that repeats to the next.
const COUNT_EVERY: Span = Span::from_secs(60);
/// Events that may repeat and are remembered. Only those that have had a line are, so that they cannot
/// change faster than lines are shown; the least recently seen one is evicted first.
const REMEMBERED_MAX: usize = 256;
/// Longest text and client id of a line, in bytes: topics may have 65,535.
const TEXT_MAX: usize = 512;
const CLIENT_ID_MAX: usize = 256;

/// Lines given of one class.
#[derive(Clone, Copy, Debug, Default)]
struct Budget {
    second: u64,
    given: u32,
    suppressed: u64,
}

/// An event that has had a line and may repeat.
#[derive(Debug)]
struct Remembered {
    class: Class,
    client_id: Option<Box<str>>,
    peer: Option<RemoteEnd>,
    text: String,
    /// Lines of single events since it began.
    lines: u32,
    /// Since its last line, and since it began.
    uncounted: u64,
    in_all: u64,
    /// When its count is shown, if there is something to count.
    due: Time,
    seen: Time,
}

/// Lives on: the shard.
#[derive(Debug)]
pub(super) struct Notices {
    budgets: [Budget; CLASSES],
    remembered: HashMap<u64, Remembered, ahash::RandomState>,
    hash: ahash::RandomState,
    /// The timer for the next count is set.
    is_timed: bool,
}

/// What becomes of a notice: a line, a count, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// A line of its own.
    Show {
        suppressed: u64,
    },
    /// It has been counted, and is shown with others when the count is due.
    Counted,
    LeftOut,
}

impl About<'_> {
    pub(super) fn refusal<'a>(
        detail: &'a str,
        client_id: Option<&'a str>,
        peer: Option<RemoteEnd>,
    ) -> About<'a> {
        About {
            class: Class::Refusal,
            detail,
            client_id,
            peer,
            count: 1,
        }
    }

    pub(super) fn loss<'a>(detail: &'a str, client_id: Option<&'a str>, count: u64) -> About<'a> {
        About {
            class: Class::Loss,
            detail,
            client_id,
            peer: None,
            count,
        }
    }
}

impl Class {
    /// Lines of single events before they are counted: a client that tries a password twice has both.
    fn lines_at_once(self) -> u32 {
        match self {
            Self::Refusal => 3,
            Self::Loss | Self::Takeover => 1,
        }
    }

    /// Its end is worth a line: something has lasted, rather than happened several times.
    fn lasts(self) -> bool {
        self != Self::Refusal
    }
}

impl Notices {
    /// All that has been counted and not shown.
    pub(super) fn take_counts(&mut self) -> Vec<Notice> {
        let known = self.remembered.values_mut();
        let counts = known.filter(|known| known.uncounted > 0);
        let mut counts: Vec<Notice> = counts.filter_map(|known| known.count()).collect();
        counts.sort_by(|a, b| a.client_id.cmp(&b.client_id).then(a.text.cmp(&b.text)));
        self.remembered.clear();
        counts
    }

    /// Events that may repeat and are remembered, and how many may be.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn remembered(&self) -> (usize, usize) {
        (self.remembered.len(), REMEMBERED_MAX)
    }

    pub(super) fn new(seed: u64) -> Self {
        Self {
            budgets: Default::default(),
            remembered: HashMap::with_hasher(ahash::RandomState::with_seeds(seed, 1, 2, 3)),
            hash: ahash::RandomState::with_seeds(seed, 4, 5, 6),
            is_timed: false,
        }
    }

    fn key(&self, about: &About<'_>) -> u64 {
        let mut hasher = std::hash::BuildHasher::build_hasher(&self.hash);
        (about.class, about.detail).hash(&mut hasher);
        match about.client_id {
            Some(client_id) => client_id.hash(&mut hasher),
            None => about.peer.map(RemoteEnd::ip).hash(&mut hasher),
        }
        hasher.finish()
    }

    /// Decides whether a notice has a line of its own, within the budget of its class.
    fn judge(&mut self, key: u64, about: &About<'_>, now: Time) -> Verdict {
        let class = about.class;
        if let Some(known) = self.remembered.get_mut(&key) {
            let is_new = known.uncounted == 0 && known.due <= now;
            known.seen = now;
            known.in_all = about.count + if is_new { 0 } else { known.in_all };
            known.lines = if is_new { 0 } else { known.lines };
            if known.lines >= class.lines_at_once() {
                known.uncounted += about.count;
                return Verdict::Counted;
            }
        }
        let second = now.since(Time::ZERO).0 / Span::from_secs(1).0;
        let budget = &mut self.budgets[class as usize];
        if budget.second != second {
            budget.second = second;
            budget.given = 0;
        }
        if budget.given >= LINES_PER_S {
            budget.suppressed += 1;
            return Verdict::LeftOut;
        }
        budget.given += 1;
        if let Some(known) = self.remembered.get_mut(&key) {
            known.lines += 1;
            known.due = now + COUNT_EVERY;
        }
        Verdict::Show {
            suppressed: std::mem::take(&mut budget.suppressed),
        }
    }

    /// Remembers what has had its first line.
    fn remember(&mut self, key: u64, about: &About<'_>, text: &str, now: Time) {
        if self.remembered.contains_key(&key) {
            return;
        }
        if self.remembered.len() >= REMEMBERED_MAX {
            self.forget_one();
        }
        let known = Remembered {
            class: about.class,
            client_id: about.client_id.map(|id| cut(id, CLIENT_ID_MAX).into()),
            peer: about.peer,
            text: text.to_owned(),
            lines: 1,
            uncounted: 0,
            in_all: about.count,
            due: now + COUNT_EVERY,
            seen: now,
        };
        self.remembered.insert(key, known);
    }

    /// What had not been counted of it is among what was left out.
    fn forget_one(&mut self) {
        let all = self.remembered.iter();
        let oldest = all.min_by_key(|(key, known)| (known.seen, **key));
        let oldest = oldest.map(|(key, _)| *key);
        if let Some(known) = oldest.and_then(|key| self.remembered.remove(&key)) {
            self.budgets[known.class as usize].suppressed += known.uncounted;
        }
    }

    /// Takes out the counts that are due, in the order of the time they fell due.
    fn counts(&mut self, now: Time) -> Vec<Notice> {
        let mut due: Vec<(Time, u64)> = self
            .remembered
            .iter()
            .filter(|(_, known)| known.due <= now)
            .map(|(key, known)| (known.due, *key))
            .collect();
        due.sort_unstable();
        let mut notices = Vec::new();
        for (_, key) in due {
            let Some(known) = self.remembered.get_mut(&key) else {
                continue;
            };
            notices.extend(known.count());
            if known.uncounted == 0 {
                self.remembered.remove(&key);
            } else {
                known.uncounted = 0;
                known.due = now + COUNT_EVERY;
            }
        }
        notices
    }

    fn next_count(&self) -> Option<Time> {
        self.remembered.values().map(|known| known.due).min()
    }
}

impl Remembered {
    /// The line that is due, if there is something to count.
    fn count(&self) -> Option<Notice> {
        let (text, in_all) = (&self.text, self.in_all);
        let text = match self.uncounted {
            0 if self.class.lasts() && self.in_all > 1 => {
                format!("{text}: no more of it for a minute, {in_all} in all")
            }
            0 => return None,
            more => format!("{text}: {more} more since the last line, {in_all} in all"),
        };
        Some(Notice {
            severity: Severity::Info,
            client_id: self.client_id.clone(),
            peer: self.peer,
            text,
            suppressed: 0,
        })
    }
}

/// The start of a text that fits, with a mark where something is missing.
fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max).rev().find(|at| text.is_char_boundary(*at));
    format!("{}...", &text[..end.unwrap_or(0)])
}

impl Shard {
    /// Records a notice; the text is made only when it will be shown.
    pub(super) fn notice(&mut self, about: &About<'_>, now: Time, text: impl FnOnce() -> String) {
        let key = self.outbox.notices.key(about);
        match self.outbox.notices.judge(key, about, now) {
            Verdict::Show { suppressed } => {
                let text = cut(&text(), TEXT_MAX);
                self.outbox.notices.remember(key, about, &text, now);
                self.outbox.actions.push_back(Action::Notice(Notice {
                    severity: Severity::Info,
                    client_id: about.client_id.map(|id| cut(id, CLIENT_ID_MAX).into()),
                    peer: about.peer,
                    text,
                    suppressed,
                }));
            }
            Verdict::Counted => self.time_counts(),
            Verdict::LeftOut => {}
        }
    }

    /// Sets the timer for the next count: what is remembered later is due later.
    fn time_counts(&mut self) {
        let next = (!self.outbox.notices.is_timed).then(|| self.outbox.notices.next_count());
        if let Some(due) = next.flatten() {
            self.outbox.notices.is_timed = true;
            self.turn.timers.insert(due, TimerKey::Notices);
        }
    }

    /// Shows the counts that are due.
    pub(super) fn show_counts(&mut self, now: Time) {
        self.outbox.notices.is_timed = false;
        let counts = self.outbox.notices.counts(now);
        self.outbox
            .actions
            .extend(counts.into_iter().map(Action::Notice));
        self.time_counts();
    }
}

#[cfg(test)]
#[path = "notices_tests.rs"]
mod tests;
