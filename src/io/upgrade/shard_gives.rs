//! A shard of the old process: it comes to rest, gives everything, and continues or leaves.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

use rustix::net::{shutdown, Shutdown};
use rustix::process::nice;

use super::farewell;
use super::orders::{Gift, Given, Look, Motion, UpgradeOrder};
use super::pipe::{not_taken, Pipe, DESCRIPTORS_MAX};
use super::relay::Relay;
use crate::ids::{ConnectionId, ListenerId};
use crate::io::driver::Driver;
use crate::io::inbox::ShardCommand;
use crate::io::sockets::Ending;
use crate::mqtt::ReasonCode;
use crate::shard::GivenClient;
use crate::time::Time;
use crate::upgrade::{ClientParcel, Counts, Message, ParcelLayers};

/// Bytes of images from which on a message is sent.
const MESSAGE_BYTES: usize = 256 << 10;

/// Priority of a shard's thread that has left.
const TAKEN_DOWN_AT: i32 = 19;

impl Driver {
    pub(in crate::io) fn carry_out_upgrade(&mut self, order: UpgradeOrder, now: Time) {
        match order {
            UpgradeOrder::SlowDown => {
                self.upgrade.motion = Motion::Slowing;
                if let Some(commits) = &mut self.commits {
                    commits.hasten(true);
                }
            }
            UpgradeOrder::Look(take) => drop(take.send(self.look_at_rest())),
            UpgradeOrder::BeStill(done) => {
                self.upgrade.motion = Motion::Still;
                if let Some(commits) = &self.commits {
                    commits.let_be_read();
                }
                let _ = done.send(()); // fails when the upgrade has been given up
            }
            UpgradeOrder::Give(pipe, done) => drop(done.send(self.give(&pipe))),
            UpgradeOrder::GoOn => self.go_on(now),
            UpgradeOrder::Leave { is_waited_for } => self.leave(is_waited_for),
            UpgradeOrder::Read(done) => {
                let read = self.upgrade.read_log.take().map_or(Ok(()), |read| {
                    let begin = read(&mut self.shard).map_err(|error| error.to_string())?;
                    self.upgrade.begin_log = Some(begin);
                    Ok(())
                });
                let _ = done.send(read); // fails when the process ends
            }
            UpgradeOrder::Take(parcels) => self.take_parcels(parcels, now),
            UpgradeOrder::TakenAll(done) => {
                self.shard.all_taken(now);
                self.upgrade.awaits_peers = Some(done);
            }
            UpgradeOrder::Write(done) => self.begin_to_write(done),
            UpgradeOrder::Serve(waits) => self.begin_to_serve(waits, now),
            UpgradeOrder::TellPauses => self.tell_pauses(),
            UpgradeOrder::SendAway(count) => self.send_away(count, now),
        }
    }

    /// Commands of services wait while the shard does not serve; true when this one does.
    pub(in crate::io) fn defers(&mut self, command: ShardCommand) -> Option<ShardCommand> {
        let is_moving = matches!(self.upgrade.motion, Motion::Serving | Motion::Slowing);
        let is_for_now = matches!(
            command,
            ShardCommand::Upgrade(_) | ShardCommand::Answer(_) | ShardCommand::Stop
        ) || (self.upgrade.motion != Motion::Still
            && matches!(
                command,
                ShardCommand::Rules(_) | ShardCommand::Listen(_) | ShardCommand::Segment(..)
            ));
        if is_moving || is_for_now {
            return Some(command);
        }
        self.upgrade.deferred.push(command);
        None
    }

    fn look_at_rest(&self) -> Look {
        let commits = self.commits.as_ref();
        let is_at_rest = self.shard.is_at_rest()
            && self.mesh.moving() == 0
            && self.writable.is_empty()
            && commits.is_none_or(|commits| commits.is_at_rest());
        let (sent, taken) = self.mesh.counts();
        let busy = match is_at_rest {
            true => self.busy_clients(),
            false => 0,
        };
        Look {
            is_at_rest,
            busy,
            sent,
            taken,
        }
    }

    fn busy_clients(&self) -> usize {
        let ids = self.shard.connection_ids().into_iter();
        let own = ids.filter(|id| self.is_given(*id));
        own.filter(|id| !self.shard.can_give(*id)).count()
    }

