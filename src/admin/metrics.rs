//! /metrics: what shards, listeners and the process have counted, as text for Prometheus.

use hyper::header::ACCEPT;

use super::reply::{self, Problem, Reply};
use super::request::Request;
use super::role::Needs;
use super::route::Route;
use crate::metrics::exposition::{text, Format};

pub(super) fn routes() -> Vec<Route> {
    let summary = "all metrics, for Prometheus (OpenMetrics by Accept)";
    vec![Route::get("/metrics", Needs::METRICS, summary, |request| {
        Box::pin(metrics(request))
    })]
}

async fn metrics(request: Request) -> Result<Reply, Problem> {
    let accept = request.headers.get(ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept.unwrap_or_default());
    let of_mosquitto = request.admin.settings().options.metrics_of_mosquitto;
    let report = request.admin.report().await?;
    let body = text(&report, format, of_mosquitto);
    Ok(reply::of(format.content_type(), body))
}
