//! One direction only, and requests with answers.

use std::time::Duration;

use clap::Args;
use ringmq::mqtt::Qos;

use super::{plan, publishers, standard, subscribe, topic_of, Scenario};
use crate::options::{at_least_one, Common, Traffic};
use crate::plan::{Group, LoadStep, Plan, Step, Template};

/// Publishers without subscribers: what a broker takes.
#[derive(Args, Debug)]
pub struct Publish {
    /// Publishers
    #[arg(long, aliases = ["publishers"], default_value_t = 10, value_parser = at_least_one)]
    clients: u32,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for Publish {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        let none = Group::new("subscribers", 0, Template(String::new()));
        let from = publishers(&self.common, &self.traffic, self.clients, "p/{i}");
        standard("publish", &self.common, &self.traffic, [none, from])
    }
}

/// Subscribers of what other programs publish.
#[derive(Args, Debug)]
pub struct Listen {
    /// Subscribers
    #[arg(long, aliases = ["subscribers"], default_value_t = 1, value_parser = at_least_one)]
    clients: u32,
    /// Filter; {i} is the subscriber's number
    #[arg(long, default_value = "#")]
    filter: Template,
    /// How long to listen
    #[arg(long, default_value = "10s", value_parser = crate::options::parse_duration)]
    duration: Duration,
    #[command(flatten)]
    common: Common,
}

impl Scenario for Listen {
    fn common(&self) -> &Common {
        &self.common
    }

    fn counted(&self) -> &'static str {
        "subscribers"
    }

    fn plan(&self) -> Result<Plan, String> {
        let mut group = Group::new("subscribers", self.clients, self.common.client_ids("s"));
        subscribe(&mut group, self.filter.clone(), Qos::AtMostOnce);
        let per_s = self.common.connect_rate;
        let listen = LoadStep {
            time: self.duration,
            ..LoadStep::default()
        };
        let steps = vec![
            Step::Connect { group: 0, per_s },
            Step::Subscribe { group: 0 },
            Step::Load(listen),
            Step::Ping,
        ];
        plan("listen", &self.common, vec![group], steps)
    }
}

/// Clients that publish requests to a counterpart each, which publishes them back. In MQTT 5 requests have
/// a response topic and correlation data, and both are verified.
#[derive(Args, Debug)]
pub struct RoundTrip {
    /// Requesters, and as many that answer
    #[arg(long, aliases = ["publishers", "subscribers"], default_value_t = 10, value_parser = at_least_one)]
    clients: u32,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for RoundTrip {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        let (common, traffic) = (&self.common, &self.traffic);
        if traffic.topics > 1 {
            return Err("round-trip has one topic per client: leave --topics out".into());
        }
        let request = topic_of(common, traffic, "round-trip/{r}/{i}/request");
        let reply = Template(format!("{}/reply", request.0));
        let qos = traffic.subscribe_qos();
        let mut answering = publishers(common, traffic, self.clients, "");
        answering.name = "answering".into();
        answering.client_id = common.client_ids("a");
        if let Some(publishing) = &mut answering.publishing {
            publishing.topic = reply.clone();
        }
        answering.answers_to = Some(reply.clone());
        subscribe(&mut answering, request.clone(), qos);
        let mut asking = publishers(common, traffic, self.clients, &request.0);
        if let Some(publishing) = &mut asking.publishing {
            publishing.response_topic = Some(reply.clone());
        }
        subscribe(&mut asking, reply, qos);
        let mut plan = standard("round-trip", common, traffic, [answering, asking])?;
        plan.steps.insert(3, Step::Subscribe { group: 1 });
        Ok(plan)
    }
}
