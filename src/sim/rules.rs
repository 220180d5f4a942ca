//! Authorization in a run, its changes, and which rules held when. A model of its own: areas of topics
//! by their first level, instead of the broker's tree of filters.

use std::sync::Arc;

use super::random::Random;
use crate::auth::{Acl, Passwords, Rules};
use crate::mqtt::topic;

/// First levels of all topics of a run.
const AREAS: [&str; 5] = ["p", "r", "s", "u", "w"];
/// A topic that may be denied although its area is granted.
const SPECIAL: &str = "p/1";
/// Users of clients; the first is anonymous.
pub(super) const USERS: usize = 3;
/// May always do everything.
pub(super) const ROOT: usize = USERS;
const NAMES: [Option<&str>; USERS + 1] = [None, Some("ann"), Some("bob"), Some("root")];

/// The name that a user logs in with.
pub(super) fn user_name(user: usize) -> Option<&'static str> {
    NAMES[user]
}

/// What one user may do.
#[derive(Clone, Debug)]
struct Grants {
    /// By area.
    reads: [bool; AREAS.len()],
    writes: [bool; AREAS.len()],
    denies_special: bool,
}

impl Grants {
    fn draw(random: &mut Random) -> Self {
        Self {
            reads: std::array::from_fn(|_| !random.once_in(6)),
            writes: std::array::from_fn(|at| {
                // Wills are few: their rules change more often.
                !random.once_in(if AREAS[at] == "w" { 2 } else { 6 })
            }),
            denies_special: random.once_in(4),
        }
    }

    fn everything() -> Self {
        Self {
            reads: [true; AREAS.len()],
            writes: [true; AREAS.len()],
            denies_special: false,
        }
    }

    /// The same as text of an ACL file.
    fn text(&self) -> String {
        let mut text = String::new();
        for (at, area) in AREAS.iter().enumerate() {
            let access = match (self.reads[at], self.writes[at]) {
                (true, true) => "readwrite",
                (true, false) => "read",
                (false, true) => "write",
                (false, false) => continue,
            };
            text += &format!("topic {access} {area}/#\n");
        }
        if self.denies_special {
            text += &format!("topic deny {SPECIAL}\n");
        }
        text
    }
}

fn area(name: &str) -> usize {
    let known = AREAS.iter().position(|area| name.starts_with(area));
    known.expect("topics and filters of a run begin with an area")
}

/// The rules of all users.
#[derive(Clone, Debug)]
pub(super) struct RuleSet {
    users: [Grants; USERS],
    checks_delivery: bool,
}

impl RuleSet {
    pub(super) fn draw(random: &mut Random) -> Self {
        Self {
            users: std::array::from_fn(|_| Grants::draw(random)),
            checks_delivery: random.once_in(3),
        }
    }

    /// Other rules: of one user, and now and then the check of deliveries.
    pub(super) fn changed(&self, random: &mut Random) -> Self {
        let mut changed = self.clone();
        changed.users[random.below(USERS)] = Grants::draw(random);
        changed.checks_delivery ^= random.once_in(6);
        changed
    }

    /// The same for the broker. Whether a password is right is decided by the world.
    pub(super) fn rules(&self) -> Arc<Rules> {
        let mut text = String::new();
        for (user, grants) in self.users.iter().chain([&Grants::everything()]).enumerate() {
            if let Some(name) = user_name(user) {
                text += &format!("user {name}\n");
            }
            text += &grants.text();
        }
        Arc::new(Rules {
            passwords: Some(Passwords::parse("passwords", "", 1).expect("an empty file")),
            acl: Some(Arc::new(Acl::parse("acl", &text).expect("an ACL file"))),
            allow_anonymous: true,
            acl_check_delivery: self.checks_delivery,
            ..Rules::default()
        })
    }

    fn may_publish(&self, user: usize, topic: &str) -> bool {
        let of = |grants: &Grants| {
            grants.writes[area(topic)] && !(grants.denies_special && topic == SPECIAL)
        };
        self.users.get(user).is_none_or(of)
    }

    fn may_receive(&self, user: usize, topic: &str) -> bool {
        let of = |grants: &Grants| {
            grants.reads[area(topic)] && !(grants.denies_special && topic == SPECIAL)
        };
        !self.checks_delivery || self.users.get(user).is_none_or(of)
    }

