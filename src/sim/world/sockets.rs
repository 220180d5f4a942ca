//! Sockets of a run: what clients do with their connections, and what the oracle asks about them.

use super::World;
use crate::testing::{At, Link};
use crate::time::Time;

/// The broker waited for room, and there is some.
pub(super) fn can_go_on(link: &Link) -> bool {
    link.is_blocked && link.at.is_some() && link.received.is_empty()
}

impl World {
    /// A client connects to some shard.
    pub fn open(&mut self) -> usize {
        let shard = self.schedule.below(self.core.shards.len());
        self.core.open(shard)
    }

    pub fn send(&mut self, link: usize, bytes: &[u8]) {
        self.core.environment.record.add(("sends", link, bytes));
        if self.core.links[link].is_open() {
            let now = self.core.now;
            self.core.environment.note_sent(link, bytes.len(), now);
        }
        self.core.send(link, bytes);
    }

    /// Some of what has arrived at the client; `None` when the broker has closed and all is read.
    pub fn receive(&mut self, link: usize) -> Option<Vec<u8>> {
        let link = &mut self.core.links[link];
        if link.received.is_empty() {
            return (!link.is_closed_by_broker).then(Vec::new);
        }
        let count = link.received.len().min(self.core.environment.piece());
        Some(link.received.drain(..count).collect())
    }

    /// Something has arrived at the client.
    pub(in crate::sim) fn has_bytes(&self, link: usize) -> bool {
        !self.core.links[link].received.is_empty()
    }

    /// No client has anything more to read.
    pub(in crate::sim) fn is_delivered(&self) -> bool {
        let mut open = self.core.links.iter().filter(|link| link.at.is_some());
        open.all(|link| !link.is_blocked && link.received.is_empty())
    }

    /// The client closes without DISCONNECT; what it sent may or may not be read.
    pub fn cut(&mut self, link: usize) {
        self.core.environment.record.add(("cuts", link));
        self.core.close(link);
        self.core.links[link].received.clear();
    }

    /// The broker has ended the connection, or may have: its shard has done something since all it asked for
    /// was last carried out.
    pub(in crate::sim) fn may_be_over(&self, link: usize) -> bool {
        let it = &self.core.links[link];
        it.is_closed_by_broker || it.at.is_some_and(|(shard, _)| self.may_ask[shard])
    }

    /// The broker has done with the connection, wherever it was.
    pub(in crate::sim) fn gone_at(&self, link: usize) -> Option<Time> {
        self.core.environment.seen[link].gone_at
    }

    /// Since when the connection may have been over for its shard.
    pub(in crate::sim) fn gone_since(&self, link: usize) -> Option<Time> {
        self.core.environment.seen[link].gone_since
    }

    /// When the broker last read from the connection; `None`: there is more to read.
    pub(in crate::sim) fn read_at(&self, link: usize) -> Option<Time> {
        let it = &self.core.links[link];
        let (shard, id) = it.at?;
        let is_read = it.unread() == 0 && !self.core.shards[shard].is_paused(id);
        is_read.then_some(self.core.environment.seen[link].read_at)
    }

    /// What had arrived at a shard by then was read, but for connections that it does not want to read.
    pub(super) fn heard_until(&self, shard: usize) -> Time {
        let it = &self.core.shards[shard];
        let unread = |link: usize| {
            let (_, id) = self.core.links[link].at?;
            let since = self.core.environment.seen[link].unread_since?;
            // A connection that waits only for the next turn is not read because of us.
            (it.is_turn_spent() || it.wants_input(id)).then_some(since)
        };
        let earliest = self.core.links_of(shard).filter_map(unread).min();
        earliest.map_or(self.core.now, |at| at.min(self.core.now))
    }

    /// When the broker had last read all of a link that it could read now, and since when there is
    /// something it has not read.
    pub(in crate::sim) fn unread(&self, link: usize) -> Option<(Time, Time)> {
        let (shard, id) = self.core.links[link].at?;
        let seen = &self.core.environment.seen[link];
        let can_read = self.core.shards[shard].wants_input(id);
        // Older bytes were passed over once because their connection did not want them.
        let unread = seen.unread_since.filter(|at| *at >= self.heard[shard]);
        unread.filter(|_| can_read).map(|at| (seen.emptied_at, at))
    }

    /// The links of a shard of which packets wait for its next turn.
    pub(super) fn paused(&self, shard: usize) -> Vec<usize> {
        let links = self.core.links_of(shard);
        let is_paused = |link: &usize| {
            let at = self.core.links[*link].at;
            at.is_some_and(|(_, id)| self.core.shards[shard].is_paused(id))
        };
        links.filter(is_paused).collect()
    }

    /// Links whose last packets have been handled have ended now.
    pub(super) fn note_ended(&mut self) {
        let (shards, now) = (&self.core.shards, self.core.now);
        let faults = &mut self.core.environment;
        let is_waiting = |(_, (shard, id)): &(usize, At)| shards[*shard].is_paused(*id);
        let (waiting, over): (Vec<_>, Vec<_>) = std::mem::take(&mut faults.ending)
            .into_iter()
            .partition(is_waiting);
        faults.ending = waiting;
        for (link, _) in over {
            faults.note_gone(link, now);
        }
    }
}
