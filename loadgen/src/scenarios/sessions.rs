//! Absent clients: wills, and messages kept for sessions.

use std::time::Duration;

use clap::Args;

use super::{load, plan, publishers, subscribe, subscribers, topic_of, Scenario, STORED};
use crate::options::{at_least_one, Common, Traffic};
use crate::plan::{Group, Plan, Step, Template, Will};

/// Clients with wills whose connections break at once. Every will due must arrive exactly once, and none
/// of the clients that leave with DISCONNECT.
#[derive(Args, Debug)]
#[command(mut_arg("qos", |qos| qos.default_value("1")))]
pub struct WillStorm {
    /// Clients with a will whose connections break
    #[arg(long, default_value_t = 100, value_parser = at_least_one)]
    clients: u32,
    /// Clients with a will that send DISCONNECT
    #[arg(long, default_value_t = 10)]
    leaving: u32,
    /// Gives each client a watcher of its own. One watcher gets all wills in one burst, which the broker's
    /// queue for it must hold
    #[arg(long)]
    watcher_each: bool,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for WillStorm {
    fn common(&self) -> &Common {
        &self.common
    }

    fn counted(&self) -> &'static str {
        "breaking"
    }

    fn plan(&self) -> Result<Plan, String> {
        let (common, traffic) = (&self.common, &self.traffic);
        let watching = |name: &str, clients: u32, filter: &str| {
            let mut group = subscribers(common, traffic, clients, Template(filter.into()));
            group.name = format!("watching-{name}");
            group.client_id = common.client_ids(&group.name);
            group
        };
        let watchers = if self.watcher_each {
            [
                watching("breaking", self.clients, "will/{r}/breaking/{i}"),
                watching("leaving", self.leaving, "will/{r}/leaving/{i}"),
            ]
        } else {
            [watching("all", 1, "will/{r}/#"), watching("none", 0, "")]
        };
        let with_will = |name: &str, clients: u32| {
            let mut group = Group::new(name, clients, common.client_ids(name));
            group.will = Some(Will {
                topic: Template(format!("will/{{r}}/{name}/{{i}}")),
                qos: traffic.qos,
            });
            group
        };
        let leaving = with_will("leaving", self.leaving);
        let mut groups = Vec::from(watchers);
        groups.extend([with_will("breaking", self.clients), leaving]);
        let (per_s, quiet) = (common.connect_rate, traffic.drain);
        let steps = vec![
            Step::Connect { group: 0, per_s },
            Step::Connect { group: 1, per_s },
            Step::Subscribe { group: 0 },
            Step::Subscribe { group: 1 },
            Step::Connect { group: 2, per_s },
            Step::Connect { group: 3, per_s },
            Step::Disconnect { group: 3 },
            Step::Abort { group: 2 },
            Step::Drain { quiet },
            // A will too many has time to come.
            Step::Hold {
                time: Duration::from_millis(200),
            },
            Step::Disconnect { group: 0 },
            Step::Disconnect { group: 1 },
        ];
        plan("will-storm", common, groups, steps)
    }
}

/// Sessions that stay while their clients are away, get messages, and hand them over when the clients
/// come back. MQTT 3.1.1 needs a broker that keeps sessions of clients without clean session.
#[derive(Args, Debug)]
pub struct BacklogDrain {
    /// Subscribers with a session
    #[arg(long, aliases = ["publishers", "subscribers"], default_value_t = 10, value_parser = at_least_one)]
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

    fn counted(&self) -> &'static str {
        "subscribers"
    }

    fn plan(&self) -> Result<Plan, String> {
        let (common, traffic) = (&self.common, &self.traffic);
        if traffic.qos == ringmq::mqtt::Qos::AtMostOnce {
            return Err("backlog-drain needs --qos 1 or 2: messages of QoS 0 are not kept".into());
        }
        let topic = topic_of(common, traffic, "backlog/{r}/{i}");
        let mut away = Group::new("subscribers", self.clients, common.client_ids("s"));
        subscribe(&mut away, topic, traffic.subscribe_qos());
        away.gets_stored = true;
        away.session.clean_start = false;
        away.session.expiry_interval_s = Some(3_600);
        let from = publishers(common, traffic, self.clients, "backlog/{r}/{i}");
        let (per_s, quiet) = (common.connect_rate, traffic.drain);
        let steps = vec![
            Step::Connect { group: 0, per_s },
            Step::Subscribe { group: 0 },
            Step::Disconnect { group: 0 },
            Step::Connect { group: 1, per_s },
            load(traffic, traffic.messages)?,
            Step::Drain { quiet: STORED },
            Step::Connect { group: 0, per_s },
            Step::Drain { quiet },
            Step::Disconnect { group: 1 },
            Step::Disconnect { group: 0 },
        ];
        plan("backlog-drain", common, vec![away, from], steps)
    }
}
