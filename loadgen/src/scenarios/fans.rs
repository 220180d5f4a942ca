//! Publishers and subscribers in the plain shapes: many to one, one to many, one to one.

use clap::Args;

use super::{all_to_each, publishers, standard, subscribers, topic_of, Scenario};
use crate::options::{at_least_one, Common, Traffic};
use crate::plan::{Plan, Template};

/// Many publishers on topics of their own, few subscribers that get everything.
#[derive(Args, Debug)]
pub struct FanIn {
    /// Publishers
    #[arg(long, alias = "publishers", default_value_t = 10, value_parser = at_least_one)]
    clients: u32,
    /// Subscribers; each gets every message
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    subscribers: u32,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for FanIn {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        let (common, traffic) = (&self.common, &self.traffic);
        let (to, from) = (self.subscribers, self.clients);
        let groups = all_to_each(common, traffic, to, from, "fan-in/{r}/{i}");
        standard("fan-in", common, traffic, groups)
    }
}

/// Few publishers, many subscribers that each get everything.
#[derive(Args, Debug)]
pub struct FanOut {
    /// Subscribers
    #[arg(long, alias = "subscribers", default_value_t = 100, value_parser = at_least_one)]
    clients: u32,
    /// Publishers, all on one topic
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    publishers: u32,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for FanOut {
    fn common(&self) -> &Common {
        &self.common
    }

    fn counted(&self) -> &'static str {
        "subscribers"
    }

    fn plan(&self) -> Result<Plan, String> {
        let (common, traffic) = (&self.common, &self.traffic);
        let (to, from) = (self.clients, self.publishers);
        let groups = all_to_each(common, traffic, to, from, "fan-out/{r}");
        standard("fan-out", common, traffic, groups)
    }
}

/// Publishers with one subscriber each.
#[derive(Args, Debug)]
pub struct Pairs {
    /// Pairs
    #[arg(long, aliases = ["publishers", "subscribers"], default_value_t = 100, value_parser = at_least_one)]
    clients: u32,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for Pairs {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        pairs("pairs", self.clients, &self.common, &self.traffic)
    }
}

/// Pairs with large payloads (512 KB unless --payload-size says), few per second.
#[derive(Args, Debug)]
#[command(
    mut_arg("payload_size", |size| size.default_value("512k")),
    mut_arg("rate", |rate| rate.default_value("20"))
)]
pub struct LargePayloads {
    /// Pairs
    #[arg(long, aliases = ["publishers", "subscribers"], default_value_t = 4, value_parser = at_least_one)]
    clients: u32,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for LargePayloads {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        pairs("large-payloads", self.clients, &self.common, &self.traffic)
    }
}

fn pairs(name: &str, clients: u32, common: &Common, traffic: &Traffic) -> Result<Plan, String> {
    let default = format!("{name}/{{r}}/{{i}}");
    let topic = topic_of(common, traffic, &default);
    // The number stays: a subscriber's is its publisher's.
    let levels = topic
        .0
        .split('/')
        .map(|level| if level.contains("{t}") { "+" } else { level });
    let filter = Template(levels.collect::<Vec<_>>().join("/"));
    let to = subscribers(common, traffic, clients, filter);
    let from = publishers(common, traffic, clients, &default);
    standard(name, common, traffic, [to, from])
}
