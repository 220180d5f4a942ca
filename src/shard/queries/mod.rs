//! Queries of services beside the shards: asked as values, answered as values, each within a bound.
//!
//! A query is answered between two turns' steps, so what a large shard cannot answer in half a millisecond
//! is asked for in pages.

use super::Shard;

/// A question to one shard.
#[derive(Debug)]
pub enum Query {
    /// Whether its turns go on.
    Ping,
}

/// What a shard answers.
#[derive(Debug)]
pub enum Answer {
    Pong,
}

impl Shard {
    /// Answers a query of a service.
    pub fn handle_query(&mut self, query: Query) -> Answer {
        match query {
            Query::Ping => Answer::Pong,
        }
    }
}
