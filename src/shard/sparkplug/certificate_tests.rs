//! Certificates at their limits, what they promise with a journal, and how many states a shard keeps.

use std::sync::Arc;

use super::tests::{got, packet, text, Plant, KEPT, NBIRTH, NDEATH};
use crate::mqtt::topic::TOPIC_BYTES_MAX;
use crate::mqtt::{encode, PublishOut, Version};
use crate::shard::{Answer, Durability, Query, ShardConfig};
use crate::testing::{connect_packet, Environment, Setup, World, V5};
use crate::time::Span;

const BIRTH: &str = "spBv1.0/g/NBIRTH/n";
const DEATH: &str = "spBv1.0/g/NDEATH/n";

/// Writes are durable when the test says so.
struct ByHand;

impl Environment for ByHand {
    fn commit_turns(&mut self, _shard: usize) -> Option<u32> {
        None
    }
}

fn publish(version: Version, publish: &PublishOut<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    encode::publish(&mut out, version, publish);
    out
}

fn birth_of(topic: &str) -> PublishOut<'_> {
    PublishOut {
        topic,
        payload: NBIRTH,
        payload_len: NBIRTH.len(),
        ..PublishOut::default()
    }
}

#[test]
fn a_birth_whose_certificate_would_have_too_long_a_topic_passes() {
    let mut plant = Plant::new(1, true);
    let all = plant.connect(0, "all", None);
    plant.subscribe(all, "spBv1.0/#");
    let host = plant.connect(0, "host", None);
    plant.subscribe(host, "$sparkplug/certificates/#");
    let node = plant.connect(0, "node", None);
    let prefix = KEPT.len() - BIRTH.len();
    for (length, is_kept) in [
        (TOPIC_BYTES_MAX - prefix, true),
        (TOPIC_BYTES_MAX - prefix + 1, false),
        (TOPIC_BYTES_MAX, false),
    ] {
        let refused = plant.count(|stats| stats.retained_refused);
        let name = "n".repeat(length - BIRTH.len());
        let topic = format!("{BIRTH}{name}");
        plant.send(node, &publish(Version::V311, &birth_of(&topic)));
        assert_eq!(plant.got(all), [got(&topic, NBIRTH, 0, false)]);
        assert_eq!(plant.got(host).len(), usize::from(is_kept), "{length}");
        let refused = plant.count(|stats| stats.retained_refused) - refused;
        assert_eq!(refused, u64::from(!is_kept));
    }
}

#[test]
fn where_nothing_is_retained_there_are_no_certificates() {
    for (messages_max, bytes_max) in [(0, 1 << 20), (1_000, 0)] {
        let mut setup = Setup::new(1);
        setup.limits.sparkplug = true;
        setup.limits.retained_messages_max = messages_max;
        setup.limits.retained_bytes_max = bytes_max;
        let mut plant = Plant::of(setup);
        let host = plant.connect(0, "host", None);
        plant.subscribe(host, "$sparkplug/certificates/#");
        let node = plant.connect(0, "node", None);
        plant.publish(node, BIRTH, NBIRTH);
        assert_eq!(plant.got(host), [], "not even live");
        assert_eq!(plant.count(|stats| stats.retained_refused), 1);
        assert_eq!(plant.count(|stats| stats.sparkplug_certificates), 0);
    }
}

#[test]
fn a_certificate_outlives_the_expiry_of_its_birth() {
    let mut plant = Plant::new(1, true);
    let node = plant.world.open(0);
    plant.send(node, &connect_packet(V5, b'n'));
    let birth = PublishOut {
        message_expiry_interval_s: Some(1),
        ..birth_of(BIRTH)
    };
    plant.send(node, &publish(Version::V5, &birth));
    plant.world.wait(Span::from_secs(5));
    let host = plant.connect(0, "host", None);
    assert_eq!(plant.subscribe(host, KEPT), [got(KEPT, NBIRTH, 1, true)]);
}

