//! Gateways for MQTT-SN beside the shards of a world, and their datagrams. A world has none unless a user begins
//! them; the network between them and their clients is the user's.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Environment, World, LISTENER};
use crate::gateway::{Crossing, Gateway};
use crate::ids::{ConnectionId, ShardId};
use crate::mqtt_sn::Settings;
use crate::shard::{Shard, TurnStep};
use crate::time::Time;

/// The gateways of a world, by shard.
#[derive(Default)]
pub(super) struct Gateways {
    settings: Option<Arc<Settings>>,
    gateways: Vec<Gateway>,
    /// On their way to each shard, with the shard that they come from.
    crossings: Vec<Vec<(ShardId, Vec<Crossing>)>>,
}

impl Gateways {
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.gateways.iter().filter_map(Gateway::poll_timeout).min()
    }
}

impl Gateways {
    pub(super) fn audit(&self, shards: &[Shard]) {
        for (gateway, shard) in self.gateways.iter().zip(shards) {
            if let Err(problem) = gateway.audit(shard) {
                panic!("{problem}");
            }
        }
    }
}

impl<E: Environment> World<E> {
    /// Every shard has a gateway from here on.
    pub fn begin_gateways(&mut self, settings: Settings) {
        self.gateways.settings = Some(Arc::new(settings));
        self.renew_gateways();
    }

    /// Gateways are made anew with their shards.
    pub(super) fn renew_gateways(&mut self) {
        let Some(settings) = &self.gateways.settings else {
            return;
        };
        let shards = self.shards.len() as u16;
        let gateways = (0..shards).map(|shard| {
            let mut gateway = Gateway::new(ShardId(shard), shards, 5);
            gateway.handle_settings(vec![Some(Arc::clone(settings))]);
            gateway
        });
        self.gateways.gateways = gateways.collect();
        self.gateways.crossings = (0..shards).map(|_| Vec::new()).collect();
    }

    #[must_use]
    pub fn gateway(&self, shard: usize) -> &Gateway {
        &self.gateways.gateways[shard]
    }

    /// A datagram has come to the socket of a shard, which is read at once with what comes before its next turn.
    pub fn receive_datagram(&mut self, shard: usize, from: SocketAddr, bytes: &[u8]) {
        let Self {
            shards,
            gateways,
            now,
            ..
        } = self;
        let (gateway, shard) = (&mut gateways.gateways[shard], &mut shards[shard]);
        gateway.handle_datagram(shard, (LISTENER, from), bytes, &mut |_, _| true, *now);
        while gateway.poll_left().is_some() {}
    }

    /// A datagram has come to the multicast group, of which the first shard is a member.
    pub fn receive_group_datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.gateways.gateways[0].handle_group_datagram((LISTENER, from), bytes, self.now);
    }

    /// The datagrams that a shard's gateway sends now.
    pub fn take_datagrams(&mut self, shard: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let gateway = &mut self.gateways.gateways[shard];
        let outgoing = gateway.outgoing();
        let taken = outgoing
            .map(|one| (one.address, one.bytes.to_vec()))
            .collect();
        gateway.handle_sent();
        taken
    }

    /// The gateway's part of a step; true when there was something to do.
    pub(super) fn step_gateway(&mut self, shard: usize, step: TurnStep) -> bool {
        if self.gateways.gateways.is_empty() {
            return false;
        }
        let Gateways {
            gateways,
            crossings,
            ..
        } = &mut self.gateways;
        let (gateway, own) = (&mut gateways[shard], &mut self.shards[shard]);
        let now = self.now;
        match step {
            TurnStep::ReadEstablished => {
                gateway.handle_batch_end(own, now);
                false
            }
            TurnStep::PeerBlocks => {
                let arrived = std::mem::take(&mut crossings[shard]);
                let is_busy = !arrived.is_empty();
                for (from, crossed) in arrived {
                    for crossing in crossed {
                        gateway.handle_crossing(own, from, crossing, now);
                    }
                }
                gateway.handle_batch_end(own, now);
                is_busy
            }
            TurnStep::Timeouts => {
                let is_due = gateway.poll_timeout().is_some_and(|due| due <= now);
                if is_due {
                    gateway.handle_timeout(own, now);
                }
                let is_busy = gateway.handle_turn(own, now);
                while gateway.poll_left().is_some() {}
                is_due || is_busy
            }
            TurnStep::SendBlocks => {
                let from = ShardId(shard as u16);
                let mut moved = false;
                for (to, waiting) in crossings.iter_mut().enumerate() {
                    if let Some(crossed) = gateway.poll_crossings(ShardId(to as u16)) {
                        waiting.push((from, crossed));
                        moved = true;
                    }
                }
                moved
            }
            _ => false,
        }
    }

    /// A shard closes a connection, which may be a link of its gateway.
    pub(super) fn close_for_gateway(&mut self, shard: usize, connection: ConnectionId) {
        if let Some(gateway) = self.gateways.gateways.get_mut(shard) {
            if gateway.is_link(connection) {
                gateway.handle_close(&mut self.shards[shard], connection, self.now);
            }
        }
    }

    /// A shard has something to send on a connection, which may be a link of its gateway.
    pub(super) fn transmit_for_gateway(&mut self, shard: usize, connection: ConnectionId) {
        if let Some(gateway) = self.gateways.gateways.get_mut(shard) {
            if gateway.is_link(connection) {
                gateway.handle_transmit(&mut self.shards[shard], connection, self.now);
            }
        }
    }
}
