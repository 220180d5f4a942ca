//! Datagrams of any bytes, from any of a few addresses, into the gateways of two shards: nothing panics, bounds hold
//! (`src/gateway/audit.rs`), what is sent is a message, a stranger is never sent more than it has sent, and a client
//! that is not part of it is still served.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ringmq::mqtt_sn::{
    decode, encode, forwarded, unwrap_forwarded, AddressChange, Connect, Message, Publish,
    ReturnCode, Settings, Subscribe, TopicName, TopicRef, Unsubscribe, WillTopic, PROTOCOL_ID,
};
use ringmq::testing::{Calm, Setup, World};
use ringmq::time::Span;

use crate::choices::Choices;
use crate::features::note;

const STEPS_MAX: usize = 200;
const SHARDS: u16 = 2;
const NAMES: [&str; 6] = ["", "a", "b", "a-client-with-a-long-name", "c", "d"];
const TOPICS: [&str; 8] = ["t", "ab", "t/1", "t/2", "t/+", "#", "$share/g/t/1", "\u{0}"];

/// See the module.
pub fn body(input: &[u8]) {
    let mut choices = Choices::new(input);
    let mut world = World::calm(Setup::new(SHARDS));
    world.begin_gateways(Settings {
        forwarders: choices.flag(),
        topics_max: 1 + choices.short() % 4,
        datagram_max: choices.one_of(&[60, 1_024, u16::MAX]),
        retries: choices.byte() % 3,
        minus_one_user: choices.maybe(|_| "anyone".into()),
        address_change: choices.one_of(&[AddressChange::Never, AddressChange::Asleep]),
        ..Settings::default()
    });
    let mut sent = BTreeMap::<SocketAddr, (usize, bool)>::new();
    for _ in 0..STEPS_MAX {
        if choices.is_empty() {
            break;
        }
        let port = u16::from(choices.byte() % 4);
        let from = SocketAddr::from(([127, 0, 0, 1], 20_000 + port));
        let datagram = datagram(&mut choices);
        let (bytes, has_connected) = sent.entry(from).or_default();
        *bytes += datagram.len();
        *has_connected |= is_connect(&datagram);
        world.receive_datagram(usize::from(port % SHARDS), from, &datagram);
        match choices.byte() {
            0..100 => world.settle(),
            100..110 => world.wait(Span::from_secs(u64::from(choices.short()))),
            _ => {}
        }
        take(&mut world, &mut sent);
        world.audit();
    }
    world.settle();
    take(&mut world, &mut sent);
    world.audit();
    is_served(&mut world);
}

/// What is sent are messages.
fn take(world: &mut World<Calm>, sent: &mut BTreeMap<SocketAddr, (usize, bool)>) {
    for shard in 0..usize::from(SHARDS) {
        for (to, datagram) in world.take_datagrams(shard) {
            let inner = unwrap_forwarded(&datagram).expect("it is a message or a node's");
            let message = inner.map_or(&*datagram, |inner| inner.message);
            let message = decode(message).expect("it is a message");
            note(std::mem::discriminant(&message));
            let (bytes, has_connected) = sent.get_mut(&to).expect("it has sent something");
            if !*has_connected {
                let left = bytes.checked_sub(datagram.len());
                *bytes = left.expect("a stranger is sent no more than it has sent");
            }
        }
    }
}

/// A client that connects now has its answers.
fn is_served(world: &mut World<Calm>) {
    let from = SocketAddr::from(([127, 0, 0, 1], 30_000));
    let connect = Message::Connect(Connect {
        will: false,
        clean_session: true,
        protocol_id: PROTOCOL_ID,
        duration_s: 60,
        client_id: "bystander",
    });
    for (message, answer) in [
        (connect, Message::ConnAck(ReturnCode::Accepted)),
        (Message::PingReq(""), Message::PingResp),
    ] {
        let mut bytes = Vec::new();
        encode(&message, &mut bytes);
        world.receive_datagram(0, from, &bytes);
        world.settle();
        let mut answers = (0..usize::from(SHARDS)).flat_map(|shard| world.take_datagrams(shard));
        let is_it =
            |(to, bytes): &(SocketAddr, Vec<u8>)| *to == from && decode(bytes) == Ok(answer);
        assert!(answers.by_ref().any(|one| is_it(&one)), "no {answer:?}");
    }
}

