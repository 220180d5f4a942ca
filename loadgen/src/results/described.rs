//! The plan of a run in its result: so that it can be distinguished from others without reading a command line.

use serde::{Deserialize, Serialize};

use crate::plan::{Group, Load, LoadStep, Plan, Publishing, Step};

/// What was run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DescribedPlan {
    /// "3.1", "3.1.1" or "5"; of a mix all of these, with commas.
    pub protocol: String,
    pub tls: bool,
    pub websocket: bool,
    pub keep_alive_s: u16,
    pub timeout_s: f64,
    pub reconnect_per_s: Option<f64>,
    pub groups: Vec<DescribedGroup>,
    pub loads: Vec<DescribedLoad>,
}

/// Clients that do the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DescribedGroup {
    pub group: String,
    pub clients: u32,
    pub clean_start: bool,
    pub session_expiry_s: Option<u32>,
    pub topic: Option<String>,
    pub topics: u32,
    /// Of what it publishes.
    pub qos: Option<u8>,
    pub retain: bool,
    pub payload_bytes_min: u64,
    pub payload_bytes_max: u64,
    pub filters: Vec<String>,
    pub subscribe_qos: Option<u8>,
}

/// One group's part of a load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DescribedLoad {
    pub stage: Option<String>,
    pub group: String,
    /// "open", "closed", "unlimited", "think" or "life".
    pub kind: String,
    pub rate_per_s: Option<f64>,
    pub rate_to_per_s: Option<f64>,
    pub window: Option<u16>,
    pub time_s: f64,
    pub messages_each: Option<u64>,
}

impl DescribedPlan {
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let common = &plan.connection;
        let loads = plan.steps.iter().filter_map(|step| match step {
            Step::Load(load) => Some(load),
            _ => None,
        });
        Self {
            protocol: {
                let versions = plan.versions();
                let names = versions.iter().map(|version| match version {
                    ringmq::mqtt::Version::V31 => "3.1",
                    ringmq::mqtt::Version::V311 => "3.1.1",
                    ringmq::mqtt::Version::V5 => "5",
                });
                names.collect::<Vec<_>>().join(",")
            },
            tls: common.transport.tls.is_some(),
            websocket: common.transport.websocket.is_some(),
            keep_alive_s: common.keep_alive_s,
            timeout_s: common.timeout.as_secs_f64(),
            reconnect_per_s: common.reconnect_per_s,
            groups: plan.groups.iter().map(group).collect(),
            loads: loads.flat_map(|step| load(plan, step)).collect(),
        }
    }
}

fn group(own: &Group) -> DescribedGroup {
    let publishing = own.publishing.as_ref();
    let filters = own.subscriptions.iter();
    let bytes = |bytes: Option<usize>| bytes.unwrap_or(0) as u64;
    DescribedGroup {
        group: own.name.clone(),
        clients: own.clients,
        clean_start: own.session.clean_start,
        session_expiry_s: own.session.expiry_interval_s,
        topic: publishing.map(|own| own.topic.0.clone()),
        topics: publishing.map_or(0, |own| own.topics.max(1)),
        qos: publishing.map(|own| own.qos as u8),
        retain: publishing.is_some_and(|own| own.retain),
        payload_bytes_min: bytes(publishing.map(Publishing::payload_min)),
        payload_bytes_max: bytes(publishing.map(|publishing| publishing.payload_max(own))),
        filters: filters.clone().map(|own| own.filter.0.clone()).collect(),
        subscribe_qos: filters.map(|own| own.qos as u8).max(),
    }
}

fn load(plan: &Plan, step: &LoadStep) -> Vec<DescribedLoad> {
    let parts = step.groups.iter().map(|(at, load)| {
        let mut own = DescribedLoad {
            stage: step.name.clone(),
            group: plan.groups[*at].name.clone(),
            time_s: step.time.as_secs_f64(),
            messages_each: step.messages,
            ..DescribedLoad::default()
        };
        own.kind = match load {
            Load::Open {
                from_per_s,
                to_per_s,
                ..
            } => {
                (own.rate_per_s, own.rate_to_per_s) = (Some(*from_per_s), Some(*to_per_s));
                "open"
            }
            Load::Closed { window } => {
                own.window = Some(*window);
                "closed"
            }
            Load::Unlimited { .. } => "unlimited",
            Load::Think { .. } => "think",
            Load::Life { .. } => "life",
        }
        .to_string();
        own
    });
    parts.collect()
}
