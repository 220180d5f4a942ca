//! Bridges: how they are, and orders to start and stop them.

use hyper::Method;
use serde_json::{json, Map, Value};

use super::done;
use crate::admin::role::Needs;
use crate::admin::{reply, Problem, Reply, Request, Route};
use crate::io::BridgeState;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/api/v1/bridges",
            Needs::VIEWER,
            "Bridges with their state, counters and what waits for them",
            |request| Box::pin(list(request)),
        ),
        Route::change(
            Method::POST,
            "/api/v1/bridges/{name}/start",
            "Has a bridge connect, also one that is started by hand or has given up",
            |request| Box::pin(async move { order(&request, true) }),
        ),
        Route::change(
            Method::POST,
            "/api/v1/bridges/{name}/stop",
            "Disconnects a bridge until it is started; what goes out waits in its session",
            |request| Box::pin(async move { order(&request, false) }),
        ),
    ]
}

async fn list(request: Request) -> Result<Reply, Problem> {
    let broker = request.admin.broker.clone();
    let states = tokio::task::spawn_blocking(move || broker.bridge_states());
    let states = states
        .await
        .map_err(|_| Problem::busy("the bridges cannot be read now"))?;
    let bridges: Vec<Value> = states.iter().map(row).collect();
    Ok(reply::json(&json!({ "bridges": bridges })))
}

fn row(state: &BridgeState) -> Value {
    let counts = &state.counts;
    let dropped = state.dropped();
    let dropped: Map<String, Value> = dropped
        .map(|(why, count)| (why.into(), json!(count)))
        .collect();
    json!({
        "name": state.name,
        "state": state.condition,
        "address": state.address,
        "last_end": state.last_end,
        "connects": state.connects,
        "failures": state.failures,
        "messages_out": counts.messages_out,
        "messages_in": counts.messages_in,
        "refused_there": counts.refused_there,
        "refused_here": counts.refused_here,
        "dropped": dropped,
        "queue_messages": state.queue.map(|queue| queue.messages),
        "queue_bytes": state.queue.map(|queue| queue.bytes),
        "lag_ms": state.queue.map(|queue| queue.oldest.0 / 1_000_000),
    })
}

fn order(request: &Request, starts: bool) -> Result<Reply, Problem> {
    let name = request.param("name");
    match request.admin.broker.order_bridge(name, starts) {
        true => Ok(done()),
        false => {
            let text = format!("there is no bridge \"{}\"", name.escape_debug());
            Err(Problem::not_found(text))
        }
    }
}
