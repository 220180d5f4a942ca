//! Built-in scenarios: options in, plan out.

mod alone;
mod connections;
mod fans;
mod mixes;
mod sessions;

use crate::options::{Common, Traffic};
use crate::plan::{Group, LoadStep, Plan, Publishing, Step, Subscription, Template};

pub use alone::{Listen, Publish, RoundTrip};
pub use connections::{ConnectRamp, ConnectStorm, HandshakeStorm, ReconnectStorm, ResumptionStorm};
pub use fans::{FanIn, FanOut, LargePayloads, Pairs};
pub use mixes::{Churn, RetainedStorm, SharedGroup, SlowConsumer, TakeoverStorm, WildcardMix};
pub use sessions::{BacklogDrain, WillStorm};

/// Something that can be run.
pub trait Scenario {
    fn common(&self) -> &Common;

    /// # Errors
    /// A sentence when the options do not fit together.
    fn plan(&self) -> Result<Plan, String>;
}

/// A group that publishes what `traffic` says; `topic` unless --topic is given.
fn publishers(common: &Common, traffic: &Traffic, clients: u32, topic: &str) -> Group {
    let mut group = Group::new("publishers", clients, common.client_ids("p"));
    group.publishing = Some(Publishing {
        topic: topic_of(traffic, topic),
        topics: traffic.topics,
        qos: traffic.qos,
        retain: traffic.retain,
        payload: traffic.payload_size.clone(),
        topic_alias: traffic.topic_alias,
        properties: traffic.properties(),
        response_topic: None,
        window: traffic.window,
    });
    group
}

fn subscribers(common: &Common, traffic: &Traffic, clients: u32, filter: Template) -> Group {
    let mut group = Group::new("subscribers", clients, common.client_ids("s"));
    group.subscriptions.push(Subscription {
        filter,
        qos: traffic.subscribe_qos(),
    });
    group
}

fn topic_of(traffic: &Traffic, default: &str) -> Template {
    match &traffic.topic {
        Some(template) => template.clone(),
        None if traffic.topics > 1 => Template(format!("{default}/{{t}}")),
        None => Template(default.to_string()),
    }
}

/// The filter that matches all of a template's topics: levels with places become `+`.
fn filter_of(topic: &Template) -> Template {
    let level = |level: &str| {
        if level.contains("{i}") || level.contains("{t}") {
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
    Ok(Plan {
        scenario: name.to_string(),
        groups: groups.into(),
        steps: vec![
            Step::Connect { group: 0, per_s },
            Step::Subscribe { group: 0 },
            Step::Connect { group: 1, per_s },
            Step::Load(LoadStep {
                groups: vec![(1, traffic.load()?)],
                time: traffic.duration,
                messages: traffic.messages,
                ..LoadStep::default()
            }),
            Step::Drain {
                quiet: traffic.drain,
            },
            Step::Disconnect { group: 1 },
            Step::Disconnect { group: 0 },
        ],
        connection: common.connection()?,
        seed: common.seed(),
        share: crate::plan::Share::WHOLE,
    })
}
