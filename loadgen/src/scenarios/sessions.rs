//! Scenarios about connections and sessions: many of them, coming all at once, coming back.

use std::time::Duration;

use clap::Args;

use super::{filter_of, publishers, subscribers, topic_of, Scenario};
use crate::cli::{parse_duration, Common, Traffic};
use crate::plan::{Group, LoadStep, Plan, Session, Step, Subscription, Template, Will};

/// Opens many connections and holds them; with --broker-pid shows the broker's memory for them.
#[derive(Args, Debug)]
pub struct Idle {
    /// Connections
    #[arg(long, default_value_t = 1_000)]
    clients: u32,
    /// How long they are held
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    hold: Duration,
    #[command(flatten)]
    common: Common,
}

impl Scenario for Idle {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        let group = Group::new("clients", self.clients, self.common.client_ids("c"));
        let steps = vec![
            Step::Connect {
                group: 0,
                per_s: self.common.connect_rate,
            },
            Step::Hold { time: self.hold },
            Step::Disconnect { group: 0 },
        ];
        plan("idle", &self.common, vec![group], steps)
    }
}

/// Clients that come, are cut off, and come back all at once.
#[derive(Args, Debug)]
pub struct ReconnectStorm {
    /// Clients
    #[arg(long, default_value_t = 1_000)]
    clients: u32,
    /// Times they come
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Sessions outlive their connections
    #[arg(long)]
    persistent: bool,
    #[command(flatten)]
    common: Common,
}

impl Scenario for ReconnectStorm {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        let mut group = Group::new("clients", self.clients, self.common.client_ids("c"));
        group.subscriptions.push(Subscription {
            filter: Template("reconnect/{r}/{i}".into()),
            qos: ringmq::mqtt::Qos::AtLeastOnce,
        });
        if self.persistent {
            group.session = kept();
        }
        let mut steps = Vec::new();
        for _ in 0..self.rounds {
            steps.push(Step::Connect {
                group: 0,
                per_s: self.common.connect_rate,
            });
            steps.push(Step::Subscribe { group: 0 });
            steps.push(Step::Abort { group: 0 });
        }
        plan("reconnect-storm", &self.common, vec![group], steps)
    }
}

/// Subscribers go away; what is published meanwhile must be there when they come back.
#[derive(Args, Debug)]
pub struct Backlog {
    /// Subscribers with a session of their own
    #[arg(long, default_value_t = 10)]
    clients: u32,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for Backlog {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        let (common, traffic) = (&self.common, &self.traffic);
        if traffic.qos == ringmq::mqtt::Qos::AtMostOnce {
            return Err(
                "backlog needs --qos 1 or 2: brokers need not keep messages of QoS 0".into(),
            );
        }
        let topic = topic_of(traffic, "backlog/{r}/{i}");
        let mut away = subscribers(common, traffic, self.clients, topic);
        away.session = kept();
        let from = publishers(common, traffic, self.clients, "backlog/{r}/{i}");
        let per_s = common.connect_rate;
        let steps = vec![
            Step::Connect { group: 0, per_s },
            Step::Subscribe { group: 0 },
            Step::Disconnect { group: 0 },
            Step::Connect { group: 1, per_s },
            Step::Load(LoadStep {
                groups: vec![(1, traffic.load()?)],
                time: traffic.duration,
                messages: traffic.messages,
            }),
            Step::Connect { group: 0, per_s },
            Step::Drain {
                quiet: traffic.drain,
            },
            Step::Unsubscribe { group: 0 },
            Step::Disconnect { group: 1 },
            Step::Disconnect { group: 0 },
        ];
        plan("backlog", common, vec![away, from], steps)
    }
}

/// Second connections with the client identifiers of the first: each takes a session over.
#[derive(Args, Debug)]
pub struct Takeover {
    /// Clients on each side
    #[arg(long, default_value_t = 100)]
    clients: u32,
    #[command(flatten)]
    common: Common,
}

