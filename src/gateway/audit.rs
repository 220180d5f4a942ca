//! Bounds of a gateway, for tests.

use super::link::WAITING_MAX;
use super::peer::{Peer, State, DELIVERIES_MAX};
use super::run::RUN_MAX;
use super::{Gateway, CONNECTING_MAX};
use crate::shard::Shard;

/// A packet may be the one that goes beyond [`WAITING_MAX`].
const PACKET_MAX: usize = 70 << 10;

impl Gateway {
    /// Checks the bounds, and that peers, links and numbers of them agree.
    ///
    /// # Errors
    /// A sentence about the first that does not hold.
    pub fn audit(&self, shard: &Shard) -> Result<(), String> {
        let ids = self.peers.ids();
        if ids.len() != self.peers.len() {
            let (all, found) = (ids.len(), self.peers.len());
            return Err(format!(
                "{all} peers, and {found} are found by their address"
            ));
        }
        let mut connecting = 0;
        for index in ids {
            let peer = self.peers.get(index);
            let in_conversation = matches!(peer.state, State::WillTopic | State::WillMessage);
            connecting += usize::from(in_conversation);
            let max = self.settings_of(peer.key.listener).topics_max;
            if let Err(problem) = audit_peer(peer, usize::from(max)) {
                return Err(format!("{}: {problem}", peer.client_id));
            }
            if peer.counted != peer.state.place() {
                return Err(format!("{}: its state is not counted", peer.client_id));
            }
            let is_its = |link| self.peers.of_link(link) == Some(index);
            if !in_conversation && !peer.link.is_none_or(is_its) {
                return Err(format!("{}: its link is another's", peer.client_id));
            }
        }
        if connecting != self.connecting || connecting > CONNECTING_MAX {
            let counted = self.connecting;
            return Err(format!("{connecting} connect, and {counted} are counted"));
        }
        if self.run.len() > RUN_MAX {
            return Err(format!("{} bytes wait in a run", self.run.len()));
        }
        let kept = self.kept.keys();
        let stale = kept.filter(|id| !shard.has_session(id)).count();
        if stale > self.sweep_at {
            return Err(format!("{stale} are kept without a session"));
        }
        Ok(())
    }
}

fn audit_peer(peer: &Peer, topics_max: usize) -> Result<(), String> {
    // What was refused, or is sent again, is in front of those that were taken.
    if peer.busy.deliveries.len() > DELIVERIES_MAX + 1 {
        return Err(format!("{} deliveries wait", peer.busy.deliveries.len()));
    }
    if peer.busy.waiting.len() > WAITING_MAX + PACKET_MAX {
        return Err(format!(
            "{} bytes wait for its shard",
            peer.busy.waiting.len()
        ));
    }
    if peer.due().is_some_and(|due| due < peer.armed) {
        return Err(format!(
            "due at {:?}, armed for {:?}",
            peer.due(),
            peer.armed
        ));
    }
    peer.kept.topics.audit(topics_max)
}
