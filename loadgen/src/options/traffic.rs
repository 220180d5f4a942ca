//! Options of what is published: rate, QoS, payloads, topics and properties.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ringmq::mqtt::Qos;

use super::own_data::{payload, payload_file};
use super::values::{
    at_least_one, duration, number, pair, qos, time, topic, CLOSED_WINDOW, WINDOW_MAX,
};
use crate::payload_template::PayloadTemplate;
use crate::plan::{Arrivals, Load, MessageProperties, PayloadSize, Template};

/// What is published.
#[derive(Args, Clone, Debug)]
pub struct Traffic {
    /// Messages per second of all publishers together; 0 is as fast as possible
    #[arg(long, default_value = "1000", value_name = "PER_S", value_parser = number)]
    pub rate: f64,
    /// As fast as possible, the same as --rate 0
    #[arg(long)]
    pub max: bool,
    /// Rate at the end of the run, when it is to rise or fall evenly from --rate
    #[arg(long, value_name = "PER_S", value_parser = number)]
    pub rate_to: Option<f64>,
    /// Independent arrivals instead of evenly spaced ones
    #[arg(long)]
    pub poisson: bool,
    /// How long messages are published
    #[arg(long, default_value = "10s", value_parser = time)]
    pub duration: Duration,
    /// Messages per publisher; the run ends early when they are sent
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
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
    /// Payload of your own, with places for {i}, {t}, {r}, {seq}, {now}, {rand:a-b}, {choice:a,b}, {csv:COLUMN} and
    /// {proof}
    #[arg(long, value_name = "TEMPLATE", value_parser = payload, conflicts_with = "payload_size")]
    pub payload: Option<Arc<PayloadTemplate>>,
    /// Payload from a file: text with the same places, or bytes as they are
    #[arg(long, value_name = "FILE", value_parser = payload_file, conflicts_with_all = ["payload", "payload_size"])]
    pub payload_file: Option<Arc<PayloadTemplate>>,
    /// Payloads of your own may go without a proof: messages are counted, and may be any
    #[arg(long)]
    pub unverified: bool,
    /// Unacknowledged messages per publisher; with --max a closed loop of this size
    #[arg(long)]
    pub window: Option<u16>,
    /// Messages per write when publishing QoS 0 as fast as possible
    #[arg(long, default_value_t = 256)]
    pub batch: u32,
    /// Topics; {i} is the publisher's number, {t} its topic's, {r} the run's
    #[arg(long, value_name = "TEMPLATE", value_parser = topic)]
    pub topic: Option<Template>,
    /// Topics each publisher takes in turn
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
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

    /// The user's own payload, when there is one.
    #[must_use]
    pub fn own_payload(&self) -> Option<Arc<PayloadTemplate>> {
        let own = self.payload.as_ref().or(self.payload_file.as_ref())?;
        if !self.unverified || own.has_proof() {
            return Some(Arc::clone(own));
        }
        let mut own = (**own).clone();
        own.is_unverified = true;
        Some(Arc::new(own))
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
