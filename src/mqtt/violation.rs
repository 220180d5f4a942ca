//! Rules that a sender can break, one row each: the culprit, the reason code, the clauses and the
//! sentence. The only map from what was broken to a reason code.

use std::fmt;

use super::reason::ReasonCode;

/// The class of a violation: whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Culprit {
    /// The bytes do not parse (0x81).
    Malformed,
    /// They parse, but are not allowed here (0x82).
    Protocol,
    /// They are allowed, but not here: a rule with a reason code of its own, or what an operator decided.
    Refused,
}

macro_rules! reason {
    (Malformed) => {
        ReasonCode::MalformedPacket
    };
    (Protocol) => {
        ReasonCode::ProtocolError
    };
    (Refused $code:ident) => {
        ReasonCode::$code
    };
}

macro_rules! violations {
    ($($(#[$doc:meta])* $name:ident $({$($field:ident: $type:ty),+})?,
       $culprit:ident $($code:ident)?, [$($clause:literal)*], $sentence:literal;)*) => {
        /// A rule that was broken. The connection ends and accepts no further bytes, unless there is an
        /// acknowledgement with the reason code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Violation {
            $($(#[$doc])* $name $({$($field: $type),+})?,)*
        }

        /// The rules without what was measured of them, to be counted by.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Rule {
            $($name,)*
        }

        /// Names, in the order of the rows.
        const NAMES: &[&str] = &[$(stringify!($name)),*];

        impl Violation {
            fn rule(&self) -> Rule {
                match self {
                    $(Self::$name {..} => Rule::$name,)*
                }
            }

            #[must_use]
            pub fn culprit(&self) -> Culprit {
                match self.rule() {
                    $(Rule::$name => Culprit::$culprit,)*
                }
            }

            /// The reason code for the sender.
            #[must_use]
            pub fn reason(self) -> ReasonCode {
                match self.rule() {
                    $(Rule::$name => reason!($culprit $($code)?),)*
                }
            }

            /// Normative statements of MQTT 5.0 (`MQTT-`), of 3.1.1 (`3.1.1:MQTT-`), or sections of 5.0.
            #[must_use]
            pub fn clauses(&self) -> &'static [&'static str] {
                match self.rule() {
                    $(Rule::$name => &[$($clause),*],)*
                }
            }

            /// The clauses of all rules.
            pub fn all_clauses() -> impl Iterator<Item = (&'static str, &'static str)> {
                [$((stringify!($name), &[$($clause),*] as &[&str])),*]
                    .into_iter()
                    .flat_map(|(name, clauses)| clauses.iter().map(move |clause| (name, *clause)))
            }

            fn sentence(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name $({$($field),+})? => write!(out, $sentence),)*
                }
            }
        }
    };
}