fn is_connect(datagram: &[u8]) -> bool {
    let Ok(inner) = unwrap_forwarded(datagram) else {
        return false;
    };
    let message = inner.map_or(datagram, |inner| inner.message);
    // It may name a sleeper, where that is allowed.
    matches!(
        decode(message),
        Ok(Message::Connect(_) | Message::PingReq(_))
    )
}

/// A message, perhaps of a node behind a forwarder, perhaps changed; or any bytes.
fn datagram(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    match choices.byte() {
        0..20 => return choices.data().to_vec(),
        20..40 => forwarded(&choices.data()[..0], &mut bytes),
        40..60 => forwarded(&[choices.byte() % 2], &mut bytes),
        _ => {}
    }
    encode(&message(choices), &mut bytes);
    if choices.byte() < 20 {
        let at = usize::from(choices.byte()) % bytes.len();
        bytes[at] ^= choices.byte();
    }
    if choices.byte() < 10 {
        bytes.truncate(usize::from(choices.byte()));
    }
    bytes
}

fn message<'a>(choices: &mut Choices<'a>) -> Message<'a> {
    let topic = choices.one_of(&TOPICS);
    // Few, so that some are in use.
    let msg_id = choices.short() % 8;
    let id = choices.one_of(&[0, 1, 2, 0xFFFF, first_id(topic)]);
    if choices.flag() {
        return exchange(choices, (topic, id), msg_id);
    }
    let will = WillTopic {
        qos: choices.qos(),
        retain: choices.flag(),
        topic,
    };
    match choices.byte() % 12 {
        0..4 => Message::Connect(Connect {
            will: choices.byte().is_multiple_of(4),
            clean_session: choices.flag(),
            protocol_id: if choices.byte().is_multiple_of(16) {
                2
            } else {
                PROTOCOL_ID
            },
            duration_s: choices.short() % 100,
            client_id: choices.one_of(&NAMES),
        }),
        4 => Message::WillTopic(choices.maybe(|_| will)),
        5 => Message::WillMsg(payload(choices)),
        6..8 => Message::PingReq(choices.one_of(&NAMES)),
        8 => Message::Disconnect(choices.maybe(|choices| choices.short() % 100)),
        9 => Message::WillTopicUpd(choices.maybe(|_| will)),
        10 => Message::WillMsgUpd(payload(choices)),
        _ => Message::SearchGw { radius: 0 },
    }
}

/// No longer than what fits a message.
fn payload<'a>(choices: &mut Choices<'a>) -> &'a [u8] {
    let data = choices.data();
    &data[..data.len().min(2_000)]
}

/// A message of a client that has connected.
fn exchange<'a>(
    choices: &mut Choices<'a>,
    (topic, topic_id): (&'a str, u16),
    msg_id: u16,
) -> Message<'a> {
    let code = ReturnCode::from_byte(choices.byte() % 4);
    let qos = choices.qos();
    let name = match choices.byte() % 3 {
        0 => TopicName::Full(topic),
        1 => TopicName::Predefined(topic_id),
        _ => TopicName::Short(*b"ab"),
    };
    match choices.byte() % 12 {
        0 => Message::Register {
            topic_id: 0,
            msg_id,
            topic,
        },
        1 => Message::RegAck {
            topic_id,
            msg_id,
            code,
        },
        2..5 => Message::Publish(Publish {
            dup: choices.flag(),
            qos: choices.maybe(|_| qos),
            retain: choices.flag(),
            topic: match name {
                TopicName::Short(name) => TopicRef::Short(name),
                TopicName::Predefined(id) => TopicRef::Predefined(id),
                TopicName::Full(_) => TopicRef::Normal(topic_id),
            },
            msg_id,
            payload: payload(choices),
        }),
        5 => Message::PubAck {
            topic_id,
            msg_id,
            code,
        },
        6 => Message::PubRec(msg_id),
        7 => Message::PubRel(msg_id),
        8 => Message::PubComp(msg_id),
        9..11 => Message::Subscribe(Subscribe {
            dup: choices.flag(),
            qos,
            msg_id,
            topic: name,
        }),
        _ => Message::Unsubscribe(Unsubscribe {
            msg_id,
            topic: name,
        }),
    }
}

/// The id that a topic has where nothing is in its way: FNV-1a, as `src/gateway/topics.rs` has it.
fn first_id(topic: &str) -> u16 {
    let hash = topic.bytes().fold(0x811C_9DC5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    (hash % 0x7FFF + 1) as u16
}
