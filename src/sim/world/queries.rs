//! Operators that ask at any step. What is listed piece by piece, with nothing in between, is all there is;
//! that nothing changes is seen by the hash of the run, which is the same without them.

use std::collections::BTreeSet;

use super::World;
use crate::shard::{Answer, ClientFilter, ClientSort, Query, SubscriptionsOf};
use crate::sim::random::Random;

/// Steps between two questions, on average.
const ONCE_IN: usize = 50;
/// Pieces of one listing, at most: rows are asked for one at a time now and then.
const PIECES_MAX: usize = 5_000;

impl World {
    /// Now and then, something of some shard.
    pub(in crate::sim) fn ask_some(&mut self, random: &mut Random) {
        if !random.once_in(ONCE_IN) {
            return;
        }
        let shard = random.below(self.core.shards.len());
        let max = [1, 3, 1_000][random.below(3)];
        match random.below(5) {
            0 => self.ask_clients(shard, max),
            1 => self.ask_subscriptions(shard, max),
            2 => self.ask_each_client(shard),
            3 => self.ask_retained(shard, max),
            _ => {
                let sort = Some(ClientSort::Queue);
                let query = Query::Clients {
                    from: 0,
                    filter: ClientFilter::default(),
                    sort,
                    max,
                };
                let answer = self.core.shards[shard].handle_query(&query, self.core.now);
                let Answer::Clients { rows, .. } = answer else {
                    return self.fail_query(shard, "another answer than that to the question");
                };
                if !rows.is_sorted_by(|one, next| one.sorted_by >= next.sorted_by) {
                    self.fail_query(shard, "clients are not in the order of their queues");
                }
            }
        }
    }

    fn fail_query(&mut self, shard: usize, text: &str) {
        let text = format!("a query to shard {shard}: {text}");
        self.core.environment.record.fail(text);
    }

    fn ask_clients(&mut self, shard: usize, max: usize) {
        let mut listed = Vec::new();
        let mut from = Some(0);
        for _ in 0..PIECES_MAX {
            let Some(place) = from else { break };
            let query = Query::Clients {
                from: place,
                filter: ClientFilter::default(),
                sort: None,
                max,
            };
            let answer = self.core.shards[shard].handle_query(&query, self.core.now);
            let Answer::Clients { rows, next } = answer else {
                return self.fail_query(shard, "another answer than that to the question");
            };
            listed.extend(rows.into_iter().map(|row| row.client_id.to_string()));
            from = next;
        }
        listed.sort_unstable();
        let there: Vec<String> = (self.names(shard).iter())
            .map(|name| name.to_string())
            .collect();
        if listed != there {
            self.fail_query(shard, "not each client was listed once");
        }
    }

    fn ask_subscriptions(&mut self, shard: usize, max: usize) {
        let mut listed = BTreeSet::new();
        let mut count = 0;
        let mut from = Some((0, 0));
        for _ in 0..PIECES_MAX {
            let Some(place) = from else { break };
            let query = Query::Subscriptions {
                of: SubscriptionsOf::All,
                from: place,
                max,
            };
            let answer = self.core.shards[shard].handle_query(&query, self.core.now);
            let Answer::Subscriptions { rows, next } = answer else {
                return self.fail_query(shard, "another answer than that to the question");
            };
            count += rows.len();
            listed.extend(rows.into_iter().map(|row| (row.client_id, row.filter)));
            from = next;
        }
        let mut expected = 0;
        for name in self.names(shard) {
            let query = Query::Client((*name).into());
            let answer = self.core.shards[shard].handle_query(&query, self.core.now);
            if let Answer::Client(Some(detail)) = answer {
                expected += detail.row.subscriptions;
            }
        }
        if listed.len() != expected || count != expected {
            self.fail_query(shard, "not each subscription was listed once");
        }
    }

    fn ask_each_client(&mut self, shard: usize) {
        for name in self.names(shard) {
            let query = Query::Client((*name).into());
            let answer = self.core.shards[shard].handle_query(&query, self.core.now);
            let is_it = match &answer {
                Answer::Client(Some(detail)) => *detail.row.client_id == *name,
                _ => false,
            };
            if !is_it {
                self.fail_query(shard, "a client is not found");
            }
        }
    }

    /// No more messages than are kept: some may have expired.
    fn ask_retained(&mut self, shard: usize, max: usize) {
        let mut topics = BTreeSet::new();
        let mut after = None;
        for _ in 0..PIECES_MAX {
            let filter = "#".into();
            let query = Query::Retained { filter, after, max };
            let answer = self.core.shards[shard].handle_query(&query, self.core.now);
            let Answer::Retained { rows, next } = answer else {
                return self.fail_query(shard, "another answer than that to the question");
            };
            for row in rows {
                if !topics.insert(row.topic) {
                    self.fail_query(shard, "a retained message was listed twice");
                }
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        if topics.len() > self.core.shards[shard].retained_messages() {
            self.fail_query(shard, "more retained messages were listed than there are");
        }
    }
}
