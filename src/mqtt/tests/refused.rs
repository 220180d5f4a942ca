//! Rows of packets that are refused, each with its clause, the reason code and the rule it breaks. One row, one line.

use super::*;
use Sender::{Client, Server};
use Version::{V31, V311, V5};
use Violation as V;

const MALFORMED: ReasonCode = ReasonCode::MalformedPacket;
const PROTOCOL: ReasonCode = ReasonCode::ProtocolError;

#[track_caller]
fn refused(rows: &[(&str, Version, Sender, &str, ReasonCode, V)]) {
    for &(clause, version, sender, row, reason, rule) in rows {
        match decode(version, sender, &bytes(row)) {
            Ok(packet) => panic!("{clause}: {row} was accepted as {packet:?}"),
            Err(error) => {
                assert_eq!(error, rule, "{clause}: {row}");
                assert_eq!(error.reason(), reason, "{clause}: {row}: {error}");
            }
        }
    }
}

#[test]
#[rustfmt::skip]
fn connect() {
    refused(&[
        ("MQTT-3.1.2-3", V5, Client, "10[ 'MQTT' 05 03 003C [] 'c' ]", MALFORMED, V::ConnectFlagReserved),
        ("MQTT-3.1.2-3", V311, Client, "10[ 'MQTT' 04 03 003C 'c' ]", MALFORMED, V::ConnectFlagReserved),
        ("MQTT-3.1.2-11", V311, Client, "10[ 'MQTT' 04 0A 003C 'c' ]", MALFORMED, V::WillFlagsAlone),
        ("MQTT-3.1.2-13", V5, Client, "10[ 'MQTT' 05 22 003C [] 'c' ]", MALFORMED, V::WillFlagsAlone),
        ("MQTT-3.1.2-12", V311, Client, "10[ 'MQTT' 04 1E 003C 'c' 't' 'p' ]", MALFORMED, V::WillQos3),
        ("MQTT-3.1.2-12", V31, Client, "10[ 'MQIsdp' 03 1E 003C 'c' 't' 'p' ]", MALFORMED, V::WillQos3),
        ("MQTT-3.1.2-9", V311, Client, "10[ 'MQTT' 04 06 003C 'c' ]", MALFORMED, V::Truncated),
        ("MQTT-3.1.2-22", V311, Client, "10[ 'MQTT' 04 42 003C 'c' 'p' ]", MALFORMED, V::PasswordAlone),
        ("MQTT-3.1.2-22", V31, Client, "10[ 'MQIsdp' 03 42 003C 'c' 'p' ]", MALFORMED, V::PasswordAlone),
        ("MQTT-3.1.2-19", V311, Client, "10[ 'MQTT' 04 82 003C 'c' ]", MALFORMED, V::Truncated),
        ("MQTT-3.1.3-3", V311, Client, "10[ 'MQTT' 04 02 003C ]", MALFORMED, V::Truncated),
        ("MQTT-3.1.3-3", V5, Client, "10[ 'MQTT' 05 02 003C ]", MALFORMED, V::Truncated),
        ("trailing bytes", V311, Client, "10[ 'MQTT' 04 02 003C 'c' 'u' ]", MALFORMED, V::BytesLeft),
        ("trailing bytes", V5, Client, "10[ 'MQTT' 05 02 003C [] 'c' 00 ]", MALFORMED, V::BytesLeft),
        ("trailing bytes", V31, Client, "10[ 'MQIsdp' 03 02 003C 'c' 'u' ]", MALFORMED, V::BytesLeft),
        ("MQTT-3.1.3-4", V311, Client, "10[ 'MQTT' 04 02 003C 0001FF ]", MALFORMED, V::StringNotUtf8),
        ("MQTT-1.5.4-1", V5, Client, "10[ 'MQTT' 05 82 003C [] 'c' 0003EDA080 ]", MALFORMED, V::StringNotUtf8),
        ("MQTT-1.5.4-2", V5, Client, "10[ 'MQTT' 05 02 003C [] 000100 ]", MALFORMED, V::StringWithNul),
        ("MQTT-3.1.2-1", V5, Client, "10[ 'mqtt' 05 02 003C [] 'c' ]", ReasonCode::UnsupportedProtocolVersion, V::ProtocolName),
        ("MQTT-3.1.2-1", V5, Client, "10[ '' 05 02 003C [] 'c' ]", ReasonCode::UnsupportedProtocolVersion, V::ProtocolName),
        ("MQTT-1.5.4-1", V5, Client, "10[ 0001FF 05 02 003C [] 'c' ]", MALFORMED, V::StringNotUtf8),
        ("MQTT-4.7.0-1", V5, Client, "10[ 'MQTT' 05 06 003C [] 'c' [] 'a/+' 'p' ]", ReasonCode::TopicNameInvalid, V::WillTopicInvalid),
        ("MQTT-4.7.3-1", V311, Client, "10[ 'MQTT' 04 06 003C 'c' '' 'p' ]", ReasonCode::TopicNameInvalid, V::WillTopicInvalid),
        ("3.1.2.11.10", V5, Client, "10[ 'MQTT' 05 02 003C [16'd'] 'c' ]", PROTOCOL, V::AuthenticationDataAlone),
        ("3.1.2.11.3", V5, Client, "10[ 'MQTT' 05 02 003C [21 0000] 'c' ]", PROTOCOL, V::ReceiveMaximumZero),
        ("3.1.2.11.4", V5, Client, "10[ 'MQTT' 05 02 003C [27 00000000] 'c' ]", PROTOCOL, V::MaximumPacketSizeZero),
        ("3.1.2.11.7", V5, Client, "10[ 'MQTT' 05 02 003C [17 02] 'c' ]", PROTOCOL, V::PropertyNotBoolean),
        ("length", V5, Client, "10[ 'MQTT' 05 02 003C 05 11 00 ]", MALFORMED, V::Truncated),
        ("MQTT-2.1.3-1", V5, Client, "11[ 'MQTT' 05 02 003C [] 'c' ]", MALFORMED, V::WrongFlags),
        ("MQTT-2.2.2-2", V311, Client, "18[ 'MQTT' 04 02 003C 'c' ]", MALFORMED, V::WrongFlags),
    ]);
}

