//! Packets that obey the protocol, made from choices.

use ringmq::mqtt::encode::UserPropertiesBuf;
use ringmq::mqtt::property::Property as P;
use ringmq::mqtt::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, Packet,
    PacketType, Publish, PublishProperties, Qos, ReasonCode, RetainHandling, Sender, SubAck,
    Subscribe, SubscribeFilters, SubscriptionOptions, Unsubscribe, UnsubscribeFilters, Version,
    Will,
};

use crate::choices::Choices;

/// Largest subscription identifier.
const IDENTIFIER_MAX: u32 = 268_435_455;

/// The encoded parts that a packet borrows.
#[derive(Debug)]
pub(crate) struct Material {
    pub(crate) version: Version,
    pub(crate) sender: Sender,
    packet_type: PacketType,
    users: UserPropertiesBuf,
    /// Properties of a publication.
    publish: Vec<u8>,
    topic_alias: Option<std::num::NonZeroU16>,
    message_expiry_interval_s: Option<u32>,
    /// Filters of SUBSCRIBE (with options) or UNSUBSCRIBE.
    filters: Vec<u8>,
    codes: Vec<u8>,
}

impl Material {
    /// `None` where the version or the sender has no packet of the type chosen.
    pub(crate) fn new(choices: &mut Choices<'_>, version: Version, sender: Sender) -> Option<Self> {
        let packet_type = PacketType::from_bits(1 + choices.below(15) as u8)?;
        if !may_send(version, sender, packet_type) {
            return None;
        }
        let mut material = Self {
            version,
            sender,
            packet_type,
            users: UserPropertiesBuf::new(),
            publish: Vec::new(),
            topic_alias: None,
            message_expiry_interval_s: None,
            filters: Vec::new(),
            codes: Vec::new(),
        };
        if version.is_v5() {
            for _ in 0..choices.below(8).saturating_sub(5) {
                material.users.push(choices.text(), choices.text());
            }
        }
        match packet_type {
            PacketType::Connect | PacketType::Publish if version.is_v5() => {
                material.choose_publish_properties(choices);
            }
            PacketType::Subscribe => material.choose_filters(choices, true),
            PacketType::Unsubscribe => material.choose_filters(choices, false),
            PacketType::SubAck | PacketType::UnsubAck => material.choose_codes(choices),
            _ => {}
        }
        Some(material)
    }

    fn choose_publish_properties(&mut self, choices: &mut Choices<'_>) {
        let is_will = self.packet_type == PacketType::Connect;
        let out = &mut self.publish;
        if let Some(format) = choices.maybe(Choices::flag) {
            P::PayloadFormatIndicator(format).put(out);
        }
        if let Some(text) = choices.maybe(Choices::text) {
            P::ContentType(text).put(out);
        }
        out.extend_from_slice(self.users.as_bytes());
        if let Some(topic) = choices.maybe(Choices::topic) {
            P::ResponseTopic(topic).put(out);
        }
        if let Some(data) = choices.maybe(Choices::data) {
            P::CorrelationData(data).put(out);
        }
        self.message_expiry_interval_s = choices.maybe(Choices::number);
        if is_will {
            return;
        }
        if let Some(seconds) = self.message_expiry_interval_s {
            P::MessageExpiryInterval(seconds).put(out);
        }
        self.topic_alias = choices.maybe(Choices::non_zero);
        if let Some(alias) = self.topic_alias {
            P::TopicAlias(alias).put(out);
        }
        if self.sender == Sender::Server {
            for _ in 0..choices.below(4) {
                P::SubscriptionIdentifier(choices.number() % IDENTIFIER_MAX + 1).put(out);
            }
        }
    }

    fn choose_filters(&mut self, choices: &mut Choices<'_>, has_options: bool) {
        for _ in 0..=choices.below(4) {
            let before = choices.one_of(&["", "", "+/", "$SYS/", "/"]);
            let after = choices.one_of(&["", "", "/#", "/+", "/"]);
            let topic = choices.topic();
            let most = 65_535 - before.len() - after.len();
            let topic = if topic.len() > most { "t" } else { topic };
            let filter = [before, topic, after].concat();
            self.filters.extend((filter.len() as u16).to_be_bytes());
            self.filters.extend(filter.bytes());
            if has_options {
                let options = options(choices, self.version.is_v5());
                self.filters.push(options.to_byte(self.version));
            }
        }
    }

    fn choose_codes(&mut self, choices: &mut Choices<'_>) {
        if !self.version.is_v5() && self.packet_type == PacketType::UnsubAck {
            return;
        }
        for _ in 0..=choices.below(4) {
            let code = if self.version.is_v5() {
                listed(choices, self.packet_type, Sender::Server) as u8
            } else {
                choices.one_of(&[0, 1, 2, 0x80])
            };
            self.codes.push(code);
        }
    }

