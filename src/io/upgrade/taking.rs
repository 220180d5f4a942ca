//! The new process: it takes everything from the old one within its start.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::sync::mpsc::{channel, Receiver};
use std::sync::Arc;

use super::orders::{Arrived, Parcels, UpgradeOrder};
use super::pipe::Pipe;
use super::{pauses, tickets, FROM};
use crate::ids::{ListenerId, ShardId};
use crate::io::clock::machine_ns;
use crate::io::errors::StartError;
use crate::io::inbox::ShardCommand;
use crate::io::listener_set::ListenerSet;
use crate::io::shared::SharedState;
use crate::shard::{Homes, ShardConfig};
use crate::upgrade::{ClientParcel, Heard, Hello, Message, SocketName, SocketUse, Taker};

/// Sockets of the old process that have not found their place.
pub(in crate::io) type HandedSockets = Vec<(SocketName, OwnedFd)>;

/// Lives on: the start of the new process.
pub(in crate::io) struct Taking {
    pipe: Pipe,
    taker: Taker,
    pub(in crate::io) sockets: HandedSockets,
}

/// This process cannot start: a message to the old one, if there is one.
pub fn refuse(why: &str) {
    if let Ok(Some(taking)) = Taking::begin() {
        taking.refuse(why);
    }
}

fn failed(why: impl Into<String>) -> StartError {
    StartError::Upgrade(why.into())
}

impl Taking {
    /// `None`: this process is not started by another one.
    pub(in crate::io) fn begin() -> io::Result<Option<Self>> {
        let from = std::env::var(FROM).ok();
        // A child of the new process may have it, too.
        if from.and_then(|from| from.parse().ok()) != Some(parent_id()) {
            return Ok(None);
        }
        let pipe = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Some(Self {
            pipe: Pipe::new(UnixStream::from(pipe)),
            taker: Taker::default(),
            sockets: Vec::new(),
        }))
    }

    /// Says that this process cannot go on.
    pub(in crate::io) fn refuse(&self, why: &str) {
        let _ = self.pipe.send(&Message::Refused(why.into()), &[]); // the old one has ended
    }

    /// Configuration and files are read and checked. Returns with the listeners of the old process.
    pub(in crate::io) fn greet(&mut self, data_dir: Option<String>) -> Result<(), StartError> {
        let hello = Hello::own(std::process::id(), data_dir);
        self.say(&Message::Hello(hello))?;
        match self.hear()? {
            (Heard::Keep(Message::Sockets(names)), beside) if names.len() == beside.len() => {
                self.sockets = names.into_iter().zip(beside).collect();
                Ok(())
            }
            _ => Err(failed("the old process says something else than it should")),
        }
    }

    /// The shards run and the listeners are open. Returns when the old process is at rest and its logs are read.
    pub(in crate::io) fn begin_to_take(
        &mut self,
        shared: &SharedState,
        listeners: &ListenerSet,
    ) -> Result<(), StartError> {
        self.say(&Message::Prepared)?;
        loop {
            match self.hear()?.0 {
                Heard::Keep(Message::Tickets(keys)) => tickets::take(listeners, &keys),
                Heard::Begin => break,
                _ => return Err(failed("the old process says something else than it should")),
            }
        }
        let (sender, done) = channel();
        shared.broadcast(|| ShardCommand::Upgrade(UpgradeOrder::Read(sender.clone())));
        drop(sender);
        all_of(&done, shared)
    }

    fn say(&self, message: &Message) -> Result<(), StartError> {
        let sent = self.pipe.send(message, &[]);
        sent.map_err(|error| failed(format!("the old process cannot be reached: {error}")))
    }

    fn hear(&mut self) -> Result<(Heard, Vec<OwnedFd>), StartError> {
        let received = self.pipe.receive();
        let received = received
            .map_err(|error| failed(format!("the old process cannot be understood: {error}")))?;
        match received {
            Some((message, beside)) => {
                let heard = self.taker.heard(message).map_err(failed)?;
                Ok((heard, beside))
            }
            None => Ok((self.taker.ended().map_err(failed)?, Vec::new())),
        }
    }

    /// A socket of a service.
    pub(in crate::io) fn take_services(&mut self) -> Vec<(String, OwnedFd)> {
        let is_admin = |(name, _): &mut (SocketName, OwnedFd)| name.used_for == SocketUse::Admin;
        let found = self.sockets.extract_if(.., is_admin);
        found.map(|(name, socket)| (name.address, socket)).collect()
    }

    /// The lock of the data directory.
    pub(in crate::io) fn take_lock(&mut self) -> Option<OwnedFd> {
        let names = self.sockets.iter();
        let place = names
            .map(|(name, _)| name.used_for)
            .position(|it| it == SocketUse::Lock);
        place.map(|place| self.sockets.swap_remove(place).1)
    }

    /// Fills the shards, and waits until they are whole.
    pub(in crate::io) fn fill(
        &mut self,
        shared: &SharedState,
        config: &ShardConfig,
        listeners: Arc<[Option<ListenerId>]>,
    ) -> Result<Arrived, StartError> {
        let mut post = Post {
            homes: Homes::of(config),
            shared,
            listeners,
        };
        loop {
            let (heard, beside) = self.hear()?;
            match heard {
                Heard::Keep(message) => post
                    .bring(message, beside)
                    .map_err(|error| failed(format!("what is given cannot be read: {error}")))?,
                Heard::Build => break,
                _ => return Err(failed("the old process says something else than it should")),
            }
        }
        let (sender, done) = channel();
        shared.broadcast(|| ShardCommand::Upgrade(UpgradeOrder::TakenAll(sender.clone())));
        drop(sender);
        let mut all = Arrived::default();
        for arrived in done.iter().take(usize::from(shared.shards())) {
            all.clients += arrived.clients;
            all.refused += arrived.refused;
            all.relayed += arrived.relayed;
        }
        Ok(all)
    }

    /// Says that this process is whole, and returns when it serves; since when clients wait, as far as that is known.
    pub(in crate::io) fn finish(&mut self, arrived: Arrived) -> Result<Option<u64>, StartError> {
        self.taker.is_ready();
        let refused = arrived.refused;
        // An old process that has died is noticed next.
        let _ = self.pipe.send(&Message::Ready { refused }, &[]);
        match self.hear()?.0 {
            Heard::Serve { resting_since } => Ok(resting_since),
            _ => Err(failed("the old process says something else than it should")),
        }
    }

    /// Every shard may write its log, and has written what it depends on.
    pub(in crate::io) fn begin_logs(shared: &SharedState) -> Result<(), StartError> {
        let (sender, done) = channel();
        shared.broadcast(|| ShardCommand::Upgrade(UpgradeOrder::Write(sender.clone())));
        drop(sender);
        all_of(&done, shared)
    }

    /// The shards serve.
    pub(in crate::io) fn serve(
        self,
        shared: &Arc<SharedState>,
        arrived: Arrived,
        resting_since: Option<u64>,
    ) -> io::Result<()> {
        let told = pauses::serve(shared, resting_since);
        let Arrived {
            clients, refused, ..
        } = arrived;
        match resting_since {
            Some(since) => {
                tracing::info!(
                    "upgrade: {clients} clients are served by this process, {refused} did not fit; they have waited {} ms",
                    machine_ns().saturating_sub(since) / 1_000_000,
                );
                pauses::report(shared, told, self.pipe)
            }
            None => {
                tracing::warn!(
                    "upgrade: the old process has died when this one was whole: it serves {clients} clients"
                );
                Ok(())
            }
        }
    }
}

