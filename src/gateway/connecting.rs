//! CONNECT: a new client, one that comes back, and the conversation about its will.

use super::busy::WhenBusy;
use super::directory::{refusal, Source};
use super::kept::{Kept, Will};
use super::link;
use super::peer::{LinkPing, Peer, State, Terms};
use super::requests::LastAnswer;
use super::{Gateway, CONNECTING_MAX};
use crate::mqtt::{topic, Qos};
use crate::mqtt_sn::{Connect, Message, ReturnCode, WillTopic};
use crate::shard::{CloseCause, Origin, RemoteEnd, Shard};
use crate::time::Time;

/// Deliveries sent to a client that has sent nothing but its CONNECT: its address may be forged.
const CREDIT: u8 = 8;
/// Times the will topic is asked for: what is sent to an address that has sent only a CONNECT, which has 7
/// octets at least, is not more than that.
const WILL_TOPIC_REQUESTS: u8 = 3;

impl Gateway {
    /// A CONNECT has come to the home of its client.
    pub(super) fn connect(
        &mut self,
        shard: &mut Shard,
        source: Source,
        connect: &Connect<'_>,
        now: Time,
    ) {
        let Some(index) = self.peers.of_key(source.hash, &source.key) else {
            self.connect_new(shard, source, connect, now);
            return;
        };
        let settings = self.settings_of(source.key.listener);
        if let Some(code) = refusal(connect, &settings) {
            self.outbox.send(&source.key, &Message::ConnAck(code));
            return;
        }
        let terms = terms_of(connect);
        let peer = self.peers.get_mut(index);
        if *peer.client_id != *connect.client_id {
            self.cut(shard, index, CloseCause::EndOfStream, now);
            self.connect_new(shard, source, connect, now);
            return;
        }
        (peer.reader, peer.number) = (source.reader, source.number);
        let repeats = peer.terms == terms && now.since(peer.connected_at) < Peer::retry(&settings);
        match peer.state {
            State::Entering => {} // its CONNACK is on its way
            State::WillTopic | State::WillMessage if repeats => self.ask_will(shard, index, now),
            State::Asleep | State::Awake if !terms.clean => {
                let slept = peer.state == State::Asleep;
                peer.state = State::Active;
                peer.connected_at = now;
                peer.kept.topics.all_unknown();
                let accepted = Message::ConnAck(ReturnCode::Accepted);
                self.outbox.send(&source.key, &accepted);
                self.heard(index, now);
                if slept {
                    self.send_again(index, &settings, now);
                }
                self.pull(shard, index, now);
            }
            State::Active if repeats => {
                let accepted = Message::ConnAck(ReturnCode::Accepted);
                self.outbox.send(&source.key, &accepted);
            }
            _ => {
                self.restart(index);
                self.begin(shard, index, terms, now);
            }
        }
    }

    fn connect_new(&mut self, shard: &mut Shard, source: Source, connect: &Connect<'_>, now: Time) {
        let Source {
            key,
            reader,
            number,
            ..
        } = source;
        let terms = terms_of(connect);
        let index = self.peers.insert(Peer {
            key,
            reader,
            number,
            client_id: connect.client_id.into(),
            state: State::WillTopic,
            counted: State::WillTopic.place(),
            terms,
            connected_at: now,
            link: None,
            kept: Kept::default(),
            busy: WhenBusy::default(),
            last_answer: LastAnswer::default(),
            sleep_s: 0,
            heard: now,
            is_pinged: false,
            credit: CREDIT,
            link_ping: None,
            qos_max: Qos::ExactlyOnce,
            retain_available: true,
            last_msg_id: 0,
            armed: Time::FAR,
            armed_next: Time::FAR,
        });
        self.connecting += 1;
        self.begin(shard, index, terms, now);
    }

    /// The peer begins anew: its link, if it has one, stays until the shard has given its session to the next.
    fn restart(&mut self, index: u32) {
        let peer = self.peers.get_mut(index);
        if !matches!(peer.state, State::WillTopic | State::WillMessage) {
            self.connecting += 1;
        }
        peer.state = State::WillTopic;
        peer.busy = WhenBusy::default();
        peer.last_answer.forget();
        (peer.is_pinged, peer.credit) = (false, CREDIT);
    }

    /// The first step of a connection: what is kept for it, then its will.
    fn begin(&mut self, shard: &mut Shard, index: u32, terms: Terms, now: Time) {
        let inherited = if terms.clean {
            None
        } else {
            self.inherited(shard, index)
        };
        let peer = self.peers.get_mut(index);
        let client_id = peer.client_id.clone();
        peer.terms = terms;
        peer.connected_at = now;
        peer.kept = inherited.unwrap_or_default();
        peer.kept.topics.all_unknown();
        if terms.clean {
            self.kept.remove(&client_id);
        }
        if !terms.will {
            self.enter(shard, index, now);
        } else if self.connecting > CONNECTING_MAX {
            self.refuse(shard, index, ReturnCode::Congestion);
        } else {
            self.ask_will(shard, index, now);
        }
    }

    /// What the session of a client keeps here, wherever it is.
    fn inherited(&mut self, shard: &mut Shard, index: u32) -> Option<Kept> {
        let client_id = self.peers.get(index).client_id.clone();
        if !shard.has_session(&client_id) {
            self.kept.remove(&client_id);
            return None;
        }
        let link = shard.connection_of_client(&client_id);
        if let Some(other) = link.and_then(|link| self.peers.of_link(link)) {
            let other = self.peers.get(other);
            return (!other.terms.clean).then(|| other.kept.clone());
        }
        // Of the time before an MQTT client had the session, or of no time of this process.
        let kept = self.kept.get(&client_id).cloned();
        Some(kept.unwrap_or_else(|| Kept::of(shard.sensor_state(&client_id))))
    }

