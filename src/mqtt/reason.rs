//! Reason codes, MQTT 5.0 section 2.4, and their v3 equivalents.

use super::packet_type::{PacketType, Sender};

/// A reason code; 0x80 and above is failure. One name per value: success, normal
/// disconnection and granted QoS 0 are all `Success`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ReasonCode {
    #[default]
    Success = 0x00,
    GrantedQos1 = 0x01,
    GrantedQos2 = 0x02,
    DisconnectWithWill = 0x04,
    NoMatchingSubscribers = 0x10,
    NoSubscriptionExisted = 0x11,
    ContinueAuthentication = 0x18,
    ReAuthenticate = 0x19,
    UnspecifiedError = 0x80,
    MalformedPacket = 0x81,
    ProtocolError = 0x82,
    ImplementationSpecificError = 0x83,
    UnsupportedProtocolVersion = 0x84,
    ClientIdentifierNotValid = 0x85,
    BadUserNameOrPassword = 0x86,
    NotAuthorized = 0x87,
    ServerUnavailable = 0x88,
    ServerBusy = 0x89,
    Banned = 0x8A,
    ServerShuttingDown = 0x8B,
    BadAuthenticationMethod = 0x8C,
    KeepAliveTimeout = 0x8D,
    SessionTakenOver = 0x8E,
    TopicFilterInvalid = 0x8F,
    TopicNameInvalid = 0x90,
    PacketIdentifierInUse = 0x91,
    PacketIdentifierNotFound = 0x92,
    ReceiveMaximumExceeded = 0x93,
    TopicAliasInvalid = 0x94,
    PacketTooLarge = 0x95,
    MessageRateTooHigh = 0x96,
    QuotaExceeded = 0x97,
    AdministrativeAction = 0x98,
    PayloadFormatInvalid = 0x99,
    RetainNotSupported = 0x9A,
    QosNotSupported = 0x9B,
    UseAnotherServer = 0x9C,
    ServerMoved = 0x9D,
    SharedSubscriptionsNotSupported = 0x9E,
    ConnectionRateExceeded = 0x9F,
    MaximumConnectTime = 0xA0,
    SubscriptionIdentifiersNotSupported = 0xA1,
    WildcardSubscriptionsNotSupported = 0xA2,
}

/// A byte that is no reason code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("0x{0:02X} is not a reason code")]
pub struct UnknownReasonCode(pub u8);

impl TryFrom<u8> for ReasonCode {
    type Error = UnknownReasonCode;

    fn try_from(byte: u8) -> Result<Self, UnknownReasonCode> {
        Ok(match byte {
            0x00 => Self::Success,
            0x01 => Self::GrantedQos1,
            0x02 => Self::GrantedQos2,
            0x04 => Self::DisconnectWithWill,
            0x10 => Self::NoMatchingSubscribers,
            0x11 => Self::NoSubscriptionExisted,
            0x18 => Self::ContinueAuthentication,
            0x19 => Self::ReAuthenticate,
            0x80 => Self::UnspecifiedError,
            0x81 => Self::MalformedPacket,
            0x82 => Self::ProtocolError,
            0x83 => Self::ImplementationSpecificError,
            0x84 => Self::UnsupportedProtocolVersion,
            0x85 => Self::ClientIdentifierNotValid,
            0x86 => Self::BadUserNameOrPassword,
            0x87 => Self::NotAuthorized,
            0x88 => Self::ServerUnavailable,
            0x89 => Self::ServerBusy,
            0x8A => Self::Banned,
            0x8B => Self::ServerShuttingDown,
            0x8C => Self::BadAuthenticationMethod,
            0x8D => Self::KeepAliveTimeout,
            0x8E => Self::SessionTakenOver,
            0x8F => Self::TopicFilterInvalid,
            0x90 => Self::TopicNameInvalid,
            0x91 => Self::PacketIdentifierInUse,
            0x92 => Self::PacketIdentifierNotFound,
            0x93 => Self::ReceiveMaximumExceeded,
            0x94 => Self::TopicAliasInvalid,
            0x95 => Self::PacketTooLarge,
            0x96 => Self::MessageRateTooHigh,
            0x97 => Self::QuotaExceeded,
            0x98 => Self::AdministrativeAction,
            0x99 => Self::PayloadFormatInvalid,
            0x9A => Self::RetainNotSupported,
            0x9B => Self::QosNotSupported,
            0x9C => Self::UseAnotherServer,
            0x9D => Self::ServerMoved,
            0x9E => Self::SharedSubscriptionsNotSupported,
            0x9F => Self::ConnectionRateExceeded,
            0xA0 => Self::MaximumConnectTime,
            0xA1 => Self::SubscriptionIdentifiersNotSupported,
            0xA2 => Self::WildcardSubscriptionsNotSupported,
            _ => return Err(UnknownReasonCode(byte)),
        })
    }
}

