//! Rows of whole packets: what they decode to, and that encoding gives the same bytes back.

use super::*;
use Sender::{Client, Server};
use Version::{V31, V311, V5};

/// Decodes, checks that encoding restores the bytes, and hands the packet to `check`.
#[track_caller]
fn row(version: Version, sender: Sender, row: &str, check: impl FnOnce(&Packet<'_>)) {
    let bytes = bytes(row);
    let packet = decode(version, sender, &bytes).unwrap_or_else(|e| panic!("{row}: {e}"));
    check(&packet);
    assert_eq!(encode(version, &packet), bytes, "{row}");
}

fn any(_: &Packet<'_>) {}

fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

#[test]
fn connect_v3() {
    row(V31, Client, "10[ 'MQIsdp' 03 02 003C 'c' ]", |p| {
        let Packet::Connect(c) = p else { panic!() };
        assert_eq!((c.version, c.clean_start, c.keep_alive_s), (V31, true, 60));
        assert_eq!(c.client_id, "c");
        assert_eq!((&c.will, c.user_name, c.password), (&None, None, None));
    });
    row(V311, Client, "10[ 'MQTT' 04 00 0000 '' ]", |p| {
        let Packet::Connect(c) = p else { panic!() };
        assert_eq!((c.version, c.clean_start, c.client_id), (V311, false, ""));
    });
    row(
        V311,
        Client,
        "10[ 'MQTT' 04 F6 FFFF 'client' 'will/topic' 'gone' 'user' 'secret' ]",
        |p| {
            let Packet::Connect(c) = p else { panic!() };
            let will = c.will.as_ref().unwrap();
            assert_eq!((will.topic, will.payload), ("will/topic", &b"gone"[..]));
            assert_eq!((will.qos, will.retain), (Qos::ExactlyOnce, true));
            assert_eq!(c.user_name, Some("user"));
            assert_eq!(c.password, Some(&b"secret"[..]));
            assert_eq!(c.keep_alive_s, 65_535);
        },
    );
    row(V311, Client, "10[ 'MQTT' 04 0E 0001 'c' 't' '' ]", |p| {
        let Packet::Connect(c) = p else { panic!() };
        let will = c.will.as_ref().unwrap();
        assert_eq!((will.qos, will.retain), (Qos::AtLeastOnce, false));
        assert!(will.payload.is_empty());
    });
}

/// Where MQTT 3.1 is lenient, encoding does not restore the bytes.
#[test]
fn connect_31_lenient() {
    for (row, user_name, password) in [
        // Reserved bits, will QoS and retain without a will.
        ("10[ 'MQIsdp' 03 3B 003C 'c' ]", None, None),
        // Flags say more than the packet has.
        ("10[ 'MQIsdp' 03 C2 003C 'c' ]", None, None),
        ("10[ 'MQIsdp' 03 C2 003C 'c' 'u' ]", Some("u"), None),
    ] {
        let bytes = bytes(row);
        let Packet::Connect(c) = decode(V31, Client, &bytes).unwrap() else {
            panic!()
        };
        assert_eq!((c.user_name, c.password), (user_name, password), "{row}");
        assert_eq!(c.will, None);
    }
}

#[test]
fn connect_v5() {
    row(V5, Client, "10[ 'MQTT' 05 02 003C [] 'c' ]", |p| {
        let Packet::Connect(c) = p else { panic!() };
        assert_eq!((c.version, c.clean_start), (V5, true));
        assert_eq!(c.properties, ConnectProperties::default());
    });
    // Password without user name is allowed in v5.
    row(V5, Client, "10[ 'MQTT' 05 40 003C [] 'c' 'p' ]", |p| {
        let Packet::Connect(c) = p else { panic!() };
        assert_eq!((c.user_name, c.password), (None, Some(&b"p"[..])));
    });
    row(
        V5,
        Client,
        "10[ 'MQTT' 05 EE 003C
            [11 00000E10 21 000A 27 00001000 22 0005 19 01 17 00 26'k''v' 26'k''w' 15'SCRAM' 16'd']
            'c' [18 00000005 02 00000009 01 01 03'text' 08'reply/to' 09'corr' 26'a''b']
            'w' 'payload' 'u' 'p' ]",
        |p| {
            let Packet::Connect(c) = p else { panic!() };
            let q = &c.properties;
            assert_eq!(q.session_expiry_interval_s, Some(3600));
            assert_eq!(q.receive_maximum.map(u16::from), Some(10));
            assert_eq!(q.maximum_packet_size, Some(4096));
            assert_eq!(q.topic_alias_maximum, Some(5));
            assert_eq!(q.request_response_information, Some(true));
            assert_eq!(q.request_problem_information, Some(false));
            assert_eq!(q.authentication_method, Some("SCRAM"));
            assert_eq!(q.authentication_data, Some(&b"d"[..]));
            let pairs: Vec<_> = q.user_properties.iter().collect();
            assert_eq!(pairs, [("k", "v"), ("k", "w")]);
            let will = c.will.as_ref().unwrap();
            assert_eq!(will.delay_interval_s, 5);
            assert_eq!(will.properties.message_expiry_interval_s, Some(9));
            assert!(!will.properties.raw_is_forwardable);
            let mut forwardable = Vec::new();
            will.properties.forwardable_into(&mut forwardable);
            assert_eq!(
                forwardable,
                bytes("01 01 03'text' 08'reply/to' 09'corr' 26'a''b'")
            );
            assert_eq!((will.qos, will.retain), (Qos::AtLeastOnce, true));
        },
    );
}

#[test]
fn connack() {
    row(V31, Server, "20 02 00 00", any);
    row(V31, Server, "20 02 00 05", any);
    row(V311, Server, "20 02 01 00", |p| {
        let Packet::ConnAck(c) = p else { panic!() };
        assert!(c.session_present && c.reason == ReasonCode::Success);
    });
    row(V311, Server, "20 02 00 01", |p| {
        let Packet::ConnAck(c) = p else { panic!() };
        assert_eq!(c.reason, ReasonCode::UnsupportedProtocolVersion);
    });
    row(V5, Server, "20 03 00 00 00", any);
    row(V5, Server, "20 03 00 87 00", any);
    row(
        V5,
        Server,
        "20[ 01 00 [11 00000001 21 0002 24 01 25 00 27 00000003 12'id' 22 0004 1F'why' 26'k''v'
            28 00 29 01 2A 00 13 0005 1A'info' 1C'ref' 15'm' 16'd'] ]",
        |p| {
            let Packet::ConnAck(c) = p else { panic!() };
            let q = &c.properties;
            assert!(c.session_present);
            assert_eq!(q.session_expiry_interval_s, Some(1));
            assert_eq!(q.receive_maximum.map(u16::from), Some(2));
            assert_eq!(q.maximum_qos, Some(Qos::AtLeastOnce));
            assert_eq!(q.retain_available, Some(false));
            assert_eq!(q.maximum_packet_size, Some(3));
            assert_eq!(q.assigned_client_identifier, Some("id"));
            assert_eq!(q.topic_alias_maximum, Some(4));
            assert_eq!(q.reason_string, Some("why"));
            assert_eq!(q.wildcard_subscription_available, Some(false));
            assert_eq!(q.subscription_identifiers_available, Some(true));
            assert_eq!(q.shared_subscription_available, Some(false));
            assert_eq!(q.server_keep_alive_s, Some(5));
            assert_eq!(q.response_information, Some("info"));
            assert_eq!(q.server_reference, Some("ref"));
            assert_eq!(q.authentication_method, Some("m"));
            assert_eq!(q.authentication_data, Some(&b"d"[..]));
            assert_eq!(q.user_properties.iter().count(), 1);
        },
    );
}