violations! {
    // Fixed header.
    PacketTypeReserved, Malformed, ["2.1.2"], "packet type 0 is reserved";
    WrongFlags, Malformed, ["MQTT-2.1.3-1"], "wrong flags in the fixed header";
    Qos3, Malformed, ["MQTT-3.3.1-4"], "PUBLISH with QoS 3";
    DupOfQos0, Malformed, ["MQTT-3.3.1-2"], "PUBLISH with DUP and QoS 0";
    RemainingLengthTooLong, Malformed, ["2.1.4"], "remaining length takes more than four bytes";
    RemainingLengthPadded, Malformed, ["MQTT-1.5.5-1"],
        "remaining length takes more bytes than needed";
    /// In bytes, of the whole packet.
    PacketTooLarge { size: u32, max: u32 }, Refused PacketTooLarge, ["MQTT-3.2.2-15"],
        "the packet has {size} bytes, more than the {max} of packet-size-max";
    WrongDirection, Protocol, ["2.1.2"], "this type of packet is for the other side to send";

    // Fields.
    Truncated, Malformed, ["4.13.1"], "packet ends inside a field";
    BytesLeft, Malformed, ["4.13.1"], "bytes after the packet's last field";
    IntegerTooLong, Malformed, ["1.5.5"], "variable byte integer takes more than four bytes";
    IntegerPadded, Malformed, ["MQTT-1.5.5-1"],
        "variable byte integer takes more bytes than needed";
    StringWithNul, Malformed, ["MQTT-1.5.4-2"], "string with U+0000";
    StringNotUtf8, Malformed, ["MQTT-1.5.4-1"], "string is not proper UTF-8";
    PacketIdZero, Protocol, ["MQTT-2.2.1-3"], "packet identifier is zero";
    ReasonCodeNotListed, Protocol, ["2.4"], "reason code is not listed for this packet";

    // Properties.
    PropertyUnknown, Malformed, ["2.2.2.2"], "unknown property identifier";
    PropertyMisplaced, Malformed, ["2.2.2.2"], "property identifier is not valid in this packet";
    PropertyTwice, Protocol, ["2.2.2.2"], "property appears twice";
    PropertyNotBoolean, Protocol, ["2.2.2.2"], "property is neither 0 nor 1";
    SubscriptionIdentifierZero, Protocol, ["3.3.2.3.8"], "subscription identifier is 0";
    ReceiveMaximumZero, Protocol, ["3.1.2.11.3"], "receive maximum is 0";
    MaximumPacketSizeZero, Protocol, ["3.1.2.11.4"], "maximum packet size is 0";
    TopicAliasZero, Refused TopicAliasInvalid, ["MQTT-3.3.2-8"], "topic alias is 0";
    ResponseTopicInvalid, Protocol, ["MQTT-3.3.2-14"], "response topic is empty or has a wildcard";
    AuthenticationDataAlone, Protocol, ["3.1.2.11.10"],
        "authentication data without authentication method";

    // CONNECT, as bytes.
    ProtocolName, Refused UnsupportedProtocolVersion, ["MQTT-3.1.2-1"], "protocol name is not MQTT";
    /// The level is kept because the answer differs (v3: CONNACK 0x01, v5: CONNACK 0x84).
    ProtocolLevel { level: u8 }, Refused UnsupportedProtocolVersion, ["MQTT-3.1.2-2"],
        "protocol level {level} is not supported";
    ConnectFlagReserved, Malformed, ["MQTT-3.1.2-3"], "reserved connect flag is set";
    WillQos3, Malformed, ["MQTT-3.1.2-12"], "will QoS 3";
    WillFlagsAlone, Malformed, ["MQTT-3.1.2-11" "MQTT-3.1.2-13"],
        "will QoS or will retain without a will";
    PasswordAlone, Malformed, ["3.1.1:MQTT-3.1.2-22"], "password without user name";
    WillTopicInvalid, Refused TopicNameInvalid, ["MQTT-4.7.0-1" "MQTT-4.7.3-1"],
        "will topic is empty or has a wildcard";

    // CONNECT, as what a broker takes.
    NotConnect, Protocol, ["MQTT-3.1.0-1"], "the first packet is not CONNECT";
    TlsUnasked, Protocol, ["MQTT-3.1.0-1"],
        "TLS on a listener without: let the client not use TLS, or a listener with transport = \"tls\"";
    HttpUnasked, Protocol, ["MQTT-3.1.0-1"],
        "HTTP on a listener of MQTT: WebSocket needs a listener with transport = \"ws\"";
    ProxyUnasked, Protocol, ["MQTT-3.1.0-1"],
        "a PROXY header on a listener without: let it have proxy-protocol = true, or the proxy send none";
    SecondConnect, Protocol, ["MQTT-3.1.0-2"], "a second CONNECT";
    VersionNotTaken, Refused UnsupportedProtocolVersion, ["MQTT-3.1.2-2"],
        "the listener does not take this protocol version: see its versions";
    WillQosTooHigh { qos: u8, max: u8 }, Refused QosNotSupported, ["MQTT-3.2.2-12"],
        "the will has QoS {qos}, more than {max}, qos-max of the listener";
    ClientIdEmpty, Refused ClientIdentifierNotValid, ["3.1.1:MQTT-3.1.3-8"],
        "an empty client id needs a clean session";
    ClientIdEmptyV31, Refused ClientIdentifierNotValid, ["3.1.3.1"],
        "a client id of MQTT 3.1 must not be empty";
    ClientIdTooLong { length: u32, max: u32 }, Refused ClientIdentifierNotValid, ["MQTT-3.1.3-8"],
        "the client id has {length} bytes, more than the {max} of client-id-bytes-max";
    WillTopicTooDeep { levels: u32, max: u32 }, Refused TopicNameInvalid, ["4.7.3"],
        "the will topic has {levels} levels, more than the {max} of topic-levels-max";
    WillRetainNotSupported, Refused RetainNotSupported, ["MQTT-3.2.2-13"],
        "the will is to be retained and retained-messages-max or retained-bytes-max is 0";
    MemoryShort, Refused QuotaExceeded, ["4.13.1"], "memory-max is reached";
    DiskFull, Refused QuotaExceeded, ["4.13.1"], "nothing more can be kept in data-dir";
    TurnsTooLong, Refused QuotaExceeded, ["4.13.1"],
        "the shard's turns take longer than turn-max-ms";
    /// CONNACK has no 0x8B (section 3.2.2.2).
    Stopping, Refused ServerUnavailable, ["3.2.2.2"], "the broker is stopping";
    NoOwner, Refused ServerUnavailable, ["3.2.2.2"], "no node of the cluster serves its client id now";
    OtherOwner, Refused UseAnotherServer, ["4.11"], "another node of the cluster serves its client id";
    ConnAckTooLarge { max: u32 }, Refused PacketTooLarge, ["MQTT-3.1.2-24"],
        "the CONNACK is larger than the {max} bytes of the client's Maximum Packet Size";
    SessionsMax { max: u32 }, Refused QuotaExceeded, ["4.13.1"],
        "sessions-max is reached: this shard's share of it is {max}";

    // Authentication.
    MethodNotOffered, Refused BadAuthenticationMethod, ["MQTT-4.12.0-1"],
        "the authentication method is not offered";
    NoMethodOffered, Refused BadAuthenticationMethod, ["MQTT-4.12.0-1"],
        "no authentication method is configured";
    CredentialsNeeded, Refused NotAuthorized, ["3.1.4"], "a user name and password are needed";
    CredentialsWrong, Refused BadUserNameOrPassword, ["3.1.4"], "the login is wrong";
    BannedByOperator, Refused Banned, ["3.1.4"], "an operator has banned it";
    AddressBanned, Refused Banned, ["3.1.4"], "too many logins from its address have failed";
    LoginsBusy, Refused QuotaExceeded, ["4.13.1"], "too many logins are waiting";
    LoginsDown, Refused ServerUnavailable, ["3.1.4"], "logins cannot be judged now";
    ReauthenticationFailed, Refused NotAuthorized, ["MQTT-4.12.1-2"], "re-authentication has failed";
    ReauthenticationAsAnother, Refused NotAuthorized, ["MQTT-4.12.1-2"],
        "re-authentication as another user";
    SessionOfAnother, Refused NotAuthorized, ["3.1.4"],
        "the session of this client id belongs to another user";
    WillNotAuthorized, Refused NotAuthorized, ["3.1.4"], "not authorized to publish to the will topic";
    WillNotDecided, Refused ServerUnavailable, ["3.1.4"], "the HTTP hook is down";

    // AUTH.
    AuthSuccess, Protocol, ["MQTT-3.15.2-1"], "AUTH 0x00 is for servers to send";
    AuthWithoutMethod, Protocol, ["3.15.2.2.2"], "AUTH without authentication method";
    AuthUnasked, Protocol, ["MQTT-4.12.0-7"], "AUTH without a method at CONNECT";
    AuthOtherMethod, Protocol, ["MQTT-4.12.0-5" "MQTT-4.12.1-1"],
        "AUTH with another method than CONNECT";
    AuthOutOfTurn, Protocol, ["MQTT-4.12.0-3"], "AUTH out of turn";
    BeforeConnAck, Protocol, ["MQTT-3.1.2-30"], "only AUTH and DISCONNECT before CONNACK";

    // PUBLISH.
    TopicMissing, Protocol, ["3.3.2.1"], "PUBLISH without topic name and topic alias";
    TopicWithWildcard, Refused TopicNameInvalid, ["MQTT-3.3.2-2"], "topic name has a wildcard";
    TopicTooDeep { levels: u32, max: u32 }, Refused TopicNameInvalid, ["4.7.3"],
        "the topic has {levels} levels, more than the {max} of topic-levels-max";
    IdentifierFromClient, Protocol, ["MQTT-3.3.4-6"], "subscription identifier from a client";
    TopicAliasTooHigh { alias: u16, max: u16 }, Refused TopicAliasInvalid, ["MQTT-3.3.2-9"],
        "the topic alias {alias} is above the {max} of topic-alias-maximum";
    /// In bytes.
    TopicAliasesTooLong { max: u32 }, Refused QuotaExceeded, ["4.13.1"],
        "the topics of all aliases are longer than the {max} bytes of topic-alias-bytes-max";
    RetainNotSupported, Refused RetainNotSupported, ["MQTT-3.2.2-14"],
        "RETAIN is set and retained-messages-max or retained-bytes-max is 0";
    RetainMemoryShort, Refused QuotaExceeded, ["4.13.1"],
        "memory-max is reached: no more messages are retained";
    TopicAliasNotSet { alias: u16 }, Protocol, ["3.3.2.3.4"], "the topic alias {alias} was not set";
    /// [MQTT-3.2.2-11]; for v3 there is only the end of the connection ([MQTT-3.3.5-2] of 3.1.1).
    QosTooHigh { qos: u8, max: u8 }, Refused QosNotSupported, ["MQTT-3.2.2-11"],
        "the publication has QoS {qos}, more than {max}, qos-max of the listener";
    ReceiveMaximumExceeded { open: u32, max: u32 }, Refused ReceiveMaximumExceeded,
        ["MQTT-3.3.4-7"], "{open} messages are not acknowledged, and receive-maximum is {max}";
    /// Ends a connection for what its client may not do (`acl-disconnect`).
    NotAuthorized, Refused NotAuthorized, ["3.1.1:MQTT-3.3.5-2"], "not authorized to publish or subscribe";
    /// A 5.0 client gets the reason code and may try again; one of 3.1.1 that wants an acknowledgement is
    /// disconnected, and sends it again.
    HookDown, Refused ImplementationSpecificError, ["4.13.1"], "the HTTP hook is down";

    // SUBSCRIBE and UNSUBSCRIBE.
    FiltersMissing, Protocol, ["MQTT-3.8.3-2" "MQTT-3.10.3-2"], "no topic filter";
    FilterEmpty, Protocol, ["MQTT-4.7.3-1"], "topic filter is empty";
    NoLocalShared, Protocol, ["MQTT-3.8.3-4"], "No Local on a shared subscription";
    OptionsQos, Malformed, ["3.1.1:MQTT-3.8.3-4"], "requested QoS is not 0, 1 or 2";
    OptionsReserved, Malformed, ["MQTT-3.8.3-5"], "reserved bits in subscription options";
    OptionsQos3, Protocol, ["3.8.3.1"], "maximum QoS 3 in subscription options";
    OptionsRetainHandling3, Protocol, ["3.8.3.1"], "retain handling 3 in subscription options";
    FilterInvalid, Refused TopicFilterInvalid, ["MQTT-4.7.1-1"],
        "the topic filter has a misplaced wildcard, or no name or filter of a shared subscription";
    FilterTooDeep { levels: u32, max: u32 }, Refused TopicFilterInvalid, ["4.7.3"],
        "the topic filter has {levels} levels, more than the {max} of topic-levels-max";
    SubscriptionsMax { max: u32 }, Refused QuotaExceeded, ["4.13.1"],
        "the session has as many subscriptions, or retained messages to come for them, as the {max} of \
         subscriptions-max allow";
    /// In bytes.
    SubscriptionBytesMax { bytes: u64, max: u64 }, Refused QuotaExceeded, ["4.13.1"],
        "the session's subscriptions would take {bytes} bytes, more than the {max} of \
         subscription-bytes-max";
    AnswerTooLarge { size: u32, max: u32 }, Refused PacketTooLarge, ["MQTT-3.1.2-24"],
        "the answer has {size} bytes, more than the {max} of the client's Maximum Packet Size";

    // DISCONNECT.
    ExpiryRaised, Protocol, ["3.14.2.2.2"], "a session expiry of zero cannot be raised";
    ExpiryFromServer, Protocol, ["MQTT-3.14.2-2"], "session expiry interval from a server";

    // What servers send.
    ConnAckFlags, Malformed, ["MQTT-3.2.2-1"], "reserved CONNACK flags are set";
    ConnAckReturnCode, Protocol, ["3.1.1:MQTT-3.2.2-6"], "CONNACK with a reserved return code";
    ConnAckSessionPresent, Protocol, ["MQTT-3.2.2-6"], "session present in a refusal";
    UnsubAckPayload, Malformed, ["3.11.3"], "UNSUBACK with a payload";
    AckWithoutCodes, Protocol, ["MQTT-3.8.3-2" "MQTT-3.10.3-2"],
        "acknowledgement without reason codes";
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.culprit() {
            Culprit::Malformed => out.write_str("malformed packet: ")?,
            Culprit::Protocol => out.write_str("protocol error: ")?,
            Culprit::Refused => {}
        }
        self.sentence(out)?;
        for clause in self.clauses() {
            if clause.contains("MQTT-") {
                write!(out, " [{clause}]")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Violation {}

/// How often each rule was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violations([u64; NAMES.len()]);

impl Default for Violations {
    fn default() -> Self {
        Self([0; NAMES.len()])
    }
}

impl Violations {
    pub fn count(&mut self, violation: &Violation) {
        self.0[violation.rule() as usize] += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum += count;
        }
    }

    /// Name and count of the rules that were broken.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let rows = NAMES.iter().copied().zip(self.0);
        rows.filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_name_what_how_much_and_the_clause() {
        let large = Violation::PacketTooLarge {
            size: 1_048_577,
            max: 1_048_576,
        };
        assert_eq!(
            large.to_string(),
            "the packet has 1048577 bytes, more than the 1048576 of packet-size-max [MQTT-3.2.2-15]"
        );
        assert_eq!(large.reason(), ReasonCode::PacketTooLarge);
        let flags = Violation::WrongFlags;
        assert_eq!(
            flags.to_string(),
            "malformed packet: wrong flags in the fixed header [MQTT-2.1.3-1]"
        );
        assert_eq!(Violation::SecondConnect.culprit(), Culprit::Protocol);
        assert_eq!(Violation::TopicMissing.reason(), ReasonCode::ProtocolError);
    }

    #[test]
    fn violations_are_counted_by_rule() {
        let mut one = Violations::default();
        one.count(&Violation::SecondConnect);
        one.count(&Violation::PacketTooLarge { size: 2, max: 1 });
        one.count(&Violation::PacketTooLarge { size: 3, max: 1 });
        let mut sum = one;
        sum.add(&one);
        let rows: Vec<_> = sum.rows().collect();
        assert_eq!(rows, [("PacketTooLarge", 4), ("SecondConnect", 2)]);
    }
}
