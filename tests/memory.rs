//! Memory of subscriptions, by an allocator that counts: bytes asked for, not resident pages, so the
//! figures are the same on every machine.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use std::net::SocketAddr;

use ringmq::ids::{ConnectionId, SessionId, ShardId};
use ringmq::mqtt::{Qos, SubscriptionOptions};
use ringmq::mqtt_sn::{
    self, Connect, Message, ReturnCode, Settings, Subscribe, TopicName, TopicRef,
};
use ringmq::routing::{Interest, Subscription, TopicIndex};
use ringmq::session::{Session, SessionSubscription};
use ringmq::testing::{connect_packet, Calm, Setup, World, V311};
use ringmq::time::Span;

struct Counting;

thread_local! {
    /// Bytes held by this thread. No destructor, so that it may be used while the thread ends.
    static HELD: Cell<isize> = const { Cell::new(0) };
}

/// What an allocation of so many bytes takes from an allocator with size classes 8 bytes apart, as those
/// of the broker's are for small ones.
fn class(size: usize) -> isize {
    size.next_multiple_of(8) as isize
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the caller keeps the promises of `GlobalAlloc::alloc`, which are passed on.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.set(HELD.get() + class(layout.size()));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the caller keeps the promises of `GlobalAlloc::dealloc`, which are passed on.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - class(layout.size()));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    // SAFETY: the caller keeps the promises of `GlobalAlloc::realloc`, which are passed on.
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        HELD.set(HELD.get() + class(size) - class(layout.size()));
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Bytes that stay allocated by what `build` makes, each.
fn bytes_each<T>(count: usize, build: impl FnOnce() -> T) -> f64 {
    let before = HELD.get();
    let built = build();
    let held = HELD.get() - before;
    drop(built);
    held as f64 / count as f64
}

fn session(index: u32) -> SessionId {
    SessionId {
        index,
        generation: 0,
    }
}

fn subscription() -> Subscription {
    Subscription {
        options: SubscriptionOptions::default(),
        identifier: None,
        durable: false,
    }
}

const COUNT: usize = 100_000;

/// One filter per device, 21 bytes; one in ten with a wildcard.
fn filter(n: usize) -> String {
    let (site, device) = (n % 100, n);
    match n % 20 {
        0 => format!("site{site:02}/dev{device:06}/+/t"),
        1 => format!("site{site:02}/dev{device:06}/a/#"),
        _ => format!("site{site:02}/dev{device:06}/a/t"),
    }
}

#[test]
fn a_subscription_takes_at_most_150_bytes_in_its_own_shard() {
    let each = bytes_each(COUNT, || {
        let mut index = TopicIndex::new(ShardId(0), 1);
        for n in 0..COUNT {
            index.subscribe(&filter(n), session(n as u32), subscription());
        }
        index
    });
    println!("own shard: {each:.0} bytes");
    assert!(each <= 150.0, "{each:.0} bytes");
}

#[test]
fn a_subscription_takes_at_most_50_bytes_in_another_shard() {
    let each = bytes_each(COUNT, || {
        let mut index = TopicIndex::new(ShardId(0), 1);
        for n in 0..COUNT {
            index.set_remote(&filter(n), ShardId(1).into(), Interest::Transient);
        }
        index
    });
    println!("other shard: {each:.0} bytes");
    assert!(each <= 50.0, "{each:.0} bytes");
}

#[test]
fn many_subscribers_of_one_filter_take_less() {
    let each = bytes_each(COUNT, || {
        let mut index = TopicIndex::new(ShardId(0), 1);
        for n in 0..COUNT {
            index.subscribe("a/b/c", session(n as u32), subscription());
        }
        index
    });
    println!("one filter: {each:.0} bytes");
    assert!(each <= 50.0, "{each:.0} bytes");
}

/// Bytes of a subscription in its session, beside what the index takes, when each session has so many.
fn bytes_in_session(each: usize) -> f64 {
    let record = SessionSubscription {
        options: SubscriptionOptions::default(),
        identifier: None,
        owes_retained: false,
    };
    let new_session = || Session::new("device".into(), 1);
    let empty = bytes_each(1, new_session);
    let sessions = COUNT / each;
    let held = bytes_each(sessions, || {
        let of = |n: usize| {
            let mut session = new_session();
            for at in 0..each {
                let filter = filter(n * each + at).into();
                session.subscriptions.insert(filter, record);
            }
            session
        };
        (0..sessions).map(of).collect::<Box<[Session]>>()
    });
    (held - empty - size_of::<Session>() as f64) / each as f64
}

