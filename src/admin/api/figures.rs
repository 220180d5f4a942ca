//! Figures: what each shard has counted and holds, and an hour of their sums.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{json, Map, Value};
use tokio::time::{interval, MissedTickBehavior};

use crate::admin::role::Needs;
use crate::admin::{reply, Admin, Problem, Reply, Request, Route};
use crate::shard::{Answer, Figures, Query, Stats};

const EVERY_S: u64 = 5;
/// An hour.
const SAMPLES_MAX: usize = 720;
/// Of the process's memory, as /proc counts it.
const PAGE_BYTES: u64 = 4_096;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/api/v1/shards",
            Needs::VIEWER,
            "What each shard has counted since the start and holds now",
            |request| Box::pin(shards(request)),
        ),
        Route::get(
            "/api/v1/history",
            Needs::VIEWER,
            "Sums over all shards in the last hour, every five seconds",
            |request| Box::pin(async move { Ok(history(&request)) }),
        ),
    ]
}

/// Sums over all shards at one moment.
struct Sample {
    time_s: u64,
    connections: usize,
    sessions: usize,
    retained_messages: usize,
    memory_bytes: u64,
    stats: Stats,
}

/// Samples of the last hour.
#[derive(Default)]
pub(super) struct History(Mutex<VecDeque<Sample>>);

async fn read(admin: &Admin) -> Result<Vec<Figures>, Problem> {
    let answers = admin.shards.ask_all(|| Query::Figures).await?;
    let figures = answers.into_iter().filter_map(|answer| match answer {
        Answer::Figures(figures) => Some(*figures),
        _ => None,
    });
    Ok(figures.collect())
}

/// Takes samples until the process ends.
pub(super) async fn watch(admin: Arc<Admin>) {
    let mut ticks = interval(Duration::from_secs(EVERY_S));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let Ok(figures) = read(&admin).await else {
            continue; // a gap is what there is to see
        };
        let mut sample = Sample {
            time_s: admin.broker.unix_s(),
            connections: 0,
            sessions: 0,
            retained_messages: 0,
            memory_bytes: memory_bytes(),
            stats: Stats::default(),
        };
        for one in &figures {
            sample.connections += one.connections;
            sample.sessions += one.sessions;
            sample.retained_messages += one.retained_messages;
            sample.stats.add(&one.stats);
        }
        let samples = admin.api.history.0.lock();
        let mut samples = samples.unwrap_or_else(PoisonError::into_inner);
        samples.push_back(sample);
        if samples.len() > SAMPLES_MAX {
            samples.pop_front();
        }
    }
}

fn memory_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * PAGE_BYTES
}

async fn shards(request: Request) -> Result<Reply, Problem> {
    let figures = read(&request.admin).await?;
    let shards = (0..).zip(&figures).map(|(shard, one): (u16, &Figures)| {
        let counters = one
            .stats
            .rows()
            .map(|(name, count)| (name.into(), json!(count)));
        json!({
            "shard": shard,
            "connections": one.connections,
            "sessions": one.sessions,
            "retained_messages": one.retained_messages,
            "retained_bytes": one.retained_bytes,
            "counters": counters.collect::<Map<String, Value>>(),
        })
    });
    Ok(reply::json(
        &json!({ "shards": shards.collect::<Vec<_>>() }),
    ))
}

fn history(request: &Request) -> Reply {
    let names: Vec<&str> = Stats::default().rows().map(|(name, _)| name).collect();
    let samples = request.admin.api.history.0.lock();
    let samples = samples.unwrap_or_else(PoisonError::into_inner);
    let samples = samples.iter().map(|sample| {
        json!({
            "time_s": sample.time_s,
            "connections": sample.connections,
            "sessions": sample.sessions,
            "retained_messages": sample.retained_messages,
            "memory_bytes": sample.memory_bytes,
            "counts": sample.stats.rows().map(|(_, count)| count).collect::<Vec<_>>(),
        })
    });
    let samples: Vec<Value> = samples.collect();
    reply::json(&json!({ "every_s": EVERY_S, "counters": names, "samples": samples }))
}
