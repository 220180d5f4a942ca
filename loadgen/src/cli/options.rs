//! Options that scenarios share.

use std::time::Duration;

use clap::Args;
use ringmq::mqtt::{Qos, Version};

use super::setup::{resolve, Setup};
use super::sweep::Sweep;
use crate::assertions::Assertions;
use crate::plan::{Arrivals, Connection, Load, MessageProperties, PayloadSize, Template};

/// Where to connect and how.
#[derive(Args, Clone, Debug)]
pub struct Common {
    #[command(flatten)]
    pub setup: Setup,
    /// MQTT version
    #[arg(long = "protocol", alias = "mqtt", default_value = "3.1.1", value_parser = version, value_name = "3.1|3.1.1|5")]
    pub mqtt: Version,
    /// Clean start (MQTT 3: clean session); false asks for the session that the broker has
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "true|false")]
    pub clean_start: bool,
    /// Seconds that a session outlives its connection (MQTT 5)
    #[arg(long, value_name = "SECONDS")]
    pub session_expiry_s: Option<u32>,
    /// Client identifiers; {g} is the client's group, {i} its number there, {r} the run's number
    #[arg(long, value_name = "TEMPLATE")]
    pub client_id: Option<Template>,
    /// Keep alive in seconds; 0 turns it off
    #[arg(long, alias = "keep-alive", default_value_t = 60)]
    pub keep_alive_s: u16,
    /// Connections opened per second; without it as fast as the broker takes them
    #[arg(long, value_name = "PER_S", value_parser = rate)]
    pub connect_rate: Option<f64>,
    /// Opens lost connections again, this many per second at most; each waits longer after each failure.
    /// With --clean-start false (and --session-expiry-s in MQTT 5) sessions go on: what was not
    /// acknowledged is sent again
    #[arg(long, value_name = "PER_S", num_args = 0..=1, default_missing_value = "100", value_parser = rate)]
    pub reconnect: Option<f64>,
    /// How long a broker may be silent when an answer is due
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
    /// Name of the scenario in reports: runs of the same name are compared with each other
    #[arg(long)]
    pub name: Option<String>,
    /// Looks for the highest rate that meets --p99 and loses nothing, beginning at --rate; each try
    /// lasts --duration
    #[arg(long)]
    pub find_max: bool,
    /// 99th percentile that --find-max must meet
    #[arg(long, default_value = "10ms", value_parser = duration, value_name = "TIME")]
    pub p99: Duration,
    /// Runs at each rate from FROM to TO, messages per second, each measured alone for --step-duration
    #[arg(long, value_name = "FROM:TO:STEP", conflicts_with = "find_max")]
    pub sweep: Option<Sweep>,
    /// How long --sweep stays at each rate
    #[arg(long, default_value = "5s", value_parser = duration, value_name = "TIME")]
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
        let targets = setup.targets(&[]);
        Ok(Connection {
            targets: resolve(&targets)?,
            transport: setup.transport.transport(&targets, self.mqtt, true)?,
            sources: setup.source.clone(),
            version: self.mqtt,
            keep_alive_s: self.keep_alive_s,
            user: setup.user.clone(),
            password: setup.password.clone(),
            timeout: self.timeout,
            reconnect_per_s: self.reconnect,
            in_flight_max: IN_FLIGHT,
        })
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

/// PUBLISH packets unacknowledged per client, unless --window says.
pub(crate) const IN_FLIGHT: u16 = 1_000;

