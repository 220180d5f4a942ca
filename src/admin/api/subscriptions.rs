//! Subscriptions: all, a client's, those that receive a topic, those that overlap with a filter.

use serde_json::{json, Value};

use super::page::{limit, Cursor, QUESTIONS_MAX};
use crate::admin::role::Needs;
use crate::admin::{reply, Problem, Reply, Request, Route};
use crate::mqtt::topic;
use crate::shard::{Answer, Query, SubscriptionRow, SubscriptionsOf};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/api/v1/subscriptions",
            Needs::VIEWER,
            "Subscriptions by page: all, those that receive a topic, or those that overlap with a filter",
            |request| Box::pin(list(request)),
        ),
        Route::get(
            "/api/v1/clients/{id}/subscriptions",
            Needs::VIEWER,
            "Subscriptions of one client",
            |request| Box::pin(list(request)),
        ),
    ]
}

fn wanted(request: &Request) -> Result<SubscriptionsOf, Problem> {
    let id = request.param("id");
    if !id.is_empty() {
        return Ok(SubscriptionsOf::Client(id.into()));
    }
    match (request.query("topic"), request.query("filter")) {
        (None, None) => Ok(SubscriptionsOf::All),
        (Some(_), Some(_)) => Err(Problem::bad_request("either topic or filter, not both")),
        (Some(name), None) if topic::is_valid_name(name) => Ok(SubscriptionsOf::Topic(name.into())),
        (Some(name), None) => {
            let text = format!("topic: \"{}\" is not a topic name", name.escape_debug());
            Err(Problem::bad_request(text))
        }
        (None, Some(filter)) => match topic::share(filter).and_then(|share| {
            topic::check_filter(filter)?;
            Ok(share.map_or(filter, |share| share.filter))
        }) {
            Ok(plain) => Ok(SubscriptionsOf::Filter(plain.into())),
            Err(error) => Err(Problem::bad_request(format!("filter: {error}"))),
        },
    }
}

async fn list(request: Request) -> Result<Reply, Problem> {
    let of = wanted(&request)?;
    let limit = limit(&request)?;
    let shards = &request.admin.shards;
    let mut cursor = Cursor::of(&request)?;
    let mut found = Vec::new();
    for _ in 0..QUESTIONS_MAX {
        if found.len() >= limit || cursor.shard >= shards.count() {
            break;
        }
        let query = || Query::Subscriptions {
            of: of.clone(),
            from: (cursor.place, cursor.nth),
            max: limit - found.len(),
        };
        let Answer::Subscriptions { rows, next } = shards.ask(cursor.shard, query).await? else {
            continue;
        };
        found.extend(rows.iter().map(row_json));
        cursor = match next {
            Some((place, nth)) => Cursor {
                place,
                nth,
                ..cursor
            },
            None => cursor.next_shard(),
        };
    }
    let next = (cursor.shard < shards.count()).then(|| cursor.to_string());
    let answer = json!({ "subscriptions": found, "next": next });
    Ok(reply::json(&answer))
}

fn row_json(row: &SubscriptionRow) -> Value {
    let options = &row.options;
    json!({
        "client_id": row.client_id,
        "filter": row.filter,
        "qos": options.qos as u8,
        "no_local": options.no_local,
        "retain_as_published": options.retain_as_published,
        "retain_handling": options.retain_handling as u8,
        "identifier": row.identifier,
        "connected": row.connected,
    })
}
