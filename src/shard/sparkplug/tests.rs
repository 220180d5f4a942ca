//! Shards with the option on: what subscribers get, and what is known of a node.

use std::sync::Arc;

use crate::mqtt::frame::next_frame;
use crate::mqtt::{decode, PacketType, Sender, Version};
use crate::shard::{Action, Answer, Query, ShardConfig};
use crate::sparkplug::NodeRow;
use crate::testing::{Calm, Environment, Setup, World, V311};
use crate::time::Span;

pub(super) const NBIRTH: &[u8] = b"\x08\x01\x12\x0b\x0a\x05bdSeq\x20\x08\x58\x05\x18\x00";
pub(super) const NDEATH: &[u8] = b"\x08\x01\x12\x0b\x0a\x05bdSeq\x20\x08\x58\x05";
const DBIRTH: &[u8] = b"\x08\x02\x18\x01";
pub(super) const KEPT: &str = "$sparkplug/certificates/spBv1.0/g/NBIRTH/n";

/// Topic, payload, QoS, RETAIN.
pub(super) type Got = (String, Vec<u8>, u8, bool);

pub(super) struct Plant<E = Calm> {
    pub(super) world: World<E>,
}

pub(super) fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

pub(super) fn packet(first: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let length = [body.len() as u8 & 0x7F | 0x80, (body.len() >> 7) as u8];
    [&[first], &length[..], &body].concat()
}

impl Plant {
    pub(super) fn new(shards: u16, is_on: bool) -> Self {
        let mut setup = Setup::new(shards);
        setup.limits.sparkplug = is_on;
        Self::of(setup)
    }

    pub(super) fn of(setup: Setup) -> Self {
        Self::in_world(World::calm(setup))
    }
}

impl<E: Environment> Plant<E> {
    pub(super) fn in_world(mut world: World<E>) -> Self {
        let clocks = world.clocks();
        for shard in &mut world.shards {
            shard.handle_clocks(clocks);
        }
        Self { world }
    }

    /// A client of 3.1.1 that begins on this shard.
    pub(super) fn connect(&mut self, shard: u16, name: &str, will: Option<(&str, &[u8])>) -> usize {
        let flags = if will.is_some() { 0x0E } else { 2 };
        let mut body = [&text("MQTT")[..], &[4, flags, 0, 0], &text(name)].concat();
        if let Some((topic, payload)) = will {
            body.extend_from_slice(&text(topic));
            body.extend_from_slice(&(payload.len() as u16).to_be_bytes());
            body.extend_from_slice(payload);
        }
        let link = self.world.open(usize::from(shard));
        self.send(link, &packet(0x10, &[&body]));
        assert_eq!(self.take(link), b"\x20\x02\0\0");
        link
    }

    pub(super) fn send(&mut self, link: usize, bytes: &[u8]) {
        self.world.send(link, bytes);
        self.world.settle();
        self.world.audit();
    }

    pub(super) fn publish(&mut self, link: usize, topic: &str, payload: &[u8]) {
        self.send(link, &packet(0x30, &[&text(topic), payload]));
    }

    pub(super) fn subscribe(&mut self, link: usize, filter: &str) -> Vec<Got> {
        self.send(link, &packet(0x82, &[&[0, 1], &text(filter), &[1]]));
        self.got(link)
    }

    pub(super) fn take(&mut self, link: usize) -> Vec<u8> {
        std::mem::take(&mut self.world.links[link].received)
    }

    /// Publications that a client has got.
    pub(super) fn got(&mut self, link: usize) -> Vec<Got> {
        let bytes = self.take(link);
        let (mut rest, mut got) = (&bytes[..], Vec::new());
        while let Ok(Some(frame)) = next_frame(rest, u32::MAX) {
            rest = &rest[frame.length..];
            if frame.packet_type() == Some(PacketType::Publish) {
                let publish = decode::publish_from(Version::V311, Sender::Server, &frame).unwrap();
                let (topic, payload) = (publish.topic.to_owned(), publish.payload.to_vec());
                got.push((topic, payload, publish.qos as u8, publish.retain));
            }
        }
        got.sort();
        got
    }

