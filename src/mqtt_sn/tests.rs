use super::*;
use crate::mqtt::Qos;

/// One of each message, and its bytes by hand.
const ROWS: &[(Message<'_>, &[u8])] = &[
    (
        Message::Advertise {
            gateway_id: 7,
            duration_s: 900,
        },
        &[5, 0x00, 7, 3, 0x84],
    ),
    (Message::SearchGw { radius: 2 }, &[3, 0x01, 2]),
    (
        Message::GwInfo {
            gateway_id: 7,
            address: &[],
        },
        &[3, 0x02, 7],
    ),
    (
        Message::Connect(Connect {
            will: true,
            clean_session: false,
            protocol_id: 1,
            duration_s: 300,
            client_id: "ab",
        }),
        &[8, 0x04, 0x08, 1, 1, 44, b'a', b'b'],
    ),
    (Message::ConnAck(ReturnCode::Congestion), &[3, 0x05, 1]),
    (Message::WillTopicReq, &[2, 0x06]),
    (
        Message::WillTopic(Some(WillTopic {
            qos: Qos::AtLeastOnce,
            retain: true,
            topic: "w",
        })),
        &[4, 0x07, 0x30, b'w'],
    ),
    (Message::WillTopic(None), &[2, 0x07]),
    (Message::WillMsgReq, &[2, 0x08]),
    (Message::WillMsg(b"m"), &[3, 0x09, b'm']),
    (
        Message::Register {
            topic_id: 0,
            msg_id: 258,
            topic: "t",
        },
        &[7, 0x0A, 0, 0, 1, 2, b't'],
    ),
    (
        Message::RegAck {
            topic_id: 5,
            msg_id: 258,
            code: ReturnCode::NotSupported,
        },
        &[7, 0x0B, 0, 5, 1, 2, 3],
    ),
    (
        Message::Publish(Publish {
            dup: true,
            qos: Some(Qos::ExactlyOnce),
            retain: true,
            topic: TopicRef::Predefined(9),
            msg_id: 4,
            payload: b"x",
        }),
        &[8, 0x0C, 0xD1, 0, 9, 0, 4, b'x'],
    ),
    (
        Message::Publish(Publish {
            dup: false,
            qos: None,
            retain: false,
            topic: TopicRef::Short(*b"ab"),
            msg_id: 0,
            payload: b"",
        }),
        &[7, 0x0C, 0x62, b'a', b'b', 0, 0],
    ),
    (
        Message::PubAck {
            topic_id: 1,
            msg_id: 2,
            code: ReturnCode::InvalidTopicId,
        },
        &[7, 0x0D, 0, 1, 0, 2, 2],
    ),
    (Message::PubComp(3), &[4, 0x0E, 0, 3]),
    (Message::PubRec(3), &[4, 0x0F, 0, 3]),
    (Message::PubRel(3), &[4, 0x10, 0, 3]),
    (
        Message::Subscribe(Subscribe {
            dup: false,
            qos: Qos::AtLeastOnce,
            msg_id: 6,
            topic: TopicName::Full("a/#"),
        }),
        &[8, 0x12, 0x20, 0, 6, b'a', b'/', b'#'],
    ),
    (
        Message::SubAck {
            qos: Qos::AtLeastOnce,
            topic_id: 1,
            msg_id: 6,
            code: ReturnCode::Accepted,
        },
        &[8, 0x13, 0x20, 0, 1, 0, 6, 0],
    ),
    (
        Message::Unsubscribe(Unsubscribe {
            msg_id: 6,
            topic: TopicName::Predefined(9),
        }),
        &[7, 0x14, 1, 0, 6, 0, 9],
    ),
    (Message::UnsubAck(6), &[4, 0x15, 0, 6]),
    (Message::PingReq("ab"), &[4, 0x16, b'a', b'b']),
    (Message::PingReq(""), &[2, 0x16]),
    (Message::PingResp, &[2, 0x17]),
    (Message::Disconnect(None), &[2, 0x18]),
    (Message::Disconnect(Some(60)), &[4, 0x18, 0, 60]),
    (Message::WillTopicUpd(None), &[2, 0x1A]),
    (Message::WillTopicResp(ReturnCode::Accepted), &[3, 0x1B, 0]),
    (Message::WillMsgUpd(b"m"), &[3, 0x1C, b'm']),
    (
        Message::WillMsgResp(ReturnCode::NotSupported),
        &[3, 0x1D, 3],
    ),
];

#[test]
fn each_message_is_its_bytes() {
    for (message, bytes) in ROWS {
        let mut out = Vec::new();
        encode(message, &mut out);
        assert_eq!(out, *bytes, "{message:?}");
        assert_eq!(decode(bytes), Ok(*message));
        let mut long = vec![1, 0, bytes[0] + 2];
        long.extend_from_slice(&bytes[1..]);
        assert_eq!(decode(&long), Ok(*message), "both forms of a length");
    }
}

#[test]
fn a_message_of_more_than_255_octets_has_the_long_length() {
    let payload = vec![7; 300];
    let mut out = Vec::new();
    encode(&Message::WillMsg(&payload), &mut out);
    assert_eq!(out[..4], [1, 1, 48, 0x09]);
    assert_eq!(decode(&out), Ok(Message::WillMsg(&payload)));
}

#[test]
fn what_is_cut_or_padded_is_malformed() {
    for (message, bytes) in ROWS {
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "{message:?} cut at {end}");
        }
        let mut padded = bytes.to_vec();
        padded.push(0);
        assert_eq!(decode(&padded), Err(Malformed::Length));
    }
    for kind in [0x03, 0x11, 0x19, 0x1E, 0x80, 0xFD, 0xFF] {
        assert_eq!(decode(&[3, kind, 0]), Err(Malformed::Type));
    }
    assert_eq!(decode(&[1, 0, 3]), Err(Malformed::Length));
    assert_eq!(decode(&[3, 0x16, 0xFF]), Err(Malformed::Text));
    assert_eq!(decode(&[6, 0x12, 0x60, 0, 1, b'a']), Err(Malformed::Qos));
    let reserved = [7, 0x0C, 0x03, 0, 1, 0, 0];
    assert_eq!(decode(&reserved), Err(Malformed::TopicIdType));
}

