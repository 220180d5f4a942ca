//! Membership: which nodes are alive, and whether this one may acknowledge anything.
//!
//! Each node puts its key every second into a store whose changes all nodes watch in one order. A node has a *lease*
//! until 4 s after it sent the last put that came back to it through its own watch: so the store has taken it, and the
//! watch brings everything that was put before it. Others take a node for dead 6 s after the last put they have seen
//! of it, and only while they have a lease themselves; by then its lease is surely over. Nothing is assumed but that
//! clocks run equally fast within the 2 s between.
//!
//! Who has a lease has seen every node that had one when its own first put was taken; who comes later sees it.
//!
//! A watch that breaks begins anew and shows again what each key holds. A put that was shown before is no sign of life, and
//! one of our own counts when nothing of what the watch has is left to be shown: a key that has been put again since comes
//! behind ours then, though it was there before.

use std::collections::BTreeMap;

use super::{Incarnation, Node, NodeName};
use crate::time::{Span, Time};

/// Between two puts.
const PUT_EVERY: Span = Span::from_millis(1_000);
/// From the sending of a put on.
pub const LEASE: Span = Span::from_millis(4_000);
/// From the last put that was seen on.
const DEAD_AFTER: Span = Span::from_millis(6_000);
/// Without a lease for less than this no other node can have taken this one for dead.
pub const GRACE: Span = Span::from_millis(2_000);
/// A put that has not come back for so long is given up, and another one is tried.
const PUT_PATIENCE: Span = Span::from_millis(2_500);

/// What a node puts into its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    pub incarnation: Incarnation,
    /// Of the puts of one life.
    pub number: u64,
    /// It has what the others have, so another node may ask it.
    pub has_joined: bool,
}

impl Beat {
    #[must_use]
    pub fn encode(self) -> String {
        let joined = u8::from(self.has_joined);
        format!("1 {:016x} {} {joined}", self.incarnation.0, self.number)
    }

    /// `None`: nothing of this format.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let mut fields = text.strip_prefix("1 ")?.split(' ');
        let incarnation = u64::from_str_radix(fields.next()?, 16).ok()?;
        let number = fields.next()?.parse().ok()?;
        Some(Self {
            incarnation: Incarnation(incarnation),
            number,
            has_joined: fields.next()? == "1",
        })
    }
}

/// A put that is to be made: only if the key is as it was at this revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    pub revision: u64,
    pub beat: Beat,
}

/// What has changed among the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Joined(Node),
    Left(Node),
}

#[derive(Debug)]
struct Seen {
    incarnation: Incarnation,
    has_joined: bool,
    at: Time,
}

/// Our own key.
#[derive(Debug, Default)]
struct OwnKey {
    /// As the watch has shown it last.
    revision: u64,
    /// As the last put has left it, which a broken watch does not show.
    put: u64,
    /// Another life of this name that has put it, and when that was seen.
    other: Option<(Incarnation, Time)>,
}

/// See the module. Lives on: the cluster's thread.
#[derive(Debug)]
pub struct Membership {
    own: Node,
    key: OwnKey,
    /// The put that is on its way, and when it was sent.
    sent: Option<(u64, Time)>,
    number: u64,
    next_put: Time,
    /// When a put was sent that has come back, while the watch has more to show.
    came_back: Option<Time>,
    /// As in the last put.
    has_joined: bool,
    lease_until: Time,
    /// Silence counts from here on: while there was no lease nothing could be seen.
    judges_since: Time,
    others: BTreeMap<NodeName, Seen>,
    /// What was shown last of each key, also of nodes that are dead. Bounded by the keys.
    revisions: BTreeMap<NodeName, u64>,
}

impl Membership {
    #[must_use]
    pub fn new(own: Node) -> Self {
        Self {
            own,
            key: OwnKey::default(),
            sent: None,
            number: 0,
            came_back: None,
            next_put: Time::ZERO,
            has_joined: false,
            lease_until: Time::ZERO,
            judges_since: Time::ZERO,
            others: BTreeMap::new(),
            revisions: BTreeMap::new(),
        }
    }

    /// Until when this node may acknowledge.
    #[must_use]
    pub fn lease_until(&self) -> Time {
        self.lease_until
    }

    /// Another process has this node's name and is alive.
    #[must_use]
    pub fn is_name_taken(&self) -> bool {
        self.key.other.is_some()
    }

