//! The cluster: nodes as this one sees them, and orders to drain them.

use hyper::{Method, StatusCode};
use serde_json::{json, Value};

use super::{done, ms};
use crate::admin::role::Needs;
use crate::admin::{reply, Problem, Reply, Request, Route};
use crate::io::{ClusterState, NodeState};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/api/v1/cluster",
            Needs::VIEWER,
            "The nodes of the cluster as this one sees them, its lease, and who owns how many groups of client ids",
            |request| Box::pin(async move { show(&request) }),
        ),
        Route::change(
            Method::POST,
            "/api/v1/cluster/nodes/{name}/drain",
            "Has a node give its groups of client ids to others, as far as their sessions allow",
            |request| Box::pin(async move { order(&request, true) }),
        ),
        Route::change(
            Method::POST,
            "/api/v1/cluster/nodes/{name}/undrain",
            "Lets a node own its part of the groups again",
            |request| Box::pin(async move { order(&request, false) }),
        ),
    ]
}

fn show(request: &Request) -> Result<Reply, Problem> {
    let state = request.admin.broker.cluster_state();
    let state = state.ok_or_else(none)?;
    Ok(reply::json(&described(&state)))
}

fn none() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "this broker is a node of no cluster: see the option cluster",
    )
}

fn described(state: &ClusterState) -> Value {
    let nodes: Vec<Value> = state.nodes.iter().map(node).collect();
    json!({
        "node": state.node,
        "joined": state.has_joined,
        "lease_left_ms": ms(state.lease_left),
        "nats": state.nats,
        "nodes": nodes,
        "groups_without_owner": state.groups_without_owner,
        "groups_kept": state.groups_kept,
        "messages_sent": state.stats.sent,
        "messages_received": state.stats.received,
        "messages_dropped": state.stats.dropped,
        "malformed": state.stats.malformed,
    })
}

fn node(node: &NodeState) -> Value {
    json!({
        "name": node.name,
        "self": node.is_self,
        "drained": node.is_drained,
        "relay_address": node.relay,
        "client_address": node.clients,
        "groups": node.groups,
        "waiting_bytes": node.waiting_bytes,
    })
}

fn order(request: &Request, drains: bool) -> Result<Reply, Problem> {
    let broker = &request.admin.broker;
    if broker.cluster_state().is_none() {
        return Err(none());
    }
    let name = request.param("name");
    match broker.order_drain(name, drains) {
        true => Ok(done()),
        false => {
            let text = format!("there is no node \"{}\" that is alive", name.escape_debug());
            Err(Problem::not_found(text))
        }
    }
}
