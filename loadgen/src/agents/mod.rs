//! Several generator hosts: `mqload agent` waits on each of them, and a coordinator takes all of them
//! through one plan. Each agent carries every nth client; steps, seconds and times in payloads are on
//! the coordinator's clock, and the coordinator puts counters, histograms and flows together as it does
//! those of its own workers.

mod coordinator;
mod frame;
mod link;
mod listener;
mod offset;
mod report;
mod run;
mod token;

use clap::Args;

pub(crate) use coordinator::run as run_on_agents;
pub use listener::{listen, Listen};
use token::Token;

use crate::plan::{Options, Plan};

/// Reads a coordinator's command line, without the program, as this program's own is read.
pub type PlanOf = fn(&[String]) -> Result<(Plan, Options), String>;

/// Port of an agent that says no other.
const PORT: u16 = 7_883;
/// Agents of one run: far more than would be of use.
const AGENTS_MAX: usize = 256;

/// Where to run a scenario, when not here.
#[derive(Args, Clone, Debug, Default)]
pub struct AgentOptions {
    /// Runs the scenario on these hosts, which run `mqload agent`; each takes its share of the clients
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "HOST:PORT",
        requires = "token"
    )]
    pub agents: Vec<String>,
    /// What the agents were started with
    #[arg(
        long,
        env = "MQLOAD_TOKEN",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub token: Option<Token>,
}
