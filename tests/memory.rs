//! Memory of subscriptions, by an allocator that counts: bytes asked for, not resident pages, so the
//! figures are the same on every machine.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use std::net::SocketAddr;

use ringmq::ids::{SessionId, ShardId};
use ringmq::mqtt::{Qos, SubscriptionOptions};
use ringmq::mqtt_sn::{self, Connect, Message, Settings, Subscribe, TopicName};
use ringmq::routing::{Interest, Subscription, TopicIndex};
use ringmq::session::{Session, SessionSubscription};
use ringmq::testing::{Calm, Setup, World};
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

/// Sensors that have all connected and subscribed before the first of them sleeps: each has a session, a subscription by
/// name and so a topic id. Bytes of one then, and when all are awake; as nodes of forwarders, if so.
fn bytes_asleep(sensors: usize, forwarders: bool) -> (f64, f64) {
    let settings = Settings {
        forwarders: true,
        ..Settings::default()
    };
    let mut awake = 0;
    let before = HELD.get();
    let asleep = bytes_each(sensors, || {
        let mut world = World::<Calm>::calm(Setup::new(1));
        world.begin_gateways(settings);
        (0..sensors).for_each(|n| connect(&mut world, n, forwarders));
        (0..sensors).for_each(|n| subscribe(&mut world, n, forwarders));
        awake = HELD.get() - before;
        let sleep = Message::Disconnect(Some(3_600));
        (0..sensors).for_each(|n| exchange(&mut world, n, forwarders, &sleep));
        world.wait(Span::from_secs(1));
        assert_eq!(world.gateway(0).states(), [0, 0, sensors as u64, 0]);
        world
    });
    (awake as f64 / sensors as f64, asleep)
}

fn connect(world: &mut World<Calm>, n: usize, forwarders: bool) {
    let connect = Message::Connect(Connect {
        clean_session: false,
        will: false,
        protocol_id: mqtt_sn::PROTOCOL_ID,
        duration_s: 60,
        client_id: &format!("sensor-{n:06}"),
    });
    exchange(world, n, forwarders, &connect);
}

fn subscribe(world: &mut World<Calm>, n: usize, forwarders: bool) {
    let subscribe = Message::Subscribe(Subscribe {
        dup: false,
        qos: Qos::AtLeastOnce,
        msg_id: 1,
        topic: TopicName::Full(&format!("asleep/{}", n % 100)),
    });
    exchange(world, n, forwarders, &subscribe);
}

/// A message of a sensor, which has one answer.
fn exchange(world: &mut World<Calm>, n: usize, forwarders: bool, message: &Message<'_>) {
    let peer = if forwarders { n / 250 } else { n } as u32;
    let address = SocketAddr::from(([127, 0, (peer >> 16) as u8, 1], peer as u16));
    let mut datagram = Vec::new();
    if forwarders {
        mqtt_sn::forwarded(&(n as u32).to_be_bytes(), &mut datagram);
    }
    mqtt_sn::encode(message, &mut datagram);
    world.receive_datagram(0, address, &datagram);
    world.settle();
    assert_eq!(world.take_datagrams(0).len(), 1);
}

/// Asked for, a quarter of it by hash tables and lists that are as full here as with 100,000; it was 1,618.
#[test]
fn a_sensor_that_sleeps_takes_at_most_1240_bytes() {
    for forwarders in [false, true] {
        let (awake, asleep) = bytes_asleep(25_000, forwarders);
        println!("sensors, forwarders {forwarders}: {awake:.0} bytes awake, {asleep:.0} asleep");
        assert!(asleep <= 1_240.0, "{asleep:.0} bytes asleep");
        assert!(awake <= 1_350.0, "{awake:.0} bytes awake");
    }
}