    /// A connection of a client that is to go on.
    fn is_given(&self, id: ConnectionId) -> bool {
        self.sockets.get(id).is_some_and(|socket| {
            let is_open = socket.ending == Ending::Open;
            let layers = socket.layers.as_deref();
            let has_whole_layers = layers.is_none_or(|layers| {
                let is_sound = layers.end.is_none() && !layers.is_broken;
                is_sound && layers.stack.is_open() && !layers.stack.is_ended()
            });
            // QUIC's keys and streams are in this process, and its datagrams come to the new one.
            let is_elsewhere = self.quics.has(socket.listener.index());
            let is_bridge = socket.listener == ListenerId::BRIDGES;
            is_open && has_whole_layers && !is_elsewhere && !is_bridge
        })
    }

    /// Gives everything there is, and keeps it.
    fn give(&mut self, pipe: &Mutex<Pipe>) -> Gift {
        let mut giver = ShardGift {
            driver: self,
            pipe,
            given: Given::default(),
            relays: Vec::new(),
            left: Vec::new(),
        };
        giver.retained().map_err(|error| not_taken(&error))?;
        let carried = giver.clients().map_err(|error| not_taken(&error))?;
        giver
            .sessions(&carried)
            .map_err(|error| not_taken(&error))?;
        let ShardGift {
            given,
            relays,
            left,
            ..
        } = giver;
        let given = Given {
            relayed: relays.len() as u32,
            ..given
        };
        (self.upgrade.relays, self.upgrade.left) = (relays, left);
        Ok(given)
    }

    /// As if nothing had happened.
    fn go_on(&mut self, now: Time) {
        let was_still = self.upgrade.motion == Motion::Still;
        self.upgrade.relays.clear();
        self.upgrade.left.clear();
        self.upgrade.motion = Motion::Serving;
        if let Some(commits) = &mut self.commits {
            commits.hasten(false);
            if was_still {
                commits.take_back();
            }
        }
        for command in std::mem::take(&mut self.upgrade.deferred) {
            self.carry_out(command, now);
        }
    }

    /// Another process has the sockets: those here are closed without a word, but for those whose layers stay.
    fn leave(&mut self, is_waited_for: bool) {
        let mut relays = Vec::new();
        for (id, plain) in std::mem::take(&mut self.upgrade.relays) {
            let Some(mut socket) = self.sockets.remove(id) else {
                continue;
            };
            self.poller.forget(id, socket.blocked);
            if let Some(layers) = socket.layers.take() {
                relays.push(Relay::new(socket.descriptor, layers, plain));
            }
        }
        self.mesh.shared().keep_relays(relays);
        for id in std::mem::take(&mut self.upgrade.left) {
            self.send_off(id);
        }
        if !is_waited_for {
            // What is taken down takes no time from the new process, whose clients wait. It may be forbidden.
            let _ = nice(TAKEN_DOWN_AT);
        }
        // What the ring watches ends with it: one by one that would take time from the new process.
        drop(std::mem::take(&mut self.sockets));
        self.close_listeners();
        self.upgrade.has_left = true;
    }

    /// One that the new process does not have ends here.
    fn send_off(&mut self, id: ConnectionId) {
        let words = self.shard.last_words(id);
        let Some(socket) = self.sockets.remove(id) else {
            return;
        };
        self.poller.forget(id, socket.blocked);
        if socket.listener != ListenerId::BRIDGES {
            let reason = ReasonCode::ServerShuttingDown;
            let (descriptor, layers) = (&socket.descriptor, socket.layers);
            farewell::say(descriptor, layers, (&words, reason), &mut self.scratch);
        }
        // The other end learns of it at once, whatever else holds the socket.
        let _ = shutdown(&socket.descriptor, Shutdown::Write);
    }
}

/// What one shard gives, message by message.
struct ShardGift<'a> {
    driver: &'a Driver,
    pipe: &'a Mutex<Pipe>,
    given: Given,
    relays: Vec<(ConnectionId, OwnedFd)>,
    left: Vec<ConnectionId>,
}

