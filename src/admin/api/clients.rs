//! Clients: listed by page or by an order, one in detail, disconnected, ended.

use std::net::IpAddr;

use hyper::Method;
use serde_json::{json, Map, Value};

use super::ban::{Ban, Banned};
use super::page::{limit, Cursor, QUESTIONS_MAX};
use super::rows::row_json;
use super::{done, ms};
use crate::admin::role::Needs;
use crate::admin::{reply, Admin, Problem, Reply, Request, Route};
use crate::shard::{
    Answer, ClientDetail, ClientFilter, ClientRow, ClientSort, CloseCause, Ending, Order, Query,
};

pub(super) fn routes() -> Vec<Route> {
    let one = "/api/v1/clients/{id}";
    vec![
        Route::get(
            "/api/v1/clients",
            Needs::VIEWER,
            "Clients with a session, by page, or the first of an order",
            |request| Box::pin(list(request)),
        ),
        Route::get(one, Needs::VIEWER, "One client in detail", |request| {
            Box::pin(show(request))
        }),
        Route::change(
            Method::DELETE,
            one,
            "Disconnects a client, ends its session if asked to, and bans it",
            |request| Box::pin(end(request)),
        ),
    ]
}

async fn list(request: Request) -> Result<Reply, Problem> {
    let filter = filter_of(&request)?;
    let limit = limit(&request)?;
    match request.query("sort") {
        None => page(&request, filter, limit).await,
        Some("rate") => super::rates::busiest(&request, limit).await,
        Some(word) => {
            let sort = sort_of(word)?;
            first(&request, filter, (sort, limit)).await
        }
    }
}

/// The next clients, wherever they are.
async fn page(request: &Request, filter: ClientFilter, limit: usize) -> Result<Reply, Problem> {
    let shards = &request.admin.shards;
    let mut cursor = Cursor::of(request)?;
    let mut clients = Vec::new();
    for _ in 0..QUESTIONS_MAX {
        if clients.len() >= limit || cursor.shard >= shards.count() {
            break;
        }
        let max = limit - clients.len();
        let query = || Query::Clients {
            from: cursor.place,
            filter: filter.clone(),
            sort: None,
            max,
        };
        let Answer::Clients { rows, next } = shards.ask(cursor.shard, query).await? else {
            continue;
        };
        let shard = cursor.shard;
        clients.extend(rows.iter().map(|row| row_json(&request.admin, shard, row)));
        cursor = match next {
            Some(place) => Cursor { place, ..cursor },
            None => cursor.next_shard(),
        };
    }
    let next = (cursor.shard < shards.count()).then(|| cursor.to_string());
    Ok(reply::json(&json!({ "clients": clients, "next": next })))
}

/// The first of an order, of all shards.
async fn first(
    request: &Request,
    filter: ClientFilter,
    (sort, limit): (ClientSort, usize),
) -> Result<Reply, Problem> {
    let shards = &request.admin.shards;
    let mut found: Vec<(u16, ClientRow)> = Vec::new();
    for shard in 0..shards.count() {
        let mut from = Some(0);
        while let Some(place) = from {
            let query = || Query::Clients {
                from: place,
                filter: filter.clone(),
                sort: Some(sort),
                max: limit,
            };
            let Answer::Clients { rows, next } = shards.ask(shard, query).await? else {
                break;
            };
            found.extend(rows.into_iter().map(|row| (shard, row)));
            found.sort_by_key(|(_, row)| std::cmp::Reverse(row.sorted_by));
            found.truncate(limit);
            from = next;
        }
    }
    let clients = found.iter().filter(|(_, row)| row.sorted_by > 0);
    let clients = clients.map(|(shard, row)| row_json(&request.admin, *shard, row));
    let clients: Vec<Value> = clients.collect();
    Ok(reply::json(&json!({ "clients": clients, "next": null })))
}

async fn show(request: Request) -> Result<Reply, Problem> {
    let id = request.param("id");
    let answers = (request.admin.shards).ask_all(|| Query::Client(id.into()));
    for (shard, answer) in (0..).zip(answers.await?) {
        if let Answer::Client(Some(detail)) = answer {
            return Ok(reply::json(&detail_json(&request.admin, shard, &detail)));
        }
    }
    Err(unknown(id))
}

