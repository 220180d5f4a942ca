//! Subscriptions of other kinds: shared, retained, wildcards, slow readers, coming and going.

use clap::Args;
use ringmq::mqtt::Qos;

use super::{
    all_to_each, filter_of, load, plan, publishers, standard, subscribe, subscribers, topic_of,
    Scenario, STORED,
};
use crate::options::{at_least_one, Common, Traffic};
use crate::plan::{Group, Plan, Step, Template};

/// Subscribers that share one subscription: each message goes to one of them.
#[derive(Args, Debug)]
pub struct SharedGroup {
    /// Publishers
    #[arg(long, aliases = ["publishers"], default_value_t = 10, value_parser = at_least_one)]
    clients: u32,
    /// Subscribers sharing
    #[arg(long, default_value_t = 4, value_parser = at_least_one)]
    subscribers: u32,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for SharedGroup {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        let (common, traffic) = (&self.common, &self.traffic);
        let topic = topic_of(common, traffic, "shared/{r}/{i}");
        let filter = Template(format!("$share/mqload/{}", filter_of(&topic).0));
        let to = subscribers(common, traffic, self.subscribers, filter);
        let from = publishers(common, traffic, self.clients, "shared/{r}/{i}");
        standard("shared-group", common, traffic, [to, from])
    }
}

/// Retained messages on many topics, and subscribers that ask for all of them at once. The messages
/// stay in the broker.
#[derive(Args, Debug)]
pub struct RetainedStorm {
    /// Subscribers
    #[arg(long, aliases = ["subscribers"], default_value_t = 10, value_parser = at_least_one)]
    clients: u32,
    /// Retained messages
    #[arg(long, default_value_t = 1_000)]
    retained: u32,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for RetainedStorm {
    fn common(&self) -> &Common {
        &self.common
    }

    fn counted(&self) -> &'static str {
        "subscribers"
    }

    fn plan(&self) -> Result<Plan, String> {
        let (common, mut traffic) = (&self.common, self.traffic.clone());
        traffic.topics = self.retained;
        traffic.retain = true;
        let mut groups = all_to_each(common, &traffic, self.clients, 1, "retained/{r}");
        (groups[0].gets_retained, groups[0].gets_stored) = (true, true);
        let (per_s, quiet) = (common.connect_rate, traffic.drain);
        let steps = vec![
            Step::Connect { group: 1, per_s },
            load(&traffic, Some(u64::from(self.retained)))?,
            Step::Drain { quiet: STORED },
            Step::Connect { group: 0, per_s },
            Step::Subscribe { group: 0 },
            Step::Drain { quiet },
            Step::Disconnect { group: 1 },
            Step::Disconnect { group: 0 },
        ];
        plan("retained-storm", common, groups.into(), steps)
    }
}

/// Fan-out in which some subscribers read slowly: the others must not suffer.
#[derive(Args, Debug)]
pub struct SlowConsumer {
    /// Subscribers that read at full speed
    #[arg(long, aliases = ["subscribers"], default_value_t = 10, value_parser = at_least_one)]
    clients: u32,
    /// Subscribers that do not
    #[arg(long, default_value_t = 1)]
    slow: u32,
    /// Bytes per second that a slow subscriber reads
    #[arg(long, default_value_t = 10_000)]
    slow_bytes_per_s: u64,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for SlowConsumer {
    fn common(&self) -> &Common {
        &self.common
    }

    fn counted(&self) -> &'static str {
        "subscribers"
    }

    fn plan(&self) -> Result<Plan, String> {
        let (common, traffic) = (&self.common, &self.traffic);
        let groups = all_to_each(common, traffic, self.clients, 1, "slow/{r}");
        let mut slow = Group::new("slow", self.slow, common.client_ids("slow"));
        slow.subscriptions.clone_from(&groups[0].subscriptions);
        slow.read_bytes_per_s = Some(self.slow_bytes_per_s.max(20));
        slow.untimed = true;
        let mut plan = standard("slow-consumer", common, traffic, groups)?;
        plan.groups.push(slow);
        plan.steps.insert(
            2,
            Step::Connect {
                group: 2,
                per_s: None,
            },
        );
        plan.steps.insert(3, Step::Subscribe { group: 2 });
        plan.steps.push(Step::Abort { group: 2 });
        Ok(plan)
    }
}

