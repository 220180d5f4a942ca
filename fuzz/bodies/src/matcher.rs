//! Subscriptions come and go; the topic index names the same receivers as a naive matcher.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

use ringmq::ids::{MemberId, SessionId, ShardId};
use ringmq::mqtt::{topic, SubscriptionOptions};
use ringmq::routing::{Destinations, GroupKey, Interest, Member, Subscription, TopicIndex};

use crate::choices::Choices;
use crate::features::note;

/// The shard whose replica it is.
const LOCAL: ShardId = ShardId(1);
/// Operations of one input.
const STEPS_MAX: usize = 24;

/// See the module.
pub fn body(input: &[u8]) {
    let mut choices = Choices::new(input);
    let mut pair = Pair::new();
    for _ in 0..STEPS_MAX {
        if choices.is_empty() {
            break;
        }
        pair.step(&mut choices);
    }
    for topic in ["a/b", "$SYS/a", "/"] {
        pair.compare(topic);
    }
}

/// Whether a filter matches a topic name, after section 4.7, level by level.
fn matches(filter: &str, topic: &str) -> bool {
    let mut names = topic.split('/');
    for (index, level) in filter.split('/').enumerate() {
        let name = names.next();
        let is_wildcard = level == "+" || level == "#";
        if index == 0 && is_wildcard && topic.starts_with('$') {
            return false;
        }
        match (level, name) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(name)) if level == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

type Identity = (ShardId, MemberId);

/// The index and what it should know.
struct Pair {
    index: TopicIndex,
    subscriptions: BTreeMap<String, BTreeMap<SessionId, Subscription>>,
    /// Whether each is durable.
    remote: BTreeMap<(String, ShardId), bool>,
    /// Share name and filter to members, and whether each is connected, and durable.
    groups: BTreeMap<(String, String), BTreeMap<Identity, (bool, bool)>>,
}

impl Pair {
    fn new() -> Self {
        Self {
            index: TopicIndex::new(LOCAL, 42),
            subscriptions: BTreeMap::new(),
            remote: BTreeMap::new(),
            groups: BTreeMap::new(),
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        let step = choices.byte() % 12;
        match step {
            0..=3 => self.subscribe(choices),
            4 => self.unsubscribe(choices),
            5 => self.come_or_go_remote(choices),
            6 => self.join(choices),
            7 => self.leave(choices),
            8 => self.connect_or_go(choices),
            9 => self.choose(choices),
            _ => {
                let topic = topic_name(choices);
                self.compare(&topic);
            }
        }
    }

    fn subscribe(&mut self, choices: &mut Choices<'_>) {
        // Many at once now and then: filters with many subscribers are kept differently.
        let count = if choices.byte() > 252 { 20 } else { 1 };
        let filter = filter(choices);
        let first = u32::from(choices.byte() % 6);
        let subscription = subscription(choices);
        let sessions = self.subscriptions.entry(filter.clone()).or_default();
        for number in first..first + count {
            let session = session(number);
            let before = interest(sessions);
            let added = self.index.subscribe(&filter, session, subscription);
            let replaced = sessions.insert(session, subscription).is_some();
            assert_eq!(added.replaced, replaced, "{filter}");
            let now = interest(sessions);
            assert_eq!(added.interest, (now != before).then_some(now), "{filter}");
        }
    }

    fn unsubscribe(&mut self, choices: &mut Choices<'_>) {
        // Mostly one that is there.
        let filter = if choices.byte() < 200 && !self.subscriptions.is_empty() {
            let at = choices.below(self.subscriptions.len().min(255));
            self.subscriptions.keys().nth(at).cloned()
        } else {
            None
        };
        let filter = filter.unwrap_or_else(|| self::filter(choices));
        let session = session(u32::from(choices.byte() % 6));
        let removed = self.index.unsubscribe(&filter, session);
        let (mut existed, mut changed) = (false, None);
        if let Some(sessions) = self.subscriptions.get_mut(&filter) {
            let before = interest(sessions);
            existed = sessions.remove(&session).is_some();
            let now = interest(sessions);
            changed = (now != before).then_some(now);
            if sessions.is_empty() {
                self.subscriptions.remove(&filter);
            }
        }
        assert_eq!(removed.existed, existed, "{filter}");
        assert_eq!(removed.interest, changed, "{filter}");
    }

    fn come_or_go_remote(&mut self, choices: &mut Choices<'_>) {
        let filter = filter(choices);
        let shard = choices.one_of(&[ShardId(0), ShardId(2), ShardId(127)]);
        let choice = choices.byte();
        if choice < 160 {
            let durable = choice % 2 == 1;
            let interest = Interest::of_some(durable);
            self.index.set_remote(&filter, shard.into(), interest);
            self.remote.insert((filter, shard), durable);
        } else {
            self.index
                .set_remote(&filter, shard.into(), Interest::Absent);
            self.remote.remove(&(filter, shard));
        }
    }

    fn join(&mut self, choices: &mut Choices<'_>) {
        let name = group_name(choices);
        let (shard, id) = member(choices);
        let choice = choices.byte();
        let (connected, durable) = (choice < 180, choice % 2 == 1);
        let member = Member {
            shard,
            id,
            connected,
            durable,
        };
        let replaced = self.index.join(&name.0, &name.1, member);
        let members = self.groups.entry(name).or_default();
        let before = members.insert((shard, id), (connected, durable));
        assert_eq!(replaced, before.is_some(), "join");
    }

    fn leave(&mut self, choices: &mut Choices<'_>) {
        let name = if choices.flag() && !self.groups.is_empty() {
            let at = choices.below(self.groups.len().min(255));
            self.groups.keys().nth(at).cloned()
        } else {
            None
        };
        let name = name.unwrap_or_else(|| group_name(choices));
        let (shard, id) = member(choices);
        let left = self.index.leave(&name.0, &name.1, shard, id);
        let mut was_member = false;
        if let Some(members) = self.groups.get_mut(&name) {
            was_member = members.remove(&(shard, id)).is_some();
            if members.is_empty() {
                self.groups.remove(&name);
            }
        }
        assert_eq!(left, was_member, "leave");
    }

    fn connect_or_go(&mut self, choices: &mut Choices<'_>) {
        let (shard, id) = member(choices);
        let connected = choices.flag();
        self.index.set_connected(shard, id, connected);
        for members in self.groups.values_mut() {
            if let Some(known) = members.get_mut(&(shard, id)) {
                known.0 = connected;
            }
        }
    }

    /// As many turns as there are connected members: each has one.
    fn choose(&mut self, choices: &mut Choices<'_>) {
        let at = choices.below(self.groups.len().clamp(1, 255));
        let Some((name, members)) = self.groups.iter().nth(at) else {
            return;
        };
        let group = self.group(name);
        let skip = choices.flag().then(|| member(choices));
        let candidates = |connected: bool| -> BTreeSet<Identity> {
            let is_one =
                |(id, is): &(&Identity, &(bool, bool))| is.0 == connected && Some(**id) != skip;
            members.iter().filter(is_one).map(|(id, _)| *id).collect()
        };
        let mut expected = candidates(true);
        if expected.is_empty() {
            expected = candidates(false);
        }
        if expected.is_empty() {
            assert_eq!(self.index.choose(group, skip), None);
            return;
        }
        let mut chosen = BTreeSet::new();
        for _ in 0..expected.len() {
            let peeked = skip.and_then(|skip| self.index.peek(group, skip));
            let member = self.index.choose(group, skip).expect("there are members");
            assert!(skip.is_none() || peeked == Some(member), "peek");
            let id = (member.shard, member.id);
            let expected = Some(&(member.connected, member.durable));
            assert_eq!(members.get(&id), expected, "choose");
            chosen.insert(id);
        }
        assert_eq!(chosen, expected, "everybody has a turn");
        note(("choose", expected.len(), skip.is_some()));
    }

    fn group(&self, name: &(String, String)) -> GroupKey {
        self.index
            .group(&name.0, &name.1)
            .expect("a group with members exists")
    }

    fn compare(&mut self, topic: &str) {
        let route = self.index.route(topic);
        let generation = self.index.generation();
        assert_eq!(self.index.route(topic), route, "asked twice");
        assert_eq!(self.index.generation(), generation);

        let (mut remote, mut durable) = (Destinations::EMPTY, Destinations::EMPTY);
        for ((filter, shard), is_durable) in &self.remote {
            if matches(filter, topic) {
                remote.insert((*shard).into());
                if *is_durable {
                    durable.insert((*shard).into());
                }
            }
        }
        for (filter, sessions) in &self.subscriptions {
            if matches(filter, topic) && interest(sessions) == Interest::Durable {
                durable.insert(LOCAL.into());
            }
        }
        assert_eq!(route.remote, remote, "other shards for {topic}");
        assert_eq!(route.durable, durable, "durable subscribers of {topic}");

        let mut groups: Vec<GroupKey> = self
            .groups
            .keys()
            .filter(|(_, filter)| matches(filter, topic))
            .map(|name| self.group(name))
            .collect();
        groups.sort_unstable();
        let mut found = route.groups.to_vec();
        found.sort_unstable();
        assert_eq!(found, groups, "groups for {topic}");

        let mut by_session: BTreeMap<SessionId, Vec<Subscription>> = BTreeMap::new();
        for (filter, sessions) in &self.subscriptions {
            let is_match = matches(filter, topic);
            assert_eq!(topic::matches(filter, topic), is_match, "{filter} {topic}");
            for (session, subscription) in sessions.iter().filter(|_| is_match) {
                by_session.entry(*session).or_default().push(*subscription);
            }
        }
        let found: Vec<SessionId> = route.targets.iter().map(|target| target.session).collect();
        let expected: Vec<SessionId> = by_session.keys().copied().collect();
        assert_eq!(found, expected, "sessions for {topic}");
        for (target, subscriptions) in route.targets.iter().zip(by_session.values()) {
            for own in [false, true] {
                let counted: Vec<_> = subscriptions
                    .iter()
                    .filter(|one| !(own && one.options.no_local))
                    .collect();
                let grant = route.targets.grant(target, own).map(|grant| {
                    let mut identifiers = grant.identifiers.to_vec();
                    identifiers.sort_unstable();
                    (grant.qos, grant.retain_as_published, identifiers)
                });
                let expected = counted.iter().map(|one| one.options.qos).max().map(|qos| {
                    let retain = counted.iter().any(|one| one.options.retain_as_published);
                    let mut identifiers: Vec<u32> =
                        counted.iter().filter_map(|one| one.identifier).collect();
                    identifiers.sort_unstable();
                    (qos, retain, identifiers)
                });
                assert_eq!(grant, expected, "grant for {topic}, own {own}");
            }
        }
        note((
            found.len().min(4),
            remote.iter().count(),
            groups.len().min(3),
        ));
    }
}

/// What these want of their filter.
fn interest(sessions: &BTreeMap<SessionId, Subscription>) -> Interest {
    let each = sessions.values().map(|one| Interest::of_some(one.durable));
    each.max().unwrap_or(Interest::Absent)
}

fn session(number: u32) -> SessionId {
    SessionId {
        index: number,
        generation: number % 2,
    }
}

fn member(choices: &mut Choices<'_>) -> Identity {
    let shard = choices.one_of(&[LOCAL, ShardId(0), ShardId(2)]);
    let nth = u64::from(choices.byte() % 4);
    (shard, MemberId(NonZeroU64::MIN.saturating_add(nth)))
}

fn group_name(choices: &mut Choices<'_>) -> (String, String) {
    let share = choices.one_of(&["g", "h", "$x"]);
    (share.to_owned(), filter(choices))
}

fn subscription(choices: &mut Choices<'_>) -> Subscription {
    let flags = choices.byte();
    Subscription {
        options: SubscriptionOptions {
            qos: choices.qos(),
            no_local: flags & 1 == 1,
            retain_as_published: flags & 2 == 2,
            ..SubscriptionOptions::default()
        },
        identifier: (flags & 4 == 4).then(|| u32::from(flags >> 4) + 1),
        durable: flags & 8 == 8,
    }
}

/// Levels of topics; few, so that filters meet them.
const NAMES: [&str; 6] = ["a", "b", "", "$SYS", "a", "b"];

fn topic_name(choices: &mut Choices<'_>) -> String {
    let shape = choices.byte();
    let mut levels = Vec::with_capacity(4);
    for _ in 0..=shape % 4 {
        levels.push(choices.one_of(&NAMES));
    }
    let topic = levels.join("/");
    if topic.is_empty() {
        return "$".to_owned();
    }
    topic
}

fn filter(choices: &mut Choices<'_>) -> String {
    let shape = choices.byte();
    let mut levels = Vec::with_capacity(5);
    for _ in 0..shape % 4 {
        let level = choices.byte();
        levels.push(if level < 90 {
            "+"
        } else {
            NAMES[usize::from(level) % NAMES.len()]
        });
    }
    if shape & 0x80 != 0 || levels.concat().is_empty() && levels.len() < 2 {
        levels.push("#");
    }
    let filter = levels.join("/");
    assert!(topic::check_filter(&filter).is_ok(), "{filter:?} is valid");
    filter
}
