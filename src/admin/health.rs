//! Health: whether the process lives, and whether it takes clients. Open without a login.

use hyper::StatusCode;
use serde_json::json;

use super::reply::{self, Problem, Reply};
use super::request::Request;
use super::role::Needs;
use super::route::Route;
use crate::io::Stage;
use crate::shard::Query;

pub(super) fn routes() -> Vec<Route> {
    let alive = ["/healthz", "/health/live"].map(|path| {
        let summary = "200 while every shard makes turns";
        Route::get(path, Needs::Nothing, summary, |request| {
            Box::pin(alive(request))
        })
    });
    let ready = ["/readyz", "/health/ready"].map(|path| {
        let summary = "200 while clients are let in, and a node of a cluster has its lease";
        Route::get(path, Needs::Nothing, summary, |request| {
            Box::pin(ready(request))
        })
    });
    alive.into_iter().chain(ready).collect()
}

/// A start that reads a large journal is alive, and so is a broker that stops.
async fn alive(request: Request) -> Result<Reply, Problem> {
    if request.admin.broker.stage() == Stage::Ready {
        request.admin.shards.ask_all(|| Query::Ping).await?;
    }
    Ok(ok())
}

async fn ready(request: Request) -> Result<Reply, Problem> {
    let detail = match request.admin.broker.stage() {
        Stage::Ready if request.admin.broker.lacks_lease() => {
            "this node has no lease in its cluster: it acknowledges nothing"
        }
        Stage::Ready => return Ok(ok()),
        Stage::Starting => "the broker is starting",
        Stage::Stopping => "the broker is stopping",
    };
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
}

fn ok() -> Reply {
    reply::json(&json!({ "status": "ok" }))
}
