//! Downlink: packets of its link to messages, one that waits for an answer at a time.

use super::busy::{Awaited, Delivery, Outstanding};
use super::connecting::return_code;
use super::peer::{Peer, State, PROVEN};
use super::requests::{self, Kind, Request};
use super::topics::Outward;
use super::Gateway;
use crate::mqtt::{
    decode, frame, Ack, AckKind, Packet, PacketId, Qos, ReasonCode, Sender, SubAck, Version,
};
use crate::mqtt_sn::{Message, Publish, ReturnCode, Settings, TopicRef};
use crate::mutant::{is_on, Mutant};
use crate::shard::Shard;
use crate::time::{Span, Time};

/// Octets of a PUBLISH before its payload, with the long form of its length.
const PUBLISH_HEADER: usize = 9;
/// The same of a REGISTER before its name.
const REGISTER_HEADER: usize = 8;

/// How sending a delivery went.
enum Sent {
    /// Something waits for an answer now.
    Awaited,
    Done,
    /// It will never be.
    Dropped,
}

impl Gateway {
    /// Takes what a link has for its client, and sends what may be sent.
    pub(super) fn pull(&mut self, shard: &mut Shard, index: u32, now: Time) {
        loop {
            while let Some(link) = self.peers.get(index).link {
                let peer = self.peers.get(index);
                let (state, has_room) = (peer.state, peer.takes_messages());
                let wants = |packet_type| {
                    let is_message = Peer::is_message(packet_type);
                    state == State::Leaving || !is_message || has_room
                };
                if !self.take_packet(shard, link, wants, now) {
                    break;
                }
                let packet = std::mem::take(&mut self.packet);
                self.packet_of_link(shard, index, &packet, now);
                self.packet = packet;
            }
            if !self.advance(shard, index, now) {
                break;
            }
        }
        self.end_round(shard, index, now);
        self.arm(index);
    }

    /// One packet of the shard.
    fn packet_of_link(&mut self, shard: &Shard, index: u32, bytes: &[u8], now: Time) {
        let frame = frame::next_frame(bytes, frame::PACKET_SIZE_MAX)
            .ok()
            .flatten();
        let packet =
            frame.and_then(|frame| decode::packet(Version::V5, Sender::Server, &frame).ok());
        debug_assert!(packet.is_some(), "the shard's packets are valid");
        let peer = self.peers.get_mut(index);
        match packet {
            Some(Packet::ConnAck(connack)) => {
                peer.share_names(shard);
                self.entered(index, &connack, now);
            }
            Some(Packet::Publish(publish)) => peer.busy.deliveries.push_back(Delivery {
                topic: publish.topic.into(),
                payload: publish.payload.into(),
                qos: publish.qos,
                retain: publish.retain,
                dup: publish.dup,
                packet_id: publish.packet_id,
            }),
            Some(Packet::PubRel(ack)) => peer.busy.release = Some(ack.packet_id),
            Some(Packet::PubAck(ack)) => self.published(index, AckKind::PubAck, &ack),
            Some(Packet::PubRec(ack)) => self.published(index, AckKind::PubRec, &ack),
            Some(Packet::PubComp(ack)) => {
                let answer = Message::PubComp(ack.packet_id.get());
                self.outbox.send(&peer.key, &answer);
            }
            Some(Packet::SubAck(suback)) => {
                peer.share_names(shard);
                self.subscribed(index, &suback, now);
            }
            Some(Packet::UnsubAck(unsuback)) => self.unsubscribed(index, &unsuback, now),
            Some(Packet::PingResp) => self.pinged(index),
            _ => {} // DISCONNECT, after which the link is closed
        }
    }