#[test]
fn publish() {
    row(V311, Client, "30[ 'a/b' 6869 ]", |p| {
        let Packet::Publish(p) = p else { panic!() };
        assert_eq!((p.topic, p.payload), ("a/b", &b"hi"[..]));
        assert_eq!((p.dup, p.qos, p.retain), (false, Qos::AtMostOnce, false));
        assert_eq!(p.packet_id, None);
        assert!(p.properties.raw_is_forwardable);
    });
    row(V31, Client, "3B[ 'a' 0102 ]", |p| {
        let Packet::Publish(p) = p else { panic!() };
        assert_eq!((p.dup, p.qos, p.retain), (true, Qos::AtLeastOnce, true));
        assert_eq!(p.packet_id, Some(id(0x0102)));
        assert!(p.payload.is_empty());
    });
    row(V311, Server, "34[ '/' FFFF 00 ]", |p| {
        let Packet::Publish(p) = p else { panic!() };
        assert_eq!(p.qos, Qos::ExactlyOnce);
        assert_eq!(p.payload, [0]);
    });
    row(V5, Client, "30[ 'a' [] 00FF ]", |p| {
        let Packet::Publish(p) = p else { panic!() };
        assert_eq!(p.payload, [0, 0xFF]);
        assert!(p.properties.raw_is_forwardable);
    });
    row(V5, Client, "32[ '' 0001 [23 0007] 78 ]", |p| {
        let Packet::Publish(p) = p else { panic!() };
        assert_eq!(p.topic, "");
        assert_eq!(p.properties.topic_alias.map(u16::from), Some(7));
        assert!(!p.properties.raw_is_forwardable);
    });
    // The payload format indicator is passed on, the payload is not checked.
    row(V5, Client, "30[ 'a' [01 01 03'x' 26'k''v'] FF ]", |p| {
        let Packet::Publish(p) = p else { panic!() };
        assert!(p.properties.raw_is_forwardable);
        assert_eq!(p.properties.iter().count(), 3);
    });
    row(
        V5,
        Server,
        "35[ 'ä' 0009 [23 0001 02 00000064 0B 01 0B FFFFFF7F 01 00 08'r' 09'' 03'' 26'k''1' 26'k''2'] ]",
        |p| {
            let Packet::Publish(p) = p else { panic!() };
            let q = &p.properties;
            assert_eq!(q.message_expiry_interval_s, Some(100));
            assert_eq!(q.subscription_identifier, Some(1));
            let identifiers: Vec<u32> = q.subscription_identifiers().collect();
            assert_eq!(identifiers, [1, 268_435_455]);
            let pairs: Vec<_> = q.user_properties().iter().collect();
            assert_eq!(pairs, [("k", "1"), ("k", "2")]);
        },
    );
}

