//! Subscriptions: of a client, of all, those that receive a topic, those that overlap with a filter.

use std::rc::Rc;

use crate::mqtt::topic;
use crate::session::SessionSubscription;
use crate::shard::clients::session_entry::SessionEntry;
use crate::shard::queries::rows::{Answer, SubscriptionRow, SubscriptionsOf, ROWS_MAX};
use crate::shard::Shard;

/// Sessions that one piece looks at, and subscriptions of theirs.
const PLACES: usize = 1_024;
const FILTERS: usize = 2_048;

impl SubscriptionsOf {
    fn takes(&self, filter: &str) -> bool {
        let plain = match topic::share(filter) {
            Ok(Some(share)) => share.filter,
            _ => filter,
        };
        match self {
            Self::All | Self::Client(_) => true,
            Self::Topic(name) => topic::matches(plain, name),
            Self::Filter(other) => topic::overlaps(plain, other),
        }
    }
}

/// A piece in the making.
struct Pieces<'a> {
    of: &'a SubscriptionsOf,
    rows: Vec<SubscriptionRow>,
    rows_max: usize,
    /// Filters that may still be looked at.
    left: usize,
}

impl Pieces<'_> {
    /// Goes through the filters of a session from the `nth` on; where to go on, if there was no room for all.
    /// The order of a table of filters stays as long as none is added, so a client that subscribes meanwhile may be
    /// listed with a filter less or twice.
    fn take(&mut self, entry: &SessionEntry, nth: u32) -> Option<u32> {
        let subscriptions = &entry.session.subscriptions;
        for (at, filter) in (0..).zip(subscriptions.keys()).skip(nth as usize) {
            if self.rows.len() >= self.rows_max || self.left == 0 {
                return Some(at);
            }
            self.left -= 1;
            let known = subscriptions.get(filter).filter(|_| self.of.takes(filter));
            if let Some(subscription) = known {
                self.rows.push(row(entry, filter, subscription));
            }
        }
        None
    }
}

fn row(entry: &SessionEntry, filter: &Rc<str>, known: &SessionSubscription) -> SubscriptionRow {
    SubscriptionRow {
        client_id: (*entry.session.client_id).into(),
        filter: (**filter).into(),
        options: known.options,
        identifier: known.identifier,
        connected: entry.session.connection.is_some(),
    }
}

impl Shard {
    /// Whether a session of this shard may receive a topic: if not, none needs to be looked at.
    fn has_subscriber(&mut self, name: &str) -> bool {
        let has = self.routes.index.count_matching(name) > 0;
        self.routes.index.take_looked_at(); // no publication is charged for it
        has
    }

    pub(super) fn list_subscriptions(
        &mut self,
        of: &SubscriptionsOf,
        (place, mut nth): (u32, u32),
        max: usize,
    ) -> Answer {
        let mut pieces = Pieces {
            of,
            rows: Vec::new(),
            rows_max: max.clamp(1, ROWS_MAX),
            left: FILTERS,
        };
        let next = match of {
            SubscriptionsOf::Client(client_id) => {
                let id = self.clients.by_client_id.get(&**client_id);
                let rest = id.and_then(|id| pieces.take(self.clients.session(*id), nth));
                rest.map(|nth| (0, nth))
            }
            SubscriptionsOf::Topic(name) if !self.has_subscriber(name) => None,
            _ => {
                let mut next = place;
                let mut rest = None;
                for (place, found) in self.clients.sessions.places(place).take(PLACES) {
                    next = place + 1;
                    let Some((_, entry)) = found else { continue };
                    rest = pieces.take(entry, std::mem::take(&mut nth));
                    if rest.is_some() {
                        next = place;
                        break;
                    }
                }
                let is_last = next as usize >= self.clients.sessions.places_len();
                (!is_last).then_some((next, rest.unwrap_or(0)))
            }
        };
        Answer::Subscriptions {
            rows: pieces.rows,
            next,
        }
    }
}