async fn end(request: Request) -> Result<Reply, Problem> {
    let id = request.param("id");
    let minutes = request.number("ban")?;
    let ends = match request.query("session") {
        None | Some("keep") => false,
        Some("end") => true,
        Some(other) => {
            let text = format!(
                "session: \"{}\" is neither keep nor end",
                other.escape_debug()
            );
            return Err(Problem::bad_request(text));
        }
    };
    if let Some(minutes) = minutes {
        let until_s = request
            .admin
            .broker
            .unix_s()
            .saturating_add(minutes.saturating_mul(60));
        let ban = Ban {
            whom: Banned::Client(id.into()),
            until_s: Some(until_s),
            by: request.who.to_string(),
            reason: "disconnected with a ban".into(),
        };
        super::bans::add_one(&request.admin, ban).await?;
    }
    let order = || match ends {
        true => Order::EndSession(id.into()),
        false => Order::Disconnect(id.into()),
    };
    let is_done = super::order_all(&request.admin, order).await?;
    match is_done || minutes.is_some() {
        true => Ok(done()),
        false if ends => Err(unknown(id)),
        false => Err(Problem::not_found(format!(
            "the client \"{}\" is not connected",
            id.escape_debug()
        ))),
    }
}

fn unknown(id: &str) -> Problem {
    Problem::not_found(format!("there is no client \"{}\"", id.escape_debug()))
}

fn filter_of(request: &Request) -> Result<ClientFilter, Problem> {
    let address = request.query("address").map(|text| {
        let wrong = |_| {
            let text = text.escape_debug();
            Problem::bad_request(format!("address: \"{text}\" is not an IP address"))
        };
        text.parse::<IpAddr>().map_err(wrong)
    });
    let connected = match request.query("connected") {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(other) => {
            let text = format!(
                "connected: \"{}\" is neither true nor false",
                other.escape_debug()
            );
            return Err(Problem::bad_request(text));
        }
    };
    let sensor = match request.query("protocol") {
        None => None,
        Some("mqtt") => Some(false),
        Some("mqtt-sn") => Some(true),
        Some(other) => {
            let text = format!(
                "protocol: \"{}\" is neither mqtt nor mqtt-sn",
                other.escape_debug()
            );
            return Err(Problem::bad_request(text));
        }
    };
    Ok(ClientFilter {
        sensor,
        prefix: request.query("prefix").map(Into::into),
        user: request.query("user").map(Into::into),
        address: address.transpose()?,
        connected,
        queue_min: request.number("min_queue")?.unwrap_or(0) as usize,
    })
}

fn sort_of(word: &str) -> Result<ClientSort, Problem> {
    Ok(match word {
        "queue" => ClientSort::Queue,
        "dropped" => ClientSort::Dropped,
        "publications" => ClientSort::Publications,
        "deliveries" => ClientSort::Deliveries,
        "bytes" => ClientSort::Bytes,
        other => {
            let text = format!(
                "sort: \"{}\" is none of queue, dropped, publications, deliveries, bytes, rate",
                other.escape_debug()
            );
            return Err(Problem::bad_request(text));
        }
    })
}

fn detail_json(admin: &Admin, shard: u16, detail: &ClientDetail) -> Value {
    let ClientDetail {
        row,
        certificate,
        is_bridge,
        connected_for,
        silent_for,
        keep_alive,
        session_expiry_s,
        oldest_waits: _, // of bridges, which say it
        subscription_bytes,
        inflight_bytes,
        received_qos2,
        outgoing_bytes,
        packet_size_max,
        will_topic,
        last_ending,
    } = detail;
    let transport = row.listener.map(|id| admin.broker.transport_name(id));
    let more = json!({
        "transport": transport,
        "certificate": certificate,
        "is_bridge": is_bridge,
        "connected_for_ms": connected_for.map(ms),
        "silent_for_ms": silent_for.map(ms),
        "keep_alive_s": keep_alive.map(|span| span.as_secs()),
        "session_expiry_s": session_expiry_s,
        "subscription_bytes": subscription_bytes,
        "inflight_bytes": inflight_bytes,
        "received_qos2": received_qos2,
        "outgoing_bytes": outgoing_bytes,
        "packet_size_max": packet_size_max,
        "will_topic": will_topic,
        "last_connection_ended": last_ending.map(|(how, ago)| json!({
            "why": ending_text(how),
            "ago_ms": ms(ago),
        })),
    });
    let mut all = as_map(row_json(admin, shard, row));
    all.extend(as_map(more));
    Value::Object(all)
}

fn as_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn ending_text(ending: Ending) -> String {
    match ending {
        Ending::Disconnect(reason) => format!("DISCONNECT of the client: {}", reason.description()),
        Ending::Closed(CloseCause::EndOfStream) => "the client closed it without DISCONNECT".into(),
        Ending::Closed(CloseCause::Lost) => {
            "the client was silent too long, or did not answer".into()
        }
        Ending::Closed(_) => "the connection has failed".into(),
        Ending::Broker(Some(reason)) => format!("by the broker: {}", reason.description()),
        Ending::Broker(None) => "by the broker".into(),
    }
}