    fn may_subscribe(&self, user: usize, filter: &str) -> bool {
        let share = topic::share(filter).ok().flatten();
        let plain = share.as_ref().map_or(filter, |share| share.filter);
        let must_reach_some = self.checks_delivery && share.is_none();
        let of = |grants: &Grants| {
            let denied = if must_reach_some {
                plain == SPECIAL // nothing else is covered by what is denied
            } else {
                topic::matches(plain, SPECIAL)
            };
            grants.reads[area(plain)] && !(grants.denies_special && denied)
        };
        self.users.get(user).is_none_or(of)
    }
}

/// What the rules decided in a stretch of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    /// Some that held allowed it, some did not.
    Open,
}

#[derive(Debug)]
struct Version {
    rules: RuleSet,
    /// The tick at which the first shard may have taken them.
    from: u64,
    /// The tick at which all had, and had ended what they do not allow.
    settled: Option<u64>,
}

/// All rules of a run, in order; none: everything is allowed.
#[derive(Debug, Default)]
pub(super) struct Timeline(Vec<Version>);

impl Timeline {
    pub(super) fn begin(&mut self, rules: RuleSet, from: u64) {
        let settled = None;
        self.0.push(Version {
            rules,
            from,
            settled,
        });
    }

    /// All shards have the newest rules.
    pub(super) fn settle(&mut self, tick: u64) {
        if let Some(newest) = self.0.last_mut() {
            newest.settled.get_or_insert(tick);
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.newest().is_none_or(|newest| newest.settled.is_some())
    }

    pub(super) fn newest_rules(&self) -> Option<&RuleSet> {
        self.newest().map(|newest| &newest.rules)
    }

    fn newest(&self) -> Option<&Version> {
        self.0.last()
    }

    /// How many there have been.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What the rules decided between two ticks, both included.
    fn answer(&self, (since, until): (u64, u64), allows: impl Fn(&RuleSet) -> bool) -> Answer {
        let replaced = |after: usize| {
            let mut later = self.0[after + 1..].iter();
            later.any(|version| version.settled.is_some_and(|tick| tick < since))
        };
        let held = self.0.iter().enumerate();
        let mut answers = held
            .filter(|(at, version)| version.from <= until && !replaced(*at))
            .map(|(_, version)| allows(&version.rules));
        let first = answers.next().unwrap_or(true);
        match (first, answers.all(|answer| answer == first)) {
            (true, true) => Answer::Yes,
            (false, true) => Answer::No,
            _ => Answer::Open,
        }
    }

    pub(super) fn may_publish(&self, user: usize, topic: &str, ticks: (u64, u64)) -> Answer {
        self.answer(ticks, |rules| rules.may_publish(user, topic))
    }

    pub(super) fn may_receive(&self, user: usize, topic: &str, ticks: (u64, u64)) -> Answer {
        self.answer(ticks, |rules| rules.may_receive(user, topic))
    }

    pub(super) fn may_subscribe(&self, user: usize, filter: &str, ticks: (u64, u64)) -> Answer {
        self.answer(ticks, |rules| rules.may_subscribe(user, filter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_held_is_told_from_what_was_replaced() {
        let mut allowing = RuleSet::draw(&mut Random::new(1));
        allowing.users[1] = Grants::everything();
        let mut denying = allowing.clone();
        denying.users[1].writes = [false; AREAS.len()];
        let mut timeline = Timeline::default();
        let may = |timeline: &Timeline, ticks| timeline.may_publish(1, "p/0", ticks);
        assert_eq!(may(&timeline, (1, 9)), Answer::Yes, "there are no rules");
        timeline.begin(allowing, 0);
        timeline.settle(0);
        timeline.begin(denying, 10);
        assert_eq!(may(&timeline, (1, 9)), Answer::Yes);
        assert_eq!(may(&timeline, (1, 10)), Answer::Open);
        assert_eq!(may(&timeline, (99, 99)), Answer::Open, "not settled");
        timeline.settle(20);
        assert_eq!(may(&timeline, (15, 99)), Answer::Open);
        assert_eq!(may(&timeline, (21, 99)), Answer::No);
        assert_eq!(timeline.may_publish(ROOT, "p/0", (21, 99)), Answer::Yes);
    }
}