#[test]
fn connect_levels() {
    for (row, level) in [
        ("10[ 'MQTT' 03 02 003C 'c' ]", 3),
        ("10[ 'MQTT' 06 02 003C [] 'c' ]", 6),
        ("10[ 'MQTT' 00 02 003C [] 'c' ]", 0),
        // A bridge's mark is one of 3.1 and 3.1.1.
        ("10[ 'MQTT' 83 02 003C 'c' ]", 0x83),
        ("10[ 'MQTT' 85 02 003C [] 'c' ]", 0x85),
        ("10[ 'MQIsdp' 84 02 003C 'c' ]", 0x84),
        ("10[ 'MQIsdp' 04 02 003C 'c' ]", 4),
    ] {
        assert_eq!(
            decode(V311, Client, &bytes(row)),
            Err(Violation::ProtocolLevel { level }),
            "{row}"
        );
    }
}

#[test]
#[rustfmt::skip]
fn publish() {
    refused(&[
        ("MQTT-3.3.2-2", V5, Client, "30[ 'a/+' [] ]", ReasonCode::TopicNameInvalid, V::TopicWithWildcard),
        ("MQTT-3.3.2-2", V311, Client, "30[ 'a#b' ]", ReasonCode::TopicNameInvalid, V::TopicWithWildcard),
        ("MQTT-3.3.2-1", V311, Client, "30[ 0002C0AF ]", MALFORMED, V::StringNotUtf8),
        ("MQTT-4.7.3-2", V311, Client, "30[ 0003610062 ]", MALFORMED, V::StringWithNul),
        ("3.3.2.1", V5, Client, "30[ '' [] 61 ]", PROTOCOL, V::TopicMissing),
        ("MQTT-4.7.3-1", V311, Client, "30[ '' 61 ]", PROTOCOL, V::TopicMissing),
        ("MQTT-2.2.1-3", V311, Client, "32[ 'a' 0000 ]", PROTOCOL, V::PacketIdZero),
        ("MQTT-2.3.1-1", V311, Client, "32[ 'a' ]", MALFORMED, V::Truncated),
        ("MQTT-3.3.1-4", V311, Client, "36[ 'a' 0001 ]", MALFORMED, V::Qos3),
        ("MQTT-3.3.1-2", V311, Client, "38[ 'a' ]", MALFORMED, V::DupOfQos0),
        ("MQTT-3.3.2-8", V5, Client, "30[ 'a' [23 0000] ]", ReasonCode::TopicAliasInvalid, V::TopicAliasZero),
        ("MQTT-3.3.4-6", V5, Client, "30[ 'a' [0B 01] ]", PROTOCOL, V::IdentifierFromClient),
        ("3.3.2.3.8", V5, Server, "30[ 'a' [0B 00] ]", PROTOCOL, V::SubscriptionIdentifierZero),
        ("MQTT-1.5.5-1", V5, Server, "30[ 'a' [0B 8000] ]", MALFORMED, V::IntegerPadded),
        ("1.5.5", V5, Server, "30[ 'a' [0B 8080808001] ]", MALFORMED, V::IntegerTooLong),
        ("3.3.2.3.2", V5, Client, "30[ 'a' [01 02] ]", PROTOCOL, V::PropertyNotBoolean),
        ("MQTT-3.3.2-14", V5, Client, "30[ 'a' [08'r/#'] ]", PROTOCOL, V::ResponseTopicInvalid),
        ("MQTT-4.7.3-1", V5, Client, "30[ 'a' [08''] ]", PROTOCOL, V::ResponseTopicInvalid),
        ("MQTT-1.5.7-1", V5, Client, "30[ 'a' [26'k'0001FF] ]", MALFORMED, V::StringNotUtf8),
        ("MQTT-1.5.7-1", V5, Client, "30[ 'a' [26 000100'v'] ]", MALFORMED, V::StringWithNul),
        ("2.2.2.2", V5, Client, "30[ 'a' [00] ]", MALFORMED, V::PropertyMisplaced),
        ("2.2.2.2", V5, Client, "30[ 'a' [2B 00] ]", MALFORMED, V::PropertyMisplaced),
        ("2.2.2.2", V5, Client, "30[ 'a' [FF] ]", MALFORMED, V::PropertyMisplaced),
        ("length", V5, Client, "30[ 'a' 03 01 01 ]", MALFORMED, V::Truncated),
        ("length", V5, Client, "30[ 'a' ]", MALFORMED, V::Truncated),
        ("length", V5, Client, "30[ 'a' [02 0000] 0000 ]", MALFORMED, V::Truncated),
        ("length", V311, Client, "30[ 0002 61 ]", MALFORMED, V::Truncated),
        ("length", V311, Client, "30[ 00 ]", MALFORMED, V::Truncated),
        ("length", V311, Client, "30 00", MALFORMED, V::Truncated),
    ]);
}