    /// The packet itself.
    pub(crate) fn packet<'a, 'i: 'a>(&'a self, choices: &mut Choices<'i>) -> Packet<'a> {
        match self.packet_type {
            PacketType::Connect => Packet::Connect(Box::new(self.connect(choices))),
            PacketType::ConnAck => Packet::ConnAck(Box::new(self.connack(choices))),
            PacketType::Publish => Packet::Publish(self.publish(choices)),
            PacketType::PubAck => Packet::PubAck(self.ack(choices)),
            PacketType::PubRec => Packet::PubRec(self.ack(choices)),
            PacketType::PubRel => Packet::PubRel(self.ack(choices)),
            PacketType::PubComp => Packet::PubComp(self.ack(choices)),
            PacketType::Subscribe => Packet::Subscribe(Subscribe {
                packet_id: choices.packet_id(),
                subscription_identifier: self
                    .v5(choices, Choices::number)
                    .map(|number| number % IDENTIFIER_MAX + 1),
                user_properties: self.users.as_properties(),
                filters: SubscribeFilters {
                    raw: &self.filters,
                    version: self.version,
                },
            }),
            PacketType::SubAck => Packet::SubAck(self.suback(choices)),
            PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe {
                packet_id: choices.packet_id(),
                user_properties: self.users.as_properties(),
                filters: UnsubscribeFilters { raw: &self.filters },
            }),
            PacketType::UnsubAck => Packet::UnsubAck(self.suback(choices)),
            PacketType::PingReq => Packet::PingReq,
            PacketType::PingResp => Packet::PingResp,
            PacketType::Disconnect => Packet::Disconnect(self.disconnect(choices)),
            PacketType::Auth => Packet::Auth(Auth {
                reason: self.reason(choices),
                authentication_method: Some(choices.text()),
                authentication_data: choices.maybe(Choices::data),
                reason_string: choices.maybe(Choices::text),
                user_properties: self.users.as_properties(),
            }),
        }
    }

    /// A field that only 5.0 has.
    fn v5<'a, T>(
        &self,
        choices: &mut Choices<'a>,
        make: impl FnOnce(&mut Choices<'a>) -> T,
    ) -> Option<T> {
        choices.maybe(make).filter(|_| self.version.is_v5())
    }

    fn reason(&self, choices: &mut Choices<'_>) -> ReasonCode {
        listed(choices, self.packet_type, self.sender)
    }

    fn connect<'a, 'i: 'a>(&'a self, choices: &mut Choices<'i>) -> Connect<'a> {
        let v5 = self.version.is_v5();
        let method = self.v5(choices, Choices::text);
        let user_name = choices.maybe(Choices::text);
        Connect {
            version: self.version,
            is_bridge: !v5 && choices.flag(),
            clean_start: choices.flag(),
            keep_alive_s: choices.short(),
            client_id: choices.text(),
            will: choices.maybe(|choices| self.will(choices)),
            user_name,
            password: choices
                .maybe(Choices::data)
                .filter(|_| v5 || user_name.is_some()),
            properties: ConnectProperties {
                session_expiry_interval_s: self.v5(choices, Choices::number),
                receive_maximum: self.v5(choices, Choices::non_zero),
                maximum_packet_size: self.v5(choices, |choices| choices.number().max(1)),
                topic_alias_maximum: self.v5(choices, Choices::short),
                request_response_information: self.v5(choices, Choices::flag),
                request_problem_information: self.v5(choices, Choices::flag),
                user_properties: self.users.as_properties(),
                authentication_method: method,
                authentication_data: self.v5(choices, Choices::data).filter(|_| method.is_some()),
            },
        }
    }

    fn will<'a, 'i: 'a>(&'a self, choices: &mut Choices<'i>) -> Will<'a> {
        Will {
            topic: choices.topic(),
            payload: choices.data(),
            qos: choices.qos(),
            retain: choices.flag(),
            delay_interval_s: self.v5(choices, Choices::number).unwrap_or(0),
            properties: PublishProperties {
                message_expiry_interval_s: self.message_expiry_interval_s,
                raw: &self.publish,
                ..PublishProperties::default()
            },
        }
    }

    fn connack<'a, 'i: 'a>(&'a self, choices: &mut Choices<'i>) -> ConnAck<'a> {
        if !self.version.is_v5() {
            let reason = ReasonCode::from_connect_return_code(choices.below(6) as u8)
                .expect("return codes are 0 to 5");
            return ConnAck {
                session_present: self.session_present(choices, reason),
                reason,
                properties: ConnAckProperties::default(),
            };
        }
        let reason = self.reason(choices);
        ConnAck {
            session_present: self.session_present(choices, reason),
            reason,
            properties: ConnAckProperties {
                session_expiry_interval_s: choices.maybe(Choices::number),
                receive_maximum: choices.maybe(Choices::non_zero),
                maximum_qos: choices
                    .maybe(|choices| choices.one_of(&[Qos::AtMostOnce, Qos::AtLeastOnce])),
                retain_available: choices.maybe(Choices::flag),
                maximum_packet_size: choices.maybe(|choices| choices.number().max(1)),
                assigned_client_identifier: choices.maybe(Choices::text),
                topic_alias_maximum: choices.maybe(Choices::short),
                reason_string: choices.maybe(Choices::text),
                user_properties: self.users.as_properties(),
                wildcard_subscription_available: choices.maybe(Choices::flag),
                subscription_identifiers_available: choices.maybe(Choices::flag),
                shared_subscription_available: choices.maybe(Choices::flag),
                server_keep_alive_s: choices.maybe(Choices::short),
                response_information: choices.maybe(Choices::text),
                server_reference: choices.maybe(Choices::text),
                authentication_method: choices.maybe(Choices::text),
                authentication_data: choices.maybe(Choices::data),
            },
        }
    }

    fn session_present(&self, choices: &mut Choices<'_>, reason: ReasonCode) -> bool {
        choices.flag() && reason == ReasonCode::Success && self.version != Version::V31
    }

    fn publish<'a, 'i: 'a>(&'a self, choices: &mut Choices<'i>) -> Publish<'a> {
        let qos = choices.qos();
        let is_acknowledged = qos != Qos::AtMostOnce;
        let topic = choices.topic();
        Publish {
            dup: choices.flag() && is_acknowledged,
            qos,
            retain: choices.flag(),
            topic: if self.topic_alias.is_some() && choices.flag() {
                ""
            } else {
                topic
            },
            packet_id: is_acknowledged.then(|| choices.packet_id()),
            properties: PublishProperties {
                topic_alias: self.topic_alias,
                message_expiry_interval_s: self.message_expiry_interval_s,
                subscription_identifier: None,
                raw: &self.publish,
                raw_is_forwardable: false,
            },
            payload: choices.data(),
        }
    }

    fn ack<'a, 'i: 'a>(&'a self, choices: &mut Choices<'i>) -> Ack<'a> {
        let v5 = self.version.is_v5();
        Ack {
            packet_id: choices.packet_id(),
            reason: if v5 {
                self.reason(choices)
            } else {
                ReasonCode::Success
            },
            reason_string: self.v5(choices, Choices::text),
            user_properties: self.users.as_properties(),
        }
    }

    fn suback<'a, 'i: 'a>(&'a self, choices: &mut Choices<'i>) -> SubAck<'a> {
        SubAck {
            packet_id: choices.packet_id(),
            reason_string: self.v5(choices, Choices::text),
            user_properties: self.users.as_properties(),
            codes: &self.codes,
        }
    }

    fn disconnect<'a, 'i: 'a>(&'a self, choices: &mut Choices<'i>) -> Disconnect<'a> {
        if !self.version.is_v5() {
            return Disconnect::default();
        }
        Disconnect {
            reason: self.reason(choices),
            session_expiry_interval_s: choices
                .maybe(Choices::number)
                .filter(|_| self.sender == Sender::Client),
            reason_string: choices.maybe(Choices::text),
            server_reference: choices.maybe(Choices::text),
            user_properties: self.users.as_properties(),
        }
    }
}

