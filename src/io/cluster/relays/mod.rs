//! Connections whose client id another node owns: their sockets and layers stay at the node that has accepted them,
//! and MQTT is passed on by a connection to the owner, which to the owner's shards is a plain one of that client.
//!
//! One thread for all of them. What one end does not take is not read at the other ([`Relay`]). Of each the owner learns
//! by a signed header (`cluster::relay_header`) what it would know had it accepted the client itself.

mod owner;

use std::collections::HashMap;
use std::net::TcpListener;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::{spawn_local, LocalSet};
use tokio::time::{sleep, sleep_until, timeout};

use crate::cluster::lanes::Peer;
use crate::cluster::relay_header::{RelayHeader, RelaySecret, NONCE_BYTES};
use crate::cluster::{Node, NodeName};
use crate::ids::ShardId;
use crate::io::inbox::ShardCommand;
use crate::io::layers::Layers;
use crate::io::passing::{MovedSocket, RelayOrder, RelayedClient};
use crate::io::shared::SharedState;
use crate::io::upgrade::Relay;
use crate::transport::{Scratch, Stack};

/// For the owner to accept, and for what both say before the first byte of MQTT: until then it is known to be dead, if it
/// is.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);
const OPEN_AGAIN: Duration = Duration::from_millis(200);
/// After the owner has closed the client reads what was sent last.
const LINGER: Duration = Duration::from_secs(5);
/// Read at once.
const READ: usize = 64 << 10;

impl SharedState {
    /// Passes a client on to another node. Dropped, it closes.
    pub(in crate::io) fn pass_on(&self, client: RelayedClient) {
        if let Some(orders) = self.passes_on.get() {
            let _ = orders.send(RelayOrder::Take(Box::new(client))); // fails when the process ends
        }
    }

    pub(super) fn end_relays_to(&self, node: &Node) {
        if let Some(orders) = self.passes_on.get() {
            let _ = orders.send(RelayOrder::Gone(node.clone())); // fails when the process ends
        }
    }
}

/// What the thread begins with.
pub(super) struct Begin {
    pub(super) own: NodeName,
    pub(super) listener: TcpListener,
    pub(super) secret: Arc<RelaySecret>,
    pub(super) shared: Arc<SharedState>,
}

/// Starts the thread; it ends with the process.
pub(super) fn start(begin: Begin) -> std::io::Result<()> {
    let (orders, taken) = mpsc::unbounded_channel();
    begin.listener.set_nonblocking(true)?;
    let _ = begin.shared.passes_on.set(orders); // once
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::Builder::new()
        .name("relays".into())
        .spawn(move || LocalSet::new().block_on(&runtime, run(begin, taken)))?;
    Ok(())
}

async fn run(begin: Begin, mut orders: mpsc::UnboundedReceiver<RelayOrder>) {
    let Begin {
        own,
        listener,
        secret,
        shared,
    } = begin;
    match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => {
            let (secret, shared) = (Arc::clone(&secret), Arc::clone(&shared));
            tokio::spawn(owner::accept(listener, secret, shared));
        }
        Err(error) => tracing::error!("cluster: connections of other nodes are not taken: {error}"),
    }
    let mut alive: HashMap<Node, watch::Sender<()>> = HashMap::new();
    while let Some(order) = orders.recv().await {
        match order {
            RelayOrder::Take(client) => {
                let node = client.to.node.clone();
                let owner = alive.entry(node).or_insert_with(|| watch::channel(()).0);
                let client = Passed {
                    client: *client,
                    own: own.clone(),
                    shared: Arc::clone(&shared),
                    secret: Arc::clone(&secret),
                };
                spawn_local(client.pass_on(owner.subscribe()));
            }
            RelayOrder::Gone(node) => drop(alive.remove(&node)),
        }
    }
}

/// A connection on its way to its owner.
struct Passed {
    client: RelayedClient,
    own: NodeName,
    shared: Arc<SharedState>,
    secret: Arc<RelaySecret>,
}