/// Clients that subscribe and unsubscribe again and again.
#[derive(Args, Debug)]
pub struct Churn {
    /// Clients
    #[arg(long, default_value_t = 100, value_parser = at_least_one)]
    clients: u32,
    /// Times that each subscribes and unsubscribes
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// Filter; {i} is the client's number
    #[arg(long, default_value = "churn/{r}/{i}/+/x/#")]
    filter: Template,
    #[command(flatten)]
    common: Common,
}

impl Scenario for Churn {
    fn common(&self) -> &Common {
        &self.common
    }

    fn counted(&self) -> &'static str {
        "churning"
    }

    fn plan(&self) -> Result<Plan, String> {
        let mut group = Group::new("churning", self.clients, self.common.client_ids("c"));
        subscribe(&mut group, self.filter.clone(), Qos::AtLeastOnce);
        let mut steps = vec![Step::Connect {
            group: 0,
            per_s: self.common.connect_rate,
        }];
        for _ in 0..self.rounds {
            steps.extend([Step::Subscribe { group: 0 }, Step::Unsubscribe { group: 0 }]);
        }
        steps.push(Step::Disconnect { group: 0 });
        plan("churn", &self.common, vec![group], steps)
    }
}

/// Clients whose identifiers are taken by new connections, all at once.
#[derive(Args, Debug)]
pub struct TakeoverStorm {
    /// Clients
    #[arg(long, default_value_t = 100, value_parser = at_least_one)]
    clients: u32,
    #[command(flatten)]
    common: Common,
}

impl Scenario for TakeoverStorm {
    fn common(&self) -> &Common {
        &self.common
    }

    fn counted(&self) -> &'static str {
        "first"
    }

    fn plan(&self) -> Result<Plan, String> {
        let mut first = Group::new("first", self.clients, self.common.client_ids("c"));
        first.is_taken_over = true;
        let second = Group::new("second", self.clients, self.common.client_ids("c"));
        let per_s = self.common.connect_rate;
        let steps = vec![
            Step::Connect { group: 0, per_s },
            Step::Connect {
                group: 1,
                per_s: None,
            },
            Step::AwaitTakeover { group: 0 },
            Step::Disconnect { group: 1 },
        ];
        plan("takeover-storm", &self.common, vec![first, second], steps)
    }
}

/// Subscribers of exact topics, of one level's wildcard and of everything below, side by side.
#[derive(Args, Debug)]
pub struct WildcardMix {
    /// Publishers; as many subscribers of each kind
    #[arg(long, aliases = ["publishers", "subscribers"], default_value_t = 10, value_parser = at_least_one)]
    clients: u32,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for WildcardMix {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        let (common, traffic) = (&self.common, &self.traffic);
        if traffic.topic.is_some() || traffic.topics > 1 {
            return Err(
                "wildcard-mix has topics of its own: leave --topic and --topics out".into(),
            );
        }
        let exact = subscribers(
            common,
            traffic,
            self.clients,
            Template("mix/{r}/{i}/value".into()),
        );
        let from = publishers(common, traffic, self.clients, "mix/{r}/{i}/value");
        let mut plan = standard("wildcard-mix", common, traffic, [exact, from])?;
        for (name, filter) in [("plus", "mix/{r}/+/value"), ("hash", "mix/{r}/#")] {
            let mut group = Group::new(name, self.clients, common.client_ids(name));
            subscribe(&mut group, Template(filter.into()), traffic.subscribe_qos());
            let number = plan.groups.len();
            plan.groups.push(group);
            plan.steps.insert(0, Step::Subscribe { group: number });
            plan.steps.insert(
                0,
                Step::Connect {
                    group: number,
                    per_s: common.connect_rate,
                },
            );
            plan.steps.push(Step::Disconnect { group: number });
        }
        Ok(plan)
    }
}
