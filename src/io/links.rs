//! Connections that bridges have begun: the driver's part.

use super::bridges::Dialled;
use super::driver::Driver;
use super::layers::{End, Layers};
use crate::ids::{ConnectionId, ListenerId};
use crate::shard::Origin;
use crate::time::Time;

impl Driver {
    /// Takes a connection that a bridge has begun. Dropped, it closes, and the bridge learns of that.
    pub(super) fn take_dialled(&mut self, dialled: Dialled, now: Time) {
        if self.stopping || !self.mesh.shared().count_opened() {
            return;
        }
        let Dialled {
            socket,
            remote,
            stack,
            identity,
        } = dialled;
        let is_within = stack.is_none();
        let mut layers = stack.map(|stack| Box::new(Layers::new(stack)));
        if let Some(layers) = &mut layers {
            if layers.stack.start(&mut self.scratch).is_err() {
                self.mesh.shared().count_closed();
                return;
            }
            layers.unsent.extend_from_slice(&self.scratch.down);
        }
        let origin = Origin::new(remote, ListenerId::BRIDGES);
        let Some(id) = self.open(socket, origin, layers, now) else {
            return;
        };
        if is_within {
            self.shard.handle_origin(id, None, Some(identity));
        } else {
            self.writable.push(id);
        }
    }

    /// Layers look at their connections; true when one of them was due.
    pub(super) fn look_at_links(&mut self, now: Time) -> bool {
        if self.looks.next().is_none_or(|due| due > now) {
            return false;
        }
        for id in self.looks.due(now) {
            let Some(socket) = self.sockets.get_mut(id) else {
                self.looks.remove(id);
                continue;
            };
            let Some(layers) = &mut socket.layers else {
                continue;
            };
            if let Err(error) = layers.stack.look(&mut self.scratch) {
                layers.is_broken = true;
                layers.end = Some(End::Broken(error));
            }
            layers.unsent.extend_from_slice(&self.scratch.down);
            self.settle_layers(id, now);
        }
        true
    }

    /// Gives the shard what its bytes have led to in a layer.
    pub(super) fn take_owed(&mut self, id: ConnectionId, now: Time) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if let Some(layers) = &mut socket.layers {
            layers.stack.owed(&mut self.scratch);
            if !self.scratch.up.is_empty() {
                self.shard.handle_bytes(id, &self.scratch.up, now);
            }
        }
    }
}
