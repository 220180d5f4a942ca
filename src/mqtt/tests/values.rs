//! Packets that obey the protocol, made from generated values.

use std::num::NonZeroU16;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::mqtt::encode::UserPropertiesBuf;

/// Values from which a packet is made; `build` picks what the packet needs.
#[derive(Clone, Debug)]
pub(super) struct Values {
    pub(super) version: Version,
    pub(super) sender: Sender,
    packet_type: u8,
    /// One bit for each optional field.
    present: u32,
    texts: Vec<String>,
    topics: Vec<String>,
    data: Vec<Vec<u8>>,
    numbers: Vec<u32>,
    pairs: Vec<(String, String)>,
    codes: Vec<u8>,
}

pub(super) fn values() -> impl Strategy<Value = Values> {
    let version = prop_oneof![Just(Version::V31), Just(Version::V311), Just(Version::V5)];
    let sender = prop_oneof![Just(Sender::Client), Just(Sender::Server)];
    let text = prop_oneof![9 => "[ -~äß€𝄞]{0,12}", 1 => "[a-z]{120,300}"];
    let topic = "[a-z/$ä]{1,20}";
    (
        (version, sender, 1..=15u8, any::<u32>()),
        vec(text, 8),
        vec(topic, 1..4),
        vec(vec(any::<u8>(), 0..200), 4),
        vec(any::<u32>(), 8),
        vec(("[a-z]{0,5}", "[ -~€]{0,40}"), 0..4),
        vec(any::<u8>(), 1..5),
    )
        .prop_map(
            |(
                (version, sender, packet_type, present),
                texts,
                topics,
                data,
                numbers,
                pairs,
                codes,
            )| {
                Values {
                    version,
                    sender,
                    packet_type,
                    present,
                    texts,
                    topics,
                    data,
                    numbers,
                    pairs,
                    codes,
                }
            },
        )
}

/// Encoded parts that packets borrow.
pub(super) struct Encoded {
    users: UserPropertiesBuf,
    /// User properties and others in a publication.
    publish_raw: Vec<u8>,
    will_raw: Vec<u8>,
    subscribe: Vec<u8>,
    unsubscribe: Vec<u8>,
    codes: Vec<u8>,
}

impl Values {
    fn bit(&self, bit: u32) -> bool {
        self.present & (1 << bit) != 0
    }

    fn text(&self, index: usize) -> Option<&str> {
        self.bit(index as u32).then(|| self.texts[index].as_str())
    }

    fn number(&self, index: usize) -> Option<u32> {
        self.bit(8 + index as u32).then(|| self.numbers[index])
    }

    fn short(&self, index: usize) -> Option<u16> {
        self.number(index).map(|number| number as u16)
    }

    fn non_zero(&self, index: usize) -> Option<NonZeroU16> {
        self.short(index).and_then(NonZeroU16::new)
    }

    fn boolean(&self, bit: u32) -> Option<bool> {
        self.bit(bit).then(|| self.bit(bit + 1))
    }

    fn data(&self, index: usize) -> Option<&[u8]> {
        self.bit(16 + index as u32)
            .then(|| self.data[index].as_slice())
    }

    fn qos(&self) -> Qos {
        Qos::from_bits((self.numbers[0] % 3) as u8).unwrap()
    }

    fn packet_id(&self) -> PacketId {
        PacketId::new((self.numbers[1] % 65_535) as u16 + 1).unwrap()
    }

    fn is_v5(&self) -> bool {
        self.version.is_v5()
    }

    /// A code listed for this packet.
    fn reason(&self) -> ReasonCode {
        let packet_type = PacketType::from_bits(self.packet_type).unwrap();
        let listed: Vec<ReasonCode> = (0..=255)
            .filter_map(|byte| ReasonCode::try_from(byte).ok())
            .filter(|reason| reason.is_listed(packet_type, self.sender))
            .collect();
        listed[self.numbers[2] as usize % listed.len()]
    }