    /// Asks for the part of the will that is missing, or gives up.
    pub(super) fn ask_will(&mut self, shard: &mut Shard, index: u32, now: Time) {
        let settings = self.settings_of(self.peers.get(index).key.listener);
        let peer = self.peers.get_mut(index);
        let (request, most) = if peer.state == State::WillTopic {
            (Message::WillTopicReq, WILL_TOPIC_REQUESTS)
        } else {
            (Message::WillMsgReq, settings.retries.saturating_add(1))
        };
        peer.busy.asked.0 += 1;
        peer.busy.asked.1 = now + Peer::retry(&settings);
        if peer.busy.asked.0 <= most {
            self.outbox.send(&peer.key, &request);
            self.arm(index);
        } else {
            self.stats.lost += 1;
            self.lose(shard, index, now);
        }
    }

    pub(super) fn will_topic(
        &mut self,
        shard: &mut Shard,
        index: u32,
        will: Option<WillTopic<'_>>,
        now: Time,
    ) {
        let peer = self.peers.get_mut(index);
        if peer.state != State::WillTopic {
            // A repeat, whose answer was lost.
            if peer.state == State::WillMessage {
                self.outbox.send(&peer.key, &Message::WillMsgReq);
            }
            return;
        }
        let Some(will) = will else {
            peer.kept.set_will(None);
            self.enter(shard, index, now);
            return;
        };
        if !topic::is_valid_name(will.topic) {
            self.refuse(shard, index, ReturnCode::NotSupported);
            return;
        }
        peer.kept.set_will(Some(Will {
            topic: will.topic.into(),
            qos: will.qos,
            retain: will.retain,
            payload: Box::default(),
        }));
        peer.state = State::WillMessage;
        peer.busy.asked = (0, now);
        self.ask_will(shard, index, now);
    }

    pub(super) fn will_message(
        &mut self,
        shard: &mut Shard,
        index: u32,
        payload: &[u8],
        now: Time,
    ) {
        let peer = self.peers.get_mut(index);
        if peer.state != State::WillMessage {
            self.stats.out_of_order += 1;
            return;
        }
        peer.kept.set_will_message(payload);
        self.enter(shard, index, now);
    }

    /// Gives the shard the CONNECT of a client.
    fn enter(&mut self, shard: &mut Shard, index: u32, now: Time) {
        self.connecting -= 1;
        let peer = self.peers.get_mut(index);
        peer.state = State::Entering;
        if peer.busy.asked.0 > 0 {
            peer.busy.asked = (0, now);
        }
        let address = peer.key.address();
        let (ip, port) = (address.ip().to_canonical(), address.port());
        let mut origin = Origin::new(RemoteEnd::Ip((ip, port).into()), peer.key.listener);
        origin.keeps_will = true;
        let before = peer.link.take();
        let Some(link) = shard.handle_opened(origin, now) else {
            peer.link = before;
            self.refuse(shard, index, ReturnCode::Congestion);
            return;
        };
        peer.link = Some(link);
        let datagram_max = self
            .settings_of(self.peers.get(index).key.listener)
            .datagram_max;
        if let Some(before) = before {
            self.peers.part(before);
        }
        self.peers.join(link, index);
        let peer = self.peers.get(index);
        let mut packet = Vec::new();
        link::connect(
            &peer.client_id,
            &peer.terms,
            peer.kept.will(),
            datagram_max,
            &mut packet,
        );
        shard.handle_bytes(link, &packet, now);
        self.pull(shard, index, now);
    }

    /// The shard has answered the CONNECT of a client.
    pub(super) fn entered(&mut self, index: u32, connack: &crate::mqtt::ConnAck<'_>, now: Time) {
        let peer = self.peers.get_mut(index);
        if peer.state != State::Entering {
            return; // the specification of MQTT has one CONNACK for each link
        }
        let code = return_code(connack.reason);
        self.outbox.send(&peer.key, &Message::ConnAck(code));
        if code != ReturnCode::Accepted {
            peer.state = State::Leaving; // its link is about to be closed
            return;
        }
        let properties = &connack.properties;
        peer.state = State::Active;
        peer.heard = now;
        peer.qos_max = properties.maximum_qos.unwrap_or(Qos::ExactlyOnce);
        peer.retain_available = properties.retain_available.unwrap_or(true);
        let keep_alive_s = properties
            .server_keep_alive_s
            .filter(|seconds| *seconds > 0);
        peer.link_ping =
            keep_alive_s.map(|keep_alive_s| Box::new(LinkPing::new(keep_alive_s, now)));
    }

    /// A client is not taken; it has no link.
    fn refuse(&mut self, shard: &mut Shard, index: u32, code: ReturnCode) {
        let key = self.peers.get(index).key.clone();
        self.outbox.send(&key, &Message::ConnAck(code));
        self.leave(shard, index);
    }
}

fn terms_of(connect: &Connect<'_>) -> Terms {
    Terms {
        clean: connect.clean_session,
        will: connect.will,
        duration_s: connect.duration_s,
    }
}

/// Our answer for the shard's reason.
pub(super) fn return_code(reason: crate::mqtt::ReasonCode) -> ReturnCode {
    use crate::mqtt::ReasonCode as R;
    match reason {
        reason if (reason as u8) < 0x80 => ReturnCode::Accepted,
        R::QuotaExceeded
        | R::ServerBusy
        | R::ServerUnavailable
        | R::ServerShuttingDown
        | R::ConnectionRateExceeded
        | R::MessageRateTooHigh => ReturnCode::Congestion,
        _ => ReturnCode::NotSupported,
    }
}
