//! `mqload sink`: a null broker on the same engine parts. It accepts everybody, acknowledges
//! everything and throws it away, or feeds subscribers with messages of its own, so that the
//! generator can be measured alone.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ringmq::mqtt::encode::{self, AckKind, PublishOut};
use ringmq::mqtt::frame::{needed, next_frame, PacketType};
use ringmq::mqtt::{
    decode, topic, Ack, ConnAck, Packet, PacketId, ReasonCode, Sender, SubAck, UserProperties,
    Version,
};
use rustix::io::Errno;
use rustix::net::{
    accept_with, bind, listen, recv, send, socket_with, sockopt, AddressFamily, RecvFlags,
    SendFlags, SocketFlags, SocketType,
};

use crate::engine::clock::now_ns;
use crate::engine::executor::{ring_sentence, Executor};
use crate::engine::poller::{Event, Poller, Token};
use crate::payload::Header;

const READ_BUFFER: usize = 256 << 10;
/// Largest packet taken.
const PACKET_MAX: u32 = 16 << 20;
/// Bytes of a feed put together at once.
const FEED_BYTES: usize = 64 << 10;

/// A null broker: acknowledges and discards, or feeds its subscribers.
#[derive(Args, Debug)]
pub struct Sink {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:1884", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Core to pin to
    #[arg(long)]
    core: Option<usize>,
    /// Sends whoever subscribes QoS 0 messages of the subscribed topic, as fast as they are taken
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
    let listener = open(options.listen)
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|error| format!("cannot watch for signals: {error}"))?;
    }
    let tally = Arc::new(Tally::default());
    let (counting, feed) = (
        Arc::clone(&tally),
        options.fan_back.then_some(options.payload_size),
    );
    let (ended, end) = std::sync::mpsc::channel();
    let worker = Executor::start("sink", options.core, move || {
        let result = serve(&listener, feed, &counting);
        let _ = ended.send(()); // nobody waits after an interruption
        result
    })?;
    println!("sink listens on {}", options.listen);
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

struct Peer {
    socket: OwnedFd,
    version: Version,
    partial: Vec<u8>,
    out: Vec<u8>,
    sent: usize,
    blocked: bool,
    fed: Option<Feed>,
}

/// Messages made for one subscriber.
struct Feed {
    head: Vec<u8>,
    sequence: u64,
}

fn serve(listener: &OwnedFd, feed: Option<usize>, tally: &Tally) -> Result<(), String> {
    let wake = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)
        .map_err(|error| error.to_string())?;
    let mut poller = Poller::new(wake.as_fd()).map_err(|error| ring_sentence(&error))?;
    poller.watch_acceptable(listener.as_fd());
    let mut peers: Vec<Option<Peer>> = Vec::new();
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        let (mut readable, mut writable, mut accepts) = (Vec::new(), Vec::new(), false);
        let count = poller.reap(|event| match event {
            Event::Readable(token, goes_on) => readable.push((token, goes_on)),
            Event::Writable(token) => writable.push(token.slot as usize),
            Event::Acceptable => accepts = true,
            Event::Woken => {}
        });
        let fed = peers
            .iter()
            .flatten()
            .any(|peer| peer.fed.is_some() && !peer.blocked);
        if count == 0 && !fed {
            poller.wait(1_000_000_000);
            continue;
        }
        if accepts {
            accept(listener, &mut poller, &mut peers);
        }
        for (token, goes_on) in readable {
            let slot = token.slot as usize;
            let Some(peer) = peers[slot].as_mut() else {
                continue;
            };
            if !goes_on {
                poller.watch_readable(peer.socket.as_fd(), token);
            }
            if !read(peer, &mut buffer, feed, tally) {
                poller.forget(token);
                peers[slot] = None;
            }
        }
        for slot in writable {
            if let Some(peer) = peers[slot].as_mut() {
                peer.blocked = false;
            }
        }
        for (slot, place) in peers.iter_mut().enumerate() {
            if let Some(peer) = place {
                if let Some(size) = feed {
                    refill(peer, size, tally);
                }
                write(
                    peer,
                    Token {
                        slot: slot as u32,
                        generation: 0,
                    },
                    &mut poller,
                );
            }
        }
        poller.submit();
    }
}

fn accept(listener: &OwnedFd, poller: &mut Poller, peers: &mut Vec<Option<Peer>>) {
    while let Ok(socket) = accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
        let _ = sockopt::set_tcp_nodelay(&socket, true); // fails only for one that is gone
        let token = Token {
            slot: peers.len() as u32,
            generation: 0,
        };
        poller.watch_readable(socket.as_fd(), token);
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
    poller.watch_acceptable(listener.as_fd());
}

