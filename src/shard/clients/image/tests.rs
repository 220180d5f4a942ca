use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::ids::ListenerId;
use crate::image::ImageError;
use crate::mqtt::Version;
use crate::shard::{Origin, RemoteEnd};
use crate::testing::{Setup, World};
use crate::time::WallTime;

/// CONNECT of a v5 client whose session lives for 100 s, keep alive 4 s, Topic Alias Maximum 5.
fn connect(name: u8) -> Vec<u8> {
    let mut packet = vec![0x10, 0, 0, 4];
    packet.extend_from_slice(b"MQTT\x05\0\0\x04\x08\x11\0\0\0\x64\x22\0\x05\0\x01");
    packet.push(name);
    packet[1] = packet.len() as u8 - 2;
    packet
}

fn setup(shards: u16) -> Setup {
    let mut setup = Setup::new(shards);
    setup.limits.topic_alias_maximum = 5;
    setup.limits.topic_alias_outgoing_max = 5;
    setup
}

/// A client that is connected and subscribed to `t`, at QoS 1.
fn subscribed(world: &mut World, name: u8) -> usize {
    let link = world.open(0);
    world.send(link, &connect(name));
    world.settle();
    world.send(link, &[0x82, 7, 0, 1, 0, 0, 1, b't', 1]);
    world.settle();
    world.links[link].received.clear();
    link
}

/// The home of a client.
fn home(world: &World, name: &str) -> usize {
    let has_it = |shard: &Shard| shard.client_ids().any(|id| &**id == name);
    world
        .shards
        .iter()
        .position(has_it)
        .expect("a shard has it")
}

fn session_bytes(image: &SessionImage) -> Vec<u8> {
    let mut out = Vec::new();
    image.encode(&mut out);
    out
}

/// A process hands its sessions to another, in which no client is connected yet.
#[test]
fn a_session_is_continued_by_other_shards() {
    let mut before = World::calm(setup(3));
    let link = subscribed(&mut before, b'c');
    before.close(link);
    before.settle();
    let publisher = before.open(1);
    before.send(publisher, &connect(b'p'));
    before.settle();
    before.send(publisher, b"\x32\x08\0\x01t\0\x07\0ab");
    before.settle();
    let home_before = home(&before, "c");
    let image = before.shards[home_before].save_session("c").unwrap();
    assert_eq!(image.queue.len(), 1);
    let bytes = session_bytes(&image);

    let mut after = World::calm(setup(3));
    let image = SessionImage::decode(&bytes).unwrap();
    let elsewhere = (home_before + 1) % 3;
    let now = after.now;
    let refused = after.shards[elsewhere].restore_session(image.clone(), None, now);
    let shard = ShardId(home_before as u16);
    assert_eq!(refused, Err(NotRestored::Elsewhere(shard)));
    let it = &mut after.shards[home_before];
    assert_eq!(it.restore_session(image, None, now), Ok(None));
    assert!(it.awaits_peers());
    after.settle();
    assert!(!after.shards[home_before].awaits_peers());
    // What any shard accepts now reaches it.
    let publisher = after.open(elsewhere);
    after.send(publisher, &connect(b'q'));
    after.settle();
    after.send(publisher, b"\x32\x08\0\x01t\0\x07\0cd");
    after.settle();
    let link = after.open(elsewhere);
    after.send(link, &connect(b'c'));
    after.settle();
    let received = std::mem::take(&mut after.links[link].received);
    assert_eq!(received[..3], [0x20, received[1], 1], "session present");
    let rest = &received[2 + usize::from(received[1])..];
    // Alias 1 is given on the first.
    let expected = b"\x32\x0B\0\x01t\0\x01\x03\x23\0\x01ab\x32\x0A\0\0\0\x02\x03\x23\0\x01cd";
    assert_eq!(rest, expected);
    after.audit();
}