#[test]
#[rustfmt::skip]
fn acknowledgements() {
    refused(&[
        ("v3 has 2 bytes", V311, Client, "40 03 0001 00", MALFORMED, V::BytesLeft),
        ("v3 has 2 bytes", V31, Client, "62 04 0001 00 00", MALFORMED, V::BytesLeft),
        ("length", V311, Client, "40 01 00", MALFORMED, V::Truncated),
        ("length", V5, Client, "70 00", MALFORMED, V::Truncated),
        ("MQTT-2.2.1-5", V5, Client, "40 02 0000", PROTOCOL, V::PacketIdZero),
        ("MQTT-3.4.2-1", V5, Client, "40 03 0001 92", PROTOCOL, V::ReasonCodeNotListed),
        ("MQTT-3.4.2-1", V5, Client, "40 03 0001 03", PROTOCOL, V::ReasonCodeNotListed),
        ("MQTT-3.5.2-1", V5, Server, "50 03 0001 81", PROTOCOL, V::ReasonCodeNotListed),
        ("MQTT-3.6.2-1", V5, Client, "62 03 0001 10", PROTOCOL, V::ReasonCodeNotListed),
        ("MQTT-3.7.2-1", V5, Client, "70 03 0001 80", PROTOCOL, V::ReasonCodeNotListed),
        ("trailing bytes", V5, Client, "40 05 0001 00 00 00", MALFORMED, V::BytesLeft),
        ("length", V5, Client, "40 04 0001 00 01", MALFORMED, V::Truncated),
        ("MQTT-3.6.1-1", V311, Client, "60 02 0001", MALFORMED, V::WrongFlags),
        ("MQTT-3.6.1-1", V311, Client, "6A 02 0001", MALFORMED, V::WrongFlags),
        ("MQTT-3.6.1-1", V5, Client, "6A 02 0001", MALFORMED, V::WrongFlags),
        ("MQTT-2.1.3-1", V5, Client, "41 02 0001", MALFORMED, V::WrongFlags),
    ]);
}