    pub(super) fn encoded(&self) -> Encoded {
        use crate::mqtt::property::Property as P;
        let mut users = UserPropertiesBuf::new();
        if self.is_v5() {
            for (name, value) in &self.pairs {
                users.push(name, value);
            }
        }
        let mut publish_raw = Vec::new();
        if self.is_v5() {
            if self.bit(0) {
                P::PayloadFormatIndicator(self.bit(1)).put(&mut publish_raw);
            }
            if self.bit(2) {
                P::ContentType(&self.texts[2]).put(&mut publish_raw);
            }
            publish_raw.extend_from_slice(users.as_bytes());
            if self.bit(3) {
                P::ResponseTopic(&self.topics[0]).put(&mut publish_raw);
            }
            if self.bit(4) {
                P::CorrelationData(&self.data[0]).put(&mut publish_raw);
            }
        }
        let will_raw = publish_raw.clone();
        if self.is_v5() {
            if let Some(alias) = self.non_zero(3) {
                P::TopicAlias(alias).put(&mut publish_raw);
            }
            if let Some(expiry) = self.number(4) {
                P::MessageExpiryInterval(expiry).put(&mut publish_raw);
            }
            if self.sender == Sender::Server {
                for number in self.numbers.iter().take(self.pairs.len()) {
                    P::SubscriptionIdentifier(number % 268_435_455 + 1).put(&mut publish_raw);
                }
            }
        }
        let mut subscribe = Vec::new();
        let mut unsubscribe = Vec::new();
        for (index, topic) in self.topics.iter().enumerate() {
            let number = self.numbers[index];
            let options = SubscriptionOptions {
                qos: Qos::from_bits((number % 3) as u8).unwrap(),
                no_local: self.is_v5() && number & 8 != 0,
                retain_as_published: self.is_v5() && number & 16 != 0,
                retain_handling: match number >> 8 & 3 {
                    1 if self.is_v5() => RetainHandling::SendIfNew,
                    2 if self.is_v5() => RetainHandling::DoNotSend,
                    _ => RetainHandling::Send,
                },
            };
            for out in [&mut subscribe, &mut unsubscribe] {
                out.extend((topic.len() as u16).to_be_bytes());
                out.extend(topic.bytes());
            }
            subscribe.push(options.to_byte(self.version));
        }
        let listed = |packet_type, byte: u8| {
            ReasonCode::try_from(byte).is_ok_and(|c| c.is_listed(packet_type, Sender::Server))
        };
        let codes = self
            .codes
            .iter()
            .map(|&byte| match (self.packet_type, self.version) {
                (9, Version::V5) if listed(PacketType::SubAck, byte) => byte,
                (11, Version::V5) if listed(PacketType::UnsubAck, byte) => byte,
                (9, Version::V31 | Version::V311) => [0, 1, 2, 0x80][usize::from(byte % 4)],
                _ => 0x80,
            })
            .collect();
        Encoded {
            users,
            publish_raw,
            will_raw,
            subscribe,
            unsubscribe,
            codes,
        }
    }

    fn ack<'a>(&'a self, encoded: &'a Encoded) -> Ack<'a> {
        Ack {
            packet_id: self.packet_id(),
            reason: if self.is_v5() {
                self.reason()
            } else {
                ReasonCode::Success
            },
            reason_string: self.text(0).filter(|_| self.is_v5()),
            user_properties: encoded.users.as_properties(),
        }
    }

    fn suback<'a>(&'a self, encoded: &'a Encoded) -> SubAck<'a> {
        let has_codes = self.is_v5() || self.packet_type == 9;
        SubAck {
            packet_id: self.packet_id(),
            reason_string: self.text(0).filter(|_| self.is_v5()),
            user_properties: encoded.users.as_properties(),
            codes: if has_codes { &encoded.codes } else { &[] },
        }
    }

    fn connect<'a>(&'a self, encoded: &'a Encoded) -> Connect<'a> {
        let v5 = self.is_v5();
        let method = self.text(4).filter(|_| v5);
        let properties = ConnectProperties {
            session_expiry_interval_s: self.number(0).filter(|_| v5),
            receive_maximum: self.non_zero(1).filter(|_| v5),
            maximum_packet_size: self.number(2).filter(|&size| v5 && size > 0),
            topic_alias_maximum: self.short(3).filter(|_| v5),
            request_response_information: self.boolean(20).filter(|_| v5),
            request_problem_information: self.boolean(22).filter(|_| v5),
            user_properties: encoded.users.as_properties(),
            authentication_method: method,
            authentication_data: self.data(0).filter(|_| method.is_some()),
        };
        let user_name = self.text(1);
        Connect {
            version: self.version,
            is_bridge: self.bit(28) && !v5,
            clean_start: self.bit(30),
            keep_alive_s: self.numbers[5] as u16,
            client_id: &self.texts[0],
            will: self.bit(31).then(|| Will {
                topic: &self.topics[0],
                payload: &self.data[1],
                qos: self.qos(),
                retain: self.bit(29),
                delay_interval_s: if v5 { self.numbers[6] } else { 0 },
                properties: PublishProperties {
                    message_expiry_interval_s: self.number(4).filter(|_| v5),
                    raw: &encoded.will_raw,
                    ..PublishProperties::default()
                },
            }),
            user_name,
            password: self.data(2).filter(|_| v5 || user_name.is_some()),
            properties,
        }
    }

