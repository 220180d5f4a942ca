//! Links: the shard's connections that a gateway speaks MQTT 5.0 on.

use std::io::IoSlice;
use std::num::NonZeroU16;

use super::kept::Will;
use super::peer::{LinkPing, State, Terms};
use super::requests::{Kind, Request};
use super::Gateway;
use crate::ids::ConnectionId;
use crate::mqtt::frame;
use crate::mqtt::{
    encode, Ack, AckKind, Connect, ConnectProperties, PacketId, PacketType, PublishProperties,
    ReasonCode, UserProperties, Version,
};
use crate::shard::Shard;
use crate::time::Time;

/// Packets that wait for the shard to want them, in bytes of one peer; more are dropped, and repeated by
/// their client.
pub(super) const WAITING_MAX: usize = 16 << 10;
/// Segments of outgoing bytes looked at for one packet.
const SLICES: usize = 8;
/// A packet may be larger than the datagram it becomes: topic and properties are not in that.
const BESIDES_PAYLOAD: u32 = 128 << 10;

/// The CONNECT of a client.
pub(super) fn connect(
    client_id: &str,
    terms: &Terms,
    will: Option<&Will>,
    datagram_max: u16,
    out: &mut Vec<u8>,
) {
    let will = will.map(will_of);
    let connect = Connect {
        version: Version::V5,
        is_bridge: false,
        clean_start: terms.clean,
        keep_alive_s: 0, // the gateway's part
        client_id,
        will,
        user_name: None,
        password: None,
        properties: ConnectProperties {
            session_expiry_interval_s: (!terms.clean).then_some(u32::MAX),
            receive_maximum: Some(NonZeroU16::MIN), // one outstanding message, section 6.6
            maximum_packet_size: Some(u32::from(datagram_max) + BESIDES_PAYLOAD),
            request_problem_information: Some(false),
            ..ConnectProperties::default()
        },
    };
    encode::connect(out, &connect);
}

/// A will as MQTT has it.
pub(super) fn will_of(will: &Will) -> crate::mqtt::Will<'_> {
    crate::mqtt::Will {
        topic: &will.topic,
        payload: &will.payload,
        qos: will.qos,
        retain: will.retain,
        delay_interval_s: 0,
        properties: PublishProperties::default(),
    }
}

/// An acknowledgement of a client.
pub(super) fn ack(kind: AckKind, packet_id: PacketId, out: &mut Vec<u8>) {
    let ack = Ack {
        packet_id,
        reason: ReasonCode::Success,
        reason_string: None,
        user_properties: UserProperties::default(),
    };
    encode::ack(out, Version::V5, kind, &ack);
}

impl Gateway {
    /// Gives the shard a packet of a peer, or keeps it until it is wanted. False: it was dropped.
    pub(super) fn give(
        &mut self,
        shard: &mut Shard,
        index: u32,
        now: Time,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let peer = self.peers.get_mut(index);
        let Some(link) = peer.link else {
            return false;
        };
        if peer.busy.waiting.is_empty() && shard.wants_input(link) {
            self.packet.clear();
            write(&mut self.packet);
            shard.handle_bytes(link, &self.packet, now);
            return true;
        }
        if peer.busy.waiting.len() > WAITING_MAX {
            self.stats.held_back += 1;
            return false;
        }
        if peer.busy.waiting.is_empty() {
            self.held.push(index);
        }
        write(&mut peer.busy.waiting);
        true
    }

    /// The same for a publication that nothing answers, with those that follow it.
    pub(super) fn give_in_run(
        &mut self,
        shard: &mut Shard,
        index: u32,
        now: Time,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let peer = self.peers.get(index);
        let is_free = |link: &ConnectionId| {
            let is_wanted = || peer.busy.waiting.is_empty() && shard.wants_input(*link);
            self.run.is_of(*link) || is_wanted()
        };
        match peer.link.filter(is_free) {
            Some(link) => self.append(shard, link, now, write),
            None => {
                self.give(shard, index, now, write);
            }
        }
    }

    /// Gives the shard what it did not want before, and looks whether those who are awake have been sent
    /// everything. True when there was something to give.
    pub fn handle_turn(&mut self, shard: &mut Shard, now: Time) -> bool {
        let mut busy = false;
        for index in std::mem::take(&mut self.awake) {
            if self.peers.generation(index).is_some() {
                self.end_round(shard, index, now);
                self.arm(index);
                if self.peers.get(index).state == State::Awake {
                    self.awake.push(index);
                }
            }
        }
        for index in std::mem::take(&mut self.held) {
            if self.peers.generation(index).is_none() {
                continue;
            }
            let peer = self.peers.get_mut(index);
            let Some(link) = peer.link.filter(|_| !peer.busy.waiting.is_empty()) else {
                continue;
            };
            if !shard.wants_input(link) {
                self.held.push(index);
                continue;
            }
            busy = true;
            let bytes = std::mem::take(&mut peer.busy.waiting);
            shard.handle_bytes(link, &bytes, now);
            self.pull(shard, index, now);
        }
        busy
    }

    /// Takes the next packet of a link into `self.packet`; false when there is none, or none that `wants` its
    /// type.
    pub(super) fn take_packet(
        &mut self,
        shard: &mut Shard,
        link: ConnectionId,
        wants: impl FnOnce(Option<PacketType>) -> bool,
        now: Time,
    ) -> bool {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = shard.outgoing(link, &mut slices);
        let slices = &slices[..count];
        self.packet.clear();
        for slice in slices {
            self.packet.extend_from_slice(&slice[..slice.len().min(8)]);
            if self.packet.len() >= 8 {
                break;
            }
        }
        let Some(length) = frame::needed(&self.packet) else {
            return false;
        };
        if !wants(PacketType::from_bits(self.packet[0] >> 4)) {
            return false;
        }
        self.packet.clear();
        for slice in slices {
            let left = length - self.packet.len();
            self.packet
                .extend_from_slice(&slice[..slice.len().min(left)]);
        }
        // A packet whose rest is in further segments is not there: none of a client's is so large.
        if self.packet.len() < length {
            return false;
        }
        shard.handle_written(link, length, now);
        true
    }

    /// Asks a link for PINGRESP, with which a request can be answered. False: it is dropped, and repeated by its
    /// client.
    pub(super) fn ask_link(
        &mut self,
        shard: &mut Shard,
        index: u32,
        request: Request,
        now: Time,
    ) -> bool {
        if !self.peers.get_mut(index).busy.requests.add_pinged(request) {
            return false;
        }
        let is_given = self.give(shard, index, now, encode::pingreq);
        if !is_given {
            self.peers.get_mut(index).busy.requests.take_last();
        }
        is_given
    }

    /// Whether a peer's link is still to be heard of by the shard, which has a keep alive of its own.
    pub(super) fn ping_link(&mut self, shard: &mut Shard, index: u32, now: Time) {
        let peer = self.peers.get_mut(index);
        match &mut peer.link_ping {
            Some(ping) if ping.at <= now => **ping = LinkPing::new(ping.keep_alive_s, now),
            _ => return,
        }
        let request = Request {
            kind: Kind::Ping,
            msg_id: 0,
            topic_id: 0,
            hash: 0,
        };
        self.ask_link(shard, index, request, now);
        self.pull(shard, index, now);
    }
}
