//! Sparkplug: edge nodes and hosts by page, and one edge node with its devices.

use serde_json::{json, Value};

use super::page::{limit, named_cursor, QUESTIONS_MAX};
use crate::admin::role::Needs;
use crate::admin::{reply, Problem, Reply, Request, Route};
use crate::shard::{Answer, Query};
use crate::sparkplug::{certificate_topic, node_key, DeviceRow, HostRow, NodeRow};
use crate::time::WallTime;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/api/v1/sparkplug/nodes",
            Needs::VIEWER,
            "Edge nodes of Sparkplug, by page",
            |request| Box::pin(nodes(request)),
        ),
        Route::get(
            "/api/v1/sparkplug/nodes/{group}/{node}",
            Needs::VIEWER,
            "One edge node of Sparkplug with its devices, by page",
            |request| Box::pin(node(request)),
        ),
        Route::get(
            "/api/v1/sparkplug/hosts",
            Needs::VIEWER,
            "Host applications of Sparkplug, by page",
            |request| Box::pin(hosts(request)),
        ),
    ]
}

fn is_off() -> Problem {
    Problem::not_found("sparkplug is off: the option sparkplug turns it on")
}

/// Rows of a piece, and where the next one begins.
type Rows = (Vec<Value>, Option<Box<str>>);

async fn nodes(request: Request) -> Result<Reply, Problem> {
    let query = |after, max| Query::Nodes { after, max };
    let rows = |answer| match answer {
        Answer::Nodes { rows, next } => Some((rows.iter().map(node_json).collect(), next)),
        _ => None,
    };
    list(&request, "nodes", query, rows).await
}

async fn hosts(request: Request) -> Result<Reply, Problem> {
    let query = |after, max| Query::Hosts { after, max };
    let rows = |answer| match answer {
        Answer::Hosts { rows, next } => Some((rows.iter().map(host_json).collect(), next)),
        _ => None,
    };
    list(&request, "hosts", query, rows).await
}

/// One shard after the other: the names of each are in order.
async fn list(
    request: &Request,
    name: &str,
    query: impl Fn(Option<Box<str>>, usize) -> Query,
    rows: impl Fn(Answer) -> Option<Rows>,
) -> Result<Reply, Problem> {
    let limit = limit(request)?;
    let shards = &request.admin.shards;
    let (mut shard, mut after) = named_cursor(request)?;
    let mut found: Vec<Value> = Vec::new();
    for _ in 0..QUESTIONS_MAX {
        if found.len() >= limit || shard >= shards.count() {
            break;
        }
        let asked = || query(after.clone(), limit - found.len());
        let answer = shards.ask(shard, asked).await?;
        let (piece, next) = rows(answer).ok_or_else(is_off)?;
        found.extend(piece);
        after = next;
        if after.is_none() {
            shard += 1;
        }
    }
    let cursor = || format!("{shard}:{}", after.as_deref().unwrap_or_default());
    let next = (shard < shards.count()).then(cursor);
    Ok(reply::json(&json!({ name: found, "next": next })))
}

/// The cursor is the device behind which the page begins.
async fn node(request: Request) -> Result<Reply, Problem> {
    let (group, name) = (request.param("group"), request.param("node"));
    let (key, max) = (node_key(group, name), limit(&request)?);
    let after: Option<Box<str>> = request.query("cursor").map(Into::into);
    let answers = request.admin.shards.ask_all(|| Query::Node {
        node: key.clone(),
        after: after.clone(),
        max,
    });
    let mut is_on = false;
    for answer in answers.await? {
        let Answer::Node(found) = answer else {
            continue;
        };
        is_on = true;
        let Some(page) = found else {
            continue;
        };
        let topic = |device: &DeviceRow| format!("spBv1.0/{group}/DBIRTH/{name}/{}", device.name);
        let devices = page.devices.iter();
        let devices = devices.map(|device| device_json(device, &topic(device)));
        let devices: Vec<Value> = devices.collect();
        let node = node_json(&page.node);
        let answer = json!({ "node": node, "devices": devices, "next": page.next });
        return Ok(reply::json(&answer));
    }
    match is_on {
        false => Err(is_off()),
        true => Err(Problem::not_found(format!(
            "no edge node \"{}\" was seen",
            key.escape_debug()
        ))),
    }
}

/// Of a node that is known from its certificate alone nothing has been heard since this process began.
fn state(online: bool, is_recalled: bool) -> &'static str {
    match (online, is_recalled) {
        (true, _) => "online",
        (false, true) => "unknown",
        (false, false) => "offline",
    }
}

fn ms(at: Option<WallTime>) -> Option<u64> {
    at.map(|at| at.0)
}

fn node_json(row: &NodeRow) -> Value {
    let (group, node) = row.key.split_once('/').unwrap_or_default();
    json!({
        "group": group,
        "node": node,
        "online": row.online,
        "state": state(row.online, row.is_recalled),
        "bd_seq": row.bd_seq,
        "metrics": row.metrics,
        "certificate": certificate_topic(&format!("spBv1.0/{group}/NBIRTH/{node}")),
        "birth_timestamp_ms": row.birth_timestamp,
        "born_at_ms": ms(row.born_at),
        "died_at_ms": ms(row.died_at),
        "seen_at_ms": ms(row.seen_at),
        "next_seq": row.next_seq,
        "messages": row.messages,
        "births": row.births,
        "rebirths": row.rebirths,
        "rebirth_requests": row.rebirth_requests,
        "deaths": row.deaths,
        "gaps": row.gaps,
        "missing": row.missing,
        "births_without_death": row.births_without_death,
        "stale_deaths": row.stale_deaths,
        "before_birth": row.before_birth,
        "devices_known": row.devices,
        "devices_online": row.devices_online,
    })
}

fn device_json(row: &DeviceRow, topic: &str) -> Value {
    json!({
        "device": row.name,
        "online": row.online,
        "state": state(row.online, row.is_recalled),
        "metrics": row.metrics,
        "certificate": certificate_topic(topic),
        "born_at_ms": ms(row.born_at),
        "died_at_ms": ms(row.died_at),
        "seen_at_ms": ms(row.seen_at),
        "messages": row.messages,
        "births": row.births,
        "deaths": row.deaths,
    })
}

fn host_json(row: &HostRow) -> Value {
    json!({
        "host": row.name,
        "online": row.online,
        "timestamp_ms": row.timestamp,
        "seen_at_ms": row.seen_at.0,
    })
}
