//! Doors of a gateway beside those of datagrams: its settings, and what its shard asks of links.

use std::rc::Rc;
use std::sync::Arc;

use super::peer::State;
use super::{Gateway, Stats};
use crate::ids::{ConnectionId, ListenerId};
use crate::mqtt_sn::{Message, Settings};
use crate::shard::{CloseCause, Shard};
use crate::time::Time;

impl Gateway {
    /// The listeners, by number; peers of one that was removed stay until they leave.
    pub fn handle_settings(&mut self, settings: Vec<Option<Arc<Settings>>>) {
        for (index, own) in settings.into_iter().enumerate() {
            // A copy: a count that all shards change would cost each datagram.
            let own = own.map(|own| Rc::new(Settings::clone(&own)));
            match self.settings.get_mut(index) {
                Some(before) => *before = own.or(before.take()),
                None => self.settings.push(own),
            }
        }
        self.plan_advertising();
    }

    /// The settings of a listener that has peers.
    pub(super) fn settings_of(&self, listener: ListenerId) -> Rc<Settings> {
        let settings = self.settings.get(listener.index()).cloned().flatten();
        settings.unwrap_or_default()
    }

    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Clients whose home is here.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.peers.len()
    }

    /// How many of them are in each of [`Stats::STATES`].
    #[must_use]
    pub fn states(&self) -> [u64; 4] {
        self.peers.states()
    }

    /// A connection of the shard is a link, not a socket.
    #[must_use]
    pub fn is_link(&self, connection: ConnectionId) -> bool {
        self.peers.is_link(connection)
    }

    /// The listener of a link's client, `None` when it has another link by now.
    #[must_use]
    pub fn listener_of(&self, link: ConnectionId) -> Option<ListenerId> {
        let index = self.peers.of_link(link)?;
        Some(self.peers.get(index).key.listener)
    }

    /// The shard has something to send on a link.
    pub fn handle_transmit(&mut self, shard: &mut Shard, link: ConnectionId, now: Time) {
        match self.peers.of_link(link) {
            Some(index) => self.pull(shard, index, now),
            None => while self.take_packet(shard, link, |_| true, now) {},
        }
    }

    /// The shard closes a link: what it has to say first is passed on.
    pub fn handle_close(&mut self, shard: &mut Shard, link: ConnectionId, now: Time) {
        let index = self.peers.of_link(link);
        if let Some(index) = index {
            self.peers.get_mut(index).busy.deliveries.clear();
            self.pull(shard, index, now);
        }
        self.peers.close(link);
        self.close_connectionless(link);
        shard.handle_closed(link, CloseCause::Asked, now);
        // A peer that was refused, or has disconnected, was answered.
        let Some(index) = index.filter(|index| self.peers.generation(*index).is_some()) else {
            return;
        };
        self.peers.get_mut(index).link = None;
        if self.is_connected(index) {
            let key = self.peers.get(index).key.clone();
            self.outbox.send(&key, &Message::Disconnect(None));
        }
        self.leave(shard, index);
    }

    /// The broker stops: all clients are sent away by the shard, which closes their links. Those without one
    /// leave here.
    pub fn handle_shutdown(&mut self, shard: &mut Shard) {
        for index in self.peers.ids() {
            if self.peers.get(index).link.is_none() {
                let key = self.peers.get(index).key.clone();
                self.outbox.send(&key, &Message::Disconnect(None));
                self.leave(shard, index);
            }
        }
    }

    /// Whether a client is in this state, for which it may be sent a DISCONNECT.
    pub(super) fn is_connected(&self, index: u32) -> bool {
        let state = self.peers.get(index).state;
        matches!(state, State::Active | State::Asleep | State::Awake)
    }
}
