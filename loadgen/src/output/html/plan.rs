//! The plan of a run in a few lines for people.

use super::markup::{count, escape};
use crate::results::{DescribedGroup, DescribedLoad, DescribedPlan};

/// Lines of markup: how clients connect, who they are, what they do.
pub(super) fn lines(plan: &DescribedPlan) -> Vec<String> {
    let mut how = format!("MQTT {}", plan.protocol);
    for (is_so, what) in [
        (plan.tls, " over TLS"),
        (plan.websocket, " over WebSocket"),
        (plan.has_user, ", with a user name"),
    ] {
        how.push_str(if is_so { what } else { "" });
    }
    let mut lines = vec![how];
    lines.extend(plan.groups.iter().map(group));
    lines.extend(plan.loads.iter().map(load));
    lines.iter().map(|line| escape(line)).collect()
}

fn group(own: &DescribedGroup) -> String {
    let mut text = format!("{}: {} clients", own.group, count(f64::from(own.clients)));
    if let (Some(topic), Some(qos)) = (&own.topic, own.qos) {
        let bytes = match (own.payload_bytes_min, own.payload_bytes_max) {
            (least, most) if least == most => least.to_string(),
            (least, most) => format!("{least} to {most}"),
        };
        text += &format!(" publish {topic} with QoS {qos}, {bytes} bytes");
        if own.topics > 1 {
            text += &format!(", {} topics each", own.topics);
        }
        text += if own.retain { ", retained" } else { "" };
    }
    if let (false, Some(qos)) = (own.filters.is_empty(), own.subscribe_qos) {
        text += &format!(" subscribe to {} with QoS {qos}", own.filters.join(", "));
    }
    if let Some(topic) = &own.will_topic {
        text += &format!(", will {topic}");
    }
    text
}

fn load(own: &DescribedLoad) -> String {
    let rate = |rate: Option<f64>| count(rate.unwrap_or_default());
    let what = match &own.kind[..] {
        "open" if own.rate_per_s == own.rate_to_per_s => {
            format!("{} per second, open loop", rate(own.rate_per_s))
        }
        "open" => format!(
            "{} to {} per second, open loop",
            rate(own.rate_per_s),
            rate(own.rate_to_per_s)
        ),
        "closed" => format!("closed loop, window {}", own.window.unwrap_or_default()),
        "think" => "one after the other, with pauses".to_string(),
        _ => "as fast as connections take it".to_string(),
    };
    let poisson = own.arrivals.as_deref() == Some("poisson");
    let poisson = if poisson {
        ", independent arrivals"
    } else {
        ""
    };
    let stage = own
        .stage
        .as_ref()
        .map_or(String::new(), |stage| format!("{stage}: "));
    let most = own
        .messages_each
        .map_or(String::new(), |most| format!(", {most} messages each"));
    format!(
        "{stage}{}: {what}{poisson}, {:.1} s{most}",
        own.group, own.time_s
    )
}
