//! Compares what was published with what arrived, QoS by QoS.

use std::collections::{HashMap, HashSet};

use ringmq::mqtt::{topic, Qos};

use crate::engine::Report;
use crate::plan::{Plan, Publishing, Share};
use crate::results;
use crate::truth::Flow;

/// Publishers that match one receiver.
struct Audience<'a> {
    plan: &'a Plan,
    /// Publishers of each exact topic, with their group.
    by_topic: HashMap<String, Vec<(u32, usize)>>,
}

impl<'a> Audience<'a> {
    /// Publishers of the shares in `missing` are left out: nobody knows what they sent.
    fn new(plan: &'a Plan, missing: &[Share]) -> Self {
        let mut by_topic: HashMap<String, Vec<(u32, usize)>> = HashMap::new();
        for (described_as, described) in plan.groups.iter().enumerate() {
            let Some(publishing) = described.publishing.as_ref() else {
                continue;
            };
            // What is answered carries the header of the one who asked.
            let asking = |group: &crate::plan::Group| {
                group.publishing.is_some() && group.answers_to.is_none()
            };
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
                for number in 0..publishing.topics.max(1) {
                    let name = publishing.topic.fill(index, number, plan.seed);
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

    /// Publishers whose every topic one of the filters matches.
    fn publishers(&self, group: usize, index: u32) -> Vec<(u32, usize, Qos)> {
        let mut matched: HashMap<u32, (usize, Qos, u32)> = HashMap::new();
        for subscription in &self.plan.groups[group].subscriptions {
            let whole = subscription.filter.fill(index, 0, self.plan.seed);
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
        let whole = matched.into_iter().filter(|(_, (group, _, topics))| {
            let publishing = self.plan.groups[*group].publishing.as_ref();
            publishing.is_some_and(|publishing| *topics >= distinct_topics(publishing))
        });
        whole
            .map(|(publisher, (group, qos, _))| (publisher, group, qos))
            .collect()
    }
}

fn distinct_topics(publishing: &Publishing) -> u32 {
    if publishing.topic.0.contains("{t}") {
        publishing.topics.max(1)
    } else {
        1
    }
}

/// QoS of a message on its last leg: the lower of publishing and subscription.
fn granted(plan: &Plan, group: usize, subscribed: Qos) -> Qos {
    let published = plan.groups[group]
        .publishing
        .as_ref()
        .map_or(Qos::AtMostOnce, |publishing| publishing.qos);
    published.min(subscribed)
}

/// Receivers of each message, when that number is the same for all publishers.
pub fn receivers_per_message(plan: &Plan) -> Option<u64> {
    let audience = Audience::new(plan, &[]);
    let mut receivers: HashMap<u32, u64> = HashMap::new();
    for (group, described) in plan.groups.iter().enumerate() {
        let is_shared = described
            .subscriptions
            .iter()
            .any(|subscription| topic::is_shared(&subscription.filter.0));
        // A shared subscription is one receiver.
        let receiving = if is_shared {
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
        .filter(|group| group.publishing.is_some() && group.answers_to.is_none())
        .map(|group| group.clients as usize)
        .sum();
    let first = receivers.values().next().copied()?;
    (receivers.len() == publishers && receivers.values().all(|count| *count == first))
        .then_some(first)
}

fn is_missing(missing: &[Share], client: u32) -> bool {
    missing.iter().any(|share| share.holds(client))
}

/// Losses, duplicates and overtaking over all flows, but for those that begin or end at a client of the
/// shares in `missing`, of which there is no report.
pub(crate) fn truth(plan: &Plan, reports: &[Report], missing: &[Share]) -> results::Truth {
    let audience = Audience::new(plan, missing);
    let published: HashMap<u32, (u64, u64)> = reports
        .iter()
        .flat_map(|report| &report.published)
        .map(|(number, sent, open)| (*number, (*sent, *open)))
        .collect();
    let flows: HashMap<u32, &[Flow]> = reports
        .iter()
        .flat_map(|report| &report.flows)
        .map(|(number, flows)| (*number, &flows[..]))
        .collect();
    let missed: HashSet<u32> = reports
        .iter()
        .flat_map(|report| &report.missed)
        .copied()
        .collect();
    let mut truth = results::Truth::default();
    let is_shared = |group: &crate::plan::Group| {
        group
            .subscriptions
            .iter()
            .any(|subscription| topic::is_shared(&subscription.filter.0))
    };
    let mut uncertain = [0_u64; 3];
    let mut overtaken = [0_u64; 3];
    for (group, described) in plan.groups.iter().enumerate() {
        let first = plan.first_client(group);
        let mut members = first..first + described.clients;
        if is_shared(described) && members.any(|member| is_missing(missing, member)) {
            continue; // what the others got says nothing about what all of them did
        }
        if is_shared(described) {
            add_shared(&mut truth, &audience, group, &published, &flows);
            continue;
        }
        for index in 0..described.clients {
            let receiver = first + index;
            if is_missing(missing, receiver) {
                continue;
            }
            let own = flows.get(&receiver).copied().unwrap_or_default();
            let arrived: HashMap<u32, &Flow> =
                own.iter().map(|flow| (flow.publisher, flow)).collect();
            for (publisher, from, subscribed) in audience.publishers(group, index) {
                let qos = granted(plan, from, subscribed) as usize;
                let carries = plan.groups[from].publishing.as_ref();
                if carries.is_some_and(|publishing| {
                    publishing.payload.min() < crate::payload::HEADER_BYTES
                }) {
                    continue; // counted in total, see `small`
                }
                let (sent, open) = published.get(&publisher).copied().unwrap_or_default();
                let flow = arrived.get(&publisher);
                let distinct = flow.map_or(0, |flow| flow.distinct());
                truth.expected[qos] += sent;
                truth.received[qos] += distinct;
                truth.lost[qos] += sent.saturating_sub(distinct);
                let open = if missed.contains(&receiver) {
                    sent
                } else {
                    open
                };
                uncertain[qos] += open.min(sent.saturating_sub(distinct));
                truth.duplicates[qos] += flow.map_or(0, |flow| flow.duplicates);
                // Order is promised by topic.
                if carries.is_some_and(|publishing| distinct_topics(publishing) == 1) {
                    overtaken[qos] += flow.map_or(0, |flow| flow.reordered);
                }
                truth.reordered[qos] += flow.map_or(0, |flow| flow.reordered);
            }
        }
    }
    truth.broken_promises = broken(&truth, uncertain, overtaken);
    truth
}

/// A shared subscription's members are counted together: each message goes to one of them.
fn add_shared(
    truth: &mut results::Truth,
    audience: &Audience<'_>,
    group: usize,
    published: &HashMap<u32, (u64, u64)>,
    flows: &HashMap<u32, &[Flow]>,
) {
    let plan = audience.plan;
    let mut arrived: HashMap<u32, u64> = HashMap::new();
    let first = plan.first_client(group);
    for member in first..first + plan.groups[group].clients {
        for flow in flows.get(&member).copied().unwrap_or_default() {
            *arrived.entry(flow.publisher).or_default() += flow.received;
        }
    }
    for (publisher, from, subscribed) in audience.publishers(group, 0) {
        let qos = granted(plan, from, subscribed) as usize;
        let (sent, _) = published.get(&publisher).copied().unwrap_or_default();
        let received = arrived.get(&publisher).copied().unwrap_or_default();
        truth.expected[qos] += sent;
        truth.received[qos] += received.min(sent);
        truth.lost[qos] += sent.saturating_sub(received);
        truth.duplicates[qos] += received.saturating_sub(sent);
    }
}

/// What MQTT promises and was not kept.
fn broken(truth: &results::Truth, uncertain: [u64; 3], overtaken: [u64; 3]) -> Vec<String> {
    let mut sentences = Vec::new();
    for (qos, uncertain) in uncertain.iter().enumerate().skip(1) {
        let lost = truth.lost[qos].saturating_sub(*uncertain);
        if lost > 0 {
            sentences.push(format!("QoS {qos}: {lost} acknowledged messages were lost"));
        }
    }
    if truth.duplicates[2] > 0 {
        sentences.push(format!(
            "QoS 2: {} messages came more than once",
            truth.duplicates[2]
        ));
    }
    for (qos, reordered) in overtaken
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
    {
        sentences.push(format!(
            "QoS {qos}: {reordered} messages came after a later one [MQTT-4.6.0-6]"
        ));
    }
    sentences
}
