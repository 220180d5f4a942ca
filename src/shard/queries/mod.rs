//! Queries of operators: what a shard holds, as values, in pieces of bounded work.
//!
//! A shard keeps nothing about who asks: each answer says where the next piece begins, and the asker comes
//! again with that. So a listing of a million clients costs each turn one piece, and an asker that has ended
//! leaves nothing behind. What is there from the first piece to the last is in exactly one of them; counts are of
//! the moment. An [`Order`] changes something, and is done at once.

mod capture;
#[cfg(test)]
mod capture_tests;
pub(in crate::shard) mod captures;
mod client;
mod clients;
mod orders;
mod retained;
mod rows;
mod sparkplug;
mod subscriptions;
#[cfg(test)]
mod tests;

pub use captures::{CaptureRecord, CaptureTerms, Captured, CAPTURES_MAX};
pub use orders::{Order, OrderedMessage};
pub use rows::{
    ActivityRow, Answer, ClientDetail, ClientFilter, ClientRow, ClientSort, Query, RetainedRow,
    SensorRow, SubscriptionRow, SubscriptionsOf, ROWS_MAX,
};

use crate::shard::Shard;
use crate::time::Time;

impl Shard {
    /// Answers a query of a service with one piece of bounded work; what changes something is an
    /// [`Order`].
    pub fn handle_query(&mut self, query: &Query, now: Time) -> Answer {
        match query {
            Query::Ping => Answer::Pong,
            Query::Order(order) => Answer::Done(self.handle_order(order, now)),
            Query::Clients {
                from,
                filter,
                sort,
                max,
            } => self.list_clients(*from, filter, (*sort, *max)),
            Query::Client(client_id) => Answer::Client(self.describe_client(client_id, now)),
            Query::Activity { from } => self.list_activity(*from),
            Query::Rows(places) => self.rows_at(places),
            Query::Subscriptions { of, from, max } => self.list_subscriptions(of, *from, *max),
            Query::Retained { filter, after, max } => {
                self.list_retained(filter, after.as_deref(), *max, now)
            }
            Query::RetainedLevels { below, after, max } => {
                self.list_levels(below.as_deref(), after.as_deref(), *max, now)
            }
            Query::RetainedMessage(topic) => self.read_retained(topic, now),
            Query::Nodes { after, max } => self.list_nodes(after.as_deref(), *max),
            Query::Hosts { after, max } => self.list_hosts(after.as_deref(), *max),
            Query::Node { node, after, max } => self.list_devices(node, after.as_deref(), *max),
            Query::CaptureRecords(id) => Answer::CaptureRecords(self.take_records(*id, now)),
        }
    }
}