/// What was read, sent, agreed and waited for before continues after.
#[test]
fn a_connection_is_continued_in_the_middle_of_a_packet() {
    let mut world = World::calm(setup(1));
    let link = subscribed(&mut world, b'c');
    let publisher = world.open(0);
    world.send(publisher, &connect(b'p'));
    world.settle();
    world.links[publisher].received.clear();
    // An alias in each direction, a message that is not read, and the start of a packet.
    world.links[link].is_stalled = true;
    world.send(publisher, b"\x32\x0B\0\x01t\0\x07\x03\x23\0\x01ab");
    world.settle();
    world.send(publisher, b"\x32\x0A\0\0\0\x08\x03");
    world.settle();
    for (link, name) in [(link, "c"), (publisher, "p")] {
        let (_, id) = world.links[link].at.unwrap();
        let it = &mut world.shards[0];
        assert_eq!(it.connection_of_client(name), Some(id));
        let (session, connection) = it.take_connection(id).unwrap();
        assert_eq!(it.take_connection(id), Err(NotSaved::Unknown));
        let mut bytes = Vec::new();
        connection.encode(&mut bytes);
        let connection = ConnectionImage::decode(&bytes).unwrap();
        let session = SessionImage::decode(&session_bytes(&session)).unwrap();
        let restored = it.restore_session(session, Some(connection), world.now);
        let new_id = restored.unwrap().unwrap();
        assert_ne!(new_id, id);
        world.renamed(link, new_id);
    }
    assert_eq!(world.shards[0].connections(), 2);
    world.audit();
    world.send(publisher, b"\x23\0\x01cd");
    world.resume_reading(link);
    world.settle();
    assert_eq!(
        world.links[publisher].received,
        [0x40, 2, 0, 7, 0x40, 2, 0, 8]
    );
    let expected = b"\x32\x0B\0\x01t\0\x01\x03\x23\0\x01ab\x32\x0A\0\0\0\x02\x03\x23\0\x01cd";
    assert_eq!(world.links[link].received, expected);
    // Its keep alive of 4 s went on, too.
    world.wait(Span::from_millis(5_900));
    assert_eq!(world.shards[0].connections(), 2);
    world.wait(Span::from_millis(200));
    assert_eq!(world.shards[0].connections(), 0);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut world = World::calm(setup(1));
    let link = subscribed(&mut world, b'c');
    let now = world.now;
    let it = &mut world.shards[0];
    let image = it.save_session("c").unwrap();
    assert_eq!(it.save_session("d"), Err(NotSaved::Unknown));
    let refused = it.restore_session(image.clone(), None, now);
    assert_eq!(refused, Err(NotRestored::Connected));
    let (_, id) = world.links[link].at.unwrap();
    let (image, connection) = it.take_connection(id).unwrap();
    let foreign = ConnectionImage {
        origin: Origin::new(connection.origin.peer, ListenerId(9)),
        ..connection.clone()
    };
    let refused = it.restore_session(image.clone(), Some(foreign), now);
    assert_eq!(refused, Err(NotRestored::Listener));
    let away = SessionImage {
        expires_at: Some(WallTime::FAR),
        ..image.clone()
    };
    let refused = it.restore_session(away, Some(connection.clone()), now);
    assert_eq!(refused, Err(NotRestored::Away));
    let mut many = image.clone();
    let record = many.subscriptions[0].1;
    let max = it.limits().subscriptions_max;
    many.subscriptions = (0..=max).map(|n| (n.to_string().into(), record)).collect();
    let refused = it.restore_session(many, None, now);
    assert_eq!(refused, Err(NotRestored::Subscriptions));
    let mut ruled = image.clone();
    ruled.rules = Some(RulesImage::Brought {
        publish: vec!["a/#/b".into()],
        receive: Vec::new(),
    });
    let refused = it.restore_session(ruled, None, now);
    assert_eq!(refused, Err(NotRestored::Rules));
    assert_eq!((it.sessions(), it.connections()), (1, 0));
    // Without its connection the client is away, and its 100 s begin.
    assert_eq!(it.restore_session(image, None, now), Ok(None));
    let again = it.save_session("c").unwrap();
    let left_ms = again.expires_at.unwrap().0 - it.clocks().wall.0;
    assert!((99_990..=100_010).contains(&left_ms), "{left_ms}");
    world.audit();
}

