//! The plan of a run in its result: so that it can be distinguished from others without reading a command line.

use std::time::Duration;

use ringmq::mqtt::Version;
use serde::{Deserialize, Serialize};

use crate::payload_size::PayloadSize;
use crate::plan::{Arrivals, Group, Load, LoadStep, Move, MoveKind, Plan, Publishing, Step};

/// What was run: who there was, and what they did one after the other. Without secrets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DescribedPlan {
    /// "3.1", "3.1.1" or "5"; of a mix all of these, with commas.
    pub protocol: String,
    pub tls: bool,
    pub websocket: bool,
    /// What is spoken to the targets: "tcp", "tls", "ws", "wss"; each once.
    #[serde(default)]
    pub transports: Vec<String>,
    /// Clients give a user name.
    pub has_user: bool,
    /// Clients whose target fails go to the next one.
    pub fails_over: bool,
    /// Number of `--source`.
    pub sources: u64,
    pub keep_alive_s: u16,
    pub timeout_s: f64,
    pub reconnect_per_s: Option<f64>,
    /// PUBLISH packets unacknowledged per client at most, unless its load says.
    pub in_flight_max: u16,
    /// Payload, topic name and properties were compared in one of so many messages; 0: in none.
    #[serde(default = "one")]
    pub compared_one_of: u32,
    pub groups: Vec<DescribedGroup>,
    pub steps: Vec<DescribedStep>,
    pub loads: Vec<DescribedLoad>,
}

/// Clients that do the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DescribedGroup {
    pub group: String,
    pub clients: u32,
    pub client_id: String,
    /// Its clients take these in turn; empty: they speak the connection's.
    pub versions: Vec<String>,
    /// Names, credentials and topics come from a table.
    pub has_feed: bool,
    pub clean_start: bool,
    pub session_expiry_s: Option<u32>,
    /// Reads no faster than this.
    pub read_bytes_per_s: Option<u64>,
    /// Of what it publishes; {i}, {t} and {r} are not filled in.
    pub topic: Option<String>,
    pub topics: u32,
    pub qos: Option<u8>,
    pub retain: bool,
    pub topic_alias: bool,
    pub window: Option<u16>,
    pub payload_bytes_min: u64,
    pub payload_bytes_max: u64,
    pub payload_sizes: Vec<DescribedSize>,
    /// Of a payload of the user's own: two that differ have different ones.
    pub payload_hash: Option<u32>,
    pub content_type: Option<String>,
    pub message_expiry_s: Option<u32>,
    /// Pairs of name and value.
    pub user_properties: Vec<(String, String)>,
    /// Of requests: where their answers go. Of those who answer: where to.
    pub response_topic: Option<String>,
    pub filters: Vec<String>,
    pub subscribe_qos: Option<u8>,
    pub will_topic: Option<String>,
    pub will_qos: Option<u8>,
}

/// One choice of payload sizes, both ends included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DescribedSize {
    pub weight: u32,
    pub bytes_min: u64,
    pub bytes_max: u64,
}

/// One thing that all clients of a group do before the next begins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DescribedStep {
    /// "connect", "subscribe", "load", "drain" ...
    pub step: String,
    pub group: Option<String>,
    /// Of a load: its name.
    pub stage: Option<String>,
    /// Clients per second; without it as fast as the broker takes them.
    pub per_s: Option<f64>,
    pub time_s: Option<f64>,
    /// Of a drain: how long nothing may come before it is over.
    pub quiet_s: Option<f64>,
    /// Each client's; the step ends when they are sent.
    pub messages_each: Option<u64>,
    /// When the broker is killed meanwhile, from the beginning of the step.
    pub crashes_s: Vec<f64>,
    /// Groups whose clients come or go meanwhile.
    pub moves: Vec<DescribedMove>,
}

/// A group's clients come or go during a load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DescribedMove {
    pub group: String,
    /// "connect", "disconnect", "abort" or "churn".
    pub kind: String,
    pub per_s: Option<f64>,
}

/// One group's part of a load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DescribedLoad {
    /// Which of `steps`, from 0.
    pub step: usize,
    pub stage: Option<String>,
    pub group: String,
    /// "open", "closed", "unlimited", "think" or "life".
    pub kind: String,
    /// Of an open loop: messages per second of the whole group.
    pub rate_per_s: Option<f64>,
    pub rate_to_per_s: Option<f64>,
    /// "constant" or "poisson".
    pub arrivals: Option<String>,
    pub window: Option<u16>,
    /// Messages per write.
    pub batch: Option<u32>,
    pub think_s_min: Option<f64>,
    pub think_s_max: Option<f64>,
    /// Of a life: how long a client is away.
    pub sleep_s_min: Option<f64>,
    pub sleep_s_max: Option<f64>,
    pub time_s: f64,
    pub messages_each: Option<u64>,
}

