//! Conversations with a broker that asks a service what its clients may do. In this world the service
//! answers at once: topics in `no/` are refused, and it is down for those in `down/`.

use std::sync::Arc;

use ringmq::auth::{Access, Acl, HookTerms, Rules};
use ringmq::limits::Limits;
use ringmq::time::Span;

use super::run_table;
use super::world::World;
use super::{row, Broker};

fn asking(cache_s: u64) -> Rules {
    Rules {
        acl_hook: Some(HookTerms {
            cache: Span::from_secs(cache_s),
            ..HookTerms::default()
        }),
        ..Rules::default()
    }
}

fn run(rules: Rules, rows: &str) {
    let rows = row::parse_table("row", rows);
    let rules = Arc::new(rules);
    for (shards, piece_len) in [(1, usize::MAX), (1, 1), (2, 3)] {
        run_table(&rows, &|| {
            let mut world = World::with_limits(shards, piece_len, Limits::default());
            world.set_rules(&rules);
            Box::new(world)
        });
    }
}

const A: &str = "A> 10 [ NAME 02 0000 {} \"a\" ] ; A< CONNACK ok";
const B: &str = "B> 10 [ NAME 02 0000 {} \"b\" ] ; B< CONNACK ok";

#[test]
fn what_the_service_allows() {
    let rows = format!("
3.3.5 | all | publications with QoS 0, in their order
    {A} ; {B} ; B> 82 [ 0001 {{}} \"+\" 00 \"no/+\" 00 ] ; B< SUBACK 0001 00 87/80 ; B> 82 [ 0002 {{}} \"#\" 00 ] ; B< SUBACK 0002 00
    A> 30 [ \"yes\" {{}} '1' ] 30 [ \"no/1\" {{}} 'x' ] 30 [ \"yes\" {{}} '2' ] 30 [ \"down/1\" {{}} 'x' ] 30 [ \"other\" {{}} '3' ] 30 [ \"yes\" {{}} '4' ] c0 00
    A< d0 00 ; B< 30 [ \"yes\" {{}} '1' ] ; B< 30 [ \"yes\" {{}} '2' ] ; B< 30 [ \"other\" {{}} '3' ] ; B< 30 [ \"yes\" {{}} '4' ] ; B< nothing
3.3.5 | all | QoS 1
    {A} ; A> 32 [ \"yes\" 0001 {{}} 'x' ] 32 [ \"no/1\" 0002 {{}} 'x' ] 32 [ \"yes\" 0003 {{}} 'x' ] ; A< PUBACK 0001 ; A< PUBACK 0002 87/00 ; A< PUBACK 0003
3.3.5 | 5 | QoS 1 while the service is down
    {A} ; A> 32 [ \"down/1\" 0001 {{}} 'x' ] 32 [ \"yes\" 0002 {{}} 'x' ] ; A< PUBACK 0001 83 ; A< PUBACK 0002
3.3.5 | v3 | QoS 1 and 2 while the service is down: to be sent again
    {A} ; A> 32 [ \"down/1\" 0001 'x' ] ; A< close ; {B} ; B> 34 [ \"down/1\" 0001 'x' ] ; B< close
3.3.5 | 5 | QoS 2
    {A} ; A> 34 [ \"no/1\" 0001 {{}} 'x' ] 34 [ \"down/1\" 0002 {{}} 'x' ] 34 [ \"yes\" 0003 {{}} 'x' ] ; A< PUBREC 0001 87 ; A< PUBREC 0002 83 ; A< PUBREC 0003
    A> 62 [ 0003 ] ; A< PUBCOMP 0003
MQTT-4.3.3-10 | all | a QoS 2 message that is sent again goes nowhere, whatever is ruled now
    {A} ; {B} ; B> 82 [ 0001 {{}} \"yes\" 00 ] ; B< SUBACK 0001 00 ; A> 34 [ \"yes\" 0001 {{}} 'x' ] ; A< PUBREC 0001 ; B< 30 [ \"yes\" {{}} 'x' ]
    A> 3c [ \"yes\" 0001 {{}} 'x' ] 3c [ \"down/1\" 0001 {{}} 'x' ] ; A< PUBREC 0001 ; A< PUBREC 0001 ; A> 62 [ 0001 ] ; A< PUBCOMP 0001 ; B< nothing
3.3.2.3.4 | 5 | topic aliases
    {A} ; A> 32 [ \"no/1\" 0001 {{ 23 0001 }} 'x' ] 32 [ \"\" 0002 {{ 23 0001 }} 'x' ] 32 [ \"yes\" 0003 {{ 23 0001 }} 'x' ] 32 [ \"\" 0004 {{ 23 0001 }} 'x' ]
    A< PUBACK 0001 87 ; A< PUBACK 0002 87 ; A< PUBACK 0003 ; A< PUBACK 0004
3.8.4 | all | subscriptions, all filters of a packet at once
    {A} ; A> 82 [ 0001 {{}} \"yes\" 01 \"no/#\" 00 \"down/+\" 00 \"yes\" 02 ] c0 00 ; A< any SUBACK 0001 01 87/80 83/80 02 | d0 00
3.8.4 | 5 | shared subscriptions by the filter behind the group
    {A} ; A> 82 [ 0001 {{}} \"$share/no/yes\" 00 \"$share/g/no/1\" 00 \"b#\" 00 ] ; A< SUBACK 0001 00 87 8f
3.1.2.5 | all | a will that may not be published | A> 10 [ NAME 06 0000 {{}} \"a\" {{}} \"no/w\" \"x\" ] c0 00 ; A< refused 87 05
3.1.2.5 | all | a will that nobody rules about | A> 10 [ NAME 06 0000 {{}} \"a\" {{}} \"down/w\" \"x\" ] ; A< refused 88 03
3.1.2.5 | all | a will that may, and what follows its CONNECT
    {B} ; B> 82 [ 0001 {{}} \"#\" 00 ] ; B< SUBACK 0001 00
    A> 10 [ NAME 06 0000 {{}} \"a\" {{}} \"w\" \"x\" ] 30 [ \"yes\" {{}} '1' ] c0 00 ; A< CONNACK ok ; A< d0 00 ; B< 30 [ \"yes\" {{}} '1' ] ; A> close ; B< 30 [ \"w\" {{}} 'x' ]
3.1.2.5 | 5 | a will of a client without an id
    A> 10 [ NAME 06 0000 {{}} \"\" {{}} \"w\" \"x\" ] ; A< CONNACK ok +12 ; B> 10 [ NAME 06 0000 {{}} \"\" {{}} \"no/w\" \"x\" ] ; B< refused 87 05
3.14 | all | what a client has sent before it went away counts
    {B} ; B> 82 [ 0001 {{}} \"#\" 00 ] ; B< SUBACK 0001 00 ; {A} ; A> 30 [ \"yes\" {{}} '1' ] 30 [ \"other\" {{}} '2' ] e0 00 ; A< close ; B< 30 [ \"yes\" {{}} '1' ] ; B< 30 [ \"other\" {{}} '2' ]");
    for cache_s in [60, 0] {
        run(asking(cache_s), &rows);
    }
    let strict = Rules {
        acl_disconnect: true,
        ..asking(60)
    };
    run(strict, &format!("
3.3.5 | all | acl-disconnect: a publication | {A} ; A> 30 [ \"yes\" {{}} 'x' ] 30 [ \"no/1\" {{}} 'x' ] ; A< error 87
3.8.4 | all | acl-disconnect: a subscription | {A} ; A> 82 [ 0001 {{}} \"yes\" 00 \"no/1\" 00 ] ; A< error 87
3.8.4 | 5 | acl-disconnect: not because nobody rules | {A} ; A> 82 [ 0001 {{}} \"down/1\" 00 ] 32 [ \"down/2\" 0001 {{}} ] ; A< any SUBACK 0001 83 | PUBACK 0001 83"));
    let with_file = Rules {
        acl: Some(Arc::new(
            Acl::parse("acl", "topic readwrite here/#\ntopic readwrite no/#\n").unwrap(),
        )),
        ..asking(60)
    };
    run(with_file, &format!("
3.3.5 | all | the ACL file and the service must both allow
    {A} ; A> 82 [ 0001 {{}} \"here/1\" 00 \"yes\" 00 \"no/1\" 00 ] ; A< SUBACK 0001 00 87/80 87/80
    A> 32 [ \"here/2\" 0001 {{}} 'x' ] 32 [ \"yes\" 0002 {{}} 'x' ] 32 [ \"no/1\" 0003 {{}} 'x' ] ; A< PUBACK 0001 ; A< PUBACK 0002 87/00 ; A< PUBACK 0003 87/00"));
}

/// A world with one client, A, that is connected.
fn connected(rules: Rules) -> World {
    let mut world = World::new(1, usize::MAX);
    world.set_rules(&Arc::new(rules));
    world.open("A");
    world.send("A", b"\x10\x0d\x00\x04MQTT\x04\x02\0\0\0\x01a");
    assert_eq!(world.receive("A").unwrap(), b"\x20\x02\0\0");
    world
}

fn asked(world: &mut World) -> Vec<(Access, Vec<String>)> {
    let asked = world.take_asked().into_iter();
    let topics = |topics: Vec<Box<str>>| topics.into_iter().map(String::from).collect();
    asked
        .map(|request| (request.access, topics(request.topics)))
        .collect()
}

#[test]
fn an_answer_counts_for_a_while() {
    let publish = b"\x30\x04\0\x01tx";
    let question = || (Access::Publish, vec![String::from("t")]);
    let mut world = connected(asking(10));
    world.send("A", &publish.repeat(3));
    world.send("A", publish);
    assert_eq!(asked(&mut world), [question()]);
    world.wait_ms(9_999);
    world.send("A", publish);
    assert_eq!(asked(&mut world), []);
    world.wait_ms(1);
    world.send("A", publish);
    assert_eq!(asked(&mut world), [question()]);
    // New rules: what was said under the old ones counts no more.
    world.set_rules(&Arc::new(asking(10)));
    world.send("A", publish);
    assert_eq!(asked(&mut world), [question()]);
    let mut world = connected(asking(0));
    for _ in 0..3 {
        world.send("A", publish);
        assert_eq!(asked(&mut world), [question()], "each time");
    }
}

#[test]
fn a_subscribe_is_one_question() {
    let mut world = connected(asking(10));
    let filters = |filters: &[&str]| {
        let mut packet = vec![0x82, 0, 0, 1];
        for filter in filters {
            packet.extend([0, filter.len() as u8]);
            packet.extend(filter.bytes());
            packet.push(0);
        }
        packet[1] = packet.len() as u8 - 2;
        packet
    };
    world.send("A", &filters(&["a", "b/#", "a", "bad#", "no/1"]));
    assert_eq!(world.receive("A").unwrap()[4..], [0, 0, 0, 0x80, 0x80]);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(
        asked(&mut world),
        [(Access::Subscribe, names(&["a", "b/#", "no/1"]))]
    );
    world.send("A", &filters(&["b/#", "no/1"]));
    assert_eq!(world.receive("A").unwrap()[4..], [0, 0x80]);
    assert_eq!(asked(&mut world), [], "known");
    world.send("A", &filters(&["b/#", "c"]));
    assert_eq!(world.receive("A").unwrap()[4..], [0, 0]);
    assert_eq!(
        asked(&mut world),
        [(Access::Subscribe, names(&["b/#", "c"]))]
    );
    // More than are kept of a connection.
    let many: Vec<String> = (0..2_000).map(|n| format!("f/{n}")).collect();
    let mut body = vec![0, 2];
    for filter in &many {
        body.extend((filter.len() as u16).to_be_bytes());
        body.extend(filter.bytes());
        body.push(1);
    }
    let mut packet = vec![
        0x82,
        body.len() as u8 | 0x80,
        (body.len() >> 7) as u8 | 0x80,
        (body.len() >> 14) as u8,
    ];
    packet.extend(body);
    world.send("A", &packet);
    assert_eq!(world.receive("A").unwrap()[5..], [1; 2_000]);
    assert_eq!(asked(&mut world), [(Access::Subscribe, many)]);
}