/// Reads until nothing is left; false when the connection is over.
fn read(peer: &mut Peer, buffer: &mut [u8], feed: Option<usize>, tally: &Tally) -> bool {
    loop {
        let kept = peer.partial.len();
        if kept == buffer.len() {
            return false; // larger than a null broker takes
        }
        buffer[..kept].copy_from_slice(&peer.partial);
        let count = match recv(&peer.socket, &mut buffer[kept..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => return false,
            Ok((count, _)) => count,
            Err(Errno::AGAIN) => return true,
            Err(Errno::INTR) => continue,
            Err(_) => return false,
        };
        let end = kept + count;
        let Some(used) = handle(peer, &buffer[..end], feed, tally) else {
            return false;
        };
        peer.partial.clear();
        peer.partial.extend_from_slice(&buffer[used..end]);
        if end < buffer.len() {
            return true;
        }
    }
}

/// Handles the whole packets in `bytes`; how many bytes they took, `None` when the client must go.
fn handle(peer: &mut Peer, bytes: &[u8], feed: Option<usize>, tally: &Tally) -> Option<usize> {
    let (mut used, mut received) = (0, 0);
    while let Some(frame) = next_frame(&bytes[used..], PACKET_MAX).ok()? {
        used += frame.length;
        if frame.first >> 4 == PacketType::Publish as u8 {
            received += 1;
            if frame.first & 0b110 != 0 {
                let publish = decode::publish(peer.version, &frame).ok()?;
                let kind = if frame.first & 0b100 == 0 {
                    AckKind::PubAck
                } else {
                    AckKind::PubRec
                };
                acknowledge(peer, kind, publish.packet_id?);
            }
            continue;
        }
        let packet = decode::packet(peer.version, Sender::Client, &frame).ok()?;
        answer(peer, &packet, feed)?;
    }
    tally.received.fetch_add(received, Ordering::Relaxed);
    needed(&bytes[used..])
        .is_none_or(|length| length <= READ_BUFFER)
        .then_some(used)
}

fn acknowledge(peer: &mut Peer, kind: AckKind, packet_id: PacketId) {
    let ack = Ack {
        packet_id,
        reason: ReasonCode::Success,
        reason_string: None,
        user_properties: UserProperties::default(),
    };
    encode::ack(&mut peer.out, peer.version, kind, &ack);
}

fn answer(peer: &mut Peer, packet: &Packet<'_>, feed: Option<usize>) -> Option<()> {
    match packet {
        Packet::Connect(connect) => {
            peer.version = connect.version;
            encode::connack(&mut peer.out, peer.version, &ConnAck::default());
        }
        Packet::PubRel(ack) => acknowledge(peer, AckKind::PubComp, ack.packet_id),
        Packet::Subscribe(subscribe) => {
            let codes: Vec<u8> = subscribe
                .filters
                .iter()
                .map(|(_, options)| options.qos as u8)
                .collect();
            let suback = SubAck {
                packet_id: subscribe.packet_id,
                reason_string: None,
                user_properties: UserProperties::default(),
                codes: &codes,
            };
            encode::suback(&mut peer.out, peer.version, &suback);
            if let Some(size) = feed {
                let mut head = Vec::new();
                let topic = subscribe
                    .filters
                    .iter()
                    .next()
                    .map(|(filter, _)| covered(filter));
                let publish = PublishOut {
                    topic: topic.as_deref().unwrap_or_default(),
                    payload_len: size,
                    ..PublishOut::default()
                };
                encode::publish_header(&mut head, peer.version, &publish);
                peer.fed = Some(Feed { head, sequence: 0 });
            }
        }
        Packet::Unsubscribe(unsubscribe) => {
            let codes: Vec<u8> = unsubscribe.filters.iter().map(|_| 0).collect();
            let unsuback = SubAck {
                packet_id: unsubscribe.packet_id,
                reason_string: None,
                user_properties: UserProperties::default(),
                codes: &codes,
            };
            encode::unsuback(&mut peer.out, peer.version, &unsuback);
            peer.fed = None;
        }
        Packet::PingReq => encode::pingresp(&mut peer.out),
        Packet::Disconnect(_) => return None,
        _ => {}
    }
    Some(())
}

/// A topic that a filter matches.
fn covered(filter: &str) -> String {
    let filter = topic::share(filter)
        .ok()
        .flatten()
        .map_or(filter, |share| share.filter);
    filter.replace(['+', '#'], "x")
}

/// Puts a feed's next messages together when the last are sent.
fn refill(peer: &mut Peer, size: usize, tally: &Tally) {
    let Some(feed) = &mut peer.fed else {
        return;
    };
    if !peer.out.is_empty() {
        return;
    }
    let now = now_ns();
    let filler = vec![b'.'; size - crate::payload::HEADER_BYTES];
    let first = feed.sequence;
    while peer.out.len() < FEED_BYTES {
        peer.out.extend_from_slice(&feed.head);
        peer.out
            .extend_from_slice(&Header::new(0, feed.sequence, now).to_bytes());
        peer.out.extend_from_slice(&filler);
        feed.sequence += 1;
    }
    tally
        .sent
        .fetch_add(feed.sequence - first, Ordering::Relaxed);
}

fn write(peer: &mut Peer, token: Token, poller: &mut Poller) {
    if peer.blocked || peer.out.is_empty() {
        return;
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    if let Ok(count) = send(&peer.socket, &peer.out[peer.sent..], flags) {
        peer.sent += count;
    }
    if peer.sent == peer.out.len() {
        peer.out.clear();
        peer.sent = 0;
    } else {
        // A connection that has failed raises an event for its reader.
        peer.blocked = true;
        poller.watch_writable(peer.socket.as_fd(), token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fanned_back_was_subscribed_to() {
        for filter in ["a/b", "a/+/c", "a/#", "#", "$share/group/a/+"] {
            let plain = filter.trim_start_matches("$share/group/");
            let covered = covered(filter);
            assert!(topic::matches(plain, &covered), "{filter}: {covered}");
        }
    }
}