/// What is passed on keeps its order even when what is taken out stood between.
#[test]
fn forwardable_keeps_order() {
    let bytes_in = bytes("30[ 'a' [26'k''1' 23 0001 03'x' 0B 05 26'k''2' 02 00000001 01 01] ]");
    let Packet::Publish(p) = decode(V5, Server, &bytes_in).unwrap() else {
        panic!()
    };
    let mut out = vec![0xEE];
    p.properties.forwardable_into(&mut out);
    assert_eq!(out, bytes("EE 26'k''1' 03'x' 26'k''2' 01 01"));
}

#[test]
fn acknowledgements() {
    for first in ["40", "50", "62", "70"] {
        for version in [V31, V311, V5] {
            for sender in [Client, Server] {
                row(version, sender, &format!("{first} 02 1234"), |p| {
                    let (Packet::PubAck(a)
                    | Packet::PubRec(a)
                    | Packet::PubRel(a)
                    | Packet::PubComp(a)) = p
                    else {
                        panic!()
                    };
                    assert_eq!((a.packet_id, a.reason), (id(0x1234), ReasonCode::Success));
                });
            }
        }
        row(
            V5,
            Client,
            &format!("{first}[ 1234 00 [1F'why' 26'k''v'] ]"),
            any,
        );
    }
    row(V5, Client, "40 03 0001 10", |p| {
        let Packet::PubAck(a) = p else { panic!() };
        assert_eq!(a.reason, ReasonCode::NoMatchingSubscribers);
    });
    row(V5, Client, "50 03 0001 97", any);
    row(V5, Client, "62 03 0001 92", any);
    row(V5, Client, "70 03 0001 92", any);
    row(V5, Client, "40[ 0001 80 [1F'no'] ]", |p| {
        let Packet::PubAck(a) = p else { panic!() };
        assert_eq!(a.reason_string, Some("no"));
    });
    // Longer forms of the same, which the encoder does not choose.
    for long in ["40 03 0001 00", "40 04 0001 00 00"] {
        let bytes = bytes(long);
        let packet = decode(V5, Client, &bytes).unwrap();
        assert_eq!(encode(V5, &packet), [0x40, 2, 0, 1]);
    }
    // DUP in MQTT 3.1.
    let bytes = [0x6A, 2, 0, 1];
    assert!(decode(V31, Client, &bytes).is_ok());
}

#[test]
fn subscribe() {
    row(V31, Client, "82[ 0001 'a' 00 ]", any);
    row(V311, Client, "82[ 000A 'a/#' 01 '+' 02 ]", |p| {
        let Packet::Subscribe(s) = p else { panic!() };
        let filters: Vec<_> = s.filters.iter().map(|(f, o)| (f, o.qos)).collect();
        assert_eq!(
            filters,
            [("a/#", Qos::AtLeastOnce), ("+", Qos::ExactlyOnce)]
        );
        assert_eq!(s.filters.len(), 2);
    });
    row(
        V5,
        Client,
        "82[ 000A [0B 8001 26'k''v'] 'a' 2E '$share/g/x' 19 ]",
        |p| {
            let Packet::Subscribe(s) = p else { panic!() };
            assert_eq!(s.subscription_identifier, Some(128));
            assert_eq!(s.user_properties.iter().next(), Some(("k", "v")));
            let filters: Vec<_> = s.filters.iter().collect();
            let first = SubscriptionOptions {
                qos: Qos::ExactlyOnce,
                no_local: true,
                retain_as_published: true,
                retain_handling: RetainHandling::DoNotSend,
            };
            let second = SubscriptionOptions {
                qos: Qos::AtLeastOnce,
                no_local: false,
                retain_as_published: true,
                retain_handling: RetainHandling::SendIfNew,
            };
            assert_eq!(filters, [("a", first), ("$share/g/x", second)]);
        },
    );
    // Bad wildcards and share names are answered filter by filter, not here.
    row(
        V5,
        Client,
        "82[ 0001 [] 'a#' 00 '+b' 00 '$share/' 00 ]",
        any,
    );
    row(V311, Client, "A2[ 0001 '#/a' ]", any);
}

