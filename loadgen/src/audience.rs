//! Audiences by the plan: publishers matched with the filters of each receiver.

use std::collections::HashMap;

use ringmq::mqtt::{topic, Qos};

use crate::plan::{Group, Plan, Share, Template};

/// Messages of a group's clients, published by themselves or as wills.
pub(crate) struct Source<'a> {
    group: &'a Group,
    topic: &'a Template,
    topics: u32,
    qos: Qos,
    /// Its payloads do not tell which message they are.
    pub(crate) is_unproven: bool,
    pub(crate) is_will: bool,
}

impl<'a> Source<'a> {
    pub(crate) fn of(group: &'a Group) -> Option<Self> {
        let published = group.publishing.as_ref().map(|publishing| Self {
            group,
            topic: &publishing.topic,
            topics: publishing.topics.max(1),
            qos: publishing.qos,
            is_unproven: publishing.is_unproven(),
            is_will: false,
        });
        published.or_else(|| {
            group.will.as_ref().map(|will| Self {
                group,
                topic: &will.topic,
                topics: 1,
                qos: will.qos,
                is_unproven: false,
                is_will: true,
            })
        })
    }

    fn distinct_topics(&self) -> u32 {
        if self.topic.0.contains("{t}") {
            self.topics
        } else {
            1
        }
    }
}

/// Publishers that match one receiver.
pub(crate) struct Audience<'a> {
    plan: &'a Plan,
    /// Publishers of each exact topic, with their group.
    by_topic: HashMap<String, Vec<(u32, usize)>>,
}

impl<'a> Audience<'a> {
    /// Publishers of the shares in `missing` are left out: what they sent is not known.
    pub(crate) fn new(plan: &'a Plan, missing: &[Share]) -> Self {
        let mut by_topic: HashMap<String, Vec<(u32, usize)>> = HashMap::new();
        for (described_as, described) in plan.groups.iter().enumerate() {
            let Some(source) = Source::of(described) else {
                continue;
            };
            // What is answered carries the header of the one who asked.
            let asking = |group: &Group| group.publishing.is_some() && group.answers_to.is_none();
            let group = match &described.answers_to {
                Some(_) => plan.groups.iter().position(asking).unwrap_or(described_as),
                None => described_as,
            };
            for index in 0..described.clients {
                let sender = plan.first_client(described_as) + index;
                if is_missing(missing, sender)
                    || is_missing(missing, plan.first_client(group) + index)
                {
                    continue;
                }
                for number in 0..source.topics {
                    let name = source.group.fill(source.topic, index, number, plan.seed);
                    let publisher = (plan.first_client(group) + index, group);
                    let publishers = by_topic.entry(name).or_default();
                    if publishers.last() != Some(&publisher) {
                        publishers.push(publisher);
                    }
                }
            }
        }
        Self { plan, by_topic }
    }

    /// Publishers of which a filter matches some topic; true when it matches all of them.
    pub(crate) fn matching(&self, group: usize, index: u32) -> Vec<(u32, usize, Qos, bool)> {
        let mut matched: HashMap<u32, (usize, Qos, u32)> = HashMap::new();
        let own = &self.plan.groups[group];
        for subscription in &own.subscriptions {
            let whole = own.fill(&subscription.filter, index, 0, self.plan.seed);
            let share = topic::share(&whole).ok().flatten();
            let filter = share.map_or(&whole[..], |share| share.filter);
            let mut add = |publishers: &[(u32, usize)]| {
                for (publisher, group) in publishers {
                    let entry = matched
                        .entry(*publisher)
                        .or_insert((*group, subscription.qos, 0));
                    entry.1 = entry.1.max(subscription.qos);
                    entry.2 += 1;
                }
            };
            if filter.contains(['+', '#']) {
                let topics = self
                    .by_topic
                    .iter()
                    .filter(|(name, _)| topic::matches(filter, name));
                topics.for_each(|(_, publishers)| add(publishers));
            } else if let Some(publishers) = self.by_topic.get(filter) {
                add(publishers);
            }
        }
        let is_whole = |group: usize, topics: u32| {
            let source = Source::of(&self.plan.groups[group]);
            source.is_some_and(|source| topics >= source.distinct_topics())
        };
        matched
            .into_iter()
            .map(|(publisher, (group, qos, topics))| {
                (publisher, group, qos, is_whole(group, topics))
            })
            .collect()
    }

    /// Publishers whose every topic one of the filters matches.
    pub(crate) fn publishers(&self, group: usize, index: u32) -> Vec<(u32, usize, Qos)> {
        let matching = self.matching(group, index).into_iter();
        let whole = matching.filter(|(.., is_whole)| *is_whole);
        whole
            .map(|(publisher, group, qos, _)| (publisher, group, qos))
            .collect()
    }
}

/// QoS of a message on its last leg: the lower of publishing and subscription.
pub(crate) fn granted(plan: &Plan, group: usize, subscribed: Qos) -> Qos {
    let source = Source::of(&plan.groups[group]);
    source.map_or(Qos::AtMostOnce, |source| source.qos.min(subscribed))
}

/// Receivers of each message, when that number is the same for all publishers.
pub fn receivers_per_message(plan: &Plan) -> Option<u64> {
    let audience = Audience::new(plan, &[]);
    let mut receivers: HashMap<u32, u64> = HashMap::new();
    let receiving = plan.groups.iter().enumerate();
    for (group, described) in receiving.filter(|(_, group)| !group.comes_and_goes) {
        // A shared subscription is one receiver.
        let receiving = if has_shared_subscription(described) {
            described.clients.min(1)
        } else {
            described.clients
        };
        for index in 0..receiving {
            for (publisher, _, _) in audience.publishers(group, index) {
                *receivers.entry(publisher).or_default() += 1;
            }
        }
    }
    let publishers: usize = plan
        .groups
        .iter()
        .filter(|group| Source::of(group).is_some() && group.answers_to.is_none())
        .map(|group| group.clients as usize)
        .sum();
    let first = receivers.values().next().copied()?;
    (receivers.len() == publishers && receivers.values().all(|count| *count == first))
        .then_some(first)
}

pub(crate) fn is_missing(missing: &[Share], client: u32) -> bool {
    missing.iter().any(|share| share.holds(client))
}

pub(crate) fn has_shared_subscription(group: &Group) -> bool {
    let mut filters = group.subscriptions.iter();
    filters.any(|subscription| topic::is_shared(&subscription.filter.0))
}
