//! Scenarios about ways that messages take: groups, answers, wildcards, retained, slow and large.

use clap::Args;

use super::{filter_of, publishers, standard, subscribers, topic_of, Scenario};
use crate::cli::{Common, Traffic};
use crate::plan::{Group, LoadStep, PayloadSize, Plan, Publishing, Step, Subscription, Template};

/// Subscribers of one shared group: each message goes to one of them.
#[derive(Args, Debug)]
pub struct Shared {
    /// Publishers
    #[arg(long, default_value_t = 10)]
    clients: u32,
    /// Members of the group
    #[arg(long, default_value_t = 10)]
    members: u32,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for Shared {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        let (common, traffic) = (&self.common, &self.traffic);
        let topic = topic_of(traffic, "shared/{r}/{i}");
        let filter = Template(format!("$share/mqload-{{r}}/{}", filter_of(&topic).0));
        let to = subscribers(common, traffic, self.members, filter);
        let from = publishers(common, traffic, self.clients, "shared/{r}/{i}");
        standard("shared", common, traffic, [to, from])
    }
}

/// Requests and their answers: the time of the whole way.
#[derive(Args, Debug)]
pub struct RequestResponse {
    /// Pairs of one that asks and one that answers
    #[arg(long, default_value_t = 10)]
    clients: u32,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for RequestResponse {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        let (common, traffic) = (&self.common, &self.traffic);
        let (request, answer) = (
            Template("request/{r}/{i}".into()),
            Template("answer/{r}/{i}".into()),
        );
        if traffic.topic.is_some() || traffic.topics > 1 {
            return Err(
                "request-response has topics of its own: leave out --topic and --topics".into(),
            );
        }
        let mut answering = subscribers(common, traffic, self.clients, request);
        answering.name = "answering".into();
        answering.publishing = Some(Publishing {
            topic: answer.clone(),
            topics: 1,
            retain: false,
            topic_alias: false,
            qos: traffic.qos,
            payload: traffic.payload_size,
        });
        answering.answers_to = Some(answer.clone());
        let mut asking = publishers(common, traffic, self.clients, "request/{r}/{i}");
        asking.subscriptions.push(Subscription {
            filter: answer,
            qos: traffic.subscribe_qos(),
        });
        let mut plan = standard("request-response", common, traffic, [answering, asking])?;
        plan.steps.insert(3, Step::Subscribe { group: 1 });
        Ok(plan)
    }
}

/// Retained messages on many topics, then subscribers that want all of them at once.
#[derive(Args, Debug)]
pub struct Retained {
    /// Subscribers that come with a wildcard
    #[arg(long, default_value_t = 10)]
    clients: u32,
    /// Retained messages
    #[arg(long, default_value_t = 1_000)]
    retained: u32,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for Retained {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        let common = &self.common;
        if self.traffic.qos == ringmq::mqtt::Qos::AtMostOnce {
            return Err("retained needs --qos 1 or 2: brokers may drop retained messages of QoS 0 [MQTT-3.3.1-7]".into());
        }
        let mut traffic = self.traffic.clone();
        traffic.retain = true;
        traffic.topics = self.retained;
        traffic.topic = Some(Template("retained/{r}/{t}".into()));
        let to = subscribers(
            common,
            &traffic,
            self.clients,
            Template("retained/{r}/+".into()),
        );
        let from = publishers(common, &traffic, 1, "retained/{r}/{t}");
        let mut plan = standard("retained", common, &traffic, [to, from])?;
        let per_s = common.connect_rate;
        let messages = Some(u64::from(self.retained));
        plan.steps = vec![
            Step::Connect { group: 1, per_s },
            Step::Load(LoadStep {
                groups: vec![(1, traffic.load()?)],
                time: traffic.duration,
                messages,
            }),
            Step::Drain {
                quiet: std::time::Duration::from_millis(300),
            },
            Step::Connect { group: 0, per_s },
            Step::Subscribe { group: 0 },
            Step::Drain {
                quiet: traffic.drain,
            },
            Step::Disconnect { group: 1 },
            Step::Disconnect { group: 0 },
        ];
        Ok(plan)
    }
}

/// Subscribers that read slowly beside one that does not: the broker must not mind.
#[derive(Args, Debug)]
pub struct SlowConsumer {
    /// Slow subscribers
    #[arg(long, default_value_t = 5)]
    clients: u32,
    /// Bytes each of them reads per second
    #[arg(long, default_value_t = 1_000)]
    read_bytes_per_s: u64,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for SlowConsumer {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        let (common, traffic) = (&self.common, &self.traffic);
        let topic = topic_of(traffic, "slow/{r}");
        let to = subscribers(common, traffic, 1, filter_of(&topic));
        let from = publishers(common, traffic, 1, "slow/{r}");
        let mut slow = Group::new("slow", self.clients, common.client_ids("slow"));
        slow.subscriptions.push(Subscription {
            filter: filter_of(&topic),
            qos: traffic.subscribe_qos(),
        });
        slow.read_bytes_per_s = Some(self.read_bytes_per_s.max(1));
        let mut plan = standard("slow-consumer", common, traffic, [to, from])?;
        plan.groups.push(slow);
        plan.steps.insert(
            0,
            Step::Connect {
                group: 2,
                per_s: common.connect_rate,
            },
        );
        plan.steps.insert(1, Step::Subscribe { group: 2 });
        let drain = plan
            .steps
            .iter()
            .position(|step| matches!(step, Step::Drain { .. }));
        plan.steps
            .insert(drain.unwrap_or(plan.steps.len()), Step::Abort { group: 2 });
        Ok(plan)
    }
}

/// Exact filters and wildcards of several shapes over the same messages.
#[derive(Args, Debug)]
pub struct WildcardMix {
    /// Publishers, and subscribers of each shape
    #[arg(long, default_value_t = 10)]
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
                "wildcard-mix has topics of its own: leave out --topic and --topics".into(),
            );
        }
        let from = publishers(common, traffic, self.clients, "mix/{r}/{i}/value");
        let exact = subscribers(
            common,
            traffic,
            self.clients,
            Template("mix/{r}/{i}/value".into()),
        );
        let mut plan = standard("wildcard-mix", common, traffic, [exact, from])?;
        for (name, filter) in [
            ("plus", "mix/{r}/+/value"),
            ("hash", "mix/{r}/#"),
            ("both", "mix/{r}/{i}/+"),
        ] {
            let mut group = Group::new(name, self.clients, common.client_ids(name));
            group.subscriptions.push(Subscription {
                filter: Template(filter.into()),
                qos: traffic.subscribe_qos(),
            });
            let number = plan.groups.len();
            plan.groups.push(group);
            plan.steps.insert(
                0,
                Step::Connect {
                    group: number,
                    per_s: common.connect_rate,
                },
            );
            plan.steps.insert(1, Step::Subscribe { group: number });
            plan.steps.push(Step::Disconnect { group: number });
        }
        Ok(plan)
    }
}

/// Pairs with payloads of hundreds of kilobytes.
#[derive(Args, Debug)]
pub struct Large {
    /// Pairs
    #[arg(long, default_value_t = 4)]
    clients: u32,
    /// Bytes of a payload, in place of --payload-size
    #[arg(long, default_value = "512k")]
    size: PayloadSize,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for Large {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        let common = &self.common;
        let mut traffic = self.traffic.clone();
        traffic.payload_size = self.size;
        let topic = topic_of(&traffic, "large/{r}/{i}");
        let to = subscribers(common, &traffic, self.clients, topic);
        let from = publishers(common, &traffic, self.clients, "large/{r}/{i}");
        standard("large", common, &traffic, [to, from])
    }
}
