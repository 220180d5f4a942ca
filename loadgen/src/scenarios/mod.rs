//! Built-in scenarios: options in, plan out.

mod alone;
mod connections;
mod durable;
mod fans;
mod mixes;
mod sessions;

use std::time::Duration;

use ringmq::mqtt::Qos;

use crate::options::{Common, Traffic, ALL_TOPICS};
use crate::plan::{Group, LoadStep, Plan, Publishing, Share, Step, Subscription, Template, FED};

pub use alone::{Listen, Publish, RoundTrip};
pub use connections::{ConnectRamp, ConnectStorm, HandshakeStorm, ReconnectStorm, ResumptionStorm};
pub use durable::{DurableRetained, DurableSessions, DurableWills};
pub use fans::{FanIn, FanOut, LargePayloads, Pairs};
pub use mixes::{Churn, RetainedStorm, SharedGroup, SlowConsumer, TakeoverStorm, WildcardMix};
pub use sessions::{BacklogDrain, WillStorm};

/// Quiet time after which the broker has all messages.
const STORED: Duration = Duration::from_millis(500);

/// A built-in scenario with its options.
pub trait Scenario {
    fn common(&self) -> &Common;

    /// The group that its --clients counts.
    fn counted(&self) -> &'static str {
        "publishers"
    }

    /// # Errors
    /// A sentence when the options do not fit together.
    fn plan(&self) -> Result<Plan, String>;
}

/// A group that publishes what `traffic` says; `topic` unless --topic is given.
fn publishers(common: &Common, traffic: &Traffic, clients: u32, topic: &str) -> Group {
    let mut group = Group::new("publishers", clients, common.client_ids("p"));
    group.publishing = Some(Publishing {
        topic: topic_of(common, traffic, topic),
        topics: traffic.topics,
        qos: traffic.qos,
        retain: traffic.retain,
        payload: traffic.payload_size.clone(),
        own_payload: traffic.own_payload(),
        topic_alias: traffic.topic_alias,
        properties: traffic.properties(),
        response_topic: None,
        window: traffic.window,
    });
    group
}

/// A group that subscribes to `filter`.
fn subscribers(common: &Common, traffic: &Traffic, clients: u32, filter: Template) -> Group {
    let mut group = Group::new("subscribers", clients, common.client_ids("s"));
    subscribe(&mut group, filter, traffic.subscribe_qos());
    group
}

fn subscribe(group: &mut Group, filter: Template, qos: Qos) {
    group.subscriptions.push(Subscription { filter, qos });
}

/// Subscribers that each get everything, and publishers on `topic` unless --topic is given.
fn all_to_each(
    common: &Common,
    traffic: &Traffic,
    subscribing: u32,
    publishing: u32,
    topic: &str,
) -> [Group; 2] {
    let filter = filter_of(&topic_of(common, traffic, topic));
    [
        subscribers(common, traffic, subscribing, filter),
        publishers(common, traffic, publishing, topic),
    ]
}

fn topic_of(common: &Common, traffic: &Traffic, default: &str) -> Template {
    let given = traffic.topic.clone();
    match given.or_else(|| common.topic_of_table(traffic.topics)) {
        Some(template) => template,
        None if traffic.topics > 1 => Template(format!("{default}/{{t}}")),
        None => Template(default.to_string()),
    }
}

/// The filter that matches all of a template's topics: levels with places become `+`.
fn filter_of(topic: &Template) -> Template {
    if topic.0.starts_with("{csv:topic}") {
        return Template(ALL_TOPICS.into());
    }
    let level = |level: &str| {
        if level.contains("{i}") || level.contains("{t}") || level.contains(FED) {
            "+".to_string()
        } else {
            level.to_string()
        }
    };
    Template(topic.0.split('/').map(level).collect::<Vec<_>>().join("/"))
}

/// Subscribers first, then publishers, then load: the groups are numbered 0 and 1.
fn standard(
    name: &str,
    common: &Common,
    traffic: &Traffic,
    groups: [Group; 2],
) -> Result<Plan, String> {
    let per_s = common.connect_rate;
    let quiet = traffic.drain;
    let steps = vec![
        Step::Connect { group: 0, per_s },
        Step::Subscribe { group: 0 },
        Step::Connect { group: 1, per_s },
        load(traffic, traffic.messages)?,
        Step::Drain { quiet },
        Step::Disconnect { group: 1 },
        Step::Disconnect { group: 0 },
    ];
    plan(name, common, groups.into(), steps)
}

/// Group 1 publishes what `traffic` says.
fn load(traffic: &Traffic, messages: Option<u64>) -> Result<Step, String> {
    Ok(Step::Load(LoadStep {
        groups: vec![(1, traffic.load()?)],
        time: traffic.duration,
        messages,
        ..LoadStep::default()
    }))
}

/// The plan of these groups and steps, where and as the options say.
fn plan(name: &str, common: &Common, groups: Vec<Group>, steps: Vec<Step>) -> Result<Plan, String> {
    Ok(Plan {
        scenario: name.to_string(),
        groups,
        steps,
        connection: common.connection()?,
        seed: common.seed(),
        unix_ahead_ns: 0,
        share: Share::WHOLE,
    })
}
