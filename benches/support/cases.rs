//! The hot paths, one case each: timed by `benches/hot.rs`, counted in instructions by
//! `benches/instructions.rs`.

use std::hint::black_box;
use std::rc::Rc;

use bytes::Bytes;
use ringmq::ids::{SessionId, ShardId};
use ringmq::mqtt::encode::{self, PublishOut};
use ringmq::mqtt::frame::next_frame;
use ringmq::mqtt::{
    decode, Ack, AckKind, KeptAt, PacketId, Publication, Qos, ReasonCode, Sender,
    SubscriptionOptions, UserProperties, Version,
};
use ringmq::routing::{Subscription, TopicIndex};
use ringmq::session::{Delivery, Window};

use super::packets::{acks, publishes};
use super::world::World;

/// 20 bytes, so that a packet with 16 bytes of payload takes about 40.
const TOPIC: &str = "plant/4/line/7/motor";
/// Packets of one read.
const BATCH: u16 = 64;

/// One thing to measure. `run` does it `operations` times and may be called again and again.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) operations: u64,
    pub(crate) run: Box<dyn FnMut()>,
}

pub(super) fn case(name: &'static str, operations: u64, run: impl FnMut() + 'static) -> Case {
    let run = Box::new(run);
    Case {
        name,
        operations,
        run,
    }
}

pub(crate) fn all() -> Vec<Case> {
    let mut cases = codec();
    cases.extend(matching());
    cases.extend(windows());
    cases.extend(shards());
    cases.extend(super::layers::all());
    cases.extend(super::growth::all());
    cases
}

fn publish_out(qos: Qos) -> PublishOut<'static> {
    PublishOut {
        qos,
        topic: TOPIC,
        packet_id: (qos != Qos::AtMostOnce).then(|| PacketId::new(7).expect("not zero")),
        payload_len: 16,
        payload: b"0123456789abcdef",
        ..PublishOut::default()
    }
}

fn codec() -> Vec<Case> {
    let kinds = [
        ("v311 qos0", Version::V311, Qos::AtMostOnce),
        ("v5 qos1", Version::V5, Qos::AtLeastOnce),
    ];
    let mut cases = Vec::new();
    for (kind, version, qos) in kinds {
        let mut out = Vec::with_capacity(64 * usize::from(BATCH));
        let encode = move || {
            out.clear();
            for _ in 0..BATCH {
                encode::publish(&mut out, version, black_box(&publish_out(qos)));
            }
            black_box(&out);
        };
        let mut bytes = Vec::new();
        for _ in 0..BATCH {
            encode::publish(&mut bytes, version, &publish_out(qos));
        }
        let decode = move || {
            let mut rest = black_box(&bytes[..]);
            while let Ok(Some(frame)) = next_frame(rest, 1 << 20) {
                rest = &rest[frame.length..];
                let publish = decode::publish_from(version, Sender::Client, &frame);
                black_box(publish.expect("a valid packet"));
            }
        };
        let names = match kind {
            "v311 qos0" => ["encode publish, v311 qos0", "decode publish, v311 qos0"],
            _ => ["encode publish, v5 qos1", "decode publish, v5 qos1"],
        };
        cases.push(case(names[0], u64::from(BATCH), encode));
        cases.push(case(names[1], u64::from(BATCH), decode));
    }
    let ack = Ack {
        packet_id: PacketId::new(7).expect("not zero"),
        reason: ReasonCode::Success,
        reason_string: None,
        user_properties: UserProperties::default(),
    };
    let mut out = Vec::with_capacity(4 * usize::from(BATCH));
    cases.push(case("encode puback", u64::from(BATCH), move || {
        out.clear();
        for _ in 0..BATCH {
            encode::ack(&mut out, Version::V5, AckKind::PubAck, black_box(&ack));
        }
        black_box(&out);
    }));
    let bytes = acks(0x40, 1, BATCH);
    cases.push(case("decode puback", u64::from(BATCH), move || {
        let mut rest = black_box(&bytes[..]);
        while let Ok(Some(frame)) = next_frame(rest, 1 << 20) {
            rest = &rest[frame.length..];
            black_box(decode::ack(Version::V5, &frame).expect("a valid packet"));
        }
    }));
    cases
}

fn session(index: u32) -> SessionId {
    SessionId {
        index,
        generation: 0,
    }
}

