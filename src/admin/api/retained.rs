//! Retained messages: by filter, level by level, one, and removed.

use hyper::Method;
use serde_json::{json, Value};

use super::page::{limit, named_cursor, QUESTIONS_MAX};
use super::{done, ms, payload_json};
use crate::admin::role::Needs;
use crate::admin::{reply, Problem, Reply, Request, Route};
use crate::mqtt::topic;
use crate::shard::{Answer, Order, Query, RetainedRow};

/// Characters of a payload in a listing; one message is shown whole.
const SHOWN_BYTES: usize = 256;

pub(super) fn routes() -> Vec<Route> {
    let one = "/api/v1/retained/message";
    vec![
        Route::get(
            "/api/v1/retained",
            Needs::VIEWER,
            "Retained messages that match a filter, by page; payloads are cut",
            |request| Box::pin(list(request)),
        ),
        Route::get(
            "/api/v1/retained/levels",
            Needs::VIEWER,
            "Topics of retained messages, level by level",
            |request| Box::pin(levels(request)),
        ),
        Route::get(one, Needs::VIEWER, "One retained message", |request| {
            Box::pin(show(request))
        }),
        Route::change(
            Method::DELETE,
            one,
            "Removes a retained message; subscribers are not told",
            |request| Box::pin(remove(request)),
        ),
    ]
}

/// The topic that a request is about.
fn topic_of(request: &Request) -> Result<&str, Problem> {
    let name = request.query("topic").unwrap_or_default();
    match topic::is_valid_name(name) {
        true => Ok(name),
        false => {
            let text = format!("topic: \"{}\" is not a topic name", name.escape_debug());
            Err(Problem::bad_request(text))
        }
    }
}

async fn list(request: Request) -> Result<Reply, Problem> {
    let filter = request.query("filter").unwrap_or("#");
    if let Err(error) = topic::check_filter(filter) {
        return Err(Problem::bad_request(format!("filter: {error}")));
    }
    if topic::is_shared(filter) {
        return Err(Problem::bad_request(
            "filter: a shared subscription gets no retained messages",
        ));
    }
    let limit = limit(&request)?;
    let shards = &request.admin.shards;
    let (mut shard, mut after) = named_cursor(&request)?;
    let mut messages = Vec::new();
    for _ in 0..QUESTIONS_MAX {
        if messages.len() >= limit || shard >= shards.count() {
            break;
        }
        let query = || Query::Retained {
            filter: filter.into(),
            after: after.clone(),
            max: limit - messages.len(),
        };
        let Answer::Retained { rows, next } = shards.ask(shard, query).await? else {
            continue;
        };
        messages.extend(rows.iter().map(|row| row_json(row, SHOWN_BYTES)));
        after = next;
        if after.is_none() {
            shard += 1;
        }
    }
    let cursor = || format!("{shard}:{}", after.as_deref().unwrap_or_default());
    let next = (shard < shards.count()).then(cursor);
    Ok(reply::json(&json!({ "messages": messages, "next": next })))
}

/// The levels of all shards, merged: each shard has some of the topics.
async fn levels(request: Request) -> Result<Reply, Problem> {
    let limit = limit(&request)?.min(crate::shard::ROWS_MAX);
    let below = request.query("below").filter(|below| !below.is_empty());
    let after = request.query("after");
    let answers = request.admin.shards.ask_all(|| Query::RetainedLevels {
        below: below.map(Into::into),
        after: after.map(Into::into),
        max: limit,
    });
    let mut merged = std::collections::BTreeMap::new();
    // Up to there the answers of all shards are complete.
    let mut complete_until: Option<Box<str>> = None;
    for answer in answers.await? {
        let Answer::RetainedLevels { levels, next } = answer else {
            continue;
        };
        for level in levels {
            let known = merged.entry(level.name).or_insert((false, false));
            known.0 |= level.has_message;
            known.1 |= level.has_below;
        }
        complete_until = match (complete_until, next) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
    if let Some(end) = &complete_until {
        merged.retain(|name, _| name <= end);
    }
    let mut levels: Vec<Value> = Vec::new();
    let mut next = complete_until;
    for (name, (has_message, has_below)) in merged {
        if levels.len() == limit {
            break;
        }
        if levels.len() + 1 == limit {
            next = Some(name.clone());
        }
        levels.push(json!({ "name": name, "has_message": has_message, "has_below": has_below }));
    }
    Ok(reply::json(&json!({ "levels": levels, "next": next })))
}

async fn show(request: Request) -> Result<Reply, Problem> {
    let name = topic_of(&request)?;
    let answers = (request.admin.shards).ask_all(|| Query::RetainedMessage(name.into()));
    for answer in answers.await? {
        if let Answer::RetainedMessage(Some(row)) = answer {
            return Ok(reply::json(&row_json(&row, usize::MAX)));
        }
    }
    Err(none_at(name))
}

async fn remove(request: Request) -> Result<Reply, Problem> {
    let name = topic_of(&request)?;
    match super::order_all(&request.admin, || Order::ClearRetained(name.into())).await? {
        true => Ok(done()),
        false => Err(none_at(name)),
    }
}

fn none_at(name: &str) -> Problem {
    Problem::not_found(format!(
        "\"{}\" has no retained message",
        name.escape_debug()
    ))
}

fn row_json(row: &RetainedRow, shown: usize) -> Value {
    let mut message = payload_json(&row.payload, shown);
    message["topic"] = json!(row.topic);
    message["qos"] = json!(row.qos as u8);
    message["expires_in_ms"] = json!(row.expires_in.map(ms));
    message
}
