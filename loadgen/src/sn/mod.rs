//! Load of MQTT-SN: clients that connect, publish at QoS -1, 0 or 1, and sensors that sleep, each with what was lost.

mod connect;
mod fleet;
mod flood;
mod listener;
mod publish;
mod result;
mod sleepers;

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::options::parse_duration;
use fleet::Fleet;
pub use result::SnResult;

/// Clients of MQTT-SN over UDP
#[derive(Args, Clone, Debug)]
pub struct Sn {
    #[command(subcommand)]
    scenario: SnScenario,
}

#[derive(Subcommand, Clone, Debug)]
enum SnScenario {
    /// Connect clients and disconnect them
    Connect(connect::Connect),
    /// Publish, to one subscriber that counts what arrives
    Publish(publish::Publish),
    /// Publish as fast as that goes, to one subscriber of MQTT that counts what arrives
    Flood(flood::Flood),
    /// Sensors that sleep, wake up, are sent what waits, and sleep on
    Sleepers(sleepers::Sleepers),
}

/// What all of them have.
#[derive(Args, Clone, Debug)]
struct Common {
    /// Address of the broker's listener of MQTT-SN, or of a gateway
    #[arg(long, default_value = "127.0.0.1:1884")]
    target: String,
    /// Clients, each with an address of its own
    #[arg(long, default_value_t = 100)]
    clients: usize,
    /// This many clients behind each address, as nodes of a forwarder; 0: no forwarders
    #[arg(long, default_value_t = 0)]
    nodes: usize,
    /// What client ids and topics begin with
    #[arg(long, default_value = "mqload-sn")]
    prefix: String,
    /// A message that is not answered is sent again after this time, four times
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    retry: Duration,
    /// The run has failed when it is not over by then
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    timeout: Duration,
    /// Writes the result as JSON to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

impl Common {
    /// The clients and `more`, which is the number of those beside them.
    fn fleet(&self, more: usize) -> Result<Fleet, String> {
        if self.clients == 0 {
            return Err("--clients: at least 1".into());
        }
        let address = resolved(&self.target)?;
        Fleet::new(address, self.clients + more, self.nodes, self.retry)
    }

    fn client_id(&self, client: usize) -> String {
        format!("{}-{client}", self.prefix)
    }
}

fn resolved(address: &str) -> Result<SocketAddr, String> {
    let problem = |text: String| format!("--target {address}: {text}");
    let mut found = address
        .to_socket_addrs()
        .map_err(|error| problem(error.to_string()))?;
    found
        .next()
        .ok_or_else(|| problem("no address was found".into()))
}

/// Runs a scenario; true: nothing was lost.
///
/// # Errors
/// A sentence when it could not be run.
pub fn run(sn: &Sn) -> Result<bool, String> {
    let (common, result) = match &sn.scenario {
        SnScenario::Connect(scenario) => (&scenario.common, scenario.run()?),
        SnScenario::Publish(scenario) => (&scenario.common, scenario.run()?),
        SnScenario::Flood(scenario) => (&scenario.common, scenario.run()?),
        SnScenario::Sleepers(scenario) => (&scenario.common, scenario.run()?),
    };
    print!("{}", result.text());
    if let Some(path) = &common.json {
        let text = serde_json::to_string_pretty(&result).map_err(|error| error.to_string())?;
        std::fs::write(path, text + "\n").map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(result.is_good())
}
