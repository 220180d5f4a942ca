//! The route of a publication, at the cost of the turn's budget.

use std::rc::Rc;

use crate::routing::Route;
use crate::shard::turn::budget::LOOKED_AT;
use crate::shard::Shard;

impl Shard {
    /// The route of a topic. To find one that is not known may be much work, too: one client can have
    /// thousands of overlapping filters.
    #[inline]
    pub(in crate::shard) fn route(&mut self, topic: &str) -> Rc<Route> {
        let route = self.routes.index.route(topic);
        self.turn
            .budget
            .add(self.routes.index.take_looked_at() / LOOKED_AT);
        route
    }

    /// The route of a publication with an acknowledgement: its publisher may have sent more of its topic.
    #[inline]
    pub(in crate::shard) fn route_again(&mut self, topic: &str) -> Rc<Route> {
        let route = self.routes.index.route_again(topic);
        self.turn
            .budget
            .add(self.routes.index.take_looked_at() / LOOKED_AT);
        route
    }
}
