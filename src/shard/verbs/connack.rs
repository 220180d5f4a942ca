//! CONNACK: what a client is granted, or why it is refused.

use std::num::NonZeroU16;

use crate::ids::{ConnectionId, ListenerId};
use crate::mqtt::{
    encode, ConnAck, ConnAckProperties, Connect, Qos, ReasonCode, Version, Violation,
};
use crate::mutant::{is_on, Mutant};
use crate::shard::clients::Clients;
use crate::shard::notices::About;
use crate::shard::queries::captures::Captured;
use crate::shard::verbs::connect::Granted;
use crate::shard::Shard;
use crate::time::Time;

impl Shard {
    /// The answer to a CONNECT that is accepted, for a session that is new.
    pub(in crate::shard) fn connack<'a>(
        &self,
        id: ConnectionId,
        connect: &Connect<'_>,
        assigned: Option<&'a str>,
        granted: &Granted,
    ) -> ConnAck<'a> {
        let limits = &self.config.limits;
        let connection = self.clients.connection(id);
        let announced = connection.announced;
        let qos_max = self.config.policy(connection.origin.listener).qos_max;
        let properties = ConnAckProperties {
            session_expiry_interval_s: (granted.session_expiry_s != granted.asked_s)
                .then_some(granted.session_expiry_s),
            receive_maximum: NonZeroU16::new(announced.receive_maximum)
                .filter(|max| max.get() < u16::MAX),
            maximum_packet_size: Some(announced.packet_size_max),
            maximum_qos: Some(qos_max).filter(|max| *max < Qos::ExactlyOnce), // [MQTT-3.2.2-9]
            retain_available: (!limits.retains()).then_some(false),           // [MQTT-3.2.2-14]
            assigned_client_identifier: assigned,
            topic_alias_maximum: Some(announced.topic_alias_maximum).filter(|max| *max > 0),
            server_keep_alive_s: (granted.keep_alive_s != connect.keep_alive_s)
                .then_some(granted.keep_alive_s), // [MQTT-3.1.2-21]
            ..ConnAckProperties::default()
        };
        ConnAck {
            session_present: false,
            reason: ReasonCode::Success,
            properties,
        }
    }

    pub(in crate::shard) fn refuse_with(
        &mut self,
        id: ConnectionId,
        connect: &Connect<'_>,
        violation: Violation,
        now: Time,
    ) {
        self.refuse_named(id, connect.client_id, connect.version, violation, now);
    }

    pub(in crate::shard) fn refuse_named(
        &mut self,
        id: ConnectionId,
        client_id: &str,
        version: Version,
        violation: Violation,
        now: Time,
    ) {
        self.outbox.stats.connects_refused += 1;
        self.outbox.stats.violations.count(&violation);
        let reply = Some((version, violation.reason()));
        self.refuse_connect(id, Some(client_id), reply, &violation.to_string(), now);
    }

    /// Refuses a client of 5.0 with the address where its client id is served.
    pub(in crate::shard) fn send_elsewhere(
        &mut self,
        id: ConnectionId,
        client_id: &str,
        address: &str,
        now: Time,
    ) {
        let violation = Violation::OtherOwner;
        let connack = ConnAck {
            session_present: false,
            reason: violation.reason(),
            properties: ConnAckProperties {
                server_reference: Some(address),
                ..Default::default()
            },
        };
        if self.clients.connack_fits(id, Version::V5, &connack) {
            let clients = &mut self.clients;
            clients.connection_mut(id).version = Version::V5;
            clients.reply(id, |out, version| encode::connack(out, version, &connack));
        }
        self.outbox.stats.connects_refused += 1;
        self.outbox.stats.violations.count(&violation);
        self.refuse_connect(id, Some(client_id), None, &violation.to_string(), now);
    }

    /// Answers a CONNECT that is refused, if there is an answer, and ends the connection.
    pub(in crate::shard) fn refuse_connect(
        &mut self,
        id: ConnectionId,
        client_id: Option<&str>,
        reply: Option<(Version, ReasonCode)>,
        text: &str,
        now: Time,
    ) {
        self.refuse_connect_as(id, client_id, reply, (text, text), now);
    }

    /// The same with a sentence for the client and another for the log.
    pub(in crate::shard) fn refuse_connect_as(
        &mut self,
        id: ConnectionId,
        client_id: Option<&str>,
        reply: Option<(Version, ReasonCode)>,
        (told, text): (&str, &str),
        now: Time,
    ) {
        if let Some((version, reason)) = reply {
            self.clients.reply_refusal(id, (version, reason), told);
        }
        let peer = self.clients.connection(id).origin.peer;
        self.clients.trace_end(id, text);
        if self.is_captured(id) {
            self.capture(id, Captured::Ends(text.into()), now);
        }
        // A bridge says so itself, under its name.
        if self.clients.connection(id).origin.listener != ListenerId::BRIDGES {
            let about = About::refusal(text, client_id, Some(peer));
            self.notice(&about, now, || format!("connection refused: {text}"));
        }
        self.start_closing(id, now);
    }
}

impl Clients {
    /// CONNACK with the reason why a connection ends before there was another.
    pub(in crate::shard) fn reply_refusal(
        &mut self,
        id: ConnectionId,
        (version, reason): (Version, ReasonCode),
        told: &str,
    ) {
        self.connection_mut(id).end_reason = Some(reason);
        // [MQTT-3.2.2-6] of 3.1.1: where no return code fits, close without a CONNACK.
        if !version.is_v5() && reason.connect_return_code() == 0 {
            return;
        }
        self.connection_mut(id).version = version;
        let mut connack = ConnAck {
            session_present: false,
            reason,
            properties: ConnAckProperties {
                reason_string: version.is_v5().then_some(told),
                ..Default::default()
            },
        };
        if !self.connack_fits(id, version, &connack) {
            connack.properties.reason_string = None; // [MQTT-3.2.2-19]
        }
        if self.connack_fits(id, version, &connack) {
            self.reply(id, |out, version| encode::connack(out, version, &connack));
        }
    }

    /// True when the client takes a packet of this size [MQTT-3.1.2-24].
    pub(in crate::shard) fn connack_fits(
        &self,
        id: ConnectionId,
        version: Version,
        connack: &ConnAck<'_>,
    ) -> bool {
        let max = self.connection(id).packet_size_max;
        if max == u32::MAX {
            return true;
        }
        let mut bytes = Vec::new();
        encode::connack(&mut bytes, version, connack);
        bytes.len() <= max as usize
    }

    /// Maximum Packet Size of a CONNECT.
    pub(in crate::shard) fn limit_packets_to(&mut self, id: ConnectionId, max: u32) {
        if !is_on(Mutant::ForgetPacketSizeMax) {
            self.connection_mut(id).packet_size_max = max;
        }
    }
}
