//! One client of the sink: what it sends is answered, and what it subscribed to is made up for it.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;

use ringmq::ids::ConnectionId;
use ringmq::mqtt::encode::{self, AckKind, PublishOut};
use ringmq::mqtt::frame::{needed, next_frame};
use ringmq::mqtt::{
    decode, topic, Ack, ConnAck, Packet, PacketId, PacketType, ReasonCode, Sender, SubAck,
    UserProperties, Version,
};
use rustix::io::Errno;
use rustix::net::{recv, send, RecvFlags, SendFlags};

use super::{Tally, READ_BUFFER};
use crate::engine::clock::now_ns;
use crate::payload::{Header, Pattern, PUBLISHERS_MAX};
use crate::poller::Poller;

/// Largest packet taken.
const PACKET_MAX: u32 = 16 << 20;
/// Bytes of a feed put together at once.
const FEED_BYTES: usize = 64 << 10;

/// Whose the messages made up are: no client's of those who receive them.
const PUBLISHER: u32 = PUBLISHERS_MAX - 1;

/// A client of the sink.
pub(super) struct Peer {
    pub(super) socket: OwnedFd,
    pub(super) version: Version,
    pub(super) partial: Vec<u8>,
    pub(super) out: Vec<u8>,
    pub(super) sent: usize,
    pub(super) blocked: bool,
    pub(super) fed: Option<Feed>,
}

/// Messages made for one subscriber.
pub(super) struct Feed {
    head: Vec<u8>,
    sequence: u64,
}

/// Reads until nothing is left; false when the connection is over.
pub(super) fn read(peer: &mut Peer, buffer: &mut [u8], feed: Option<usize>, tally: &Tally) -> bool {
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
pub(super) fn refill(peer: &mut Peer, size: usize, pattern: &Pattern, tally: &Tally) {
    let Some(feed) = &mut peer.fed else {
        return;
    };
    if !peer.out.is_empty() {
        return;
    }
    let now = now_ns();
    let first = feed.sequence;
    while peer.out.len() < FEED_BYTES {
        peer.out.extend_from_slice(&feed.head);
        let header = Header::new(PUBLISHER, feed.sequence, now);
        pattern.put(&mut peer.out, header, size);
        feed.sequence += 1;
    }
    tally
        .sent
        .fetch_add(feed.sequence - first, Ordering::Relaxed);
}

pub(super) fn write(peer: &mut Peer, id: ConnectionId, poller: &mut Poller) {
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
        poller.watch_writable(peer.socket.as_fd(), id);
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