/// What acknowledges a birth promises its certificate, and what acknowledges a death its place in the queues.
#[test]
fn births_and_deaths_are_acknowledged_when_what_follows_from_them_is_committed() {
    let mut setup = Setup::new(1);
    setup.limits.sparkplug = true;
    let mut plant = Plant::in_world(World::new(setup, ByHand));
    plant.world.begin_journals(Durability::Commit);
    let write = |plant: &mut Plant<ByHand>| {
        while plant.world.complete_write(0) {
            plant.world.settle();
        }
    };
    let node = plant.connect(0, "node", None);
    write(&mut plant);
    let acknowledged = |plant: &mut Plant<ByHand>, topic, payload: &[u8]| {
        let body = [&text(topic)[..], &[0, 7], payload];
        plant.send(node, &packet(0x32, &body));
        let before = plant.take(node);
        write(plant);
        (before, plant.take(node))
    };
    let puback = vec![0x40, 2, 0, 7];
    let answers = acknowledged(&mut plant, DEATH, NDEATH);
    assert_eq!(answers, (puback.clone(), vec![]), "nothing is kept of it");
    let answers = acknowledged(&mut plant, BIRTH, NBIRTH);
    assert_eq!(answers, (vec![], puback.clone()));
    let host = plant.world.open(0);
    let connect = [&text("MQTT")[..], &[4, 0, 0, 0], &text("host")].concat();
    plant.send(host, &packet(0x10, &[&connect]));
    write(&mut plant);
    plant.send(host, &packet(0x82, &[&[0, 1], &text(DEATH), &[1]]));
    write(&mut plant);
    let answers = acknowledged(&mut plant, DEATH, NDEATH);
    assert_eq!(answers, (vec![], puback));
}

/// The hosts' shards are others than that of the birth and than the certificate's home.
#[test]
fn certificates_have_retain_on_every_shard_and_births_on_none() {
    let mut plant = Plant::new(4, true);
    let names: Vec<String> = (0..24).map(|n| format!("host-{n}")).collect();
    let hosts: Vec<usize> = names
        .iter()
        .map(|name| {
            let host = plant.connect(0, name, None);
            plant.subscribe(host, "$sparkplug/certificates/spBv1.0/#");
            plant.subscribe(host, "spBv1.0/#");
            host
        })
        .collect();
    let shards = |plant: &Plant, links: &[usize]| {
        let at = links.iter().filter_map(|link| plant.world.links[*link].at);
        at.map(|(shard, _)| shard)
            .collect::<std::collections::BTreeSet<_>>()
            .len()
    };
    assert_eq!(shards(&plant, &hosts), 4);
    let nodes: Vec<usize> = (0..12)
        .map(|n| plant.connect(0, &format!("node-{n}"), None))
        .collect();
    assert_eq!(shards(&plant, &nodes), 4);
    let plain = plant.connect(0, "plain", None);
    plant.subscribe(plain, "$sparkplug/#");
    for node in nodes {
        plant.publish(node, BIRTH, NBIRTH);
        let expected = [got(KEPT, NBIRTH, 1, true), got(BIRTH, NBIRTH, 0, false)];
        for host in &hosts {
            assert_eq!(plant.got(*host), expected);
        }
        assert_eq!(plant.got(plain), [got(KEPT, NBIRTH, 1, false)]);
    }
}