    pub(super) fn node(&mut self) -> Option<NodeRow> {
        let query = Query::Node {
            node: "g/n".into(),
            after: None,
            max: 9,
        };
        let now = self.world.now;
        let shards = self.world.shards.iter_mut();
        let found = shards.filter_map(|shard| match shard.handle_query(&query, now) {
            Answer::Node(found) => found.map(|page| page.node),
            other => panic!("{other:?}"),
        });
        let found: Vec<_> = found.collect();
        assert!(found.len() <= 1, "it has one home");
        found.into_iter().next()
    }

    pub(super) fn count(&self, read: fn(&crate::shard::Stats) -> u64) -> u64 {
        self.world
            .shards
            .iter()
            .map(|shard| read(shard.stats()))
            .sum()
    }
}

pub(super) fn got(topic: &str, payload: &[u8], qos: u8, retain: bool) -> Got {
    (topic.into(), payload.into(), qos, retain)
}

/// conformance: sparkplug:tck-id-conformance-mqtt-aware-nbirth-mqtt-topic sparkplug:tck-id-conformance-mqtt-aware-nbirth-mqtt-retain sparkplug:tck-id-conformance-mqtt-aware-dbirth-mqtt-topic sparkplug:tck-id-conformance-mqtt-aware-dbirth-mqtt-retain
#[test]
fn births_are_passed_on_and_retained_as_they_are() {
    for shards in [1, 4] {
        let mut plant = Plant::new(shards, true);
        let all = plant.connect(0, "all", None);
        assert_eq!(plant.subscribe(all, "#"), []);
        let host = plant.connect(0, "host", None);
        assert_eq!(plant.subscribe(host, "$sparkplug/certificates/#"), []);
        for (n, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
            let node = plant.connect(n as u16 % shards, name, None);
            plant.publish(node, "spBv1.0/g/NBIRTH/n", NBIRTH);
            plant.publish(node, "spBv1.0/g/DBIRTH/n/d", DBIRTH);
            let device = "$sparkplug/certificates/spBv1.0/g/DBIRTH/n/d";
            let expected = [got(device, DBIRTH, 1, true), got(KEPT, NBIRTH, 1, true)];
            assert_eq!(plant.got(host), expected, "live ones, too");
            let expected = [
                got("spBv1.0/g/DBIRTH/n/d", DBIRTH, 0, false),
                got("spBv1.0/g/NBIRTH/n", NBIRTH, 0, false),
            ];
            assert_eq!(plant.got(all), expected);
            assert_eq!(plant.subscribe(all, KEPT), [got(KEPT, NBIRTH, 1, true)]);
            plant.send(all, &packet(0xA2, &[&[0, 1], &text(KEPT)]));
            plant.take(all);
        }
        let node = plant.node().unwrap();
        assert_eq!(
            (node.online, node.bd_seq, node.births, node.rebirths),
            (true, Some(5), 4, 3)
        );
        assert_eq!(plant.count(|stats| stats.sparkplug_certificates), 8);
    }
}

#[test]
fn what_is_no_sparkplug_passes_as_it_is() {
    let mut plant = Plant::new(1, true);
    let all = plant.connect(0, "all", None);
    plant.subscribe(all, "#");
    plant.subscribe(all, "$sparkplug/#");
    let node = plant.connect(0, "node", None);
    for (topic, payload) in [
        ("spBv1.0/g/NBIRTH/n", &b"\x0a\x01\x01"[..]),
        ("spBv1.0/g/NBIRTH/n", b""),
        ("spBv1.0/g/NDEATH/n", b"\x08"),
        ("spBv1.0/STATE/h", b"ONLINE"),
        ("spBv1.0/g/NBIRTH", NBIRTH),
        ("spBv1.0/g/NBIRTH/n/d", NBIRTH),
        ("spAv1.0/g/NBIRTH/n", NBIRTH),
    ] {
        plant.publish(node, topic, payload);
        assert_eq!(plant.got(all), [got(topic, payload, 0, false)]);
    }
    assert_eq!(plant.count(|stats| stats.sparkplug_not_payload), 4);
    assert_eq!(plant.count(|stats| stats.sparkplug_not_topic), 2);
    assert_eq!(plant.count(|stats| stats.sparkplug_messages), 6);
    assert_eq!(plant.node(), None);
    // Clients write nothing there.
    plant.publish(node, KEPT, NBIRTH);
    assert_eq!(plant.got(all), []);
    assert_eq!(plant.count(|stats| stats.publications_refused), 1);
}