impl DescribedPlan {
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let common = &plan.connection;
        let loads = plan.steps.iter().enumerate();
        let loads = loads.filter_map(|(at, step)| match step {
            Step::Load(load) => Some((at, load)),
            _ => None,
        });
        Self {
            protocol: {
                let versions = plan.versions();
                let names = versions.iter().map(|own| version(*own));
                names.collect::<Vec<_>>().join(",")
            },
            tls: common.transport.tls.is_some(),
            websocket: common
                .transport
                .names()
                .iter()
                .any(|name| name.starts_with("ws")),
            transports: common
                .transport
                .names()
                .into_iter()
                .map(str::to_string)
                .collect(),
            has_user: common.user.is_some(),
            fails_over: common.fails_over,
            sources: common.sources.len() as u64,
            keep_alive_s: common.keep_alive_s,
            timeout_s: common.timeout.as_secs_f64(),
            reconnect_per_s: common.reconnect_per_s,
            in_flight_max: common.in_flight_max,
            compared_one_of: common.sample.one_of,
            groups: plan.groups.iter().map(group).collect(),
            steps: plan.steps.iter().map(|own| step(plan, own)).collect(),
            loads: loads.flat_map(|(at, own)| load(plan, at, own)).collect(),
        }
    }
}

fn one() -> u32 {
    1
}

fn version(own: Version) -> String {
    match own {
        Version::V31 => "3.1",
        Version::V311 => "3.1.1",
        Version::V5 => "5",
    }
    .to_string()
}

fn group(own: &Group) -> DescribedGroup {
    let publishing = own.publishing.as_ref();
    let filters = own.subscriptions.iter();
    let bytes = |bytes: Option<usize>| bytes.unwrap_or(0) as u64;
    let properties = publishing.map(|own| &own.properties);
    let answers = publishing.and_then(|own| own.response_topic.as_ref());
    DescribedGroup {
        group: own.name.clone(),
        clients: own.clients,
        client_id: own.client_id.0.clone(),
        versions: own.versions.iter().map(|own| version(*own)).collect(),
        has_feed: own.feed.is_some(),
        clean_start: own.session.clean_start,
        session_expiry_s: own.session.expiry_interval_s,
        read_bytes_per_s: own.read_bytes_per_s,
        topic: publishing.map(|own| own.topic.0.clone()),
        topics: publishing.map_or(0, |own| own.topics.max(1)),
        qos: publishing.map(|own| own.qos as u8),
        retain: publishing.is_some_and(|own| own.retain),
        topic_alias: publishing.is_some_and(|own| own.topic_alias),
        window: publishing.and_then(|own| own.window),
        payload_bytes_min: bytes(publishing.map(Publishing::payload_min)),
        payload_bytes_max: bytes(publishing.map(|publishing| publishing.payload_max(own))),
        payload_sizes: publishing.map_or(Vec::new(), |own| sizes(&own.payload)),
        payload_hash: publishing.and_then(|own| Some(own.own_payload.as_ref()?.hash())),
        content_type: properties.and_then(|own| own.content_type.clone()),
        message_expiry_s: properties.and_then(|own| own.message_expiry_interval_s),
        user_properties: properties.map_or(Vec::new(), |own| own.user.clone()),
        response_topic: answers.or(own.answers_to.as_ref()).map(|own| own.0.clone()),
        filters: filters.clone().map(|own| own.filter.0.clone()).collect(),
        subscribe_qos: filters.map(|own| own.qos as u8).max(),
        will_topic: own.will.as_ref().map(|own| own.topic.0.clone()),
        will_qos: own.will.as_ref().map(|own| own.qos as u8),
    }
}

fn sizes(payload: &PayloadSize) -> Vec<DescribedSize> {
    let choice = |weight, (least, most): (usize, usize)| DescribedSize {
        weight,
        bytes_min: least as u64,
        bytes_max: most as u64,
    };
    match payload {
        PayloadSize::Fixed(size) => vec![choice(1, (*size, *size))],
        PayloadSize::Between(least, most) => vec![choice(1, (*least, *most))],
        PayloadSize::Weighted(choices) => {
            let mut before = 0;
            let each = choices.iter().map(|(sum, least, most)| {
                choice(sum - std::mem::replace(&mut before, *sum), (*least, *most))
            });
            each.collect()
        }
    }
}