#[test]
fn a_process_that_continues_has_nodes_by_their_certificates() {
    for (shards, then) in [(1, 1), (4, 4), (1, 4), (4, 2)] {
        let mut setup = Setup::new(shards);
        setup.limits.sparkplug = true;
        let mut plant = Plant::of(setup.clone());
        setup.shards = then;
        plant.world.begin_journals(Durability::Commit);
        let node = plant.connect(0, "node", None);
        plant.publish(node, BIRTH, NBIRTH);
        plant.publish(node, "spBv1.0/g/DBIRTH/n/d", b"\x08\x02\x18\x01");
        let state = br#"{"online": true, "timestamp": 9}"#;
        let retained = packet(0x31, &[&text("spBv1.0/STATE/h"), state]);
        plant.send(node, &retained);
        plant.world.restart(&setup, Durability::Commit).unwrap();
        plant.world.settle();
        plant.world.audit();
        let row = plant.node().unwrap();
        assert_eq!((row.is_recalled, row.online), (true, false));
        assert_eq!((row.bd_seq, row.birth_timestamp), (Some(5), Some(1)));
        assert_eq!((row.devices, row.devices_online, row.births), (1, 0, 0));
        assert_eq!((row.born_at, row.seen_at), (None, None));
        let hosts: u64 = plant
            .world
            .shards
            .iter()
            .map(|shard| {
                let sparkplug = shard.routes.sparkplug.as_deref();
                super::Sparkplug::counts(sparkplug).hosts_online
            })
            .sum();
        assert_eq!(hosts, 1);
        // A death of the session of the certificate, by a will that has outlived the process, or a birth ends it.
        let node = plant.connect(0, "node", None);
        plant.publish(node, DEATH, b"\x12\x0b\x0a\x05bdSeq\x20\x08\x58\x04");
        assert!(plant.node().unwrap().is_recalled, "of another session");
        plant.publish(node, DEATH, NDEATH);
        let row = plant.node().unwrap();
        assert_eq!((row.is_recalled, row.online, row.deaths), (false, false, 1));
        plant.publish(node, BIRTH, NBIRTH);
        let row = plant.node().unwrap();
        assert_eq!((row.is_recalled, row.online, row.births), (false, true, 1));
        assert_eq!((row.rebirths, row.births_without_death), (0, 0));
    }
}

fn states<E: Environment>(plant: &mut Plant<E>) -> Vec<usize> {
    let query = Query::Nodes {
        after: None,
        max: 1_000,
    };
    let now = plant.world.now;
    let shards = plant.world.shards.iter_mut();
    let rows = shards.map(|shard| match shard.handle_query(&query, now) {
        Answer::Nodes { rows, .. } => rows.len(),
        other => panic!("{other:?}"),
    });
    rows.collect()
}

/// Certificates and STATE are there, and `sparkplug` was off for a while.
#[test]
fn what_is_retained_is_known_again_when_it_is_switched_on_by_a_reload() {
    for shards in [1, 4] {
        let mut plant = Plant::new(shards, true);
        let node = plant.connect(0, "node", None);
        for n in 0..600 {
            plant.publish(node, &format!("{BIRTH}{n}"), NBIRTH);
        }
        let switch = |plant: &mut Plant, is_on: bool| {
            for shard in &mut plant.world.shards {
                let mut config: ShardConfig = (*shard.config).clone();
                config.limits.sparkplug = is_on;
                shard.handle_config(Arc::new(config));
            }
        };
        switch(&mut plant, false);
        switch(&mut plant, true);
        // One that is born before its certificate is read keeps its state.
        plant.publish(node, &format!("{BIRTH}599"), NBIRTH);
        plant.world.settle();
        let (mut known, mut online) = (0, 0);
        for shard in &plant.world.shards {
            let counts = super::Sparkplug::counts(shard.routes.sparkplug.as_deref());
            known += counts.nodes;
            online += counts.nodes_online;
        }
        assert_eq!((known, online), (600, 1), "{shards} shards");
    }
}

#[test]
fn each_shard_keeps_its_share_of_states_and_a_reload_changes_it() {
    let mut setup = Setup::new(4);
    setup.limits.sparkplug = true;
    setup.limits.sparkplug_states_max = 80;
    let mut plant = Plant::of(setup);
    let node = plant.connect(0, "node", None);
    let be_born = |plant: &mut Plant| {
        for n in 0..400 {
            plant.publish(node, &format!("{BIRTH}{n}"), NBIRTH);
        }
    };
    be_born(&mut plant);
    assert_eq!(states(&mut plant), [36; 4]);
    for shard in &mut plant.world.shards {
        let mut config: ShardConfig = (*shard.config).clone();
        config.limits.sparkplug_states_max = 160;
        shard.handle_config(Arc::new(config));
    }
    be_born(&mut plant);
    assert_eq!(states(&mut plant), [56; 4]);
}