#[test]
fn a_subscription_takes_at_most_120_bytes_in_its_session() {
    for (each, most) in [(1, 80.0), (10, 110.0), (1_000, 120.0)] {
        let bytes = bytes_in_session(each);
        println!("in a session with {each}: {bytes:.0} bytes");
        assert!(bytes <= most, "{bytes:.0} bytes in a session with {each}");
    }
}

/// What a sensor takes, in bytes.
struct Sensor {
    awake: f64,
    asleep: f64,
    /// Asleep again after a round of messages.
    after_round: f64,
}

/// Sensors that have all connected and subscribed before the first of them sleeps: each has a session, a subscription by
/// name and so a topic id; as nodes of forwarders, if so.
fn sensor(sensors: usize, forwarders: bool) -> Sensor {
    let settings = Settings {
        forwarders: true,
        ..Settings::default()
    };
    let each = |held: isize| held as f64 / sensors as f64;
    let before = HELD.get();
    let mut world = World::<Calm>::calm(Setup::new(1));
    world.begin_gateways(settings);
    let publisher = world.open_here().expect("room"); // it hardly counts
    world.give_here(publisher, &connect_packet(V311, b'p'));
    world.take(publisher);
    (0..sensors).for_each(|n| connect(&mut world, n, forwarders));
    (0..sensors).for_each(|n| subscribe(&mut world, n, forwarders));
    let awake = each(HELD.get() - before);
    let sleep = Message::Disconnect(Some(3_600));
    (0..sensors).for_each(|n| exchange(&mut world, n, forwarders, &sleep));
    world.wait(Span::from_secs(1));
    assert_eq!(world.gateway(0).states(), [0, 0, sensors as u64, 0]);
    let asleep = each(HELD.get() - before);
    let before_round = HELD.get();
    for topic in 0..TOPICS.min(sensors) {
        for id in 1..=3 {
            world.give_here(publisher, &publish(&topic_of(topic), id));
            world.take(publisher);
        }
    }
    (0..sensors).for_each(|n| round(&mut world, n, forwarders));
    world.wait(Span::from_secs(70)); // deadlines of the time when it was awake have passed
    assert_eq!(world.gateway(0).states(), [0, 0, sensors as u64, 0]);
    let after_round = asleep + each(HELD.get() - before_round);
    Sensor {
        awake,
        asleep,
        after_round,
    }
}

/// Sensors subscribe to so many topics.
const TOPICS: usize = 100;

fn topic_of(n: usize) -> String {
    format!("asleep/{}", n % TOPICS)
}

/// PUBLISH at QoS 1 of MQTT 3.1.1.
fn publish(topic: &str, id: u8) -> Vec<u8> {
    let mut packet = vec![0x32, topic.len() as u8 + 4 + 20, 0, topic.len() as u8];
    packet.extend_from_slice(topic.as_bytes());
    packet.extend_from_slice(&[0, id]);
    packet.extend_from_slice(&[b'x'; 20]);
    packet
}