/// Every shard has done what it was to.
fn all_of(done: &Receiver<Result<(), String>>, shared: &SharedState) -> Result<(), StartError> {
    let each = done.iter().take(usize::from(shared.shards()));
    each.collect::<Result<(), String>>().map_err(failed)
}

/// Brings everything to the shards that it is for.
struct Post<'a> {
    homes: Homes,
    shared: &'a SharedState,
    listeners: Arc<[Option<ListenerId>]>,
}

impl Post<'_> {
    fn bring(&mut self, message: Message, beside: Vec<OwnedFd>) -> Result<(), String> {
        let mut parcels: Vec<Parcels> = (0..self.shared.shards()).map(|_| self.empty()).collect();
        match message {
            Message::Retained(messages) => {
                for (topic, message) in messages {
                    parcels[self.homes.home(&topic).index()]
                        .retained
                        .push(message);
                }
            }
            Message::Sessions(sessions) => {
                for session in sessions {
                    let home = self.homes.of_session(&session);
                    let home = home.map_err(|error| error.to_string())?;
                    parcels[home.index()].sessions.push(session);
                }
            }
            Message::Clients(clients) => {
                if clients.len() != beside.len() {
                    return Err("there are more or fewer sockets than clients".into());
                }
                for (client, socket) in clients.into_iter().zip(beside) {
                    let home = self.home_of(&client)?;
                    parcels[home.index()].clients.push((client, socket));
                }
            }
            _ => {}
        }
        for (shard, parcels) in (0..).map(ShardId).zip(parcels) {
            let is_empty = parcels.clients.is_empty()
                && parcels.sessions.is_empty()
                && parcels.retained.is_empty();
            if !is_empty {
                let order = UpgradeOrder::Take(parcels);
                self.shared.send(shard, ShardCommand::Upgrade(order));
            }
        }
        Ok(())
    }

    fn empty(&self) -> Parcels {
        Parcels {
            clients: Vec::new(),
            sessions: Vec::new(),
            retained: Vec::new(),
            listeners: Arc::clone(&self.listeners),
        }
    }

    fn home_of(&self, client: &ClientParcel) -> Result<ShardId, String> {
        let home = match client {
            ClientParcel::Live { session, .. } => self.homes.of_session(session),
            ClientParcel::Opened { origin, .. } => self.homes.of_opening(origin),
        };
        home.map_err(|error| error.to_string())
    }
}
