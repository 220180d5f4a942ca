//! Actions that shards ask for besides sending.

use super::rings::Moving;
use super::{Environment, Event, World};
use crate::shard::{Action, CloseCause};

impl<E: Environment> World<E> {
    /// Carries out what a shard asks for; true when there was something.
    pub fn act(&mut self, shard: usize) -> bool {
        let mut moved = false;
        while let Some(action) = self.shards[shard].poll_action() {
            moved = true;
            match action {
                Action::Notice(_) => {}
                Action::Authenticate(connection, question) => {
                    self.happened(Event::Asks { shard, connection });
                    self.environment.authenticate(shard, connection, question);
                }
                Action::Authorize(connection, request) => {
                    self.happened(Event::Asks { shard, connection });
                    self.environment.authorize(shard, connection, request);
                }
                // The client closes as soon as it has read the last bytes.
                Action::Close(id) => match self.link_at((shard, id)) {
                    Some(link) => {
                        self.write_last(link);
                        self.close_for_shard(shard, link);
                    }
                    None => self.close_for_gateway(shard, id),
                },
                Action::Abort(id) => match self.link_at((shard, id)) {
                    Some(link) => self.close_for_shard(shard, link),
                    None => self.close_for_gateway(shard, id),
                },
                Action::Relay { .. } => unreachable!("a world has one node"),
                Action::HandOff {
                    connection,
                    to,
                    origin,
                    bytes,
                } => {
                    let Some(link) = self.link_at((shard, connection)) else {
                        continue; // failed meanwhile
                    };
                    self.detach(link);
                    self.links[link].is_moving = true;
                    let home = to.index();
                    self.happened(Event::Leaves { link, shard, home });
                    let moving = Moving {
                        link,
                        origin,
                        bytes,
                    };
                    self.rings.hand_off(shard, home, moving);
                }
            }
        }
        moved
    }

    fn close_for_shard(&mut self, shard: usize, link: usize) {
        self.links[link].is_closed_by_broker = true;
        self.happened(Event::Closed { link, shard });
        self.end(link, CloseCause::Asked);
    }
}
