//! `mqload sink`: a null broker on the same engine parts. It accepts every client, acknowledges
//! everything and throws it away, or feeds subscribers with messages of its own, so that the
//! generator can be measured alone.

mod peer;

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ringmq::ids::ConnectionId;
use ringmq::io::poller::Event;
use ringmq::mqtt::Version;
use ringmq::time::Span;
use rustix::io::Errno;
use rustix::net::{
    accept_with, bind, getsockname, listen, socket_with, sockopt, AddressFamily, SocketFlags,
    SocketType,
};

use crate::engine::executor::Executor;
use crate::poller::{ring_sentence, Backend, Poller};
use peer::{read, refill, write, Peer};

const READ_BUFFER: usize = 256 << 10;

/// A null broker: acknowledges and discards, or feeds its subscribers.
#[derive(Args, Debug)]
pub struct Sink {
    /// Address to listen on; with port 0 the system chooses one
    #[arg(long, default_value = "127.0.0.1:1884", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Core to pin to
    #[arg(long)]
    core: Option<usize>,
    /// What watches sockets
    #[arg(long, value_enum, default_value_t)]
    backend: Backend,
    /// Sends each subscriber QoS 0 messages of the subscribed topic, as fast as they are taken
    #[arg(long, alias = "feed")]
    fan_back: bool,
    /// Bytes of a payload fanned back, 16 or more
    #[arg(long, default_value_t = 16)]
    payload_size: usize,
}

/// Counts of the sink, for its line each second.
#[derive(Debug, Default)]
struct Tally {
    received: AtomicU64,
    sent: AtomicU64,
}

/// Runs until it is interrupted.
///
/// # Errors
/// A sentence when it cannot listen.
pub fn run(options: &Sink) -> Result<(), String> {
    if options.payload_size < crate::payload::HEADER_BYTES {
        return Err("--payload-size must be 16 or more".into());
    }
    crate::system::allow_clients(0)?; // as many as the system lets it have
    let failed = |error| format!("cannot listen on {}: {error}", options.listen);
    let listener = open(options.listen).map_err(failed)?;
    let address = getsockname(&listener).map_err(failed)?;
    let address = SocketAddr::try_from(address).unwrap_or(options.listen);
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|error| format!("cannot watch for signals: {error}"))?;
    }
    let wake = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)
        .map_err(|error| error.to_string())?;
    let (backend, remark) = options.backend.choose(wake.as_fd())?;
    if let Some(remark) = remark {
        eprintln!("{remark}");
    }
    let tally = Arc::new(Tally::default());
    let (counting, feed) = (
        Arc::clone(&tally),
        options.fan_back.then_some(options.payload_size),
    );
    let (ended, end) = std::sync::mpsc::channel();
    let worker = Executor::start("sink", options.core, backend, move || {
        let result = serve((backend, &wake), &listener, feed, &counting);
        let _ = ended.send(()); // without a receiver after an interruption
        result
    })?;
    println!("sink listens on {address}");
    let (mut received, mut sent) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        if !matches!(
            end.recv_timeout(Duration::from_secs(1)),
            Err(RecvTimeoutError::Timeout)
        ) {
            return worker.join()?;
        }
        let now = (
            tally.received.load(Ordering::Relaxed),
            tally.sent.load(Ordering::Relaxed),
        );
        if now != (received, sent) {
            println!(
                "received/s {:>10}  sent/s {:>10}",
                now.0 - received,
                now.1 - sent
            );
        }
        (received, sent) = now;
    }
    Ok(())
}

fn open(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = socket_with(
        family,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, 4_096)?;
    Ok(socket)
}

fn serve(
    (backend, wake): (Backend, &OwnedFd),
    listener: &OwnedFd,
    feed: Option<usize>,
    tally: &Tally,
) -> Result<(), String> {
    let mut poller = Poller::new(backend, wake.as_fd()).map_err(|error| ring_sentence(&error))?;
    poller.watch_acceptable(listener.as_fd(), 0);
    let mut peers: Vec<Option<Peer>> = Vec::new();
    let mut buffer = vec![0; READ_BUFFER];
    let pattern = crate::payload::Pattern::new(feed.unwrap_or(0));
    loop {
        let (mut readable, mut writable, mut accepts) = (Vec::new(), Vec::new(), false);
        let count = poller.reap(|event| match event {
            Event::Readable { id, watched, .. } => readable.push((id, watched)),
            Event::Writable(id) => writable.push(id.index as usize),
            Event::Acceptable(_) => accepts = true,
        });
        let fed = peers
            .iter()
            .flatten()
            .any(|peer| peer.fed.is_some() && !peer.blocked);
        if count == 0 && !fed {
            poller.wait(Some(Span(1_000_000_000)));
            continue;
        }
        if accepts {
            accept(listener, &mut poller, &mut peers);
        }
        // Of many clients most are idle.
        let mut touched = writable.clone();
        for (id, watched) in readable {
            touched.push(id.index as usize);
            let slot = id.index as usize;
            let Some(peer) = peers[slot].as_mut() else {
                continue;
            };
            if !watched {
                poller.watch_readable(peer.socket.as_fd(), id);
            }
            if !read(peer, &mut buffer, feed, tally) {
                poller.forget(id, peer.blocked);
                peers[slot] = None;
            }
        }
        for slot in writable {
            if let Some(peer) = peers[slot].as_mut() {
                peer.blocked = false;
            }
        }
        if feed.is_some() {
            touched = (0..peers.len()).collect(); // subscribers get more without asking
        }
        for slot in touched {
            if let Some(peer) = &mut peers[slot] {
                if let Some(size) = feed {
                    refill(peer, size, &pattern, tally);
                }
                let id = ConnectionId {
                    index: slot as u32,
                    generation: 0,
                };
                write(peer, id, &mut poller);
            }
        }
        poller.submit();
    }
}

fn accept(listener: &OwnedFd, poller: &mut Poller, peers: &mut Vec<Option<Peer>>) {
    while let Ok(socket) = accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
        let _ = sockopt::set_tcp_nodelay(&socket, true); // fails only for a closed connection
        let id = ConnectionId {
            index: peers.len() as u32,
            generation: 0,
        };
        poller.watch_readable(socket.as_fd(), id);
        peers.push(Some(Peer {
            socket,
            version: Version::V311,
            partial: Vec::new(),
            out: Vec::new(),
            sent: 0,
            blocked: false,
            fed: None,
        }));
    }
    poller.watch_acceptable(listener.as_fd(), 0);
}