impl ShardGift<'_> {
    fn send(&self, message: &Message) -> std::io::Result<()> {
        let pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        pipe.send(message, &[])
    }

    fn retained(&mut self) -> std::io::Result<()> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for (topic, message) in self.driver.shard.give_retained() {
            self.given.counts.retained += 1;
            bytes += topic.len() + message.len();
            batch.push((topic.to_string(), message));
            if bytes >= MESSAGE_BYTES {
                self.send(&Message::Retained(std::mem::take(&mut batch)))?;
                bytes = 0;
            }
        }
        match batch.is_empty() {
            true => Ok(()),
            false => self.send(&Message::Retained(batch)),
        }
    }

    fn sessions(&mut self, carried: &HashSet<Rc<str>>) -> std::io::Result<()> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let others = self.driver.shard.give_others(|id| carried.contains(id));
        for image in others {
            self.given.counts.sessions += 1;
            bytes += image.len();
            batch.push(image);
            if bytes >= MESSAGE_BYTES {
                self.send(&Message::Sessions(std::mem::take(&mut batch)))?;
                bytes = 0;
            }
        }
        match batch.is_empty() {
            true => Ok(()),
            false => self.send(&Message::Sessions(batch)),
        }
    }

    /// The ids of the clients that go with their connections.
    fn clients(&mut self) -> std::io::Result<HashSet<Rc<str>>> {
        let mut carried = HashSet::new();
        let (mut batch, mut sockets, mut bytes) = (Vec::new(), Vec::new(), 0);
        for id in self.driver.shard.connection_ids() {
            let parcel = match self.driver.is_given(id) {
                true => self.parcel(id, &mut carried)?,
                false => None,
            };
            let Some((parcel, beside)) = parcel else {
                self.given.left += 1;
                self.left.push(id);
                continue;
            };
            bytes += size_of_parcel(&parcel);
            batch.push(parcel);
            sockets.push(beside);
            if batch.len() == DESCRIPTORS_MAX || bytes >= MESSAGE_BYTES {
                self.send_clients(&mut batch, &mut sockets)?;
                bytes = 0;
            }
        }
        self.send_clients(&mut batch, &mut sockets)?;
        Ok(carried)
    }

    /// What goes into another process, and the socket beside it.
    fn parcel(
        &mut self,
        id: ConnectionId,
        carried: &mut HashSet<Rc<str>>,
    ) -> std::io::Result<Option<(ClientParcel, Beside)>> {
        let driver = self.driver;
        let has_layers = (driver.sockets.get(id)).is_some_and(|socket| socket.layers.is_some());
        if let Some((origin, read)) = driver.shard.give_opening(id).filter(|_| !has_layers) {
            let parcel = ClientParcel::Opened { origin, read };
            return Ok(Some((parcel, Beside::Own(id))));
        }
        let Some(client) = driver.shard.give_client(id) else {
            return Ok(None);
        };
        let (layers, beside) = self.layers_of(id)?;
        let GivenClient {
            client_id,
            session,
            connection,
        } = client;
        carried.insert(client_id);
        let parcel = ClientParcel::Live {
            session,
            connection,
            layers,
        };
        Ok(Some((parcel, beside)))
    }

    /// Layers go along where they have an image, and stay otherwise.
    fn layers_of(&mut self, id: ConnectionId) -> std::io::Result<(ParcelLayers, Beside)> {
        let driver = self.driver;
        let layers = driver
            .sockets
            .get(id)
            .and_then(|socket| socket.layers.as_deref());
        let Some(layers) = layers else {
            let layers = match driver.upgrade.relayed.contains(&id) {
                true => ParcelLayers::Elsewhere,
                false => ParcelLayers::Nothing,
            };
            return Ok((layers, Beside::Own(id)));
        };
        let mut image = Vec::new();
        if layers.stack.image(&mut image) {
            let unsent = layers.unsent.clone();
            return Ok((ParcelLayers::Here { image, unsent }, Beside::Own(id)));
        }
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        self.relays.push((id, ours.into()));
        Ok((ParcelLayers::Elsewhere, Beside::Pair(theirs.into())))
    }

    fn send_clients(
        &mut self,
        batch: &mut Vec<ClientParcel>,
        beside: &mut Vec<Beside>,
    ) -> std::io::Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        self.given.counts = self.given.counts.and(Counts {
            clients: batch.len() as u32,
            ..Counts::default()
        });
        let sockets = beside.iter().filter_map(|one| match one {
            Beside::Own(id) => Some(self.driver.sockets.get(*id)?.descriptor.as_fd()),
            Beside::Pair(end) => Some(end.as_fd()),
        });
        let sockets: Vec<_> = sockets.collect();
        let message = Message::Clients(std::mem::take(batch));
        let sent = {
            let pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
            pipe.send(&message, &sockets)
        };
        beside.clear();
        sent
    }
}

/// The socket that goes with a client.
enum Beside {
    /// Its own.
    Own(ConnectionId),
    /// One end of a pair: its layers stay.
    Pair(OwnedFd),
}

fn size_of_parcel(parcel: &ClientParcel) -> usize {
    match parcel {
        ClientParcel::Live {
            session,
            connection,
            ..
        } => session.len() + connection.len(),
        ClientParcel::Opened { origin, read } => origin.len() + read.len(),
    }
}
