//! A shard of the new process: it is filled, and begins to serve.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::Sender;

use super::farewell;
use super::orders::{Motion, Parcels, Unfit};
use crate::ids::{ConnectionId, ListenerId};
use crate::io::driver::Driver;
use crate::io::layers::Layers;
use crate::io::sockets::Socket;
use crate::shard::{NotRestored, NotTaken, Origin};
use crate::time::Time;
use crate::transport::Stack;
use crate::upgrade::{ClientParcel, ParcelLayers};

impl Driver {
    pub(super) fn take_parcels(&mut self, parcels: Parcels, now: Time) {
        let Parcels {
            clients,
            sessions,
            retained,
            listeners,
        } = parcels;
        for message in retained {
            match self.shard.take_retained(&message, now) {
                Ok(true) => {}
                Ok(false) => {
                    tracing::warn!("upgrade: a retained message has expired or does not fit");
                }
                Err(error) => tracing::error!("upgrade: a retained message is lost: {error}"),
            }
        }
        for session in sessions {
            if let Err(error) = self.shard.take_other(&session, now) {
                tracing::error!("upgrade: a session is lost: {error}");
            }
        }
        for (parcel, socket) in clients {
            let taken = match parcel {
                ClientParcel::Live {
                    session,
                    connection,
                    layers,
                } => {
                    let images = (&*session, &*connection);
                    self.take_client(images, (layers, socket), (&listeners, now))
                }
                ClientParcel::Opened { origin, read } => {
                    self.take_opened((&origin, &read), socket, (&listeners, now))
                }
            };
            match taken {
                Ok(()) => self.upgrade.arrived.clients += 1,
                Err(error) => {
                    self.upgrade.arrived.refused += 1;
                    tracing::warn!("upgrade: disconnected: {error}");
                }
            }
        }
    }

    /// One that does not fit gets a farewell when this process serves.
    fn take_client(
        &mut self,
        images: (&[u8], &[u8]),
        (layers, socket): (ParcelLayers, OwnedFd),
        (listeners, now): (&[Option<ListenerId>], Time),
    ) -> Result<(), String> {
        let is_relayed = layers == ParcelLayers::Elsewhere;
        let layers = restore_layers(layers)?;
        let shared = self.mesh.shared();
        let mut is_counted = false;
        let listener_here = |former: ListenerId| {
            let listener = listeners.get(former.index()).copied().flatten();
            let listener = listener.ok_or(NotRestored::Listener)?;
            is_counted = shared.count_opened();
            is_counted
                .then_some(listener)
                .ok_or(NotRestored::ConnectionsMax)
        };
        match self.shard.take_client(images, listener_here, now) {
            Ok((id, listener)) => {
                self.adopt(id, socket, (listener, layers));
                if is_relayed {
                    self.upgrade.relayed.insert(id);
                    self.upgrade.arrived.relayed += 1;
                }
                Ok(())
            }
            Err(error) => {
                if is_counted {
                    shared.count_closed();
                }
                let text = error.to_string();
                if let NotTaken::Unfit {
                    last_words, why, ..
                } = error
                {
                    self.upgrade.unfit.push(Unfit {
                        socket,
                        layers,
                        last_words,
                        reason: why.reason(),
                    });
                }
                Err(text)
            }
        }
    }

    /// A connection that has not sent its CONNECT yet.
    fn take_opened(
        &mut self,
        (origin, read): (&[u8], &[u8]),
        socket: OwnedFd,
        (listeners, now): (&[Option<ListenerId>], Time),
    ) -> Result<(), String> {
        let origin = Origin::given(origin).map_err(|error| error.to_string())?;
        let listener = listeners.get(origin.listener.index()).copied().flatten();
        let Some(listener) = listener.filter(|_| self.mesh.shared().count_opened()) else {
            return Err(format!("{}: there is no place for it", origin.peer));
        };
        self.count_in(listener);
        let peer = origin.peer;
        let origin = Origin { listener, ..origin };
        let Some(id) = self.open(socket, origin, None, now) else {
            return Err(format!("{peer}: there is no place for it"));
        };
        self.shard.handle_origin(id, None, None); // it has no layers, or none any more
        if !read.is_empty() {
            self.shard.handle_bytes(id, read, now);
        }
        Ok(())
    }

    fn count_in(&self, listener: ListenerId) {
        if let Some(listening) = self.listeners.get(listener.index()) {
            listening.gate.enter();
        }
    }

    fn adopt(
        &mut self,
        id: ConnectionId,
        descriptor: OwnedFd,
        (listener, layers): (ListenerId, Option<Box<Layers>>),
    ) {
        self.count_in(listener);
        self.poller.watch_readable(descriptor.as_fd(), id);
        if layers
            .as_ref()
            .is_some_and(|layers| !layers.unsent.is_empty())
        {
            self.writable.push(id); // when this process serves
        }
        self.sockets
            .insert(Socket::new(descriptor, id, listener, layers));
    }

    /// Answers who waits until this shard has come so far. Call after each turn.
    pub(in crate::io) fn answer_upgrade(&mut self) {
        if self.upgrade.awaits_peers.is_some()
            && !self.shard.awaits_peers()
            && self.shard.is_announced()
        {
            if let Some(done) = self.upgrade.awaits_peers.take() {
                let _ = done.send(self.upgrade.arrived);
            }
        }
        let commits = self.commits.as_ref();
        if self.upgrade.awaits_log.is_some()
            && commits.is_none_or(|commits| commits.has_begun(&self.shard))
        {
            if let Some(done) = self.upgrade.awaits_log.take() {
                let _ = done.send(Ok(()));
            }
        }
    }

    /// The old process does not write any more.
    pub(super) fn begin_to_write(&mut self, done: Sender<Result<(), String>>) {
        self.upgrade.motion = Motion::Writing;
        match self
            .upgrade
            .begin_log
            .take()
            .map(|begin| begin(&mut self.shard))
        {
            Some(Ok(commits)) => self.commits = Some(commits),
            Some(Err(error)) => {
                let _ = done.send(Err(error.to_string()));
                return;
            }
            None => {}
        }
        self.upgrade.awaits_log = Some(done);
    }

    pub(super) fn begin_to_serve(&mut self, waits: Option<(u64, Sender<Vec<u32>>)>, now: Time) {
        self.upgrade.motion = Motion::Serving;
        if let Some((since_ns, tell)) = waits {
            self.begin_to_wait(since_ns, tell);
        }
        for unfit in std::mem::take(&mut self.upgrade.unfit) {
            let words = (&*unfit.last_words, unfit.reason);
            farewell::say(&unfit.socket, unfit.layers, words, &mut self.scratch);
        }
        for command in std::mem::take(&mut self.upgrade.deferred) {
            self.carry_out(command, now);
        }
    }

    /// Some of those whose layers another process has; they come back to this one.
    pub(super) fn send_away(&mut self, count: usize, now: Time) {
        let mut left = count;
        while left > 0 {
            let Some(id) = self.upgrade.relayed.iter().next().copied() else {
                return;
            };
            self.upgrade.relayed.remove(&id);
            if self.sockets.get(id).is_some() {
                self.shard.send_away(id, now);
                left -= 1;
            }
        }
    }
}

/// What lies between a socket and MQTT in this process.
fn restore_layers(layers: ParcelLayers) -> Result<Option<Box<Layers>>, String> {
    let ParcelLayers::Here { image, unsent } = layers else {
        return Ok(None);
    };
    let stack = Stack::restore(&image).map_err(|error| error.to_string())?;
    let layers = Layers {
        unsent,
        ..Layers::new(stack)
    };
    Ok(Some(Box::new(layers)))
}