    fn connack<'a>(&'a self, encoded: &'a Encoded) -> ConnAck<'a> {
        let v5 = self.is_v5();
        let reason = if v5 {
            self.reason()
        } else {
            ReasonCode::from_connect_return_code((self.numbers[2] % 6) as u8).unwrap()
        };
        let properties = ConnAckProperties {
            session_expiry_interval_s: self.number(0),
            receive_maximum: self.non_zero(1),
            maximum_qos: self.boolean(20).map(|one| {
                if one {
                    Qos::AtLeastOnce
                } else {
                    Qos::AtMostOnce
                }
            }),
            retain_available: self.boolean(21),
            maximum_packet_size: self.number(2).filter(|&size| size > 0),
            assigned_client_identifier: self.text(0),
            topic_alias_maximum: self.short(3),
            reason_string: self.text(1),
            user_properties: encoded.users.as_properties(),
            wildcard_subscription_available: self.boolean(22),
            subscription_identifiers_available: self.boolean(23),
            shared_subscription_available: self.boolean(24),
            server_keep_alive_s: self.short(4),
            response_information: self.text(2),
            server_reference: self.text(3),
            authentication_method: self.text(4),
            authentication_data: self.data(0),
        };
        ConnAck {
            session_present: self.bit(28)
                && reason == ReasonCode::Success
                && self.version != Version::V31,
            reason,
            properties: if v5 {
                properties
            } else {
                ConnAckProperties::default()
            },
        }
    }

    fn publish<'a>(&'a self, encoded: &'a Encoded) -> Publish<'a> {
        let properties = PublishProperties {
            topic_alias: self.non_zero(3).filter(|_| self.is_v5()),
            message_expiry_interval_s: self.number(4).filter(|_| self.is_v5()),
            subscription_identifier: None,
            raw: &encoded.publish_raw,
            raw_is_forwardable: false,
        };
        let qos = self.qos();
        Publish {
            dup: qos != Qos::AtMostOnce && self.bit(30),
            qos,
            retain: self.bit(31),
            topic: if properties.topic_alias.is_some() && self.bit(29) {
                ""
            } else {
                &self.topics[0]
            },
            packet_id: (qos != Qos::AtMostOnce).then(|| self.packet_id()),
            properties,
            payload: &self.data[3],
        }
    }

    /// A packet that obeys the protocol, or `None` where sender or version has none of this type.
    pub(super) fn build<'a>(&'a self, encoded: &'a Encoded) -> Option<Packet<'a>> {
        let client = self.sender == Sender::Client;
        let users = encoded.users.as_properties();
        Some(match self.packet_type {
            1 if client => Packet::Connect(Box::new(self.connect(encoded))),
            2 if !client => Packet::ConnAck(Box::new(self.connack(encoded))),
            3 => Packet::Publish(self.publish(encoded)),
            4 => Packet::PubAck(self.ack(encoded)),
            5 => Packet::PubRec(self.ack(encoded)),
            6 => Packet::PubRel(self.ack(encoded)),
            7 => Packet::PubComp(self.ack(encoded)),
            8 if client => Packet::Subscribe(Subscribe {
                packet_id: self.packet_id(),
                subscription_identifier: self
                    .number(0)
                    .filter(|_| self.is_v5())
                    .map(|number| number % 268_435_455 + 1),
                user_properties: users,
                filters: SubscribeFilters {
                    raw: &encoded.subscribe,
                    version: self.version,
                },
            }),
            9 if !client => Packet::SubAck(self.suback(encoded)),
            10 if client => Packet::Unsubscribe(Unsubscribe {
                packet_id: self.packet_id(),
                user_properties: users,
                filters: UnsubscribeFilters {
                    raw: &encoded.unsubscribe,
                },
            }),
            11 if !client => Packet::UnsubAck(self.suback(encoded)),
            12 if client => Packet::PingReq,
            13 if !client => Packet::PingResp,
            14 if self.is_v5() => Packet::Disconnect(Disconnect {
                reason: self.reason(),
                session_expiry_interval_s: self.number(0).filter(|_| client),
                reason_string: self.text(0),
                server_reference: self.text(1),
                user_properties: users,
            }),
            14 if client => Packet::Disconnect(Disconnect::default()),
            15 if self.is_v5() => Packet::Auth(Auth {
                reason: self.reason(),
                authentication_method: Some(&self.texts[0]),
                authentication_data: self.data(0),
                reason_string: self.text(1),
                user_properties: users,
            }),
            _ => return None,
        })
    }
}