    /// PUBACK and PUBREC for a client's publication.
    fn published(&mut self, index: u32, kind: AckKind, ack: &Ack<'_>) {
        let peer = self.peers.get_mut(index);
        let msg_id = ack.packet_id.get();
        let request = peer.busy.requests.take(Kind::Publish, msg_id);
        let code = return_code(ack.reason);
        let answer = if kind == AckKind::PubRec && code == ReturnCode::Accepted {
            Message::PubRec(msg_id)
        } else {
            Message::PubAck {
                topic_id: request.map_or(0, |request| request.topic_id),
                msg_id,
                code,
            }
        };
        self.outbox.send(&peer.key, &answer);
    }

    fn subscribed(&mut self, index: u32, suback: &SubAck<'_>, now: Time) {
        let peer = self.peers.get_mut(index);
        let Some(request) = peer
            .busy
            .requests
            .take(Kind::Subscribe, suback.packet_id.get())
        else {
            return;
        };
        let granted = suback.codes.first().copied().unwrap_or(0x80);
        let (qos, code) = match Qos::from_bits(granted) {
            Some(qos) => (qos, ReturnCode::Accepted),
            None => {
                let reason = ReasonCode::try_from(granted).unwrap_or(ReasonCode::UnspecifiedError);
                (Qos::AtMostOnce, return_code(reason))
            }
        };
        self.answer_subscribe(index, request, qos, code, now);
    }

    pub(super) fn answer_subscribe(
        &mut self,
        index: u32,
        request: Request,
        qos: Qos,
        code: ReturnCode,
        now: Time,
    ) {
        self.answer_once(index, request, Some((qos, code)), now);
    }

    fn unsubscribed(&mut self, index: u32, unsuback: &SubAck<'_>, now: Time) {
        let peer = self.peers.get_mut(index);
        let msg_id = unsuback.packet_id.get();
        if let Some(request) = peer.busy.requests.take(Kind::Unsubscribe, msg_id) {
            self.answer_once(index, request, None, now);
        }
    }

    /// Answers a request; a repeat of it gets the same answer.
    fn answer_once(
        &mut self,
        index: u32,
        request: Request,
        granted: Option<(Qos, ReturnCode)>,
        now: Time,
    ) {
        let peer = self.peers.get_mut(index);
        self.outbox
            .send(&peer.key, &requests::answer(&request, granted));
        peer.last_answer.set(request, granted, now);
    }

    /// Sends what may be sent; true when there may be more on the link.
    fn advance(&mut self, shard: &mut Shard, index: u32, now: Time) -> bool {
        let mut has_room = false;
        loop {
            let peer = self.peers.get_mut(index);
            let is_there = matches!(peer.state, State::Active | State::Awake)
                || (peer.state == State::Asleep && is_on(Mutant::SendToSleeper));
            if !is_there || peer.busy.outstanding.is_some() {
                return has_room;
            }
            if let Some(packet_id) = peer.busy.release {
                peer.busy.release = None;
                if peer
                    .busy
                    .ended
                    .take_if(|ended| *ended == packet_id)
                    .is_some()
                {
                    self.pass_ack(shard, index, (AckKind::PubComp, packet_id), now);
                    has_room = true;
                    continue;
                }
                self.send_awaited(index, Awaited::Release(packet_id), now);
                return has_room;
            }
            if peer.busy.deliveries.is_empty() {
                return has_room;
            }
            if peer.credit != PROVEN {
                let Some(left) = peer.credit.checked_sub(1) else {
                    return has_room;
                };
                peer.credit = left;
            }
            let Some(delivery) = peer.busy.deliveries.pop_front() else {
                return has_room;
            };
            has_room = true;
            let packet_id = delivery.packet_id.map(|id| (delivery.qos, id));
            match self.deliver(index, delivery, now) {
                Sent::Awaited => return has_room,
                Sent::Done => {}
                Sent::Dropped => self.acknowledge_dropped(shard, index, packet_id, now),
            }
        }
    }

