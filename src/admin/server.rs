//! The HTTP server: accepts, bounds and serves connections, on one thread of its own.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::dispatch::Connection;
use super::patient::Patient;
use super::places::{Place, Places};
use super::role::Peer;
use super::{api, Admin};
use crate::listener::Address;

/// How long a handshake and the head of a request may take; a connection without a request is closed, too.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// Bytes that are read ahead of a connection: the head of a request must fit.
const BUFFER_MAX: usize = 32 << 10;
const HEADERS_MAX: usize = 64;
/// After an error of accept: no descriptor is left, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A listening socket of the admin listener.
pub(super) struct Open {
    pub(super) socket: OwnedFd,
    pub(super) is_unix: bool,
    /// Reached by other machines.
    pub(super) needs_login: bool,
}

/// Sockets that are served no more, and those that are from now on. Connections stay.
pub(super) struct Change {
    pub(super) closed: Vec<Address>,
    pub(super) opened: Vec<(Address, Open)>,
}

/// Serves until the process ends.
pub(super) fn run(
    admin: &Arc<Admin>,
    mut changes: UnboundedReceiver<Change>,
) -> std::io::Result<()> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(4).build()?;
    let places = Arc::new(Places::default());
    runtime.block_on(async {
        tokio::spawn(api::watch(Arc::clone(admin)));
        let mut accepting: HashMap<Address, JoinHandle<()>> = HashMap::new();
        while let Some(Change { closed, opened }) = changes.recv().await {
            for task in closed.iter().filter_map(|one| accepting.remove(one)) {
                task.abort();
            }
            for (address, open) in opened {
                let (admin, places) = (Arc::clone(admin), Arc::clone(&places));
                let accepts = async {
                    if let Err(error) = accept(admin, places, open).await {
                        tracing::error!("admin listener: {error}");
                    }
                };
                accepting.insert(address, tokio::spawn(accepts));
            }
        }
        Ok(())
    })
}

async fn accept(admin: Arc<Admin>, places: Arc<Places>, open: Open) -> std::io::Result<()> {
    let Open {
        socket,
        is_unix,
        needs_login,
    } = open;
    let connection = |peer| Connection {
        admin: Arc::clone(&admin),
        peer,
        needs_login,
    };
    if is_unix {
        let listener = UnixListener::from_std(socket.into())?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let user = stream.peer_cred().ok().map(|peer| peer.uid());
                    if let Some(place) = places.take(None) {
                        tokio::spawn(serve(connection(Peer::Unix(user)), stream, place));
                    }
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        }
    }
    let listener = TcpListener::from_std(socket.into())?;
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let source: IpAddr = from.ip();
        let Some(place) = places.take(Some(source)) else {
            continue;
        };
        let connection = connection(Peer::Ip(from));
        match admin.settings().tls.clone() {
            None => drop(tokio::spawn(serve(connection, stream, place))),
            Some(config) => {
                let acceptor = TlsAcceptor::from(config);
                tokio::spawn(async move {
                    let shaken = timeout(HANDSHAKE_PATIENCE, acceptor.accept(stream)).await;
                    if let Ok(Ok(stream)) = shaken {
                        serve(connection, stream, place).await;
                    }
                });
            }
        }
    }
}

async fn serve<S>(connection: Connection, stream: S, place: Place)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| connection.clone().answer(request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(BUFFER_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(Patient::new(stream)), service)
        .with_upgrades();
    let _ = served.await; // a client that broke off, or sent what is no HTTP
    drop(place);
}
