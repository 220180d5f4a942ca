//! The owner's end: connections that other nodes have accepted, and pass on.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::cluster::relay_header::{RelayHeader, RelaySecret, NONCE_BYTES, PREFIX_BYTES};
use crate::ids::{ListenerId, ShardId};
use crate::io::driver::Driver;
use crate::io::inbox::ShardCommand;
use crate::io::passing::Relayed;
use crate::io::shared::SharedState;
use crate::shard::{Origin, RemoteEnd};
use crate::time::Time;

/// Connections that have not shown whose they are, at most: others wait to be accepted.
const UNKNOWN_MAX: usize = 1_024;
/// For showing it.
const PATIENCE: Duration = Duration::from_secs(5);
/// After accepting has failed, for lack of descriptors mostly.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections of other nodes.
pub(super) async fn accept(
    listener: TcpListener,
    secret: Arc<RelaySecret>,
    shared: Arc<SharedState>,
) {
    let unknown = Arc::new(Semaphore::new(UNKNOWN_MAX));
    let mut next = 0;
    loop {
        let Ok(permit) = Arc::clone(&unknown).acquire_owned().await else {
            return; // it is never closed
        };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        next = (next + 1) % shared.shards();
        let (secret, shared, shard) = (Arc::clone(&secret), Arc::clone(&shared), ShardId(next));
        tokio::spawn(async move {
            // A peer without a sound header is cut without a word.
            if let Ok(Ok(relayed)) = timeout(PATIENCE, greet(stream, &secret)).await {
                shared.send(shard, ShardCommand::Relayed(Box::new(relayed)));
            }
            drop(permit);
        });
    }
}

/// Hears whose connection it is.
async fn greet(mut stream: TcpStream, secret: &RelaySecret) -> std::io::Result<Relayed> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce)?;
    stream.set_nodelay(true)?;
    stream.write_all(&nonce).await?;
    let mut prefix = [0; PREFIX_BYTES];
    stream.read_exact(&mut prefix).await?;
    let refused = || std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    let rest = RelayHeader::rest_of(&prefix).ok_or_else(refused)?;
    let mut header = prefix.to_vec();
    header.resize(PREFIX_BYTES + rest, 0);
    stream.read_exact(&mut header[PREFIX_BYTES..]).await?;
    let header = RelayHeader::decode(&header, &nonce, secret).ok_or_else(refused)?;
    let peer = header.client.map_or(RemoteEnd::Unix, RemoteEnd::Ip);
    let identity = header.identity.map(|name| Box::new(name.into()));
    let origin = Origin {
        identity,
        hops: header.hops,
        ..Origin::new(peer, ListenerId(header.listener))
    };
    Ok(Relayed {
        socket: stream.into_std()?.into(),
        origin,
    })
}

impl Driver {
    /// Takes a client that another node has accepted. Dropped, it closes.
    pub(in crate::io) fn take_relayed(&mut self, relayed: Relayed, now: Time) {
        let Relayed { socket, origin } = relayed;
        let listening = self.listeners.get(origin.listener.index());
        let Some(listening) = listening.filter(|_| !self.stopping) else {
            return; // nodes have different listeners, or this one stops
        };
        if !self.mesh.shared().count_opened() {
            return;
        }
        listening.gate.enter();
        if let Some(id) = self.open(socket, origin, None, now) {
            self.shard.handle_origin(id, None, None);
        }
    }
}