fn options(choices: &mut Choices<'_>, v5: bool) -> SubscriptionOptions {
    let qos = choices.qos();
    if !v5 {
        return SubscriptionOptions {
            qos,
            ..SubscriptionOptions::default()
        };
    }
    SubscriptionOptions {
        qos,
        no_local: choices.flag(),
        retain_as_published: choices.flag(),
        retain_handling: choices.one_of(&[
            RetainHandling::Send,
            RetainHandling::SendIfNew,
            RetainHandling::DoNotSend,
        ]),
    }
}

/// A code listed for the packet: the first one from a chosen byte on.
fn listed(choices: &mut Choices<'_>, packet_type: PacketType, sender: Sender) -> ReasonCode {
    let from = choices.byte();
    (0..=255u8)
        .filter_map(|step| ReasonCode::try_from(from.wrapping_add(step)).ok())
        .find(|reason| reason.is_listed(packet_type, sender))
        .expect("packets with a reason code have codes listed")
}

/// Table 2-1 of the specifications.
fn may_send(version: Version, sender: Sender, packet_type: PacketType) -> bool {
    use PacketType as T;
    match packet_type {
        T::Connect | T::Subscribe | T::Unsubscribe | T::PingReq => sender == Sender::Client,
        T::ConnAck | T::SubAck | T::UnsubAck | T::PingResp => sender == Sender::Server,
        T::Publish | T::PubAck | T::PubRec | T::PubRel | T::PubComp => true,
        T::Disconnect => sender == Sender::Client || version.is_v5(),
        T::Auth => version.is_v5(),
    }
}
