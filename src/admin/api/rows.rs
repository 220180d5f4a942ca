//! A client in a listing, as JSON.

use serde_json::{json, Value};

use crate::admin::Admin;
use crate::mqtt::Version;
use crate::shard::ClientRow;

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
    json!({
        "client_id": row.client_id,
        "shard": shard,
        "connected": row.peer.is_some(),
        "user": row.user.as_deref(),
        "address": row.peer.map(|peer| peer.to_string()),
        "listener": row.listener.map(|id| admin.broker.listener_name(id)),
        "version": row.version.map(version_name),
        "subscriptions": row.subscriptions,
        "queue_messages": row.queue_messages,
        "queue_bytes": row.queue_bytes,
        "inflight": row.inflight,
        "dropped": row.dropped,
        "publications": activity.publications,
        "deliveries": activity.deliveries,
        "bytes_in": activity.bytes_in,
        "bytes_out": activity.bytes_out,
    })
}