#[test]
#[rustfmt::skip]
fn subscribe() {
    refused(&[
        ("MQTT-3.8.3-2", V311, Client, "82[ 0001 ]", PROTOCOL, V::FiltersMissing),
        ("MQTT-3.8.3-2", V5, Client, "82[ 0001 [] ]", PROTOCOL, V::FiltersMissing),
        ("MQTT-3.10.3-2", V5, Client, "A2[ 0001 [] ]", PROTOCOL, V::FiltersMissing),
        ("MQTT-3.10.3-2", V311, Client, "A2[ 0001 ]", PROTOCOL, V::FiltersMissing),
        ("MQTT-2.2.1-3", V311, Client, "82[ 0000 'a' 00 ]", PROTOCOL, V::PacketIdZero),
        ("MQTT-2.2.1-3", V5, Client, "A2[ 0000 [] 'a' ]", PROTOCOL, V::PacketIdZero),
        ("MQTT-4.7.3-1", V5, Client, "82[ 0001 [] 'a' 00 '' 00 ]", PROTOCOL, V::FilterEmpty),
        ("MQTT-4.7.3-1", V311, Client, "A2[ 0001 '' ]", PROTOCOL, V::FilterEmpty),
        ("MQTT-3.8.3-1", V311, Client, "82[ 0001 0001FF 00 ]", MALFORMED, V::StringNotUtf8),
        ("MQTT-4.7.3-2", V5, Client, "82[ 0001 [] 000100 00 ]", MALFORMED, V::StringWithNul),
        ("MQTT-3.10.3-1", V311, Client, "A2[ 0001 0001FF ]", MALFORMED, V::StringNotUtf8),
        ("3.1.1 MQTT-3.8.3-4", V311, Client, "82[ 0001 'a' 03 ]", MALFORMED, V::OptionsQos),
        ("3.1.1 MQTT-3.8.3-4", V311, Client, "82[ 0001 'a' 04 ]", MALFORMED, V::OptionsQos),
        ("3.8.3.1", V5, Client, "82[ 0001 [] 'a' 03 ]", PROTOCOL, V::OptionsQos3),
        ("3.8.3.1", V5, Client, "82[ 0001 [] 'a' 30 ]", PROTOCOL, V::OptionsRetainHandling3),
        ("MQTT-3.8.3-5", V5, Client, "82[ 0001 [] 'a' 40 ]", MALFORMED, V::OptionsReserved),
        ("MQTT-3.8.3-5", V5, Client, "82[ 0001 [] 'a' 80 ]", MALFORMED, V::OptionsReserved),
        ("MQTT-3.8.3-4", V5, Client, "82[ 0001 [] '$share/g/a' 04 ]", PROTOCOL, V::NoLocalShared),
        ("3.8.2.1.2", V5, Client, "82[ 0001 [0B 00] 'a' 00 ]", PROTOCOL, V::SubscriptionIdentifierZero),
        ("3.8.2.1.2", V5, Client, "82[ 0001 [0B 01 0B 02] 'a' 00 ]", PROTOCOL, V::PropertyTwice),
        ("length", V311, Client, "82[ 0001 'a' ]", MALFORMED, V::Truncated),
        ("length", V311, Client, "82[ 0001 'a' 00 00 ]", MALFORMED, V::Truncated),
        ("length", V311, Client, "A2[ 0001 'a' 00 ]", MALFORMED, V::Truncated),
        ("MQTT-3.8.1-1", V311, Client, "80[ 0001 'a' 00 ]", MALFORMED, V::WrongFlags),
        ("MQTT-3.8.1-1", V5, Client, "8A[ 0001 [] 'a' 00 ]", MALFORMED, V::WrongFlags),
        ("MQTT-3.10.1-1", V311, Client, "AA[ 0001 'a' ]", MALFORMED, V::WrongFlags),
    ]);
}