impl ReasonCode {
    /// Whether the code is a failure (0x80 and above).
    #[must_use]
    pub fn is_error(self) -> bool {
        self as u8 >= 0x80
    }

    /// What the code means, for logs and reason strings.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::GrantedQos1 => "granted QoS 1",
            Self::GrantedQos2 => "granted QoS 2",
            Self::DisconnectWithWill => "disconnect with will message",
            Self::NoMatchingSubscribers => "no matching subscribers",
            Self::NoSubscriptionExisted => "no subscription existed",
            Self::ContinueAuthentication => "continue authentication",
            Self::ReAuthenticate => "re-authenticate",
            Self::UnspecifiedError => "unspecified error",
            Self::MalformedPacket => "malformed packet",
            Self::ProtocolError => "protocol error",
            Self::ImplementationSpecificError => "valid, but not accepted by this implementation",
            Self::UnsupportedProtocolVersion => "protocol version is not supported",
            Self::ClientIdentifierNotValid => "client identifier is not valid",
            Self::BadUserNameOrPassword => "bad user name or password",
            Self::NotAuthorized => "not authorized",
            Self::ServerUnavailable => "server is not available",
            Self::ServerBusy => "server is busy",
            Self::Banned => "client is banned",
            Self::ServerShuttingDown => "server is shutting down",
            Self::BadAuthenticationMethod => "authentication method is not supported",
            Self::KeepAliveTimeout => "nothing was received for one and a half keep alive periods",
            Self::SessionTakenOver => "another connection uses the same client identifier",
            Self::TopicFilterInvalid => "topic filter is not valid",
            Self::TopicNameInvalid => "topic name is not valid",
            Self::PacketIdentifierInUse => "packet identifier is in use",
            Self::PacketIdentifierNotFound => "packet identifier is not known",
            Self::ReceiveMaximumExceeded => {
                "more unacknowledged messages than the receive maximum allows"
            }
            Self::TopicAliasInvalid => "topic alias is not valid",
            Self::PacketTooLarge => "packet is too large",
            Self::MessageRateTooHigh => "message rate is too high",
            Self::QuotaExceeded => "quota is exceeded",
            Self::AdministrativeAction => "closed by an administrator",
            Self::PayloadFormatInvalid => "payload does not match its format indicator",
            Self::RetainNotSupported => "retained messages are not supported",
            Self::QosNotSupported => "QoS is not supported",
            Self::UseAnotherServer => "use another server for now",
            Self::ServerMoved => "use another server from now on",
            Self::SharedSubscriptionsNotSupported => "shared subscriptions are not supported",
            Self::ConnectionRateExceeded => "connection rate is exceeded",
            Self::MaximumConnectTime => "maximum connect time is over",
            Self::SubscriptionIdentifiersNotSupported => {
                "subscription identifiers are not supported"
            }
            Self::WildcardSubscriptionsNotSupported => "wildcard subscriptions are not supported",
        }
    }

    /// The v3 return code of a CONNACK, 3.1.1 table 3.1. Failures without a v3 code become 3,
    /// "server unavailable".
    #[must_use]
    pub fn connect_return_code(self) -> u8 {
        match self {
            code if !code.is_error() => 0,
            Self::UnsupportedProtocolVersion => 1,
            Self::ClientIdentifierNotValid => 2,
            Self::BadUserNameOrPassword => 4,
            Self::NotAuthorized | Self::Banned | Self::BadAuthenticationMethod => 5,
            _ => 3,
        }
    }

    /// The reason code for a v3 CONNACK return code; `None` above 5, which is reserved.
    #[must_use]
    pub fn from_connect_return_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Success,
            1 => Self::UnsupportedProtocolVersion,
            2 => Self::ClientIdentifierNotValid,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }

    /// Whether the specification lists this code for that v5 packet from that side: tables 3-1
    /// (CONNACK) to 3-11 (AUTH). False for packets without a reason code.
    #[must_use]
    pub fn is_listed(self, packet_type: PacketType, sender: Sender) -> bool {
        match packet_type {
            PacketType::ConnAck => self.is_listed_in_connack(),
            // [MQTT-3.4.2-1], [MQTT-3.5.2-1]
            PacketType::PubAck | PacketType::PubRec => matches!(
                self,
                Self::Success
                    | Self::NoMatchingSubscribers
                    | Self::UnspecifiedError
                    | Self::ImplementationSpecificError
                    | Self::NotAuthorized
                    | Self::TopicNameInvalid
                    | Self::PacketIdentifierInUse
                    | Self::QuotaExceeded
                    | Self::PayloadFormatInvalid
            ),
            // [MQTT-3.6.2-1], [MQTT-3.7.2-1]
            PacketType::PubRel | PacketType::PubComp => {
                matches!(self, Self::Success | Self::PacketIdentifierNotFound)
            }
            // [MQTT-3.9.3-2]
            PacketType::SubAck => matches!(
                self,
                Self::Success
                    | Self::GrantedQos1
                    | Self::GrantedQos2
                    | Self::UnspecifiedError
                    | Self::ImplementationSpecificError
                    | Self::NotAuthorized
                    | Self::TopicFilterInvalid
                    | Self::PacketIdentifierInUse
                    | Self::QuotaExceeded
                    | Self::SharedSubscriptionsNotSupported
                    | Self::SubscriptionIdentifiersNotSupported
                    | Self::WildcardSubscriptionsNotSupported
            ),
            // [MQTT-3.11.3-2]
            PacketType::UnsubAck => matches!(
                self,
                Self::Success
                    | Self::NoSubscriptionExisted
                    | Self::UnspecifiedError
                    | Self::ImplementationSpecificError
                    | Self::NotAuthorized
                    | Self::TopicFilterInvalid
                    | Self::PacketIdentifierInUse
            ),
            PacketType::Disconnect => self.is_listed_in_disconnect(sender),
            // [MQTT-3.15.2-1]
            PacketType::Auth => match self {
                Self::ContinueAuthentication => true,
                Self::Success => sender == Sender::Server,
                Self::ReAuthenticate => sender == Sender::Client,
                _ => false,
            },
            _ => false,
        }
    }

    /// [MQTT-3.2.2-8]
    fn is_listed_in_connack(self) -> bool {
        matches!(
            self,
            Self::Success
                | Self::UnspecifiedError
                | Self::MalformedPacket
                | Self::ProtocolError
                | Self::ImplementationSpecificError
                | Self::UnsupportedProtocolVersion
                | Self::ClientIdentifierNotValid
                | Self::BadUserNameOrPassword
                | Self::NotAuthorized
                | Self::ServerUnavailable
                | Self::ServerBusy
                | Self::Banned
                | Self::BadAuthenticationMethod
                | Self::TopicNameInvalid
                | Self::PacketTooLarge
                | Self::QuotaExceeded
                | Self::PayloadFormatInvalid
                | Self::RetainNotSupported
                | Self::QosNotSupported
                | Self::UseAnotherServer
                | Self::ServerMoved
                | Self::ConnectionRateExceeded
        )
    }

    /// [MQTT-3.14.2-1]
    fn is_listed_in_disconnect(self, sender: Sender) -> bool {
        match self {
            Self::DisconnectWithWill => sender == Sender::Client,
            Self::Success
            | Self::UnspecifiedError
            | Self::MalformedPacket
            | Self::ProtocolError
            | Self::ImplementationSpecificError
            | Self::TopicNameInvalid
            | Self::ReceiveMaximumExceeded
            | Self::TopicAliasInvalid
            | Self::PacketTooLarge
            | Self::MessageRateTooHigh
            | Self::QuotaExceeded
            | Self::AdministrativeAction
            | Self::PayloadFormatInvalid => true,
            Self::NotAuthorized
            | Self::ServerBusy
            | Self::ServerShuttingDown
            | Self::BadAuthenticationMethod
            | Self::KeepAliveTimeout
            | Self::SessionTakenOver
            | Self::TopicFilterInvalid
            | Self::RetainNotSupported
            | Self::QosNotSupported
            | Self::UseAnotherServer
            | Self::ServerMoved
            | Self::SharedSubscriptionsNotSupported
            | Self::ConnectionRateExceeded
            | Self::MaximumConnectTime
            | Self::SubscriptionIdentifiersNotSupported
            | Self::WildcardSubscriptionsNotSupported => sender == Sender::Server,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_codes() {
        let known: Vec<ReasonCode> = (0..=255)
            .filter_map(|b| ReasonCode::try_from(b).ok())
            .collect();
        assert_eq!(known.len(), 43);
        for code in known {
            assert_eq!(ReasonCode::try_from(code as u8), Ok(code));
            assert!(!code.description().is_empty());
            assert_eq!(code.is_error(), code as u8 >= 0x80);
        }
        assert_eq!(ReasonCode::try_from(0x03), Err(UnknownReasonCode(3)));
        assert_eq!(
            UnknownReasonCode(3).to_string(),
            "0x03 is not a reason code"
        );
    }

    #[test]
    fn connect_return_codes() {
        for code in 0..=5 {
            let reason = ReasonCode::from_connect_return_code(code).unwrap();
            assert_eq!(reason.connect_return_code(), code);
        }
        assert_eq!(ReasonCode::from_connect_return_code(6), None);
        assert_eq!(ReasonCode::ServerBusy.connect_return_code(), 3);
        assert_eq!(ReasonCode::Banned.connect_return_code(), 5);
    }

    #[test]
    fn listed_codes() {
        let listed = |packet_type, sender| -> Vec<u8> {
            (0..=255)
                .filter(|&b| {
                    ReasonCode::try_from(b).is_ok_and(|c| c.is_listed(packet_type, sender))
                })
                .collect()
        };
        use PacketType as T;
        use Sender::{Client, Server};
        assert_eq!(
            listed(T::ConnAck, Server),
            [
                0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90,
                0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F
            ]
        );
        for packet_type in [T::PubAck, T::PubRec] {
            assert_eq!(
                listed(packet_type, Client),
                [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]
            );
        }
        for packet_type in [T::PubRel, T::PubComp] {
            assert_eq!(listed(packet_type, Client), [0x00, 0x92]);
        }
        assert_eq!(
            listed(T::SubAck, Server),
            [0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2]
        );
        assert_eq!(
            listed(T::UnsubAck, Server),
            [0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91]
        );
        assert_eq!(
            listed(T::Disconnect, Client),
            [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]
        );
        assert_eq!(
            listed(T::Disconnect, Server),
            [
                0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, 0x93,
                0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1,
                0xA2
            ]
        );
        assert_eq!(listed(T::Auth, Client), [0x18, 0x19]);
        assert_eq!(listed(T::Auth, Server), [0x00, 0x18]);
        assert!(listed(T::Publish, Client).is_empty());
    }
}