/// 10,000 filters, one in ten with a wildcard.
fn matching() -> Vec<Case> {
    let index = || {
        let mut index = TopicIndex::new(ShardId(0), 42);
        for n in 0..10_000 {
            let (site, motor) = (n / 100, n % 100);
            let filter = match n % 20 {
                0 => format!("s{site:02}/+/m{motor:02}/temp"),
                1 => format!("s{site:02}/a/m{motor:02}/#"),
                _ => format!("s{site:02}/a/m{motor:02}/temp"),
            };
            index.subscribe(&filter, session(n), subscription());
        }
        index
    };
    let topic = |n: u32| format!("s{:02}/a/m{:02}/temp", n % 100, n / 100 % 100);
    let (mut hit, mut miss, mut change) = (index(), index(), index());
    let topics: Vec<String> = (0..1_000).map(topic).collect();
    let asked = topics.clone();
    let mut round = 0;
    vec![
        case("match, cached", 1_000, move || {
            for topic in &topics {
                black_box(hit.route(topic));
            }
        }),
        case("match, not cached", 1_000, move || {
            // A filter that begins with a wildcard concerns every topic: all are sought again.
            round += 1;
            miss.subscribe(&format!("+/nobody/{round}"), session(0), subscription());
            miss.unsubscribe(&format!("+/nobody/{round}"), session(0));
            for topic in &asked {
                black_box(miss.route(topic));
            }
        }),
        case("subscribe and unsubscribe", 100, move || {
            for n in 0..100 {
                let filter = ["s42/x/m17/speed", "s43/+/m17/speed"][n % 2];
                change.subscribe(filter, session(1), subscription());
                black_box(change.unsubscribe(filter, session(1)));
            }
        }),
    ]
}

fn subscription() -> Subscription {
    Subscription {
        options: SubscriptionOptions {
            qos: Qos::AtMostOnce,
            ..SubscriptionOptions::default()
        },
        identifier: None,
        durable: false,
    }
}

fn windows() -> Vec<Case> {
    let publication = Rc::new(Publication {
        topic: TOPIC.into(),
        payload: Bytes::from_static(b"0123456789abcdef"),
        properties: Bytes::new(),
        qos: Qos::AtLeastOnce,
        retain: false,
        expires_at: None,
        kept_at: KeptAt::default(),
    });
    let mut window = Window::default();
    window.start(BATCH);
    vec![case("window, 64 in flight", u64::from(BATCH), move || {
        let mut ids = [PacketId::new(1).expect("not zero"); BATCH as usize];
        for id in &mut ids {
            *id = window.push(Delivery {
                publication: Rc::clone(&publication),
                qos: Qos::AtLeastOnce,
                retain: false,
                identifiers: None,
                shared: None,
            });
        }
        for id in ids {
            window.puback(id).expect("in flight");
        }
    })]
}

/// Publications through whole shards: decode, match, deliver, encode, acknowledge. The operations are
/// deliveries.
fn shards() -> Vec<Case> {
    let batch = u64::from(BATCH);
    vec![
        case("qos0, 10 to 1", 10 * batch, fan(1, 10, 1, BATCH)),
        case("qos0, 1 to 100", 100 * batch, fan(1, 1, 100, BATCH)),
        case("qos0, one per read", 1, fan(1, 1, 1, 1)),
        case("qos0, other shard", batch, fan(2, 1, 1, BATCH)),
        case("qos0, other shard, one per read", 1, fan(2, 1, 1, 1)),
        case("qos1, pair", batch, acknowledged(1, 1)),
        case("qos1, other shard", batch, acknowledged(1, 2)),
        case("qos2, pair", batch, acknowledged(2, 1)),
        case("qos2, other shard", batch, acknowledged(2, 2)),
    ]
}

/// Publishers on shard 0, subscribers on the last one.
fn fan(shards: u16, publishers: usize, subscribers: usize, count: u16) -> impl FnMut() {
    let mut world = World::new(shards);
    let last = usize::from(shards) - 1;
    for n in 0..subscribers {
        let client = world.connect(last, &format!("s{n}"));
        world.subscribe(client, "bench/#", 0);
    }
    let mut clients = Vec::new();
    for n in 0..publishers {
        let bytes = publishes(&format!("bench/topic/{n:04}"), 0, count);
        clients.push((world.connect(0, &format!("p{n}")), bytes));
    }
    move || {
        let mut expected = 0;
        for (client, bytes) in &clients {
            world.send(*client, black_box(bytes));
            expected += bytes.len() * subscribers;
        }
        assert_eq!(world.drain(), expected);
    }
}

/// A publisher and a subscriber of QoS 1 or 2, 64 messages at a time, all packets of both.
fn acknowledged(qos: u8, shards: u16) -> impl FnMut() {
    let mut world = World::new(shards);
    let subscriber = world.connect(usize::from(shards) - 1, "s");
    world.subscribe(subscriber, "bench/#", qos);
    let publisher = world.connect(0, "p");
    let bytes = publishes("bench/topic/0000", qos, BATCH);
    let mut next: u16 = 1;
    move || {
        let answers = usize::from(BATCH) * 4;
        world.send(publisher, black_box(&bytes));
        assert_eq!(world.drain(), bytes.len() + answers);
        if qos == 1 {
            world.send(subscriber, &acks(0x40, next, BATCH));
            world.drain();
        } else {
            world.send(publisher, &acks(0x62, 1, BATCH));
            world.send(subscriber, &acks(0x50, next, BATCH));
            assert_eq!(world.drain(), 2 * answers);
            world.send(subscriber, &acks(0x70, next, BATCH));
            world.drain();
        }
        for _ in 0..BATCH {
            next = next.checked_add(1).unwrap_or(1);
        }
    }
}