#[test]
#[rustfmt::skip]
fn from_servers() {
    refused(&[
        ("MQTT-3.2.2-1", V311, Server, "20 02 02 00", MALFORMED, V::ConnAckFlags),
        ("MQTT-3.2.2-1", V5, Server, "20 03 80 00 00", MALFORMED, V::ConnAckFlags),
        ("MQTT-3.2.2-6", V5, Server, "20 03 01 80 00", PROTOCOL, V::ConnAckSessionPresent),
        ("MQTT-3.2.2-4", V311, Server, "20 02 01 05", PROTOCOL, V::ConnAckSessionPresent),
        ("table 3.1", V311, Server, "20 02 00 06", PROTOCOL, V::ConnAckReturnCode),
        ("MQTT-3.2.2-8", V5, Server, "20 03 00 01 00", PROTOCOL, V::ReasonCodeNotListed),
        ("MQTT-3.2.2-8", V5, Server, "20 03 00 8D 00", PROTOCOL, V::ReasonCodeNotListed),
        ("length", V5, Server, "20 02 00 00", MALFORMED, V::Truncated),
        ("length", V311, Server, "20 03 00 00 00", MALFORMED, V::BytesLeft),
        ("3.2.2.3.4", V5, Server, "20[ 00 00 [24 02] ]", PROTOCOL, V::PropertyNotBoolean),
        ("3.2.2.3.3", V5, Server, "20[ 00 00 [21 0000] ]", PROTOCOL, V::ReceiveMaximumZero),
        ("3.1.1 MQTT-3.9.3-2", V311, Server, "90[ 0001 03 ]", PROTOCOL, V::ReasonCodeNotListed),
        ("MQTT-3.9.3-2", V5, Server, "90[ 0001 [] 03 ]", PROTOCOL, V::ReasonCodeNotListed),
        ("MQTT-3.8.4-6", V311, Server, "90[ 0001 ]", PROTOCOL, V::AckWithoutCodes),
        ("MQTT-3.8.4-6", V5, Server, "90[ 0001 [] ]", PROTOCOL, V::AckWithoutCodes),
        ("MQTT-3.11.3-2", V5, Server, "B0[ 0001 [] 01 ]", PROTOCOL, V::ReasonCodeNotListed),
        ("MQTT-3.11.3-1", V5, Server, "B0[ 0001 [] ]", PROTOCOL, V::AckWithoutCodes),
        ("v3 has no codes", V311, Server, "B0 03 0001 00", MALFORMED, V::UnsubAckPayload),
        ("length", V5, Server, "B0 02 0001", MALFORMED, V::Truncated),
        ("MQTT-3.14.2-2", V5, Server, "E0[ 8B [11 00000001] ]", PROTOCOL, V::ExpiryFromServer),
    ]);
}

#[test]
#[rustfmt::skip]
fn ping_disconnect_auth() {
    refused(&[
        ("trailing bytes", V311, Client, "C0 01 00", MALFORMED, V::BytesLeft),
        ("trailing bytes", V5, Server, "D0 01 00", MALFORMED, V::BytesLeft),
        ("MQTT-2.1.3-1", V311, Client, "C1 00", MALFORMED, V::WrongFlags),
        ("v3 has no body", V311, Client, "E0 01 00", MALFORMED, V::BytesLeft),
        ("MQTT-3.14.1-1", V5, Client, "E1 00", MALFORMED, V::WrongFlags),
        ("MQTT-3.14.2-1", V5, Client, "E0 01 01", PROTOCOL, V::ReasonCodeNotListed),
        ("MQTT-3.14.2-1", V5, Client, "E0 01 03", PROTOCOL, V::ReasonCodeNotListed),
        ("MQTT-3.14.2-1", V5, Client, "E0 01 8B", PROTOCOL, V::ReasonCodeNotListed),
        ("MQTT-3.14.2-1", V5, Server, "E0 01 04", PROTOCOL, V::ReasonCodeNotListed),
        ("trailing bytes", V5, Client, "E0 03 00 00 00", MALFORMED, V::BytesLeft),
        ("AUTH is v5", V311, Client, "F0 00", PROTOCOL, V::WrongDirection),
        ("MQTT-3.15.1-1", V5, Client, "F1 00", MALFORMED, V::WrongFlags),
        ("MQTT-3.15.2-1", V5, Client, "F0 00", PROTOCOL, V::AuthSuccess),
        ("MQTT-3.15.2-1", V5, Client, "F0[ 00 [15'm'] ]", PROTOCOL, V::ReasonCodeNotListed),
        ("MQTT-3.15.2-1", V5, Server, "F0[ 19 [15'm'] ]", PROTOCOL, V::ReasonCodeNotListed),
        ("3.15.2.2.2", V5, Client, "F0[ 18 [] ]", PROTOCOL, V::AuthWithoutMethod),
        ("length", V5, Client, "F0 01 18", MALFORMED, V::Truncated),
    ]);
}

#[test]
fn directions() {
    for (version, sender, row) in [
        (V311, Client, "20 02 00 00"),
        (V311, Client, "90[ 0001 00 ]"),
        (V311, Client, "B0 02 0001"),
        (V5, Client, "D0 00"),
        (V311, Server, "10[ 'MQTT' 04 02 003C 'c' ]"),
        (V311, Server, "82[ 0001 'a' 00 ]"),
        (V311, Server, "A2[ 0001 'a' ]"),
        (V5, Server, "C0 00"),
        (V311, Server, "E0 00"),
        (V31, Server, "F0 00"),
    ] {
        refused(&[(
            "table 2-1",
            version,
            sender,
            row,
            PROTOCOL,
            V::WrongDirection,
        )]);
    }
}