#[test]
fn subscribe_answers() {
    row(V311, Server, "90[ 0001 00 01 02 80 ]", |p| {
        let Packet::SubAck(s) = p else { panic!() };
        assert_eq!(s.codes, [0, 1, 2, 0x80]);
    });
    row(V5, Server, "90[ 0001 [1F'r' 26'k''v'] 02 A2 ]", any);
    row(V5, Server, "90[ 0001 [] 8F ]", any);
    row(V31, Server, "B0 02 0001", any);
    row(V5, Server, "B0[ 0001 [] 00 11 ]", |p| {
        let Packet::UnsubAck(s) = p else { panic!() };
        assert_eq!(s.codes, [0, 0x11]);
    });
    row(V5, Server, "B0[ 0001 [1F'r'] 80 ]", any);
    // v3 has one failure.
    let mut out = Vec::new();
    let suback = SubAck {
        packet_id: id(1),
        reason_string: Some("not sent"),
        user_properties: UserProperties::default(),
        codes: &[2, 0x8F, 0x80],
    };
    encode::suback(&mut out, V311, &suback);
    assert_eq!(out, bytes("90[ 0001 02 80 80 ]"));
}

#[test]
fn unsubscribe() {
    row(V31, Client, "A2[ 0001 'a' ]", any);
    row(V311, Client, "A2[ 0001 'a' 'b/+' ]", |p| {
        let Packet::Unsubscribe(u) = p else { panic!() };
        assert_eq!(u.filters.iter().collect::<Vec<_>>(), ["a", "b/+"]);
    });
    row(V5, Client, "A2[ 0001 [26'k''v'] 'a' ]", any);
}

#[test]
fn ping_disconnect_auth() {
    for version in [V31, V311, V5] {
        row(version, Client, "C0 00", any);
        row(version, Server, "D0 00", any);
        row(version, Client, "E0 00", |p| {
            let Packet::Disconnect(d) = p else { panic!() };
            assert_eq!(d.reason, ReasonCode::Success);
        });
    }
    row(V5, Client, "E0 01 04", any);
    row(V5, Server, "E0 01 8B", any);
    row(
        V5,
        Client,
        "E0[ 00 [11 00000000 1F'bye' 26'k''v' 1C's'] ]",
        |p| {
            let Packet::Disconnect(d) = p else { panic!() };
            assert_eq!(d.session_expiry_interval_s, Some(0));
            assert_eq!(d.reason_string, Some("bye"));
            assert_eq!(d.server_reference, Some("s"));
        },
    );
    row(V5, Server, "E0[ 9C [1C'other'] ]", any);
    row(V5, Server, "F0 00", any);
    row(V5, Client, "F0[ 19 [1F'r' 26'k''v' 15'm' 16'd'] ]", |p| {
        let Packet::Auth(a) = p else { panic!() };
        assert_eq!(a.reason, ReasonCode::ReAuthenticate);
        assert_eq!(a.authentication_method, Some("m"));
        assert_eq!(a.authentication_data, Some(&b"d"[..]));
        assert_eq!(a.reason_string, Some("r"));
    });
    row(V5, Server, "F0[ 18 [15'm'] ]", any);
}

/// v3 connections get the nearest that v3 has.
#[test]
fn v3_has_no_place_for_reasons() {
    let ack = Ack {
        packet_id: id(1),
        reason: ReasonCode::NotAuthorized,
        reason_string: Some("why"),
        user_properties: UserProperties::default(),
    };
    let mut out = Vec::new();
    encode::ack(&mut out, V311, AckKind::PubRec, &ack);
    let connack = ConnAck {
        session_present: true,
        ..ConnAck::default()
    };
    encode::connack(&mut out, V31, &connack);
    let refused = ConnAck {
        reason: ReasonCode::ServerBusy,
        ..ConnAck::default()
    };
    encode::connack(&mut out, V311, &refused);
    let publish = PublishOut {
        topic: "a",
        topic_alias: std::num::NonZeroU16::new(1),
        message_expiry_interval_s: Some(1),
        subscription_identifiers: &[1],
        properties: &[1, 1],
        ..PublishOut::default()
    };
    encode::publish(&mut out, V311, &publish);
    assert_eq!(out, bytes("50020001 20020000 20020003 30[ 'a' ]"));
}