#[test]
fn a_forwarded_message_lies_behind_its_frame() {
    let mut out = Vec::new();
    forwarded(b"node", &mut out);
    encode(&Message::PingResp, &mut out);
    assert_eq!(out, [7, 0xFE, 0, b'n', b'o', b'd', b'e', 2, 0x17]);
    let inner = unwrap_forwarded(&out).unwrap().unwrap();
    assert_eq!((inner.node, inner.message), (&b"node"[..], &[2, 0x17][..]));
    assert_eq!(unwrap_forwarded(&[2, 0x17]), Ok(None));
    let mut nested = Vec::new();
    forwarded(b"a", &mut nested);
    nested.extend_from_slice(&out);
    assert_eq!(unwrap_forwarded(&nested), Err(Malformed::Type));
    assert!(unwrap_forwarded(&[9, 0xFE, 0, 1]).is_err());
    assert!(
        unwrap_forwarded(&[3, 0xFE, 0, 2, 0x17]).is_err(),
        "a node has a name"
    );
}

#[test]
fn predefined_ids_of_a_client_come_before_those_of_all() {
    let text = "# ids\n*, a/b, 1\nc1, own, 1\n\n*, with,comma, 2\n";
    let table = Predefined::parse(text).unwrap();
    assert_eq!(table.topic("c1", 1), Some("own"));
    assert_eq!(table.topic("c2", 1), Some("a/b"));
    assert_eq!(table.topic("c2", 2), Some("with,comma"));
    assert_eq!(table.topic_for_all(3), None);
    for wrong in [
        "a",
        "*, a, 0",
        "*, a/#, 1",
        "*, a, 65535",
        "*, a, 1\n*, b, 1",
    ] {
        assert!(Predefined::parse(wrong).is_err(), "{wrong}");
    }
}
