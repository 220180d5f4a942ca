//! Figures: what each shard has counted and holds, how long things take, and an hour of both.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{json, Map, Value};
use tokio::time::{interval, MissedTickBehavior};

use super::latency::{self, Pair};
use crate::admin::role::Needs;
use crate::admin::{reply, Admin, Problem, Reply, Request, Route};
use crate::metrics::ShardReport;
use crate::shard::Stats;

const EVERY_S: u64 = 5;
/// An hour.
const SAMPLES_MAX: usize = 720;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/api/v1/shards",
            Needs::VIEWER,
            "What each shard has counted since the start and holds now",
            |request| Box::pin(shards(request)),
        ),
        Route::get(
            "/api/v1/latency",
            Needs::VIEWER,
            "How long things took in the last seconds and since the start, as percentiles",
            |request| Box::pin(latencies(request)),
        ),
        Route::get(
            "/api/v1/history",
            Needs::VIEWER,
            "Sums over all shards in the last hour, every five seconds",
            |request| Box::pin(async move { history(&request) }),
        ),
    ]
}

/// Sums over all shards at one moment.
struct Sample {
    time_s: u64,
    connections: u64,
    sessions: u64,
    retained_messages: u64,
    memory_bytes: u64,
    stats: Stats,
    /// Of the five seconds before, in the order of the names.
    latencies: Vec<Option<Pair>>,
}

/// Samples of the last hour, and the reports that the last two of them were made of, the older first.
#[derive(Default)]
pub(super) struct History {
    samples: Mutex<VecDeque<Sample>>,
    reports: Mutex<[Reports; 2]>,
}

/// Of all shards; none before the first sample.
type Reports = Arc<Vec<ShardReport>>;

impl History {
    fn reports(&self) -> [Reports; 2] {
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.clone()
    }
}

/// Takes samples until the process ends.
pub(super) async fn watch(admin: Arc<Admin>) {
    let mut ticks = interval(Duration::from_secs(EVERY_S));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let Ok(reports) = admin.shard_reports().await else {
            continue; // a gap is what there is to see
        };
        let history = &admin.api.history;
        let [_, before] = history.reports();
        let mut sample = Sample {
            time_s: admin.broker.unix_s(),
            connections: 0,
            sessions: 0,
            retained_messages: 0,
            memory_bytes: admin.broker.process_report().resident_bytes,
            stats: Stats::default(),
            latencies: latency::pairs(&reports, &before),
        };
        for one in &reports {
            sample.connections += one.driver.sockets;
            sample.sessions += one.shard.sessions;
            sample.retained_messages += one.shard.retained;
            sample.stats.add(&one.shard.stats);
        }
        let last = history.reports.lock();
        *last.unwrap_or_else(PoisonError::into_inner) = [before, Arc::new(reports)];
        let samples = history.samples.lock();
        let mut samples = samples.unwrap_or_else(PoisonError::into_inner);
        samples.push_back(sample);
        if samples.len() > SAMPLES_MAX {
            samples.pop_front();
        }
    }
}

async fn shards(request: Request) -> Result<Reply, Problem> {
    let reports = request.admin.shard_reports().await?;
    let shards = (0..).zip(&reports);
    let shards = shards.map(|(shard, one): (u16, &ShardReport)| {
        let counters = one.shard.stats.rows();
        let counters = counters.map(|(name, count)| (name.into(), json!(count)));
        json!({
            "shard": shard,
            "connections": one.driver.sockets,
            "sessions": one.shard.sessions,
            "retained_messages": one.shard.retained,
            "retained_bytes": one.shard.retained_bytes,
            "busy_ms": one.driver.busy.as_millis(),
            "counters": counters.collect::<Map<String, Value>>(),
        })
    });
    Ok(reply::json(
        &json!({ "shards": shards.collect::<Vec<_>>() }),
    ))
}

/// Recent is what came since the last sample but one, so that it is some seconds at any moment.
async fn latencies(request: Request) -> Result<Reply, Problem> {
    let reports = request.admin.shard_reports().await?;
    let [before, _] = request.admin.api.history.reports();
    Ok(reply::json(&latency::to_json(&reports, &before)))
}

/// The samples, or those behind the second that the asker has seen last.
fn history(request: &Request) -> Result<Reply, Problem> {
    let after_s = request.number("after")?.unwrap_or(0);
    let counters: Vec<&str> = Stats::default().rows().map(|(name, _)| name).collect();
    let samples = request.admin.api.history.samples.lock();
    let samples = samples.unwrap_or_else(PoisonError::into_inner);
    let samples = samples.iter().filter(|sample| sample.time_s > after_s);
    let samples = samples.map(|sample| {
        let pairs = sample.latencies.iter();
        json!({
            "time_s": sample.time_s,
            "connections": sample.connections,
            "sessions": sample.sessions,
            "retained_messages": sample.retained_messages,
            "memory_bytes": sample.memory_bytes,
            "counts": sample.stats.rows().map(|(_, count)| count).collect::<Vec<_>>(),
            "latencies_us": pairs.map(|pair| json!(pair)).collect::<Vec<_>>(),
        })
    });
    let samples: Vec<Value> = samples.collect();
    Ok(reply::json(&json!({
        "every_s": EVERY_S,
        "counters": counters,
        "latencies": latency::names(),
        "samples": samples,
    })))
}
