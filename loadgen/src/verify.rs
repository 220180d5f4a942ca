//! Compares what was published with what arrived, QoS by QoS.

use std::collections::HashMap;

use ringmq::mqtt::{topic, Qos};

use crate::engine::Report;
use crate::plan::{Plan, Publishing};
use crate::results;
use crate::truth::Flow;

/// Publishers that match one receiver.
struct Audience<'a> {
    plan: &'a Plan,
    /// Publishers of each exact topic, with their group.
    by_topic: HashMap<String, Vec<(u32, usize)>>,
}

impl<'a> Audience<'a> {
    fn new(plan: &'a Plan) -> Self {
        let mut by_topic: HashMap<String, Vec<(u32, usize)>> = HashMap::new();
        for (group, described) in plan.groups.iter().enumerate() {
            // What is answered carries the header of the one who asked.
            let Some(publishing) = described
                .publishing
                .as_ref()
                .filter(|_| described.answers_to.is_none())
            else {
                continue;
            };
            for index in 0..described.clients {
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
        Self::add_answers(plan, &mut by_topic);
        Self { plan, by_topic }
    }

    /// An answer carries the header of the request: its topic is one of those who asked.
    fn add_answers(plan: &Plan, by_topic: &mut HashMap<String, Vec<(u32, usize)>>) {
        let mut answers = Vec::new();
        for described in &plan.groups {
            let Some(answer) = &described.answers_to else {
                continue;
            };
            for index in 0..described.clients {
                for subscription in &described.subscriptions {
                    let asked = by_topic.get(&subscription.filter.fill(index, 0, plan.seed));
                    let name = answer.fill(index, 0, plan.seed);
                    answers.extend(asked.map(|publishers| (name, publishers.clone())));
                }
            }
        }
        for (name, publishers) in answers {
            by_topic.entry(name).or_default().extend(publishers);
        }
    }

    /// Publishers whose every topic one of the filters matches.
    fn publishers(&self, group: usize, index: u32) -> Vec<(u32, usize, Qos)> {
        let mut matched: HashMap<u32, (usize, Qos, u32)> = HashMap::new();
        for subscription in &self.plan.groups[group].subscriptions {
            let filter = subscription.filter.fill(index, 0, self.plan.seed);
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
                    .filter(|(name, _)| topic::matches(&filter, name));
                topics.for_each(|(_, publishers)| add(publishers));
            } else if let Some(publishers) = self.by_topic.get(&filter) {
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
    // How much slow readers get is theirs to say.
    if plan
        .groups
        .iter()
        .any(|group| group.read_bytes_per_s.is_some())
    {
        return None;
    }
    let audience = Audience::new(plan);
    let mut receivers: HashMap<u32, u64> = HashMap::new();
    for (group, described) in plan.groups.iter().enumerate() {
        for index in 0..described.clients {
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

/// Losses, duplicates and overtaking over all flows.
pub(crate) fn truth(plan: &Plan, reports: &[Report]) -> results::Truth {
    let audience = Audience::new(plan);
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
    let mut truth = results::Truth::default();
    let mut uncertain = [0_u64; 3];
    let mut out_of_order = [0_u64; 3];
    for (group, described) in plan
        .groups
        .iter()
        .enumerate()
        .filter(|(_, group)| group.read_bytes_per_s.is_none())
    {
        for index in 0..described.clients {
            let receiver = plan.first_client(group) + index;
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
                uncertain[qos] += open.min(sent.saturating_sub(distinct));
                truth.duplicates[qos] += flow.map_or(0, |flow| flow.duplicates);
                let reordered = flow.map_or(0, |flow| flow.reordered);
                truth.reordered[qos] += reordered;
                // Order is promised topic by topic [MQTT-4.6.0-5].
                if carries.is_some_and(|publishing| distinct_topics(publishing) == 1) {
                    out_of_order[qos] += reordered;
                }
            }
        }
    }
    shared(
        plan,
        &published,
        &flows,
        &mut truth,
        &mut uncertain,
        &mut out_of_order,
    );
    wills(plan, &flows, &mut truth);
    truth.broken_promises = broken(&truth, uncertain, out_of_order);
    truth
}

/// Groups with a shared subscription: each message must come to one member.
fn shared(
    plan: &Plan,
    published: &HashMap<u32, (u64, u64)>,
    flows: &HashMap<u32, &[Flow]>,
    truth: &mut results::Truth,
    uncertain: &mut [u64; 3],
    out_of_order: &mut [u64; 3],
) {
    for (group, described) in plan.groups.iter().enumerate() {
        let share = described
            .subscriptions
            .iter()
            .find_map(|own| Some((shared_filter(&own.filter.0)?, own.qos)));
        let Some((filter, subscribed)) = share else {
            continue;
        };
        let filter = crate::plan::Template(filter.to_string()).fill(0, 0, plan.seed);
        let mut arrived: HashMap<u32, (u64, u64)> = HashMap::new();
        let first = plan.first_client(group);
        for flow in (first..first + described.clients)
            .filter_map(|number| flows.get(&number))
            .flat_map(|flows| flows.iter())
        {
            let sums = arrived.entry(flow.publisher).or_default();
            *sums = (sums.0 + flow.received, sums.1 + flow.reordered);
        }
        for (from, publishers) in plan.groups.iter().enumerate() {
            let Some(publishing) = &publishers.publishing else {
                continue;
            };
            let qos = granted(plan, from, subscribed) as usize;
            for index in 0..publishers.clients {
                if !topic::matches(&filter, &publishing.topic.fill(index, 0, plan.seed)) {
                    continue;
                }
                let number = plan.first_client(from) + index;
                let (sent, open) = published.get(&number).copied().unwrap_or_default();
                let (received, reordered) = arrived.get(&number).copied().unwrap_or_default();
                truth.expected[qos] += sent;
                truth.received[qos] += received.min(sent);
                truth.lost[qos] += sent.saturating_sub(received);
                uncertain[qos] += open.min(sent.saturating_sub(received));
                truth.duplicates[qos] += received.saturating_sub(sent);
                truth.reordered[qos] += reordered;
                if distinct_topics(publishing) == 1 {
                    out_of_order[qos] += reordered;
                }
            }
        }
    }
}

/// The filter of `$share/NAME/FILTER`.
fn shared_filter(filter: &str) -> Option<&str> {
    Some(filter.strip_prefix("$share/")?.split_once('/')?.1)
}

/// Wills of clients that were cut off: each subscriber must get each once.
fn wills(plan: &Plan, flows: &HashMap<u32, &[Flow]>, truth: &mut results::Truth) {
    let is_cut = |group: usize| {
        plan.steps
            .iter()
            .any(|step| matches!(step, crate::plan::Step::Abort { group: cut } if *cut == group))
    };
    for (dying, described) in plan
        .groups
        .iter()
        .enumerate()
        .filter(|(group, _)| is_cut(*group))
    {
        let Some(will) = &described.will else {
            continue;
        };
        for (watching, watchers) in plan.groups.iter().enumerate() {
            for (watcher, subscription) in (0..watchers.clients)
                .flat_map(|index| watchers.subscriptions.iter().map(move |own| (index, own)))
            {
                let filter = subscription.filter.fill(watcher, 0, plan.seed);
                let own = flows
                    .get(&(plan.first_client(watching) + watcher))
                    .copied()
                    .unwrap_or_default();
                let qos = will.qos.min(subscription.qos) as usize;
                let arrived: HashMap<u32, &Flow> =
                    own.iter().map(|flow| (flow.publisher, flow)).collect();
                for index in (0..described.clients)
                    .filter(|index| topic::matches(&filter, &will.topic.fill(*index, 0, plan.seed)))
                {
                    let flow = arrived.get(&(plan.first_client(dying) + index));
                    let distinct = flow.map_or(0, |flow| flow.distinct());
                    truth.expected[qos] += 1;
                    truth.received[qos] += distinct;
                    truth.lost[qos] += 1_u64.saturating_sub(distinct);
                    truth.duplicates[qos] += flow.map_or(0, |flow| flow.duplicates);
                }
            }
        }
    }
}

/// What MQTT promises and was not kept.
fn broken(truth: &results::Truth, uncertain: [u64; 3], out_of_order: [u64; 3]) -> Vec<String> {
    let mut sentences = Vec::new();
    for (qos, uncertain) in uncertain.into_iter().enumerate().skip(1) {
        let lost = truth.lost[qos].saturating_sub(uncertain);
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
    for (qos, reordered) in out_of_order
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