fn step(plan: &Plan, own: &Step) -> DescribedStep {
    let name = |at: &usize| Some(plan.groups[*at].name.clone());
    let mut step = DescribedStep {
        step: own.kind().to_string(),
        ..DescribedStep::default()
    };
    match own {
        Step::Connect { group, per_s } => (step.group, step.per_s) = (name(group), *per_s),
        Step::Subscribe { group }
        | Step::Unsubscribe { group }
        | Step::AwaitTakeover { group }
        | Step::Disconnect { group }
        | Step::Abort { group } => step.group = name(group),
        Step::Load(load) => {
            step.stage.clone_from(&load.name);
            step.time_s = Some(load.time.as_secs_f64());
            step.messages_each = load.messages;
            let times = load.crashes.iter().flat_map(|crashes| &crashes.times);
            step.crashes_s = times.map(Duration::as_secs_f64).collect();
            step.moves = load.moves.iter().map(|own| moved(plan, own)).collect();
        }
        Step::Drain { quiet } => step.quiet_s = Some(quiet.as_secs_f64()),
        Step::Hold { time } => step.time_s = Some(time.as_secs_f64()),
        _ => {} // what has no more to tell than its kind
    }
    step
}

fn moved(plan: &Plan, own: &Move) -> DescribedMove {
    DescribedMove {
        group: plan.groups[own.group].name.clone(),
        kind: match own.kind {
            MoveKind::Connect => "connect",
            MoveKind::Disconnect => "disconnect",
            MoveKind::Abort => "abort",
            MoveKind::Churn => "churn",
        }
        .to_string(),
        per_s: own.per_s,
    }
}

fn load(plan: &Plan, at: usize, step: &LoadStep) -> Vec<DescribedLoad> {
    let parts = step.groups.iter().map(|(group, load)| {
        let mut own = DescribedLoad {
            step: at,
            stage: step.name.clone(),
            group: plan.groups[*group].name.clone(),
            time_s: step.time.as_secs_f64(),
            messages_each: step.messages,
            ..DescribedLoad::default()
        };
        own.kind = match load {
            Load::Open {
                from_per_s,
                to_per_s,
                arrivals,
            } => {
                (own.rate_per_s, own.rate_to_per_s) = (Some(*from_per_s), Some(*to_per_s));
                own.arrivals = Some(match arrivals {
                    Arrivals::Constant => "constant".to_string(),
                    Arrivals::Poisson => "poisson".to_string(),
                });
                "open"
            }
            Load::Closed { window } => {
                own.window = Some(*window);
                "closed"
            }
            Load::Unlimited { batch } => {
                own.batch = Some(*batch);
                "unlimited"
            }
            Load::Think { least, most } => {
                own.think_s_min = Some(least.as_secs_f64());
                own.think_s_max = Some(most.as_secs_f64());
                "think"
            }
            Load::Life {
                messages,
                pause,
                sleep,
            } => {
                own.messages_each = Some(*messages);
                own.think_s_min = Some(pause.0.as_secs_f64());
                own.think_s_max = Some(pause.1.as_secs_f64());
                own.sleep_s_min = Some(sleep.0.as_secs_f64());
                own.sleep_s_max = Some(sleep.1.as_secs_f64());
                "life"
            }
        }
        .to_string();
        own
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &str) -> DescribedPlan {
        let words: Vec<String> = words.split(' ').map(str::to_string).collect();
        DescribedPlan::of(&crate::cli::plan_of(&words).unwrap().0)
    }

    #[test]
    fn what_differs_in_the_plan_differs_in_its_description() {
        let same = of("pairs --qos 1 --seed 1");
        assert_eq!(
            same,
            of("pairs --seed 2 --qos 1 --label x --token a-secret")
        );
        let others = [
            "pairs --qos 1 --clients 3",
            "pairs --qos 2",
            "pairs --qos 1 --rate 7",
            "pairs --qos 1 --poisson",
            "pairs --qos 1 --max",
            "pairs --qos 1 --max --window 3",
            "pairs --qos 1 --payload-size 16-64",
            "pairs --qos 1 --payload-size 64:1,65:2",
            "pairs --qos 1 --payload-size 64:2,65:1",
            "pairs --qos 1 --topic t/{i}",
            "pairs --qos 1 --client-id c/{g}/{i}",
            "pairs --qos 1 --connect-rate 7",
            "pairs --qos 1 --user somebody",
            "pairs --qos 1 --drain 7s",
            "pairs --qos 1 --check-content 7",
            "pairs --qos 1 --target ws://127.0.0.1:1883",
            "pairs --qos 1 --target ws://127.0.0.1:1883 --target 127.0.0.1:1883",
            "pairs --qos 1 --duration 7s",
            "pairs --qos 1 --messages 7",
            "pairs --qos 1 --protocol 5 --content-type text",
            "pairs --qos 1 --protocol 5",
            "will-storm --qos 1",
        ];
        let mut all: Vec<DescribedPlan> = others.iter().map(|words| of(words)).collect();
        all.push(same);
        for (at, own) in all.iter().enumerate() {
            assert!(!all[..at].contains(own), "{:?}", others.get(at));
        }
    }

    #[test]
    fn a_plan_has_no_secret() {
        let plan = of("pairs --user somebody --password hunter2");
        let json = serde_json::to_string(&plan).unwrap();
        assert!(plan.has_user && !json.contains("hunter2"), "{json}");
    }
}
