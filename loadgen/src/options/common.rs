//! Options that scenarios share: connection, session, rate searches and assertions.

use std::time::Duration;

use clap::Args;
use ringmq::mqtt::Version;

use super::own_data::ClientsFrom;
use super::setup::Setup;
use super::sweep::Sweep;
use super::target::resolve;
use super::values::{rate, time, version, IN_FLIGHT};
use crate::assertions::Assertions;
use crate::plan::{Connection, Plan, Template};

/// Where to connect and how.
#[derive(Args, Clone, Debug)]
pub struct Common {
    #[command(flatten)]
    pub setup: Setup,
    /// MQTT version; of several, like 3.1.1,5, clients take one each in turn
    #[arg(long = "protocol", alias = "mqtt", default_value = "3.1.1", value_parser = version, value_delimiter = ',', value_name = "3.1|3.1.1|5")]
    pub mqtt: Vec<Version>,
    /// Clean start (MQTT 3: clean session); false asks for the session that the broker has
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "true|false")]
    pub clean_start: bool,
    /// Seconds that a session outlives its connection (MQTT 5)
    #[arg(long, value_name = "SECONDS")]
    pub session_expiry_s: Option<u32>,
    /// Client identifiers; {g} is the client's group, {i} its number there, {r} the run's number
    #[arg(long, value_name = "TEMPLATE")]
    pub client_id: Option<Template>,
    /// Table of clients (CSV), a line for each: client_id, user, password, cert, key and topic are used, any
    /// column in templates as {csv:NAME}. Of the clients that --clients counts, unless a group is named
    #[arg(long, value_name = "[GROUP=]FILE")]
    pub clients_from: Vec<ClientsFrom>,
    /// Keep alive in seconds; 0 turns it off
    #[arg(long, alias = "keep-alive", default_value_t = 60)]
    pub keep_alive_s: u16,
    /// Connections opened per second; without it as fast as the broker takes them
    #[arg(long, value_name = "PER_S", value_parser = rate)]
    pub connect_rate: Option<f64>,
    /// Opens lost connections again, this many per second at most; each waits longer after each failure.
    /// With --clean-start false (and --session-expiry-s in MQTT 5) sessions are resumed: what was not
    /// acknowledged is sent again
    #[arg(long, value_name = "PER_S", num_args = 0..=1, default_missing_value = "100", value_parser = rate)]
    pub reconnect: Option<f64>,
    /// How long a broker may be silent when an answer is due
    #[arg(long, default_value = "30s", value_parser = time)]
    pub timeout: Duration,
    /// Name of the scenario in reports: runs of the same name are compared with each other
    #[arg(long)]
    pub name: Option<String>,
    /// Looks for the highest rate that meets --p99 and loses nothing, beginning at --rate; each try
    /// lasts --duration
    #[arg(long)]
    pub find_max: bool,
    /// 99th percentile that --find-max must meet
    #[arg(long, default_value = "10ms", value_parser = time, value_name = "TIME")]
    pub p99: Duration,
    /// Runs at each rate from FROM to TO, messages per second, each measured alone for --step-duration
    #[arg(long, value_name = "FROM:TO:STEP", conflicts_with = "find_max")]
    pub sweep: Option<Sweep>,
    /// How long --sweep stays at each rate
    #[arg(long, default_value = "5s", value_parser = time, value_name = "TIME")]
    pub step_duration: Duration,
    #[command(flatten)]
    pub assertions: Assertions,
}

impl Common {
    /// What all clients share.
    ///
    /// # Errors
    /// A sentence when a target's name is not known.
    pub fn connection(&self) -> Result<Connection, String> {
        let setup = &self.setup;
        let endpoint = setup.endpoint(&[], &setup.transport)?;
        let targets = &endpoint.targets;
        // Only those of 3.1 have a name of their own in WebSocket.
        let is_old = self.mqtt.iter().all(|version| *version == Version::V31);
        let handshake = if is_old { Version::V31 } else { Version::V311 };
        Ok(Connection {
            targets: resolve(targets)?,
            fails_over: setup.failover,
            transport: setup.transport.transport(targets, handshake, true)?,
            sources: setup.source.clone(),
            version: self.mqtt.first().copied().unwrap_or(Version::V311),
            keep_alive_s: self.keep_alive_s,
            user: endpoint.user.clone(),
            password: endpoint.password.clone(),
            timeout: self.timeout,
            reconnect_per_s: self.reconnect,
            in_flight_max: IN_FLIGHT,
            sample: setup.sample(),
        })
    }

    /// Has clients speak the versions in turn, when there are several.
    pub fn set_versions(&self, plan: &mut Plan) {
        if self.mqtt.len() > 1 {
            let groups = plan.groups.iter_mut();
            groups.for_each(|group| group.versions.clone_from(&self.mqtt));
        }
    }

    /// Some clients speak MQTT 5.
    pub(super) fn has_v5(&self) -> bool {
        self.mqtt.iter().any(|version| version.is_v5())
    }

    /// Seed given, or a random one.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.setup.seed()
    }

    /// Client identifiers of a group.
    #[must_use]
    pub fn client_ids(&self, group: &str) -> Template {
        match &self.client_id {
            Some(template) => Template(template.0.replace("{g}", group)),
            None => Template(format!("mqload-{{r}}-{group}-{{i}}")),
        }
    }
}
