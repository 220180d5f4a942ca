//! The route of a publication, at the cost of the turn's budget.

use std::rc::Rc;

use crate::routing::Route;
use crate::shard::delivery::Routes;
use crate::shard::turn::budget::{TurnBudget, LOOKED_AT};

impl Routes {
    /// The route of a topic. To find one that is not known may be much work, too: one client can have
    /// thousands of overlapping filters.
    #[inline]
    pub(in crate::shard) fn route(&mut self, topic: &str, budget: &mut TurnBudget) -> Rc<Route> {
        let route = self.index.route(topic);
        budget.add(self.index.take_looked_at() / LOOKED_AT);
        route
    }

    /// The route of a publication with an acknowledgement: its publisher may have sent more of its topic.
    #[inline]
    pub(in crate::shard) fn route_again(
        &mut self,
        topic: &str,
        budget: &mut TurnBudget,
    ) -> Rc<Route> {
        let route = self.index.route_again(topic);
        budget.add(self.index.take_looked_at() / LOOKED_AT);
        route
    }
}
