//! A client in a listing, as JSON.

use serde_json::{json, Value};

use super::ms;
use crate::admin::Admin;
use crate::mqtt::Version;
use crate::shard::{ClientRow, SensorRow};

/// The words that a version is known by.
pub(super) fn version_name(version: Version) -> &'static str {
    match version {
        Version::V31 => "3.1",
        Version::V311 => "3.1.1",
        Version::V5 => "5.0",
    }
}

pub(super) fn row_json(admin: &Admin, shard: u16, row: &ClientRow) -> Value {
    let activity = row.activity.unwrap_or_default();
    let (protocol, version) = match (row.version, &row.sensor) {
        (None, None) => (None, None), // it may be either
        (version, Some(_)) => (Some("mqtt-sn"), version.map(|_| "1.2")),
        (version, None) => (Some("mqtt"), version.map(version_name)),
    };
    json!({
        "client_id": row.client_id,
        "shard": shard,
        "connected": row.peer.is_some(),
        "user": row.user.as_deref(),
        "address": row.peer.map(|peer| peer.to_string()),
        "listener": row.listener.map(|id| admin.broker.listener_name(id)),
        "protocol": protocol,
        "version": version,
        "subscriptions": row.subscriptions,
        "queue_messages": row.queue_messages,
        "queue_bytes": row.queue_bytes,
        "inflight": row.inflight,
        "dropped": row.dropped,
        "publications": activity.publications,
        "deliveries": activity.deliveries,
        "bytes_in": activity.bytes_in,
        "bytes_out": activity.bytes_out,
        "mqtt_sn": row.sensor.as_deref().map(sensor_json),
    })
}

fn sensor_json(sensor: &SensorRow) -> Value {
    let hex = |node: &[u8]| node.iter().map(|octet| format!("{octet:02x}")).collect();
    let node: Option<String> = sensor.node.as_deref().map(hex);
    json!({
        "state": sensor.state,
        "node": node,
        "sleep_s": sensor.sleep_s,
        "wakes_in_ms": sensor.wakes_in.map(ms),
        "lost_in_ms": sensor.lost_in.map(ms),
        "topic_ids": sensor.topic_ids,
        "predefined_ids": sensor.predefined_ids,
        "unanswered": sensor.unanswered,
    })
}
