//! Readings: answers of the API at one moment.

use std::time::Instant;

use serde_json::Value;

use crate::ctl::{Client, Failure};

/// Orders of clients, as the API names them.
pub(super) const ORDERS: [&str; 6] = [
    "rate",
    "bytes",
    "queue",
    "dropped",
    "publications",
    "deliveries",
];

pub(super) struct Reading {
    pub(super) at: Instant,
    /// `/broker`.
    pub(super) broker: Value,
    /// Of `/shards`: an array.
    pub(super) shards: Value,
    /// `/latency`.
    pub(super) latency: Value,
    /// Of `/clients`: an array, in this order.
    pub(super) clients: Value,
    pub(super) sort: &'static str,
}

/// Lives on: the thread that asks.
pub(super) struct Reader {
    client: Client,
    sort: &'static str,
    rows: u64,
}

impl Reader {
    pub(super) fn new(client: Client, sort: &str, rows: u64) -> Self {
        let known = ORDERS.into_iter().find(|order| *order == sort);
        Self {
            client,
            sort: known.unwrap_or(ORDERS[0]),
            rows,
        }
    }

    /// The order after this one.
    pub(super) fn next_order(&mut self) {
        let at = ORDERS.iter().position(|order| *order == self.sort);
        self.sort = ORDERS[at.map_or(0, |at| (at + 1) % ORDERS.len())];
    }

    pub(super) fn read(&mut self) -> Result<Reading, Failure> {
        let api = |path: &str| self.client.get(&format!("/api/v1/{path}"));
        // The busiest clients take the API about a second at first: what is compared comes after them.
        let mut clients = api(&format!("clients?sort={}&limit={}", self.sort, self.rows))?;
        let broker = api("broker")?;
        let latency = api("latency")?;
        let mut shards = api("shards")?;
        Ok(Reading {
            at: Instant::now(),
            broker,
            shards: shards["shards"].take(),
            latency,
            clients: clients["clients"].take(),
            sort: self.sort,
        })
    }
}
