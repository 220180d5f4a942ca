//! A relay: what it passes on, answers and keeps back.

use std::num::NonZeroU16;

use super::bridge;
use super::scene::{ack, connack, publish, publish_with, suback, Scene};
use crate::bridge::relay::Event;
use crate::bridge::{Bridge, Drop, Notify, RetainFlag};
use crate::mqtt::frame::{next_frame, PACKET_SIZE_MAX};
use crate::mqtt::packet::ConnAckProperties;
use crate::mqtt::property::Property;
use crate::mqtt::{decode, encode, AckKind, PacketId, PublishOut, Qos, ReasonCode, Version};

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

/// A filter of a line of before would bring messages that no line is about.
#[test]
fn the_remote_is_asked_to_forget_filters_of_before() {
    let mut scene = Scene::of(bridge(&["a in 1"]), Version::V311);
    scene.relay.link.given_up = vec!["old/#".into()];
    let accepted = connack(Version::V311, true, ConnAckProperties::default());
    scene.remote(&accepted).unwrap();
    scene.sent_down();
    let own = connack(Version::V5, true, ConnAckProperties::default());
    scene.local(&own).unwrap();
    assert_eq!(scene.sent_down(), ["UNSUBSCRIBE old/#", "SUBSCRIBE a/1"]);
}

#[test]
fn a_remote_that_acknowledges_nothing_for_a_period_is_named_and_counted() {
    let mut scene = Scene::joined(bridge(&["# out 2"]), Version::V5, [true, true]);
    scene.grant_all();
    let look = |scene: &mut Scene| {
        let mut pong = Vec::new();
        encode::pingresp(&mut pong);
        scene.remote(&pong).unwrap();
        scene.relay.look(&mut scene.down).unwrap();
        let events = std::iter::from_fn(|| scene.relay.poll_event());
        events
            .filter(
                |event| matches!(event, Event::Notice(None, text) if text.contains("acknowledged")),
            )
            .count()
    };
    let two = Qos::ExactlyOnce;
    scene.local(&publish(Version::V5, "t", 1, two)).unwrap();
    assert_eq!(
        [look(&mut scene), look(&mut scene), look(&mut scene)],
        [0, 0, 1]
    );
    scene.remote(&ack(Version::V5, AckKind::PubRec, 1)).unwrap();
    assert_eq!(
        [look(&mut scene), look(&mut scene)],
        [0, 0],
        "it goes forward"
    );
    scene
        .remote(&ack(Version::V5, AckKind::PubComp, 1))
        .unwrap();
    assert_eq!(
        [(); 4].map(|()| look(&mut scene)),
        [0; 4],
        "nothing is in flight"
    );
    assert_eq!(scene.relay.take_counts().stalls, 1);
}
