//! Connections rather than messages.

use std::time::Duration;

use clap::Args;
use ringmq::mqtt::Qos;

use super::{plan, subscribe, Scenario};
use crate::options::{at_least_one, parse_duration, Common};
use crate::plan::{Group, Plan, Step, Template};

/// Connects clients (at --connect-rate, or as fast as they are taken), holds them idle and disconnects.
/// Measures the memory and sockets per connection, the broker's too with --broker-pid.
#[derive(Args, Debug)]
pub struct ConnectRamp {
    /// Clients
    #[arg(long, default_value_t = 1_000, value_parser = at_least_one)]
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

    fn counted(&self) -> &'static str {
        "idle"
    }

    fn plan(&self) -> Result<Plan, String> {
        let per_s = self.common.connect_rate;
        let mut steps = vec![
            Step::Connect { group: 0, per_s },
            Step::Hold { time: self.hold },
            Step::Ping,
        ];
        for _ in 0..self.reconnects {
            steps.extend(all_break());
            steps.extend([Step::Hold { time: self.hold }, Step::Ping]);
        }
        idle("connect-ramp", &self.common, self.clients, None, steps)
    }
}

/// Clients that connect all at once, as fast as they are taken, and leave again; several rounds.
#[derive(Args, Debug)]
pub struct ConnectStorm {
    /// Clients
    #[arg(long, default_value_t = 1_000, value_parser = at_least_one)]
    clients: u32,
    /// Times that all connect and leave
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    #[command(flatten)]
    common: Common,
}

impl Scenario for ConnectStorm {
    fn common(&self) -> &Common {
        &self.common
    }

    fn counted(&self) -> &'static str {
        "idle"
    }

    fn plan(&self) -> Result<Plan, String> {
        let per_s = self.common.connect_rate;
        let round = [
            Step::Connect { group: 0, per_s },
            Step::Disconnect { group: 0 },
        ];
        let steps = (0..self.rounds).flat_map(|_| round.clone()).collect();
        idle("connect-storm", &self.common, self.clients, None, steps)
    }
}

/// Subscribers whose connections break all at once (a network that fails, a broker that restarts) and
/// that all come back at once and subscribe again; several rounds.
#[derive(Args, Debug)]
pub struct ReconnectStorm {
    /// Clients
    #[arg(long, default_value_t = 1_000, value_parser = at_least_one)]
    clients: u32,
    /// Times that all connections break and come back
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Filter that each subscribes to; {i} is the client's number
    #[arg(long, default_value = "reconnect-storm/{r}/{i}/+/x")]
    filter: Template,
    #[command(flatten)]
    common: Common,
}

impl Scenario for ReconnectStorm {
    fn common(&self) -> &Common {
        &self.common
    }

    fn counted(&self) -> &'static str {
        "idle"
    }

    fn plan(&self) -> Result<Plan, String> {
        let mut steps = vec![
            Step::Connect {
                group: 0,
                per_s: None,
            },
            Step::Subscribe { group: 0 },
        ];
        for _ in 0..self.rounds {
            steps.extend(all_break());
            steps.push(Step::Subscribe { group: 0 });
        }
        let filter = Some(self.filter.clone());
        idle("reconnect-storm", &self.common, self.clients, filter, steps)
    }
}

/// TLS handshakes in full, as fast as they are taken: all clients connect at once and leave again; several
/// rounds. No session is resumed.
#[derive(Args, Debug)]
pub struct HandshakeStorm {
    /// Clients
    #[arg(long, default_value_t = 100, value_parser = at_least_one)]
    clients: u32,
    /// Times that all connect and leave
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    #[command(flatten)]
    common: Common,
}

/// TLS handshakes that resume sessions: all clients connect at once and leave again; several rounds. In the
/// first they get their tickets, with handshakes in full.
#[derive(Args, Debug)]
pub struct ResumptionStorm {
    /// Clients
    #[arg(long, default_value_t = 100, value_parser = at_least_one)]
    clients: u32,
    /// Times that all connect and leave after the first
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    #[command(flatten)]
    common: Common,
}

impl Scenario for HandshakeStorm {
    fn common(&self) -> &Common {
        &self.common
    }

    fn counted(&self) -> &'static str {
        "idle"
    }

    fn plan(&self) -> Result<Plan, String> {
        let name = "handshake-storm";
        shake_hands(name, &self.common, self.clients, self.rounds, false)
    }
}

impl Scenario for ResumptionStorm {
    fn common(&self) -> &Common {
        &self.common
    }

    fn counted(&self) -> &'static str {
        "idle"
    }

    fn plan(&self) -> Result<Plan, String> {
        let (name, rounds) = ("resumption-storm", self.rounds.saturating_add(1));
        shake_hands(name, &self.common, self.clients, rounds, true)
    }
}

fn shake_hands(
    name: &str,
    common: &Common,
    clients: u32,
    rounds: u32,
    resumes: bool,
) -> Result<Plan, String> {
    if common.setup.transport.tls_resumption.is_some() {
        return Err(format!(
            "{name} says itself whether sessions are resumed: leave --tls-resumption out"
        ));
    }
    let per_s = common.connect_rate;
    let round = [
        Step::Connect { group: 0, per_s },
        Step::Disconnect { group: 0 },
    ];
    let steps = (0..rounds).flat_map(|_| round.clone()).collect();
    let mut plan = idle(name, common, clients, None, steps)?;
    match &mut plan.connection.transport.tls {
        Some(tls) => tls.is_about_resumption(resumes),
        None => return Err(format!("{name} needs --tls, and --ca FILE or --insecure")),
    }
    Ok(plan)
}

/// All connections end without DISCONNECT and are opened again as fast as they are taken.
fn all_break() -> [Step; 2] {
    let again = Step::Connect {
        group: 0,
        per_s: None,
    };
    [Step::Abort { group: 0 }, again]
}

/// One group that publishes nothing; it leaves after the steps.
fn idle(
    name: &str,
    common: &Common,
    clients: u32,
    filter: Option<Template>,
    mut steps: Vec<Step>,
) -> Result<Plan, String> {
    let mut group = Group::new("idle", clients, common.client_ids("c"));
    if let Some(filter) = filter {
        subscribe(&mut group, filter, Qos::AtLeastOnce);
    }
    steps.push(Step::Disconnect { group: 0 });
    plan(name, common, vec![group], steps)
}
