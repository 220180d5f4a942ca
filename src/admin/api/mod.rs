//! `/api/v1`: what operators and their tools ask and change, as JSON.
//!
//! Each module has the routes of one thing. docs/openapi.json describes them, and a test compares it with the routes.

mod ban;
mod ban_file;
mod bans;
mod bridges;
mod broker;
mod clients;
mod cluster;
mod figures;
mod latency;
mod live;
mod openapi;
mod packets;
mod page;
mod publish;
mod rates;
mod retained;
mod rows;
mod sparkplug;
mod subscriptions;
mod trace;

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{json, Value};

use super::{reply, Admin, Problem, Reply, Route};
use crate::ids::ShardId;
use crate::io::Broker;
use crate::shard::{Answer, Order, Query};
use crate::time::Span;

/// What requests of the API share besides the shards.
#[derive(Default)]
pub(super) struct State {
    bans: bans::Bans,
    readings: rates::Readings,
    traces: trace::Traces,
    history: figures::History,
}

impl State {
    /// With the bans that the process before has kept.
    ///
    /// # Errors
    /// They cannot be read; a sentence.
    pub(super) fn read(broker: &Broker) -> Result<Self, String> {
        Ok(Self {
            bans: bans::Bans::of(ban_file::kept(broker)?),
            ..Self::default()
        })
    }
}

/// Gives the shards the bans that were kept, before they let clients in; true: there are some.
pub(super) fn apply_bans(admin: &Admin) -> bool {
    let _ended = admin.api.bans.expire(admin.broker.unix_s());
    let kept = Arc::new(admin.api.bans.told());
    if kept.is_empty() {
        return false;
    }
    for shard in (0..admin.shards.count()).map(ShardId) {
        let order = Query::Order(Order::Bans(Arc::clone(&kept)));
        // There is room: the shards have not begun.
        let _ = admin.broker.ask(shard, order, Box::new(|_| {}));
    }
    true
}

pub(super) fn routes() -> Vec<Route> {
    [
        broker::routes(),
        bridges::routes(),
        figures::routes(),
        clients::routes(),
        cluster::routes(),
        subscriptions::routes(),
        retained::routes(),
        sparkplug::routes(),
        publish::routes(),
        bans::routes(),
        trace::routes(),
        live::routes(),
        openapi::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What is done besides requests.
pub(super) async fn watch(admin: Arc<Admin>) {
    tokio::spawn(figures::watch(Arc::clone(&admin)));
    bans::watch(admin).await;
}

/// Something was changed, and there is nothing to say about it.
fn done() -> Reply {
    let mut reply = reply::of("text/plain", "");
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}

/// Gives every shard an order; true when one of them had what it names.
async fn order_all(admin: &Admin, order: impl Fn() -> Order) -> Result<bool, Problem> {
    let answers = admin.shards.ask_all(|| Query::Order(order())).await?;
    Ok(answers.contains(&Answer::Done(true)))
}

fn ms(span: Span) -> u64 {
    span.as_millis()
}

/// A payload as text, if it is some, else in base64; and how long it is. More than `shown` bytes are cut.
fn payload_json(payload: &[u8], shown: usize) -> Value {
    use base64::prelude::{Engine, BASE64_STANDARD};
    let cut = &payload[..payload.len().min(shown)];
    let is_text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(_) => true,
        // A character that was cut.
        Err(error) => error.error_len().is_none() && bytes.len() < payload.len(),
    };
    let (name, text) = match is_text(cut) {
        true => (
            "payload",
            String::from_utf8_lossy(cut)
                .trim_end_matches('\u{FFFD}')
                .to_owned(),
        ),
        false => ("payload_base64", BASE64_STANDARD.encode(cut)),
    };
    json!({
        name: text,
        "payload_bytes": payload.len(),
        "payload_cut": cut.len() < payload.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_text_or_base64() {
        let shown = |payload: &[u8], shown| payload_json(payload, shown);
        assert_eq!(
            shown("grün".as_bytes(), 99),
            json!({ "payload": "grün", "payload_bytes": 5, "payload_cut": false })
        );
        // Cut within a character.
        assert_eq!(shown("grün".as_bytes(), 3)["payload"], "gr");
        assert_eq!(shown(&[0xFF, 0], 99)["payload_base64"], "/wA=");
        assert_eq!(shown(b"", 99)["payload"], "");
    }
}