/// Rules that came with a login are those of the session until its next login.
#[test]
fn rules_of_a_login_go_with_the_session() {
    let filters = (["a/%c/+", "b/#"], ["c/%u-x", "#", "+/d"]);
    let acl = Acl::of_filters(filters.0, filters.1).unwrap();
    let (publish, receive) = acl.filters();
    assert_eq!(publish.iter().map(|f| &**f).collect::<Vec<_>>(), filters.0);
    let mut sorted = filters.1;
    sorted.sort_unstable();
    assert_eq!(receive.iter().map(|f| &**f).collect::<Vec<_>>(), sorted);
    assert_eq!(acl_of(&publish, &receive).unwrap(), acl);
}

fn text() -> impl Strategy<Value = Box<str>> {
    "[a-zé/]{1,9}".prop_map(Box::from)
}

fn any_image() -> impl Strategy<Value = ConnectionImage> {
    let time = || any::<u64>().prop_map(WallTime);
    let bytes = || vec(any::<u8>(), 0..30).prop_map(bytes::Bytes::from);
    let address = any::<Option<std::net::SocketAddr>>();
    let peer = address.prop_map(|ip| ip.map_or(RemoteEnd::Unix, RemoteEnd::Ip));
    let origin = (peer, any::<u16>(), option::of(text()));
    let silence = (1..=u32::MAX, time(), time());
    let login = (option::of(text()), option::of(time()));
    let meters = option::of([time(), time(), time(), time()]);
    let aliases_out = option::of((3..9_u16, vec(text(), 0..4)));
    let aliases_in = btree_map(1..=u16::MAX, text(), 0..4);
    let what = (
        0..3_usize,
        any::<[bool; 5]>(),
        any::<u32>(),
        any::<u16>(),
        origin,
    );
    let when = (option::of(silence), login, meters);
    let parts = (
        what,
        when,
        aliases_out,
        aliases_in,
        bytes(),
        bytes(),
        vec(bytes(), 0..3),
    );
    parts.prop_map(
        |(what, when, aliases_out, aliases_in, unhandled, unsent, held)| {
            let (version, flags, packet_size_max, acks_unsent, origin) = what;
            let numbered = aliases_in.into_iter();
            let numbered = numbered.map(|(alias, topic)| (alias.try_into().unwrap(), topic));
            ConnectionImage {
                version: [Version::V31, Version::V311, Version::V5][version],
                is_bridge: flags[0],
                publishes: flags[1],
                named_reserved: flags[2],
                problem_information: flags[3],
                waits_for_turn: flags[4],
                packet_size_max,
                acks_unsent,
                origin: Origin {
                    identity: origin.2.map(|name| Box::new(name.into())),
                    ..Origin::new(origin.0, ListenerId(origin.1))
                },
                silence: when.0.map(|(max_ms, over_at, checked_at)| SilenceImage {
                    max_ms,
                    over_at,
                    checked_at,
                }),
                login: LoginImage {
                    method: when.1 .0,
                    proof_expires_at: when.1 .1,
                },
                meters: when.2.map(MetersImage),
                aliases_out,
                aliases_in: numbered.collect(),
                unhandled,
                unsent,
                held,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_image_of_a_connection_is_what_it_was(
        image in any_image(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = Vec::new();
        image.encode(&mut bytes);
        prop_assert_eq!(ConnectionImage::decode(&bytes), Ok(image));
        let end = at.index(bytes.len());
        prop_assert!(ConnectionImage::decode(&bytes[..end]).is_err(), "cut at {}", end);
        bytes.push(0);
        let trailing = Err(ImageError::Trailing { bytes: 1 });
        prop_assert_eq!(ConnectionImage::decode(&bytes), trailing);
        bytes.pop();
        bytes[end] = byte;
        if let Ok(other) = ConnectionImage::decode(&bytes) {
            let mut again = Vec::new();
            other.encode(&mut again);
            prop_assert_eq!(again, bytes);
        }
    }
}