/// What is published.
#[derive(Args, Clone, Debug)]
pub struct Traffic {
    /// Messages per second of all publishers together; 0 is as fast as possible
    #[arg(long, default_value_t = 1_000.0, value_name = "PER_S")]
    pub rate: f64,
    /// As fast as possible, the same as --rate 0
    #[arg(long)]
    pub max: bool,
    /// Rate at the end of the run, when it is to rise or fall evenly from --rate
    #[arg(long, value_name = "PER_S")]
    pub rate_to: Option<f64>,
    /// Independent arrivals instead of evenly spaced ones
    #[arg(long)]
    pub poisson: bool,
    /// How long messages are published
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// Messages per publisher; the run ends early when they are sent
    #[arg(long)]
    pub messages: Option<u64>,
    /// QoS of publishers and subscribers
    #[arg(long, default_value = "0", value_parser = qos)]
    pub qos: Qos,
    /// QoS of subscribers, when it differs
    #[arg(long, value_parser = qos)]
    pub subscribe_qos: Option<Qos>,
    /// Bytes of a payload, like 16, 4k, 16-1k or, weighted, 16:70,1k-4k:30; from 16 on each message
    /// is verified
    #[arg(long, default_value = "64")]
    pub payload_size: PayloadSize,
    /// Unacknowledged messages per publisher; with --max a closed loop of this size
    #[arg(long)]
    pub window: Option<u16>,
    /// Messages per write when publishing QoS 0 as fast as possible
    #[arg(long, default_value_t = 256)]
    pub batch: u32,
    /// Topics; {i} is the publisher's number, {t} its topic's, {r} the run's
    #[arg(long, value_name = "TEMPLATE")]
    pub topic: Option<Template>,
    /// Topics each publisher takes in turn
    #[arg(long, default_value_t = 1)]
    pub topics: u32,
    /// Retained messages
    #[arg(long)]
    pub retain: bool,
    /// Name topics by alias (MQTT 5)
    #[arg(long)]
    pub topic_alias: bool,
    /// A user property of each message, may be repeated (MQTT 5)
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub user_property: Vec<(String, String)>,
    /// Content type of each message (MQTT 5)
    #[arg(long, value_name = "TEXT")]
    pub content_type: Option<String>,
    /// Message expiry interval of each message (MQTT 5)
    #[arg(long, value_name = "SECONDS")]
    pub message_expiry_s: Option<u32>,
    /// How long nothing may come at the end before the run is over
    #[arg(long, default_value = "3s", value_parser = duration)]
    pub drain: Duration,
}

impl Traffic {
    /// The load that the options describe.
    ///
    /// # Errors
    /// A sentence when they contradict each other.
    pub fn load(&self) -> Result<Load, String> {
        if !(self.rate >= 0.0 && self.rate.is_finite()) {
            return Err("--rate must be 0 or more messages per second".into());
        }
        if self.window == Some(0) || self.window.is_some_and(|window| window > WINDOW_MAX) {
            return Err(format!("--window must be from 1 to {WINDOW_MAX}"));
        }
        let unlimited = self.max || self.rate == 0.0;
        if unlimited && self.qos != Qos::AtMostOnce {
            return Ok(Load::Closed {
                window: self.window.unwrap_or(CLOSED_WINDOW),
            });
        }
        if self.window.is_some() && self.qos == Qos::AtMostOnce {
            return Err(
                "--window needs --qos 1 or 2: messages of QoS 0 are not acknowledged".into(),
            );
        }
        if unlimited {
            return Ok(Load::Unlimited {
                batch: self.batch.max(1),
            });
        }
        let arrivals = if self.poisson {
            Arrivals::Poisson
        } else {
            Arrivals::Constant
        };
        Ok(Load::Open {
            from_per_s: self.rate,
            to_per_s: self.rate_to.unwrap_or(self.rate).max(0.0),
            arrivals,
        })
    }

    #[must_use]
    pub fn properties(&self) -> MessageProperties {
        MessageProperties {
            message_expiry_interval_s: self.message_expiry_s,
            content_type: self.content_type.clone(),
            user: self.user_property.clone(),
        }
    }

    #[must_use]
    pub fn subscribe_qos(&self) -> Qos {
        self.subscribe_qos.unwrap_or(self.qos)
    }
}

/// Identifiers above are used for SUBSCRIBE.
pub(crate) const WINDOW_MAX: u16 = 65_000;
/// Window of a closed loop that does not say.
pub(crate) const CLOSED_WINDOW: u16 = 64;

pub(crate) fn version(text: &str) -> Result<Version, String> {
    match text {
        "3.1" => Ok(Version::V31),
        "3.1.1" | "3" | "4" => Ok(Version::V311),
        "5" | "5.0" => Ok(Version::V5),
        _ => Err("give 3.1, 3.1.1 or 5".into()),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give NAME=VALUE")?;
    if name.len().max(value.len()) > usize::from(u16::MAX) {
        return Err("MQTT text has 65535 bytes at most".into());
    }
    Ok((name.to_string(), value.to_string()))
}

fn rate(text: &str) -> Result<f64, String> {
    let value = text.parse().ok();
    value
        .filter(|value: &f64| *value > 0.0 && value.is_finite())
        .ok_or_else(|| "give a number above 0 per second".into())
}

fn qos(text: &str) -> Result<Qos, String> {
    let bits = text.parse().ok();
    bits.and_then(Qos::from_bits)
        .ok_or_else(|| "give 0, 1 or 2".into())
}

/// 10s, 500ms, 2m, 1h, or plain seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "us" => 1e-6,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        unit => return Err(format!("unknown unit {unit:?}: give ms, s, m or h")),
    };
    let value: f64 = digits
        .parse()
        .map_err(|_| format!("{text:?} is no duration: give something like 10s"))?;
    Duration::try_from_secs_f64(value * factor).map_err(|_| format!("{text:?} is out of range"))
}