    /// Another node that has joined: the first by name.
    #[must_use]
    pub fn joined(&self) -> Option<&NodeName> {
        let mut others = self.others.iter();
        others
            .find(|(_, seen)| seen.has_joined)
            .map(|(name, _)| name)
    }

    /// This is the first of all nodes by name.
    #[must_use]
    pub fn is_first(&self) -> bool {
        let first = self.others.keys().next();
        first.is_none_or(|first| self.own.name < *first)
    }

    /// The put that is due, which the caller makes.
    pub fn put_due(&mut self, has_joined: bool, now: Time) -> Option<Put> {
        let is_on_its_way = |(_, at): (u64, Time)| now.since(at) < PUT_PATIENCE;
        let is_due = now >= self.next_put || has_joined != self.has_joined;
        if !is_due || self.sent.is_some_and(is_on_its_way) {
            return None;
        }
        if let Some((_, at)) = self.key.other {
            if now.since(at) < DEAD_AFTER {
                return None;
            }
        }
        self.number += 1;
        self.has_joined = has_joined;
        self.next_put = now + PUT_EVERY;
        self.sent = Some((self.number, now));
        Some(Put {
            revision: self.key.revision.max(self.key.put),
            beat: Beat {
                incarnation: self.own.incarnation,
                number: self.number,
                has_joined,
            },
        })
    }

    /// The store has taken a put. For others this node lives from then on, whether its own watch shows it or not.
    pub fn put_taken(&mut self, number: u64, revision: u64) {
        if number == self.number {
            self.key.put = revision;
        }
    }

    /// A put was refused, or its outcome is unknown.
    pub fn put_failed(&mut self, number: u64) {
        self.key.put = 0;
        self.sent.take_if(|(sent, _)| *sent == number);
    }

    /// The watch shows a key, or that it was deleted (`None`).
    pub fn seen(
        &mut self,
        name: &NodeName,
        revision: u64,
        beat: Option<Beat>,
        now: Time,
    ) -> Vec<Change> {
        if *name == self.own.name {
            self.own_seen(revision, beat, now);
            return Vec::new();
        }
        if self.revisions.insert(name.clone(), revision) == Some(revision) {
            return Vec::new(); // shown again
        }
        let before = self.others.get(name).map(|seen| seen.incarnation);
        let node = |incarnation| Node {
            name: name.clone(),
            incarnation,
        };
        let Some(beat) = beat else {
            self.others.remove(name);
            return before.map(node).map(Change::Left).into_iter().collect();
        };
        let incarnation = beat.incarnation;
        let seen = Seen {
            incarnation,
            has_joined: beat.has_joined,
            at: now,
        };
        self.others.insert(name.clone(), seen);
        if before == Some(incarnation) {
            return Vec::new();
        }
        let left = before.map(node).map(Change::Left);
        let joined = Change::Joined(node(incarnation));
        left.into_iter().chain([joined]).collect()
    }

    fn own_seen(&mut self, revision: u64, beat: Option<Beat>, now: Time) {
        if self.key.revision == revision {
            return; // shown again: who waits for another life of this name does not wait for it once more
        }
        self.key.revision = revision;
        self.key.other = None;
        let Some(beat) = beat else {
            return;
        };
        if beat.incarnation != self.own.incarnation {
            self.key.other = Some((beat.incarnation, now));
            return;
        }
        let Some((_, at)) = self.sent.take_if(|(number, _)| *number == beat.number) else {
            return; // given up, or of before a put that was tried again
        };
        self.came_back = Some(at);
    }

    /// Nothing that the watch has is left to be shown.
    pub fn seen_all(&mut self, now: Time) {
        let Some(at) = self.came_back.take() else {
            return; // others' puts
        };
        if self.lease_until <= now {
            self.judges_since = now;
        }
        self.lease_until = at + LEASE;
    }

    /// Nodes that are surely without a lease.
    pub fn judge(&mut self, now: Time) -> Vec<Change> {
        if self.lease_until <= now {
            return Vec::new(); // it may be us who cannot see
        }
        let since = self.judges_since;
        let is_dead = |seen: &Seen| now.since(seen.at.max(since)) >= DEAD_AFTER;
        let dead: Vec<Node> = (self.others.iter())
            .filter(|(_, seen)| is_dead(seen))
            .map(|(name, seen)| Node {
                name: name.clone(),
                incarnation: seen.incarnation,
            })
            .collect();
        for node in &dead {
            self.others.remove(&node.name);
        }
        dead.into_iter().map(Change::Left).collect()
    }
}

#[cfg(test)]
#[path = "membership_tests.rs"]
mod tests;