/// conformance: sparkplug:tck-id-conformance-mqtt-aware-ndeath-timestamp
#[test]
fn a_death_has_the_time_of_its_delivery() {
    for shards in [1, 4] {
        let mut plant = Plant::new(shards, true);
        let host = plant.connect(0, "host", None);
        plant.subscribe(host, "spBv1.0/+/NDEATH/+");
        let node = plant.connect(0, "node", Some(("spBv1.0/g/NDEATH/n", NDEATH)));
        plant.publish(node, "spBv1.0/g/NBIRTH/n", NBIRTH);
        plant.world.wait(Span::from_secs(5));
        plant.world.close(node);
        plant.world.settle();
        let at = plant.world.clocks().wall.0;
        let death = crate::sparkplug::stamped(NDEATH, at).unwrap();
        assert_eq!(death[1..3], [0x88, 0xc7], "5 s later: {death:02x?}");
        assert_eq!(
            plant.got(host),
            [got("spBv1.0/g/NDEATH/n", &death, 1, false)]
        );
        let node = plant.node().unwrap();
        assert_eq!(
            (node.online, node.deaths, node.died_at.unwrap().0),
            (false, 1, at)
        );
    }
}

#[test]
fn gaps_are_counted_and_noted_at_the_home_of_the_node() {
    let mut plant = Plant::new(4, true);
    let node = plant.connect(0, "node", None);
    plant.publish(node, "spBv1.0/g/NBIRTH/n", NBIRTH);
    // Two in one read: as plain packets they would be a burst.
    let data = |seq: u8| packet(0x30, &[&text("spBv1.0/g/NDATA/n"), &[0x18, seq]]);
    plant.send(node, &[data(1), data(2), data(4), data(5)].concat());
    let row = plant.node().unwrap();
    assert_eq!((row.messages, row.gaps, row.missing), (5, 1, 1));
    assert_eq!(plant.count(|stats| stats.sparkplug_gaps), 1);
    plant.publish(node, "spBv1.0/g/NDATA/unborn", &[0x18, 0]);
    assert_eq!(plant.count(|stats| stats.sparkplug_before_birth), 1);
}

/// conformance: sparkplug:tck-id-conformance-mqtt-aware-ndeath-timestamp
#[test]
fn only_deaths_of_nodes_are_changed_and_only_if_that_is_wanted() {
    const DDEATH: &[u8] = b"\x08\x02\x18\x02";
    for is_wanted in [true, false] {
        let mut plant = Plant::new(1, true);
        let mut config: ShardConfig = (*plant.world.shards[0].config).clone();
        config.limits.sparkplug_ndeath_timestamp = is_wanted;
        plant.world.shards[0].handle_config(Arc::new(config));
        let host = plant.connect(0, "host", None);
        plant.subscribe(host, "spBv1.0/+/NDEATH/+");
        plant.subscribe(host, "spBv1.0/+/DDEATH/+/+");
        let node = plant.connect(0, "node", None);
        plant.publish(node, "spBv1.0/g/NBIRTH/n", NBIRTH);
        plant.publish(node, "spBv1.0/g/DBIRTH/n/d", DBIRTH);
        plant.publish(node, "spBv1.0/g/DDEATH/n/d", DDEATH);
        assert_eq!(
            plant.got(host),
            [got("spBv1.0/g/DDEATH/n/d", DDEATH, 0, false)]
        );
        plant.publish(node, "spBv1.0/g/NDEATH/n", NDEATH);
        let death = plant.got(host).remove(0).1;
        assert_eq!(death != NDEATH, is_wanted);
    }
}

