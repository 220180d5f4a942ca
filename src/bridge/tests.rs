//! Lines, backoff, loops, and a relay between two scripted brokers.

use std::io::IoSlice;
use std::num::NonZeroU16;
use std::sync::Arc;

use super::relay::{put_ack, Ended, Event, Link, LocalLimits, Relay};
use super::{look_for_loops, waiting, Backoff, Bridge, Direction, Drop, Line, Notify, RetainFlag};
use crate::mqtt::frame::{next_frame, PACKET_SIZE_MAX};
use crate::mqtt::packet::{ConnAckProperties, SubAck};
use crate::mqtt::property::Property;
use crate::mqtt::{decode, encode, AckKind, ConnAck, Packet, PacketId, PublishOut, Qos};
use crate::mqtt::{ReasonCode, Sender, UserProperties, Version};
use crate::time::Span;

fn line(text: &str) -> Line {
    Line::parse(text).unwrap()
}

fn bridge(lines: &[&str]) -> Bridge {
    Bridge {
        name: "b".into(),
        addresses: vec!["far:1883".into()],
        lines: lines.iter().map(|text| line(text)).collect(),
        ..Bridge::default()
    }
}

#[test]
fn lines_rename_topics_in_both_directions() {
    let both = line("temp/# both 2 site7/ factory/");
    assert_eq!(
        (both.direction, both.qos),
        (Direction::Both, Qos::ExactlyOnce)
    );
    assert_eq!(both.local_filter(), "site7/temp/#");
    assert_eq!(both.remote_filter(), "factory/temp/#");
    assert_eq!(
        both.to_remote("site7/temp/1").as_deref(),
        Some("factory/temp/1")
    );
    assert_eq!(
        both.to_local("factory/temp/1").as_deref(),
        Some("site7/temp/1")
    );
    assert_eq!(both.to_remote("site7/other"), None);
    assert_eq!(both.to_remote("temp/1"), None);
    let single = line("'' in 1 here/it \"over there/it\"");
    assert_eq!(single.to_local("over there/it").as_deref(), Some("here/it"));
    assert_eq!(line("a/b").direction, Direction::Out);
    let shared = line("$share/g/jobs/# in 1 '' far/");
    assert_eq!(
        shared.subscribed(shared.remote_filter()),
        "$share/g/far/jobs/#"
    );
    for wrong in [
        "",
        "a sideways",
        "a out 3",
        "a out 1 x y z",
        "'' out 1 x",
        "a/#/b",
        "a out 0 +/ x/",
        "$share/g/a both",
        "'a",
    ] {
        assert!(Line::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn bridges_that_would_return_what_the_other_has_taken_are_found() {
    let other = |lines: &[&str], address: &str| Bridge {
        name: "c".into(),
        addresses: vec![address.into()],
        ..bridge(lines)
    };
    let out = bridge(&["# out 1 a/ x/"]);
    let found = |other: Bridge| look_for_loops(&[out.clone(), other]).len();
    assert_eq!(found(other(&["# in 1 a/ x/"], "far:1883")), 1);
    assert_eq!(
        found(other(&["# in 1 b/ x/"], "far:1883")),
        0,
        "another name here"
    );
    assert_eq!(
        found(other(&["# in 1 a/ y/"], "far:1883")),
        0,
        "another name there"
    );
    assert_eq!(
        found(other(&["# in 1 a/ x/"], "near:1883")),
        0,
        "another remote"
    );
    let text = &look_for_loops(&[out.clone(), other(&["# in 1 a/ x/"], "far:1883")])[0].1;
    assert!(
        text.contains("# out 1 a/ x/") && text.contains("# in 1 a/ x/"),
        "{text}"
    );
}

#[test]
fn pauses_are_random_between_base_and_cap_and_begin_anew_after_a_stable_connection() {
    let spans = [1, 30, 60].map(Span::from_secs);
    let mut backoff = Backoff::new(spans, 7);
    let pauses: Vec<_> = (0..200).map(|_| backoff.next(Span::ZERO)).collect();
    assert!(pauses
        .iter()
        .all(|pause| (spans[0]..=spans[1]).contains(pause)));
    assert!(pauses.iter().any(|pause| *pause > Span::from_secs(10)));
    assert_eq!(backoff.longest(), spans[1]);
    assert!(backoff.next(spans[2]) <= Span::from_secs(3));
}

/// A relay, and what it has sent to each side.
struct Scene {
    relay: Relay,
    up: Vec<u8>,
    down: Vec<u8>,
}

impl Scene {
    fn of(bridge: Bridge, version: Version) -> Self {
        let link = Link {
            bridge: Arc::new(bridge),
            version,
            mark: true,
            password: None,
            broker: 0xAB,
            limits: LocalLimits {
                receive_maximum: 3,
                packet_size_max: 1_000,
            },
            has_subscribed: false,
        };
        let mut scene = Self {
            relay: Relay::new(link),
            up: Vec::new(),
            down: Vec::new(),
        };
        scene.relay.start(&mut scene.down);
        scene
    }

    fn remote(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        self.relay
            .handle_remote(bytes, &mut self.up, &mut self.down)
    }

    fn local(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        let result = (self.relay).handle_local(&[IoSlice::new(bytes)], &mut self.down);
        self.relay.take_owed(&mut self.up);
        result
    }

    /// Both sides have answered CONNECT, and have kept a session or not.
    fn joined(bridge: Bridge, version: Version, [remote, local]: [bool; 2]) -> Self {
        Self::joined_with(
            bridge,
            version,
            [remote, local],
            ConnAckProperties::default(),
        )
    }

    fn joined_with(
        bridge: Bridge,
        version: Version,
        [remote, local]: [bool; 2],
        properties: ConnAckProperties<'_>,
    ) -> Self {
        let mut scene = Self::of(bridge, version);
        scene.remote(&connack(version, remote, properties)).unwrap();
        let own = connack(Version::V5, local, ConnAckProperties::default());
        scene.local(&own).unwrap();
        scene
    }

    fn grant_all(&mut self) {
        let version = self.relay.link.version;
        let here = suback(Version::V5, 65_535, 1);
        self.local(&here).unwrap();
        self.remote(&suback(version, 65_535, 1)).unwrap();
        self.up.clear();
        self.down.clear();
    }

    fn sent_up(&mut self) -> Vec<String> {
        shown(Version::V5, &std::mem::take(&mut self.up))
    }

    fn sent_down(&mut self) -> Vec<String> {
        shown(self.relay.link.version, &std::mem::take(&mut self.down))
    }
}

/// Packets of a client, in short.
fn shown(version: Version, bytes: &[u8]) -> Vec<String> {
    let mut rest = bytes;
    let mut texts = Vec::new();
    while let Some(frame) = next_frame(rest, PACKET_SIZE_MAX).unwrap() {
        rest = &rest[frame.length..];
        let acked = |name: &str, id: PacketId, reason: ReasonCode| match reason {
            ReasonCode::Success => format!("{name} {}", id.get()),
            reason => format!("{name} {} 0x{:02X}", id.get(), reason as u8),
        };
        texts.push(
            match decode::packet(version, Sender::Client, &frame).unwrap() {
                Packet::Connect(connect) => format!(
                    "CONNECT {} {}{}",
                    connect.client_id,
                    if connect.clean_start {
                        "clean"
                    } else {
                        "resumed"
                    },
                    if connect.is_bridge { " marked" } else { "" },
                ),
                Packet::Publish(publish) => format!(
                    "PUBLISH {} {}{}{}",
                    publish.topic,
                    publish.packet_id.map_or(0, PacketId::get),
                    ["", " qos1", " qos2"][publish.qos as usize],
                    if publish.retain { " retain" } else { "" },
                ),
                Packet::PubAck(ack) => acked("PUBACK", ack.packet_id, ack.reason),
                Packet::PubRec(ack) => acked("PUBREC", ack.packet_id, ack.reason),
                Packet::PubRel(ack) => acked("PUBREL", ack.packet_id, ack.reason),
                Packet::PubComp(ack) => acked("PUBCOMP", ack.packet_id, ack.reason),
                Packet::Subscribe(subscribe) => {
                    let filters = subscribe.filters.into_iter().map(|(f, o)| {
                        format!(
                            "{f}/{}{}",
                            o.qos as u8,
                            if o.no_local { " no-local" } else { "" }
                        )
                    });
                    format!("SUBSCRIBE {}", filters.collect::<Vec<_>>().join(", "))
                }
                Packet::PingReq => "PINGREQ".into(),
                Packet::Disconnect(_) => "DISCONNECT".into(),
                other => format!("{other:?}"),
            },
        );
    }
    assert!(rest.is_empty());
    texts
}

fn connack(version: Version, session_present: bool, properties: ConnAckProperties<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let connack = ConnAck {
        session_present,
        reason: ReasonCode::Success,
        properties,
    };
    encode::connack(&mut out, version, &connack);
    out
}

fn suback(version: Version, id: u16, codes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let suback = SubAck {
        packet_id: PacketId::new(id).unwrap(),
        reason_string: None,
        user_properties: UserProperties { raw: &[] },
        codes: &vec![0; codes],
    };
    encode::suback(&mut out, version, &suback);
    out
}

fn ack(version: Version, kind: AckKind, id: u16) -> Vec<u8> {
    let mut out = Vec::new();
    let id = PacketId::new(id).unwrap();
    put_ack(&mut out, version, kind, id, ReasonCode::Success);
    out
}

fn publish(version: Version, topic: &str, id: u16, qos: Qos) -> Vec<u8> {
    publish_with(version, topic, id, qos, &[])
}

fn publish_with(version: Version, topic: &str, id: u16, qos: Qos, properties: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let publish = PublishOut {
        qos,
        topic,
        packet_id: PacketId::new(id),
        properties,
        payload_len: 1,
        payload: b"x",
        retain: true,
        ..PublishOut::default()
    };
    encode::publish(&mut out, version, &publish);
    out
}

#[test]
fn a_bridge_joins_both_sides_and_subscribes_to_what_its_lines_name() {
    for version in [Version::V5, Version::V311, Version::V31] {
        let mut scene = Scene::of(bridge(&["a/# both 1 l/ r/"]), version);
        let mark = if version.is_v5() { "" } else { " marked" };
        assert_eq!(scene.sent_down(), [format!("CONNECT b resumed{mark}")]);
        let accepted = connack(version, false, ConnAckProperties::default());
        // Cut anywhere.
        for byte in accepted {
            assert!(scene.up.is_empty());
            scene.remote(&[byte]).unwrap();
        }
        assert_eq!(
            scene.sent_up(),
            ["CONNECT bridge.b resumed", "SUBSCRIBE l/a/#/1 no-local"]
        );
        for byte in connack(Version::V5, false, ConnAckProperties::default()) {
            scene.local(&[byte]).unwrap();
        }
        assert_eq!(scene.sent_down(), [""; 0]);
        scene.local(&suback(Version::V5, 65_535, 1)).unwrap();
        let no_local = if version.is_v5() { " no-local" } else { "" };
        assert_eq!(scene.sent_down(), [format!("SUBSCRIBE r/a/#/1{no_local}")]);
        scene.remote(&suback(version, 65_535, 1)).unwrap();
        let events: Vec<_> = std::iter::from_fn(|| scene.relay.poll_event()).collect();
        let connected = Event::Connected {
            session_present: false,
        };
        assert_eq!(events, [connected, Event::Up]);
    }
}

#[test]
fn acknowledgements_pass_with_the_identifiers_of_their_session() {
    for version in [Version::V5, Version::V311] {
        let mut scene = Scene::joined(bridge(&["# both 2"]), version, [true, true]);
        scene.grant_all();
        scene
            .local(&publish(Version::V5, "out", 7, Qos::ExactlyOnce))
            .unwrap();
        assert_eq!(scene.sent_down(), ["PUBLISH out 7 qos2 retain"]);
        assert_eq!(scene.sent_up(), [""; 0], "nothing before the remote has it");
        scene.remote(&ack(version, AckKind::PubRec, 7)).unwrap();
        scene.local(&ack(Version::V5, AckKind::PubRel, 7)).unwrap();
        scene.remote(&ack(version, AckKind::PubComp, 7)).unwrap();
        assert_eq!(scene.sent_up(), ["PUBREC 7", "PUBCOMP 7"]);
        assert_eq!(scene.sent_down(), ["PUBREL 7"]);

        scene
            .remote(&publish(version, "in", 9, Qos::ExactlyOnce))
            .unwrap();
        assert_eq!(scene.sent_up(), ["PUBLISH in 9 qos2 retain"]);
        assert_eq!(
            scene.sent_down(),
            [""; 0],
            "nothing before our own broker has it"
        );
        scene.local(&ack(Version::V5, AckKind::PubRec, 9)).unwrap();
        scene.remote(&ack(version, AckKind::PubRel, 9)).unwrap();
        scene.local(&ack(Version::V5, AckKind::PubComp, 9)).unwrap();
        assert_eq!(scene.sent_up(), ["PUBREL 9"]);
        assert_eq!(scene.sent_down(), ["PUBREC 9", "PUBCOMP 9"]);
    }
}

/// What one side has received under an identifier, for a session that the other has lost, must not make it take
/// a new message for a repetition.
#[test]
fn identifiers_of_a_lost_session_are_freed_before_they_are_used_again() {
    let mut scene = Scene::joined(bridge(&["# both 2"]), Version::V5, [false, true]);
    scene.grant_all();
    scene
        .remote(&publish(Version::V5, "in", 4, Qos::ExactlyOnce))
        .unwrap();
    assert_eq!(scene.sent_up(), ["PUBREL 4", "PUBLISH in 4 qos2 retain"]);
    scene.local(&ack(Version::V5, AckKind::PubComp, 4)).unwrap();
    assert_eq!(scene.sent_down(), [""; 0], "the remote has not asked");
    scene.local(&ack(Version::V5, AckKind::PubRec, 4)).unwrap();
    assert_eq!(scene.sent_down(), ["PUBREC 4"]);
    scene
        .local(&publish(Version::V5, "out", 5, Qos::ExactlyOnce))
        .unwrap();
    assert_eq!(scene.sent_down(), ["PUBLISH out 5 qos2 retain"]);

    let mut scene = Scene::joined(bridge(&["# both 2"]), Version::V311, [true, false]);
    scene.grant_all();
    scene
        .local(&publish(Version::V5, "out", 5, Qos::ExactlyOnce))
        .unwrap();
    assert_eq!(scene.sent_down(), ["PUBREL 5", "PUBLISH out 5 qos2 retain"]);
    scene
        .remote(&ack(Version::V311, AckKind::PubComp, 5))
        .unwrap();
    scene
        .remote(&ack(Version::V311, AckKind::PubRec, 5))
        .unwrap();
    assert_eq!(scene.sent_up(), ["PUBREC 5"]);
    scene
        .remote(&publish(Version::V311, "in", 4, Qos::ExactlyOnce))
        .unwrap();
    assert_eq!(scene.sent_up(), ["PUBLISH in 4 qos2 retain"]);
}

#[test]
fn limits_of_the_remote_are_obeyed() {
    let properties = ConnAckProperties {
        maximum_qos: Some(Qos::AtLeastOnce),
        maximum_packet_size: Some(700),
        receive_maximum: NonZeroU16::new(10),
        retain_available: Some(false),
        ..ConnAckProperties::default()
    };
    let lines = bridge(&["# both 2"]);
    let mut scene = Scene::joined_with(lines, Version::V5, [true, true], properties);
    scene.grant_all();
    // It was queued for a remote that took QoS 2.
    scene
        .local(&publish(Version::V5, "out", 7, Qos::ExactlyOnce))
        .unwrap();
    assert_eq!(scene.sent_down(), ["PUBLISH out 7 qos1"]);
    scene.remote(&ack(Version::V5, AckKind::PubAck, 7)).unwrap();
    assert_eq!(scene.sent_up(), ["PUBREC 7", "PUBCOMP 7"]);
    scene.local(&ack(Version::V5, AckKind::PubRel, 7)).unwrap();
    assert_eq!(scene.sent_down(), [""; 0]);
    let long = "t".repeat(700);
    scene
        .local(&publish(Version::V5, &long, 8, Qos::AtLeastOnce))
        .unwrap();
    assert_eq!(scene.sent_down(), [""; 0]);
    assert_eq!(scene.sent_up(), ["PUBACK 8"]);
    assert_eq!(
        scene.relay.take_counts().dropped[Drop::TooLarge as usize],
        1
    );
}

#[test]
fn what_must_not_pass_is_answered_counted_and_explained() {
    let lines = bridge(&["a/# both 2 l/ r/", "b/# out 1 l/ r/"]);
    let mut scene = Scene::joined(lines, Version::V5, [true, true]);
    scene.grant_all();
    let mut passed = Vec::new();
    Property::UserProperty("ringmq-path", "000000ab").put(&mut passed);
    let two = Qos::ExactlyOnce;
    scene
        .remote(&publish(Version::V5, "elsewhere", 1, two))
        .unwrap();
    scene
        .remote(&publish_with(Version::V5, "r/a/1", 2, two, &passed))
        .unwrap();
    assert_eq!(scene.sent_down(), ["PUBREC 1", "PUBREC 2"]);
    assert_eq!(scene.sent_up(), [""; 0]);
    let mut other = Vec::new();
    Property::UserProperty("ringmq-path", "000000cd").put(&mut other);
    scene
        .local(&publish_with(Version::V5, "l/a/1", 3, two, &other))
        .unwrap();
    assert_eq!(
        scene.sent_up(),
        ["PUBREC 3 0x83"],
        "hops-max is 1 for lines that go both ways"
    );
    scene
        .local(&publish_with(
            Version::V5,
            "l/b/1",
            4,
            Qos::AtLeastOnce,
            &other,
        ))
        .unwrap();
    assert_eq!(scene.sent_down(), ["PUBLISH r/b/1 4 qos1 retain"]);
    let counts = scene.relay.take_counts();
    assert_eq!(counts.dropped, [1, 0, 0, 2]);
    assert_eq!((counts.messages_in, counts.messages_out), (0, 1));
    let notices = std::iter::from_fn(|| scene.relay.poll_event());
    let notices = notices.filter(|event| matches!(event, Event::Notice(Some(_), _)));
    assert_eq!(notices.count(), 3);
}

/// 3.1.1 has no way to tell a remote what is too large, and what is not acknowledged comes again.
#[test]
fn a_message_larger_than_our_own_broker_takes_is_skipped_and_answered() {
    let mut scene = Scene::joined(bridge(&["# in 1"]), Version::V311, [true, true]);
    scene.grant_all();
    let mut large = Vec::new();
    let publish_out = PublishOut {
        qos: Qos::AtLeastOnce,
        topic: "in",
        packet_id: PacketId::new(1),
        payload_len: 5_000,
        payload: &[7; 5_000],
        ..PublishOut::default()
    };
    encode::publish(&mut large, Version::V311, &publish_out);
    large.extend(publish(Version::V311, "in", 2, Qos::AtLeastOnce));
    for part in large.chunks(3) {
        scene.remote(part).unwrap();
    }
    assert_eq!(scene.sent_down(), ["PUBACK 1"]);
    assert_eq!(scene.sent_up(), ["PUBLISH in 2 qos1 retain"]);
    assert_eq!(
        scene.relay.take_counts().dropped[Drop::TooLarge as usize],
        1
    );
}

#[test]
fn properties_cross_and_response_topics_are_renamed() {
    let lines = bridge(&["ask/# out 1 l/ r/", "answer/# in 1 l/ r/"]);
    let mut scene = Scene::joined(lines, Version::V5, [true, true]);
    scene.grant_all();
    let mut properties = Vec::new();
    Property::ContentType("text").put(&mut properties);
    Property::ResponseTopic("l/answer/1").put(&mut properties);
    Property::CorrelationData(b"c").put(&mut properties);
    Property::UserProperty("k", "v").put(&mut properties);
    let asked = publish_with(Version::V5, "l/ask", 1, Qos::AtLeastOnce, &properties);
    scene.local(&asked).unwrap();
    let frame = next_frame(&scene.down, PACKET_SIZE_MAX).unwrap().unwrap();
    let publish = decode::publish(Version::V5, &frame).unwrap();
    let found: Vec<_> = publish.properties.iter().collect();
    assert_eq!(
        found,
        [
            Property::ContentType("text"),
            Property::ResponseTopic("r/answer/1"),
            Property::CorrelationData(b"c"),
            Property::UserProperty("k", "v"),
            Property::UserProperty("ringmq-path", "000000ab"),
        ]
    );
}

#[test]
fn a_silent_remote_is_asked_and_then_given_up() {
    let mut scene = Scene::joined(bridge(&["# out 1"]), Version::V5, [true, true]);
    scene.grant_all();
    let look = |scene: &mut Scene| scene.relay.look(&mut scene.down);
    look(&mut scene).unwrap();
    scene.sent_down();
    look(&mut scene).unwrap();
    assert_eq!(scene.sent_down(), ["PINGREQ"]);
    let mut pong = Vec::new();
    encode::pingresp(&mut pong);
    scene.remote(&pong).unwrap();
    assert_eq!(
        scene.sent_up(),
        ["PINGREQ"],
        "our own broker learns of the sign of life"
    );
    for _ in 0..3 {
        look(&mut scene).unwrap();
    }
    let ended = look(&mut scene).unwrap_err();
    assert!(ended.text.contains("has sent nothing"), "{ended}");
}

#[test]
fn refusals_and_garbage_are_sentences() {
    let refused = |version, bytes: &[u8]| {
        let mut scene = Scene::of(bridge(&["# out 1"]), version);
        scene.remote(bytes).unwrap_err()
    };
    let ended = refused(Version::V311, &[0x20, 2, 0, 5]);
    assert_eq!(ended.refused, Some(ReasonCode::NotAuthorized));
    assert!(ended.text.contains("not authorized"), "{ended}");
    let ended = refused(Version::V5, &[0x20, 3, 0, 0x86, 0]);
    assert_eq!(ended.refused, Some(ReasonCode::BadUserNameOrPassword));
    // A broker of 3.1.1 answers a CONNECT of 5.0 in its own words.
    let ended = refused(Version::V5, &[0x20, 2, 0, 1]);
    assert_eq!(ended.refused, Some(ReasonCode::UnsupportedProtocolVersion));
    for garbage in [&b"HTTP/1.1 400"[..], &[0x30, 4, 0, 1, b'a', 0], &[0xFF; 8]] {
        let ended = refused(Version::V5, garbage);
        assert!(ended.text.contains("the remote"), "{ended}");
    }
}

#[test]
fn a_session_waits_for_its_bridge_only_where_something_goes_out() {
    let bytes = waiting(&bridge(&["a out 1", "b in 1"])).unwrap();
    assert_eq!(
        shown(Version::V5, &bytes),
        [
            "CONNECT bridge.b resumed",
            "SUBSCRIBE a/1 no-local",
            "DISCONNECT"
        ]
    );
    assert!(waiting(&bridge(&["b in 1"])).is_none());
    let forgets = Bridge {
        local_clean_start: true,
        ..bridge(&["a out 1"])
    };
    assert!(waiting(&forgets).is_none());
}

#[test]
fn notifications_and_retain_are_as_configured() {
    let told = Bridge {
        notify: Notify::Both,
        retain: RetainFlag::Clear,
        ..bridge(&["# out 1"])
    };
    let mut scene = Scene::joined(told, Version::V311, [true, true]);
    let topic = "$SYS/broker/connection/b/state";
    assert_eq!(
        scene.sent_down(),
        [
            "CONNECT b resumed marked".into(),
            format!("PUBLISH {topic} 0 retain")
        ]
    );
    scene
        .local(&publish(Version::V5, "t", 1, Qos::AtLeastOnce))
        .unwrap();
    assert_eq!(scene.sent_down(), ["PUBLISH t 1 qos1"]);
}