    /// A message that its client is not sent is done with for the session.
    pub(super) fn acknowledge_dropped(
        &mut self,
        shard: &mut Shard,
        index: u32,
        packet: Option<(Qos, PacketId)>,
        now: Time,
    ) {
        let Some((qos, packet_id)) = packet else {
            return;
        };
        if qos == Qos::ExactlyOnce {
            self.end_exchange(shard, index, packet_id, now);
        } else {
            self.pass_ack(shard, index, (AckKind::PubAck, packet_id), now);
        }
    }

    /// Sends a delivery, or the registration that it needs.
    fn deliver(&mut self, index: u32, delivery: Delivery, now: Time) -> Sent {
        let settings = self.settings_of(self.peers.get(index).key.listener);
        let peer = self.peers.get_mut(index);
        let datagram_max = usize::from(settings.datagram_max);
        if PUBLISH_HEADER + delivery.payload.len() > datagram_max {
            self.stats.too_large += 1;
            return Sent::Dropped;
        }
        let topic = match topic_ref(peer, &delivery.topic, &settings) {
            Ok(topic) => topic,
            Err(Outward::New(topic_id)) => {
                if REGISTER_HEADER + delivery.topic.len() > datagram_max {
                    self.stats.too_large += 1;
                    return Sent::Dropped;
                }
                peer.last_msg_id = peer.last_msg_id.wrapping_add(1).max(1);
                let msg_id = peer.last_msg_id;
                peer.busy.deliveries.push_front(delivery);
                self.send_awaited(index, Awaited::Registration { topic_id, msg_id }, now);
                if is_on(Mutant::UseUnregistered) {
                    let peer = self.peers.get_mut(index);
                    peer.busy.outstanding = None;
                    peer.kept.topics.accepted(topic_id);
                }
                return Sent::Awaited;
            }
            Err(_) => {
                self.stats.muted += 1;
                return Sent::Dropped;
            }
        };
        if delivery.qos == Qos::AtMostOnce {
            let message = publish(&delivery, topic, delivery.dup);
            self.outbox.send(&peer.key, &message);
            if !delivery.retain || settings.pace_ms == 0 {
                return Sent::Done;
            }
            // All that is retained comes at once, and many clients have room for one datagram.
            peer.busy.outstanding = Some(Box::new(Outstanding {
                what: Awaited::Pause,
                sent: 0,
                due: now + Span::from_millis(u64::from(settings.pace_ms)),
                is_put_off: false,
            }));
            return Sent::Awaited;
        }
        let what = Awaited::Publication {
            delivery,
            repaired: false,
        };
        self.send_awaited(index, what, now);
        Sent::Awaited
    }

    fn send_awaited(&mut self, index: u32, what: Awaited, now: Time) {
        let settings = self.settings_of(self.peers.get(index).key.listener);
        let peer = self.peers.get_mut(index);
        peer.busy.outstanding = Some(Box::new(Outstanding {
            what,
            sent: 0,
            due: now,
            is_put_off: false,
        }));
        self.send_again(index, &settings, now);
    }

    /// Sends what waits for an answer, again if it was sent before.
    pub(super) fn send_again(&mut self, index: u32, settings: &Settings, now: Time) {
        let peer = self.peers.get_mut(index);
        let Some(mut outstanding) = peer.busy.outstanding.take() else {
            return;
        };
        let is_repeat = outstanding.sent > 0;
        self.stats.retransmitted += u64::from(is_repeat);
        match &outstanding.what {
            Awaited::Registration { topic_id, msg_id } => {
                if let Some(delivery) = peer.busy.deliveries.front() {
                    let message = Message::Register {
                        topic_id: *topic_id,
                        msg_id: *msg_id,
                        topic: &delivery.topic,
                    };
                    self.outbox.send(&peer.key, &message);
                }
            }
            Awaited::Publication { delivery, .. } => {
                let Ok(topic) = topic_ref(peer, &delivery.topic, settings) else {
                    self.begin_again(index, *outstanding);
                    return;
                };
                let message = publish(delivery, topic, delivery.dup || is_repeat);
                self.outbox.send(&peer.key, &message);
            }
            Awaited::Pause => return, // it is over
            Awaited::Release(packet_id) => {
                self.outbox
                    .send(&peer.key, &Message::PubRel(packet_id.get()));
            }
        }
        outstanding.is_put_off = false;
        outstanding.sent = outstanding.sent.saturating_add(1);
        outstanding.due = now + Peer::retry(settings);
        let peer = self.peers.get_mut(index);
        peer.busy.outstanding = Some(outstanding);
    }