impl Scenario for Takeover {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        let ids = self.common.client_ids("same");
        let mut first = Group::new("first", self.clients, ids.clone());
        first.is_taken_over = true;
        let second = Group::new("second", self.clients, ids);
        let per_s = self.common.connect_rate;
        let steps = vec![
            Step::Connect { group: 0, per_s },
            Step::Connect { group: 1, per_s },
            Step::Disconnect { group: 1 },
        ];
        plan("takeover-storm", &self.common, vec![first, second], steps)
    }
}

/// Clients with wills are cut off all at once; one subscriber gets them all.
#[derive(Args, Debug)]
pub struct WillStorm {
    /// Clients with a will
    #[arg(long, default_value_t = 100)]
    clients: u32,
    /// How long the wills may take
    #[arg(long, default_value = "3s", value_parser = parse_duration)]
    drain: Duration,
    #[command(flatten)]
    common: Common,
}

impl Scenario for WillStorm {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        let qos = ringmq::mqtt::Qos::AtLeastOnce;
        let mut watcher = Group::new("watcher", 1, self.common.client_ids("watch"));
        watcher.subscriptions.push(Subscription {
            filter: Template("will/{r}/+".into()),
            qos,
        });
        let mut dying = Group::new("dying", self.clients, self.common.client_ids("die"));
        dying.will = Some(Will {
            topic: Template("will/{r}/{i}".into()),
            qos,
        });
        let per_s = self.common.connect_rate;
        let steps = vec![
            Step::Connect { group: 0, per_s },
            Step::Subscribe { group: 0 },
            Step::Connect { group: 1, per_s },
            Step::Abort { group: 1 },
            Step::Drain { quiet: self.drain },
            Step::Disconnect { group: 0 },
        ];
        plan("will-storm", &self.common, vec![watcher, dying], steps)
    }
}

/// Subscriptions that come and go while messages flow.
#[derive(Args, Debug)]
pub struct Churn {
    /// Clients that subscribe and unsubscribe
    #[arg(long, default_value_t = 100)]
    clients: u32,
    /// Times they do
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for Churn {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        let (common, traffic) = (&self.common, &self.traffic);
        let topic = topic_of(traffic, "churn/{r}/{i}");
        let to = subscribers(common, traffic, 1, filter_of(&topic));
        let from = publishers(common, traffic, 1, "churn/{r}/{i}");
        let mut restless = Group::new("restless", self.clients, common.client_ids("c"));
        let filter = Template("churned/{r}/{i}/+".into());
        restless.subscriptions.push(Subscription {
            filter,
            qos: traffic.subscribe_qos(),
        });
        let per_s = common.connect_rate;
        let mut steps = vec![
            Step::Connect { group: 0, per_s },
            Step::Subscribe { group: 0 },
            Step::Connect { group: 1, per_s },
            Step::Connect { group: 2, per_s },
        ];
        let time = traffic.duration / self.rounds.max(1);
        for _ in 0..self.rounds {
            steps.push(Step::Subscribe { group: 2 });
            let groups = vec![(1, traffic.load()?)];
            steps.push(Step::Load(LoadStep {
                groups,
                time,
                messages: traffic.messages,
            }));
            steps.push(Step::Unsubscribe { group: 2 });
        }
        steps.push(Step::Drain {
            quiet: traffic.drain,
        });
        steps.extend([2, 1, 0].map(|group| Step::Disconnect { group }));
        plan("churn", common, vec![to, from, restless], steps)
    }
}

/// A session that outlives its connection, for an hour with MQTT 5.
fn kept() -> Session {
    Session {
        clean_start: false,
        expiry_interval_s: Some(3_600),
    }
}

fn plan(name: &str, common: &Common, groups: Vec<Group>, steps: Vec<Step>) -> Result<Plan, String> {
    Ok(Plan {
        scenario: name.to_string(),
        groups,
        steps,
        connection: common.connection()?,
        seed: common.seed(),
    })
}