/// A sensor wakes up and acknowledges what it is sent, until PINGRESP.
fn round(world: &mut World<Calm>, n: usize, forwarders: bool) {
    send(world, n, forwarders, &Message::PingReq(&client_id(n)));
    let mut messages = 0;
    loop {
        let got = world.take_datagrams(0);
        assert!(!got.is_empty(), "PINGRESP comes last");
        for (_, datagram) in got {
            let bytes = match mqtt_sn::unwrap_forwarded(&datagram).expect("whole") {
                Some(inner) => inner.message,
                None => &datagram,
            };
            match mqtt_sn::decode(bytes).expect("a message") {
                Message::PingResp => return assert_eq!(messages, 3),
                Message::Publish(publish) => {
                    messages += 1;
                    let TopicRef::Normal(topic_id) = publish.topic else {
                        panic!("it has an id")
                    };
                    let answer = Message::PubAck {
                        topic_id,
                        msg_id: publish.msg_id,
                        code: ReturnCode::Accepted,
                    };
                    send(world, n, forwarders, &answer);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A session as a sensor has it, without a client. Bytes of it and of the connection that is made for each are what
/// a world has that did nothing but open and close those less.
fn bytes_of_session(sessions: usize) -> f64 {
    let world_of = |with_session: bool| {
        bytes_each(sessions, || {
            let mut world = World::<Calm>::calm(Setup::new(1));
            for n in 0..sessions {
                let client = world.open_here().expect("room");
                if with_session {
                    make_session(&mut world, client, n);
                }
                world.close(world.link_at((0, client)).expect("open"));
                world.settle();
            }
            world
        })
    };
    world_of(true) - world_of(false)
}

fn make_session(world: &mut World<Calm>, client: ConnectionId, n: usize) {
    let (name, topic) = (client_id(n), topic_of(n));
    let mut bytes = vec![0x10, 12 + name.len() as u8, 0, 4];
    bytes.extend_from_slice(b"MQTT");
    bytes.extend_from_slice(&[4, 0, 0, 60, 0, name.len() as u8]); // CleanSession 0
    bytes.extend_from_slice(name.as_bytes());
    world.give_here(client, &bytes);
    world.take(client);
    let mut bytes = vec![0x82, 5 + topic.len() as u8, 0, 1, 0, topic.len() as u8];
    bytes.extend_from_slice(topic.as_bytes());
    bytes.push(1);
    world.give_here(client, &bytes);
    assert_eq!(world.take(client).len(), 5, "SUBACK");
}

fn client_id(n: usize) -> String {
    format!("sensor-{n:06}")
}

fn connect(world: &mut World<Calm>, n: usize, forwarders: bool) {
    let connect = Message::Connect(Connect {
        clean_session: false,
        will: false,
        protocol_id: mqtt_sn::PROTOCOL_ID,
        duration_s: 60,
        client_id: &client_id(n),
    });
    exchange(world, n, forwarders, &connect);
}

fn subscribe(world: &mut World<Calm>, n: usize, forwarders: bool) {
    let subscribe = Message::Subscribe(Subscribe {
        dup: false,
        qos: Qos::AtLeastOnce,
        msg_id: 1,
        topic: TopicName::Full(&topic_of(n)),
    });
    exchange(world, n, forwarders, &subscribe);
}

/// A message of a sensor, which has one answer.
fn exchange(world: &mut World<Calm>, n: usize, forwarders: bool, message: &Message<'_>) {
    send(world, n, forwarders, message);
    assert_eq!(world.take_datagrams(0).len(), 1);
}

fn send(world: &mut World<Calm>, n: usize, forwarders: bool, message: &Message<'_>) {
    let peer = if forwarders { n / 250 } else { n } as u32;
    let address = SocketAddr::from(([127, 0, (peer >> 16) as u8, 1], peer as u16));
    let mut datagram = Vec::new();
    if forwarders {
        mqtt_sn::forwarded(&(n as u32).to_be_bytes(), &mut datagram);
    }
    mqtt_sn::encode(message, &mut datagram);
    world.receive_datagram(0, address, &datagram);
    world.settle();
}

/// Asked for, part of it by hash tables that are as full here as with 100,000. What is beside its session is the
/// connection of its shard, the state of the client, its topic id and its places in tables.
#[test]
fn a_sensor_that_sleeps_takes_at_most_512_bytes_beside_its_session() {
    const SENSORS: usize = 25_000;
    let session = bytes_of_session(SENSORS);
    for forwarders in [false, true] {
        let sensor = sensor(SENSORS, forwarders);
        let beside = sensor.asleep - session;
        println!(
            "forwarders {forwarders}: {:.0} bytes awake, {:.0} asleep, {beside:.0} beside its session, {:.0} after a round",
            sensor.awake, sensor.asleep, sensor.after_round
        );
        assert!(sensor.awake <= 1_140.0, "{:.0} bytes awake", sensor.awake);
        assert!(beside <= 512.0, "{beside:.0} bytes beside {session:.0}");
        let more = sensor.after_round - sensor.asleep;
        assert!(more <= 24.0, "{more:.0} bytes stay after a round");
    }
}
