//! Connections and sessions rather than messages.

use std::time::Duration;

use clap::Args;

use super::{publishers, subscribers, topic_of, Scenario};
use crate::cli::{parse_duration, Common, Traffic};
use crate::plan::{Group, LoadStep, Plan, Step, Subscription, Template, Will};

/// Connects clients (at --connect-rate, or as fast as they are taken: a storm), holds them idle and
/// disconnects. --broker-pid tells the broker's memory per connection.
#[derive(Args, Debug)]
pub struct ConnectRamp {
    /// Clients
    #[arg(long, default_value_t = 1_000)]
    clients: u32,
    /// How long they stay idle
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    hold: Duration,
    /// How often all connections break and come back at once
    #[arg(long, default_value_t = 0)]
    reconnects: u32,
    #[command(flatten)]
    common: Common,
}

impl Scenario for ConnectRamp {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        let group = Group::new("idle", self.clients, self.common.client_ids("c"));
        let mut steps = vec![
            Step::Connect {
                group: 0,
                per_s: self.common.connect_rate,
            },
            Step::Hold { time: self.hold },
        ];
        for _ in 0..self.reconnects {
            steps.extend([
                Step::Abort { group: 0 },
                Step::Connect {
                    group: 0,
                    per_s: None,
                },
                Step::Hold { time: self.hold },
            ]);
        }
        steps.push(Step::Disconnect { group: 0 });
        Ok(Plan {
            scenario: "connect-ramp".into(),
            groups: vec![group],
            steps,
            connection: self.common.connection()?,
            seed: self.common.seed(),
            share: crate::plan::Share::WHOLE,
        })
    }
}

/// Clients with wills whose connections break at once; subscribers count the wills.
#[derive(Args, Debug)]
pub struct WillStorm {
    /// Clients with a will
    #[arg(long, default_value_t = 100)]
    clients: u32,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for WillStorm {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        let (common, traffic) = (&self.common, &self.traffic);
        let watcher = subscribers(common, traffic, 1, Template("will/{r}/#".into()));
        let mut dying = Group::new("dying", self.clients, common.client_ids("d"));
        dying.will = Some(Will {
            topic: Template("will/{r}/{i}".into()),
            qos: traffic.qos,
        });
        let per_s = common.connect_rate;
        Ok(Plan {
            scenario: "will-storm".into(),
            groups: vec![watcher, dying],
            steps: vec![
                Step::Connect { group: 0, per_s },
                Step::Subscribe { group: 0 },
                Step::Connect { group: 1, per_s },
                Step::Abort { group: 1 },
                Step::Drain {
                    quiet: traffic.drain,
                },
                Step::Disconnect { group: 0 },
            ],
            connection: common.connection()?,
            seed: common.seed(),
            share: crate::plan::Share::WHOLE,
        })
    }
}

/// Sessions that stay while their clients are away, get messages, and hand them over when the clients
/// come back. MQTT 3.1.1 needs a broker that keeps sessions of clients without clean session.
#[derive(Args, Debug)]
pub struct BacklogDrain {
    /// Subscribers with a session
    #[arg(long, default_value_t = 10)]
    clients: u32,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for BacklogDrain {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        let (common, traffic) = (&self.common, &self.traffic);
        if traffic.qos == ringmq::mqtt::Qos::AtMostOnce {
            return Err("backlog-drain needs --qos 1 or 2: messages of QoS 0 are not kept".into());
        }
        let topic = topic_of(traffic, "backlog/{r}/{i}");
        let mut away = Group::new("subscribers", self.clients, common.client_ids("s"));
        away.subscriptions.push(Subscription {
            filter: topic,
            qos: traffic.subscribe_qos(),
        });
        away.session.clean_start = false;
        away.session.expiry_interval_s = Some(3_600);
        let from = publishers(common, traffic, self.clients, "backlog/{r}/{i}");
        let per_s = common.connect_rate;
        let load = LoadStep {
            groups: vec![(1, traffic.load()?)],
            time: traffic.duration,
            messages: traffic.messages,
        };
        Ok(Plan {
            scenario: "backlog-drain".into(),
            groups: vec![away, from],
            steps: vec![
                Step::Connect { group: 0, per_s },
                Step::Subscribe { group: 0 },
                Step::Disconnect { group: 0 },
                Step::Connect { group: 1, per_s },
                Step::Load(load),
                Step::Drain {
                    quiet: Duration::from_millis(500),
                },
                Step::Connect { group: 0, per_s },
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
}
