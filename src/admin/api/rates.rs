//! The busiest clients: two readings of what has passed on all connections, and what lies between them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use serde_json::{json, Value};
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::rows::row_json;
use crate::admin::{reply, Admin, Problem, Reply, Request};
use crate::ids::SessionId;
use crate::shard::{Activity, Answer, Query};

/// Readings closer to each other than this say little.
const APART: Duration = Duration::from_millis(900);
/// One that is older is of no use.
const FRESH: Duration = Duration::from_secs(10);

/// What had passed on a connection, and when it was opened.
type Known = HashMap<(u16, SessionId), Activity>;

/// The last reading. Bounded by the connections there are, and of no use after a while: the next
/// request replaces it.
#[derive(Default)]
pub(super) struct Readings(Mutex<Option<(Instant, Known)>>);

pub(super) async fn busiest(request: &Request, limit: usize) -> Result<Reply, Problem> {
    let admin = &request.admin;
    // One at a time: who waits here has the reading of the one before.
    let mut last = admin.api.readings.0.lock().await;
    if last.as_ref().is_none_or(|(at, _)| at.elapsed() > FRESH) {
        *last = Some((Instant::now(), read(admin).await?));
    }
    let since = last.as_ref().map_or(Duration::ZERO, |(at, _)| at.elapsed());
    sleep(APART.saturating_sub(since)).await;
    let (before_at, before) = last
        .take()
        .unwrap_or_else(|| (Instant::now(), Known::new()));
    let now_at = Instant::now();
    let now = read(admin).await?;
    let seconds = now_at.duration_since(before_at).as_secs_f64().max(0.001);
    let mut busiest = BinaryHeap::new();
    for ((shard, place), activity) in &now {
        let passed = passed(before.get(&(*shard, *place)), activity);
        let bytes = passed.bytes_in + passed.bytes_out;
        let score = (
            passed.publications + passed.deliveries,
            bytes,
            *shard,
            *place,
        );
        if bytes > 0 {
            busiest.push(Reverse(score));
        }
        if busiest.len() > limit {
            busiest.pop();
        }
    }
    let mut clients = Vec::new();
    for Reverse((_, _, shard, place)) in busiest.into_sorted_vec() {
        let passed = passed(before.get(&(shard, place)), &now[&(shard, place)]);
        let query = || Query::Rows(vec![place]);
        let Answer::Clients { rows, .. } = admin.shards.ask(shard, query).await? else {
            continue;
        };
        for row in rows {
            clients.push(with_rates(row_json(admin, shard, &row), &passed, seconds));
        }
    }
    *last = Some((now_at, now));
    let answer = json!({ "clients": clients, "next": null, "seconds": seconds });
    Ok(reply::json(&answer))
}

async fn read(admin: &Admin) -> Result<Known, Problem> {
    let mut known = Known::new();
    for shard in 0..admin.shards.count() {
        let mut from = Some(0);
        while let Some(place) = from {
            let query = || Query::Activity { from: place };
            let Answer::Activity { rows, next } = admin.shards.ask(shard, query).await? else {
                break;
            };
            known.extend(rows.iter().map(|row| ((shard, row.place), row.activity)));
            from = next;
        }
    }
    Ok(known)
}

/// What has passed between two readings; a connection that is new has begun at zero.
fn passed(before: Option<&Activity>, now: &Activity) -> Activity {
    let before = before.filter(|before| before.opened_at == now.opened_at);
    let before = before.copied().unwrap_or_default();
    Activity {
        opened_at: now.opened_at,
        bytes_in: now.bytes_in - before.bytes_in,
        bytes_out: now.bytes_out - before.bytes_out,
        publications: now.publications - before.publications,
        deliveries: now.deliveries - before.deliveries,
    }
}

fn with_rates(mut row: Value, passed: &Activity, seconds: f64) -> Value {
    let rate = |count: u64| (count as f64 / seconds * 10.0).round() / 10.0;
    row["publications_per_s"] = json!(rate(passed.publications));
    row["deliveries_per_s"] = json!(rate(passed.deliveries));
    row["bytes_in_per_s"] = json!(rate(passed.bytes_in));
    row["bytes_out_per_s"] = json!(rate(passed.bytes_out));
    row
}