impl Passed {
    /// Until either end has closed, or the owner is dead.
    async fn pass_on(self, mut owner: watch::Receiver<()>) {
        let to = Arc::clone(&self.client.to);
        let opened = tokio::select! {
            opened = timeout(OPEN_PATIENCE, self.open_patiently()) => opened,
            _ = owner.changed() => return self.give_back(), // it never says anything but its end
        };
        let Ok(upstream) = opened else {
            return tell(&to);
        };
        let RelayedClient {
            socket,
            layers,
            bytes,
            counted,
            ..
        } = self.client;
        let layers = layers.unwrap_or_else(|| Box::new(Layers::new(Stack::new(Vec::new()))));
        let relay = Relay::new(socket, layers, upstream).with_up(bytes);
        tokio::select! {
            () = carry(relay) => {}
            _ = owner.changed() => {}
        }
        drop(counted);
    }

    /// The owner has died before it knew of the client: a shard looks again who serves it.
    fn give_back(self) {
        let RelayedClient {
            socket,
            layers,
            origin,
            bytes,
            counted,
            ..
        } = self.client;
        let moved = MovedSocket {
            socket,
            origin,
            layers,
            bytes,
        };
        let command = ShardCommand::Returned(Box::new(moved));
        counted.let_go();
        self.shared.send(ShardId(0), command);
    }

    /// A node that was killed refuses until it is known to be dead.
    async fn open_patiently(&self) -> OwnedFd {
        loop {
            match self.open().await {
                Ok(upstream) => return upstream,
                Err(_) => sleep(OPEN_AGAIN).await,
            }
        }
    }

    /// Connects, and says whose connection it is.
    async fn open(&self) -> std::io::Result<OwnedFd> {
        let mut stream = TcpStream::connect(&*self.client.to.relay).await?;
        stream.set_nodelay(true)?;
        let mut nonce = [0; NONCE_BYTES];
        stream.read_exact(&mut nonce).await?;
        let origin = &self.client.origin;
        let header = RelayHeader {
            client: origin.peer.address(),
            listener: origin.listener.0,
            identity: origin.identity.as_deref().map(|name| name.as_str().into()),
            node: self.own.clone(),
            hops: origin.hops + 1,
        };
        stream
            .write_all(&header.encode(&nonce, &self.secret))
            .await?;
        Ok(stream.into_std()?.into())
    }
}

fn tell(to: &Peer) {
    let (node, address) = (to.node.name.as_str(), &to.relay);
    tracing::warn!("cluster: a client cannot be passed on to node {node} at {address}");
}

/// The runtime has a descriptor of its own of the same socket, which may be a Unix one: it is only watched.
fn watched(fd: BorrowedFd<'_>) -> std::io::Result<TcpStream> {
    let socket = std::net::TcpStream::from(fd.try_clone_to_owned()?);
    socket.set_nonblocking(true)?;
    TcpStream::from_std(socket)
}

/// Until something comes of a socket, or it has room, whichever may be.
async fn wait(socket: &TcpStream, (reads, writes): (bool, bool)) -> std::io::Result<()> {
    let interest = match (reads, writes) {
        (true, true) => Interest::READABLE | Interest::WRITABLE,
        (true, false) => Interest::READABLE,
        (false, true) => Interest::WRITABLE,
        // An end of the stream that was read is reported without end.
        (false, false) => std::future::pending().await,
    };
    socket.ready(interest).await?;
    // Forgotten before it is looked at: what comes from now on is heard of again.
    let _ = socket.try_io(interest, || -> std::io::Result<()> {
        Err(std::io::ErrorKind::WouldBlock.into())
    });
    Ok(())
}

/// Carries what comes by either end to the other.
async fn carry(mut relay: Relay) {
    let (client, owner) = relay.ends();
    let (Ok(client), Ok(owner)) = (watched(client), watched(owner)) else {
        return; // no descriptors are left
    };
    let (mut buffer, mut scratch) = (vec![0; READ], Scratch::default());
    let mut ends_at = None;
    while let Some(has_more) = relay.carry(&mut buffer, &mut scratch) {
        if has_more {
            tokio::task::yield_now().await;
            continue;
        }
        if relay.is_owner_gone() {
            ends_at = ends_at.or_else(|| Some(Instant::now() + LINGER));
        }
        let until = ends_at.unwrap_or_else(Instant::now);
        let [of_client, of_owner] = relay.awaits();
        let ready = tokio::select! {
            ready = wait(&client, of_client) => ready,
            ready = wait(&owner, of_owner) => ready,
            () = sleep_until(until.into()), if ends_at.is_some() => return,
        };
        if ready.is_err() {
            return;
        }
    }
}