#[test]
fn members_of_a_group_get_live_certificates_with_retain() {
    let mut plant = Plant::new(1, true);
    let member = plant.connect(0, "member", None);
    plant.subscribe(member, "$share/s/$sparkplug/certificates/#");
    let node = plant.connect(0, "node", None);
    plant.publish(node, "spBv1.0/g/NBIRTH/n", NBIRTH);
    assert_eq!(plant.got(member), [got(KEPT, NBIRTH, 1, true)]);
}

#[test]
fn what_is_found_is_noted_once_for_each_node() {
    let mut broker = World::of_one_shard(|limits| {
        limits.sparkplug = true;
        limits.sparkplug_states_max = 2;
    });
    let (id, _) = broker.connect(V311, b'a');
    let publish = |topic: &str, payload: &[u8]| packet(0x30, &[&text(topic), payload]);
    for node in ["n", "m", "o", "p"] {
        broker.give_here(id, &publish(&format!("spBv1.0/g/NBIRTH/{node}"), NBIRTH));
    }
    for seq in [1, 3, 7] {
        for node in ["n", "m"] {
            let topic = format!("spBv1.0/g/NDATA/{node}");
            broker.give_here(id, &publish(&topic, &[0x18, seq]));
        }
    }
    let death = publish(
        "spBv1.0/g/NDEATH/n",
        b"\x12\x0b\x0a\x05bdSeq\x20\x08\x58\x04",
    );
    broker.give_here(id, &death);
    let birth = publish(
        "spBv1.0/g/NBIRTH/n",
        b"\x12\x0b\x0a\x05bdSeq\x20\x08\x58\x06",
    );
    broker.give_here(id, &birth);
    broker.give_here(id, &publish("spBv1.0/g/NBIRTH/n", b"\x08"));
    let actions = std::iter::from_fn(|| broker.shards[0].poll_action());
    let notices: Vec<String> = actions
        .filter_map(|action| match action {
            Action::Notice(notice) => Some(notice.text),
            _ => None,
        })
        .collect();
    let expected = [
        "sparkplug: state of g/o not kept: sparkplug-states-max is reached: 2",
        "sparkplug: sequence of g/n has a gap: seq 3 instead of 2",
        "sparkplug: sequence of g/m has a gap: seq 3 instead of 2",
        "sparkplug: death of g/n with bdSeq 4 changes nothing: it has bdSeq 5",
        "sparkplug: g/n is born with bdSeq 6, and no death with bdSeq 5 was seen",
        "sparkplug: what came to \"spBv1.0/g/NBIRTH/n\" is no payload of Sparkplug: it passes as it is",
    ];
    assert_eq!(notices, expected);
    let stats = broker.shards[0].stats();
    assert_eq!(
        (stats.sparkplug_gaps, stats.sparkplug_states_refused),
        (4, 2)
    );
    let (births, deaths) = (
        stats.sparkplug_births_without_death,
        stats.sparkplug_stale_deaths,
    );
    assert_eq!((births, deaths), (1, 1));
}

#[test]
fn off_it_is_traffic_like_any_other_and_can_be_switched_while_shards_run() {
    let mut plant = Plant::new(1, false);
    let all = plant.connect(0, "all", None);
    plant.subscribe(all, "$sparkplug/#");
    let node = plant.connect(0, "node", None);
    plant.publish(node, "spBv1.0/g/NBIRTH/n", NBIRTH);
    assert_eq!(
        (
            plant.got(all),
            plant.count(|stats| stats.sparkplug_messages)
        ),
        (vec![], 0)
    );
    for is_on in [true, false] {
        let mut config: ShardConfig = (*plant.world.shards[0].config).clone();
        config.limits.sparkplug = is_on;
        plant.world.shards[0].handle_config(Arc::new(config));
        plant.publish(node, "spBv1.0/g/NBIRTH/n", NBIRTH);
        assert_eq!(plant.got(all).len(), usize::from(is_on));
    }
    let query = Query::Nodes {
        after: None,
        max: 1,
    };
    let now = plant.world.now;
    let answer = plant.world.shards[0].handle_query(&query, now);
    assert_eq!(answer, Answer::SparkplugOff);
}
