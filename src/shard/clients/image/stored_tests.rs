//! Images as released versions have written them: this one must read those of its own format and of the one before.
//!
//! Where the format changes, [`FORMAT`] is raised, and `UPDATE_IMAGES=1` writes a file of the new one beside the others.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;

use super::{ConnectionImage, LoginImage, MetersImage, SilenceImage};
use crate::ids::ListenerId;
use crate::image::{FORMAT, OLDEST_READ};
use crate::mqtt::{Qos, RetainHandling, SubscriptionOptions, Version};
use crate::session::{
    DeliveryImage, EntryImage, ReceivedImage, RulesImage, SessionImage, SessionSubscription,
    StoredWill, WaitingImage, WindowImage,
};
use crate::shard::{Origin, RemoteEnd};
use crate::time::WallTime;

fn delivery(payload: &'static [u8]) -> DeliveryImage {
    DeliveryImage {
        topic: "a/b".into(),
        payload: Bytes::from_static(payload),
        properties: Bytes::from_static(b"\x26\0\x01k\0\x01v"),
        published_qos: Qos::ExactlyOnce,
        qos: Qos::AtLeastOnce,
        published_retain: true,
        retain: false,
        expires_at: Some(WallTime(1_900_000_000_000)),
        identifiers: vec![7, 300],
        shared: None,
    }
}

/// One with everything.
fn session() -> SessionImage {
    let options = SubscriptionOptions {
        qos: Qos::AtLeastOnce,
        no_local: true,
        retain_as_published: false,
        retain_handling: RetainHandling::SendIfNew,
    };
    let record = SessionSubscription {
        options,
        identifier: Some(300),
        owes_retained: false,
    };
    SessionImage {
        client_id: "dévice".into(),
        owner: Some("ann".into()),
        rules: Some(RulesImage::Brought {
            publish: vec!["a/%c".into()],
            receive: vec!["a/#".into()],
        }),
        expiry_interval_s: 600,
        expires_at: None,
        will: Some(StoredWill {
            topic: "w".into(),
            payload: Bytes::from_static(b"gone"),
            properties: Bytes::new(),
            qos: Qos::AtLeastOnce,
            retain: true,
            delay_interval_s: 5,
            message_expiry_interval_s: Some(60),
        }),
        will_due: None,
        subscriptions: vec![(Rc::from("a/#"), record)],
        window: WindowImage {
            first: 65_534,
            resent: 1,
            quota: 8,
            quota_max: 10,
            entries: vec![
                EntryImage::Publish(delivery(b"sent")),
                EntryImage::Release { took_quota: true },
                EntryImage::Done,
            ],
        },
        queue: vec![WaitingImage::Here(delivery(b"waits"))],
        received: ReceivedImage {
            open: vec![3, 9],
            earlier: vec![9],
        },
        sensor: None,
    }
}

fn connection() -> ConnectionImage {
    let peer = RemoteEnd::Ip("[2001:db8::1]:40000".parse().unwrap());
    let time = WallTime(1_800_000_000_000);
    ConnectionImage {
        version: Version::V5,
        is_bridge: false,
        publishes: true,
        named_reserved: false,
        problem_information: true,
        waits_for_turn: false,
        packet_size_max: 65_536,
        acks_unsent: 1,
        origin: Origin::new(peer, ListenerId(2)),
        silence: Some(SilenceImage {
            max_ms: 90_000,
            over_at: time,
            checked_at: time,
        }),
        login: LoginImage {
            method: Some("SCRAM".into()),
            proof_expires_at: Some(time),
        },
        meters: Some(MetersImage([time; 4])),
        aliases_out: Some((5, vec!["a/b".into()])),
        aliases_in: vec![(4.try_into().unwrap(), "a/c".into())],
        unhandled: Bytes::from_static(b"\x30\x7F"),
        unsent: Bytes::from_static(b"\x40\x02\0\x07"),
        held: vec![Bytes::from_static(b"\x40\x02\0\x08")],
    }
}

fn path(format: u8) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/image/stored");
    folder.join(format!("format-{format}.txt"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The session and the connection of a file.
fn stored(format: u8) -> [Vec<u8>; 2] {
    let text = std::fs::read_to_string(path(format)).expect("each format that is read has a file");
    let image = |line: &str| -> Vec<u8> {
        let pairs = line.as_bytes().chunks(2);
        let pairs = pairs.map(|pair| std::str::from_utf8(pair).unwrap());
        pairs
            .map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect()
    };
    let lines: Vec<Vec<u8>> = text.lines().map(image).collect();
    lines.try_into().expect("two lines")
}

#[test]
fn what_is_written_is_what_this_format_has_always_been() {
    let (mut one, mut other) = (Vec::new(), Vec::new());
    session().encode(&mut one);
    connection().encode(&mut other);
    if std::env::var_os("UPDATE_IMAGES").is_some() {
        let text = format!("{}\n{}\n", hex(&one), hex(&other));
        std::fs::write(path(FORMAT), text).unwrap();
    }
    assert_eq!(
        stored(FORMAT),
        [one, other],
        "another format needs another number"
    );
}

/// Fields that an older format does not have are as [`Reader::since`](crate::image::Reader::since) says.
#[test]
fn images_of_this_format_and_of_the_one_before_are_read() {
    for format in OLDEST_READ..=FORMAT {
        let [one, other] = stored(format);
        let found = SessionImage::decode(&one).unwrap();
        let expected = session();
        assert_eq!(found.client_id, expected.client_id, "format {format}");
        assert_eq!(found.subscriptions, expected.subscriptions);
        assert_eq!(
            (found.window, found.queue),
            (expected.window, expected.queue)
        );
        assert_eq!(
            (found.received, found.will),
            (expected.received, expected.will)
        );
        let found = ConnectionImage::decode(&other).unwrap();
        let expected = connection();
        assert_eq!(found.origin, expected.origin, "format {format}");
        assert_eq!(
            (found.unhandled, found.unsent),
            (expected.unhandled, expected.unsent)
        );
        assert_eq!(
            (found.silence, found.aliases_in),
            (expected.silence, expected.aliases_in)
        );
    }
}