    /// The client may not know the topic's id any more: the message waits in front for its registration.
    fn begin_again(&mut self, index: u32, outstanding: Outstanding) {
        if let Awaited::Publication { mut delivery, .. } = outstanding.what {
            delivery.dup = true;
            self.peers
                .get_mut(index)
                .busy
                .deliveries
                .push_front(delivery);
        }
    }

    /// PUBACK of a client.
    pub(super) fn acknowledged(
        &mut self,
        shard: &mut Shard,
        index: u32,
        msg_id: u16,
        code: ReturnCode,
        now: Time,
    ) {
        let peer = self.peers.get_mut(index);
        let Some(packet_id) = PacketId::new(msg_id) else {
            peer.kept.topics.all_unknown(); // of a message at QoS 0
            return;
        };
        let is_it = |one: &Outstanding| match &one.what {
            Awaited::Publication { delivery, .. } => delivery.packet_id == Some(packet_id),
            _ => false,
        };
        let Some(outstanding) = peer.busy.outstanding.take_if(|one| is_it(one)) else {
            self.stats.out_of_order += 1;
            return;
        };
        let Awaited::Publication {
            mut delivery,
            repaired,
        } = outstanding.what
        else {
            return;
        };
        if code == ReturnCode::InvalidTopicId && !repaired {
            // Registered once more, and sent again.
            if let Outward::Known(id) = peer.kept.topics.outward(&delivery.topic, u16::MAX) {
                peer.kept.topics.unknown(id);
                delivery.dup = true;
                peer.busy.deliveries.push_front(delivery);
                return;
            }
        }
        if delivery.qos == Qos::ExactlyOnce {
            // Refused: the exchange ends here, and PUBREL has no one to go to.
            self.end_exchange(shard, index, packet_id, now);
        } else {
            self.pass_ack(shard, index, (AckKind::PubAck, packet_id), now);
        }
    }

    /// Ends an exchange at QoS 2 that its client does not want: both halves are acknowledged for it.
    pub(super) fn end_exchange(
        &mut self,
        shard: &mut Shard,
        index: u32,
        packet_id: PacketId,
        now: Time,
    ) {
        self.peers.get_mut(index).busy.ended = Some(packet_id);
        self.pass_ack(shard, index, (AckKind::PubRec, packet_id), now);
    }
}

/// How a topic is named to its client; else what is to be done first.
fn topic_ref(peer: &mut Peer, topic: &str, settings: &Settings) -> Result<TopicRef, Outward> {
    if let [first, second] = *topic.as_bytes() {
        return Ok(TopicRef::Short([first, second]));
    }
    let predefined = peer.kept.predefined().iter();
    let known = predefined
        .copied()
        .find(|id| settings.predefined.topic(&peer.client_id, *id) == Some(topic));
    if let Some(id) = known {
        return Ok(TopicRef::Predefined(id));
    }
    match peer.kept.topics.outward(topic, settings.topics_max) {
        Outward::Known(id) => Ok(TopicRef::Normal(id)),
        other => Err(other),
    }
}

fn publish(delivery: &Delivery, topic: TopicRef, dup: bool) -> Message<'_> {
    Message::Publish(Publish {
        dup: dup && delivery.qos > Qos::AtMostOnce,
        qos: Some(delivery.qos),
        retain: delivery.retain,
        topic,
        msg_id: delivery.packet_id.map_or(0, PacketId::get),
        payload: &delivery.payload,
    })
}
