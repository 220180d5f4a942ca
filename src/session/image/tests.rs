use std::num::NonZeroU16;

use bytes::Bytes;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::image::FORMAT;
use crate::limits::QueuePolicy;
use crate::mqtt::{KeptAt, PacketId, Publication, Qos};
use crate::session::{Delivery, QueueBounds, QueueOffer, Resend, Session, Waiting};
use crate::time::{Clocks, Time};

const CLOCKS: Clocks = Clocks {
    monotonic: Time(5_000_000_000),
    wall: WallTime(1_800_000_000_000),
};
const BOUNDS: QueueBounds = QueueBounds {
    messages_max: 100,
    bytes_max: 1 << 20,
    policy: QueuePolicy::DropOldest,
};

fn qos() -> impl Strategy<Value = Qos> {
    (0..3_u8).prop_map(|byte| delivery::qos_of(byte).unwrap())
}

fn time() -> impl Strategy<Value = WallTime> {
    any::<u64>().prop_map(WallTime)
}

fn topic() -> impl Strategy<Value = Rc<str>> {
    prop_oneof!["[a-zé/]{1,12}", Just("t".repeat(200))].prop_map(Rc::from)
}

fn filter() -> impl Strategy<Value = Rc<str>> {
    prop_oneof!["[ab]{1,3}(/[+ab])?(/#)?", "\\$share/g/[ab]{1,3}(/#)?"].prop_map(Rc::from)
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![vec(any::<u8>(), 0..20), Just(vec![7; 5_000])].prop_map(Bytes::from)
}

/// As a publisher may send them: content type and user properties.
fn properties() -> impl Strategy<Value = Bytes> {
    let parts = (any::<bool>(), 0..3_usize);
    parts.prop_map(|(has_type, users)| {
        let mut out = Vec::new();
        if has_type {
            out.extend_from_slice(b"\x03\0\x02ab");
        }
        (0..users).for_each(|_| out.extend_from_slice(b"\x26\0\x01k\0\x01v"));
        out.into()
    })
}

fn any_delivery() -> impl Strategy<Value = DeliveryImage> {
    let flags = (qos(), qos(), any::<bool>(), any::<bool>());
    let identifiers = vec(1..=268_435_455_u32, 0..3);
    let rest = (option::of(time()), identifiers, option::of(filter()));
    let parts = (topic(), bytes(), properties(), flags, rest);
    parts.prop_map(|(topic, payload, properties, flags, rest)| DeliveryImage {
        topic,
        payload,
        properties,
        published_qos: flags.0,
        qos: flags.1,
        published_retain: flags.2,
        retain: flags.3,
        expires_at: rest.0,
        identifiers: rest.1,
        shared: rest.2,
    })
}

fn window() -> impl Strategy<Value = WindowImage> {
    let entry = prop_oneof![
        any_delivery().prop_map(|mut delivery| {
            delivery.qos = delivery.qos.max(Qos::AtLeastOnce);
            EntryImage::Publish(delivery)
        }),
        any::<bool>().prop_map(|took_quota| EntryImage::Release { took_quota }),
        Just(EntryImage::Done),
    ];
    let parts = (0..65_535_u16, vec(entry, 0..5), any::<[u16; 3]>());
    parts.prop_map(|(first, mut entries, [resent, quota, quota_max])| {
        while entries.first() == Some(&EntryImage::Done) {
            entries.remove(0);
        }
        WindowImage {
            first,
            resent: resent % (entries.len() as u16 + 1),
            quota: quota.min(quota_max),
            quota_max,
            entries,
        }
    })
}

fn subscriptions() -> impl Strategy<Value = Vec<(Rc<str>, SessionSubscription)>> {
    let options = (qos(), any::<bool>(), any::<bool>(), 0..3_u8);
    let record = (options, option::of(1..=268_435_455_u32));
    let record = record.prop_map(
        |((qos, no_local, retain_as_published, handling), identifier)| {
            let options = SubscriptionOptions {
                qos,
                no_local,
                retain_as_published,
                retain_handling: match handling {
                    0 => RetainHandling::Send,
                    1 => RetainHandling::SendIfNew,
                    _ => RetainHandling::DoNotSend,
                },
            };
            SessionSubscription {
                options,
                identifier,
                owes_retained: no_local,
            }
        },
    );
    btree_map(filter(), record, 0..12).prop_map(|map| map.into_iter().collect())
}

fn any_will() -> impl Strategy<Value = StoredWill> {
    let numbers = (any::<u32>(), option::of(any::<u32>()));
    let parts = (
        topic(),
        bytes(),
        properties(),
        qos(),
        any::<bool>(),
        numbers,
    );
    parts.prop_map(
        |(topic, payload, properties, qos, retain, numbers)| StoredWill {
            topic,
            payload,
            properties,
            qos,
            retain,
            delay_interval_s: numbers.0,
            message_expiry_interval_s: numbers.1,
        },
    )
}

fn rules() -> impl Strategy<Value = RulesImage> {
    let filters = || vec("[a%c/+]{1,9}".prop_map(Box::from), 0..3);
    let brought = (filters(), filters())
        .prop_map(|(publish, receive)| RulesImage::Brought { publish, receive });
    prop_oneof![
        brought,
        "[a-zé/]{1,9}".prop_map(|name| RulesImage::OfFile(name.into()))
    ]
}

fn sensor() -> impl Strategy<Value = Option<SensorState>> {
    let ids = btree_map(1..u16::MAX, topic(), 0..3).prop_map(|map| map.into_iter().collect());
    let predefined = btree_set(any::<u16>(), 0..3).prop_map(|set| set.into_iter().collect());
    let will = option::of(any_will().prop_map(Rc::new));
    let parts = (ids, predefined, will);
    parts.prop_map(|(ids, predefined, will)| SensorState::of(ids, predefined, will))
}

fn image() -> impl Strategy<Value = SessionImage> {
    let owner = option::of("[a-zé]{1,9}".prop_map(Arc::from));
    let who = ("[a-z]{1,9}".prop_map(Rc::from), owner, option::of(rules()));
    let will = (option::of(any_will()), option::of(time()));
    let times = (any::<u32>(), option::of(time()));
    let ids = || btree_set(1..=u16::MAX, 0..9).prop_map(|ids| ids.into_iter().collect());
    let received = (ids(), ids());
    let flows = (window(), vec(any_delivery(), 0..5), received, sensor());
    let parts = (who, will, times, subscriptions(), flows);
    parts.prop_map(|(who, will, times, subscriptions, flows)| {
        let (mut window, queue, (open, earlier), sensor) = flows;
        let expires_at = times.1;
        if expires_at.is_some() {
            (window.quota, window.quota_max) = (0, 0);
        }
        SessionImage {
            client_id: who.0,
            owner: who.1,
            rules: who.2,
            expiry_interval_s: times.0,
            will_due: will.1.filter(|_| will.0.is_some() && expires_at.is_some()),
            will: will.0,
            expires_at,
            subscriptions,
            window,
            queue: queue.into_iter().map(WaitingImage::from).collect(),
            received: ReceivedImage { open, earlier },
            sensor,
        }
    })
}

fn encoded(image: &SessionImage) -> Vec<u8> {
    let mut out = Vec::new();
    image.encode(&mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_image_is_what_it_was(image in image()) {
        let bytes = encoded(&image);
        let decoded = SessionImage::decode(&bytes).unwrap();
        prop_assert_eq!(&decoded, &image);
        // Sessions become what they were, too: nothing is in the image that is not in the session.
        let (session, dropped) = Session::restore(decoded, 7, BOUNDS, CLOCKS);
        prop_assert_eq!(dropped, 0);
        let mut again = session.image(CLOCKS);
        again.owner = image.owner.clone();
        again.rules = image.rules.clone();
        (again.expires_at, again.will_due) = (image.expires_at, image.will_due);
        prop_assert_eq!(times_apart(again), times_apart(image));
    }

    #[test]
    fn every_cut_and_every_byte_more_is_refused(image in image(), cut in any::<prop::sample::Index>()) {
        let mut bytes = encoded(&image);
        let end = cut.index(bytes.len());
        prop_assert!(SessionImage::decode(&bytes[..end]).is_err(), "cut at {}", end);
        bytes.push(0);
        let trailing = Err(ImageError::Trailing { bytes: 1 });
        prop_assert_eq!(SessionImage::decode(&bytes), trailing);
    }

    #[test]
    fn garbled_bytes_are_refused_or_another_image(
        image in image(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = encoded(&image);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(other) = SessionImage::decode(&bytes) {
            prop_assert_eq!(encoded(&other), bytes);
        }
    }
}

/// Times that no process can count are the only ones that change on their way.
fn times_apart(mut image: SessionImage) -> SessionImage {
    let flown = image.window.entries.iter_mut();
    let flown = flown.filter_map(|entry| match entry {
        EntryImage::Publish(delivery) => Some(delivery),
        _ => None,
    });
    let waiting = image.queue.iter_mut().filter_map(|one| match one {
        WaitingImage::Here(delivery) => Some(delivery),
        WaitingImage::Stored(_) => None,
    });
    for delivery in flown.chain(waiting) {
        delivery.expires_at = None;
    }
    image
}

fn delivery(topic: &str, qos: Qos) -> Delivery {
    Delivery {
        publication: Rc::new(Publication {
            topic: topic.into(),
            payload: Bytes::from_static(b"x"),
            properties: Bytes::new(),
            qos,
            retain: false,
            expires_at: Some(CLOCKS.monotonic),
            kept_at: KeptAt::default(),
        }),
        qos,
        retain: false,
        identifiers: Some([3].into()),
        shared: None,
    }
}

fn id(id: u16) -> PacketId {
    PacketId(NonZeroU16::new(id).unwrap())
}

#[test]
fn a_session_goes_on_where_it_was() {
    let mut session = Session::new("c".into(), 7);
    session.window.start(3);
    session.window.push(delivery("1", Qos::AtLeastOnce));
    session.window.push(delivery("2", Qos::ExactlyOnce));
    session.window.push(delivery("3", Qos::ExactlyOnce));
    session.window.pubrec(id(3)).unwrap();
    session.received.insert(id(9));
    session.received.start();
    session.received.insert(id(4));
    for topic in ["4", "5"] {
        let offered = session
            .queue
            .offer(delivery(topic, Qos::AtLeastOnce), &BOUNDS);
        assert_eq!(offered, QueueOffer::Queued);
    }
    session.window.stop();
    let bytes = encoded(&session.image(CLOCKS));
    // A process that has run for two seconds only, at the same wall time.
    let clocks = Clocks {
        monotonic: Time(2_000_000_000),
        ..CLOCKS
    };
    let decoded = SessionImage::decode(&bytes).unwrap();
    let (mut other, dropped) = Session::restore(decoded, 8, BOUNDS, clocks);
    assert_eq!(dropped, 0);
    assert_eq!(other.window.bytes(), session.window.bytes());
    assert_eq!(other.queue.bytes(), session.queue.bytes());
    let waiting: Vec<&Delivery> = other.queue.iter().filter_map(Waiting::delivery).collect();
    let order: Vec<_> = waiting.iter().map(|d| &*d.publication.topic).collect();
    assert_eq!(order, ["4", "5"]);
    let expiry = waiting[0].publication.expires_at;
    assert_eq!(expiry, Some(clocks.monotonic));
    assert!(other.received.contains(id(9)) && other.received.is_open(id(4)));
    assert!(!other.received.is_open(id(9)) && other.received.len() == 2);
    other.window.start(2);
    let resent = |resend: Option<Resend<'_>>| match resend.unwrap() {
        Resend::Publish(id, delivery) => (id, Some(delivery.publication.topic.clone())),
        Resend::Release(id) => (id, None),
    };
    assert_eq!(
        resent(other.window.next_resend()),
        (id(1), Some("1".into()))
    );
    assert_eq!(
        resent(other.window.next_resend()),
        (id(2), Some("2".into()))
    );
    assert_eq!(resent(other.window.next_resend()), (id(3), None));
    assert_eq!(other.window.next_resend(), None);
    assert_eq!(other.window.next_id(), id(4));
}

#[test]
fn a_smaller_queue_takes_what_its_policy_says() {
    let mut session = Session::new("c".into(), 7);
    for topic in ["1", "2", "3"] {
        session
            .queue
            .offer(delivery(topic, Qos::AtLeastOnce), &BOUNDS);
    }
    let rest = |policy| {
        let bounds = QueueBounds {
            messages_max: 2,
            policy,
            ..BOUNDS
        };
        let (session, dropped) = Session::restore(session.image(CLOCKS), 7, bounds, CLOCKS);
        let topics = session
            .queue
            .iter()
            .filter_map(Waiting::delivery)
            .map(|d| d.publication.topic.to_string());
        (topics.collect::<Vec<_>>().concat(), dropped)
    };
    assert_eq!(rest(QueuePolicy::DropOldest), ("23".into(), 1));
    assert_eq!(rest(QueuePolicy::DropNewest), ("12".into(), 1));
    assert_eq!(rest(QueuePolicy::Disconnect), ("12".into(), 1));
}

/// What fields say together, and what goes out to clients as it is.
#[test]
fn what_cannot_be_is_refused() {
    let good = Session::new("c".into(), 7).image(CLOCKS);
    let refused = |change: &dyn Fn(&mut SessionImage)| {
        let mut image = good.clone();
        change(&mut image);
        match SessionImage::decode(&encoded(&image)) {
            Err(ImageError::Invalid { what }) => what,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(SessionImage::decode(&encoded(&good)), Ok(good.clone()));
    assert_eq!(refused(&|it| it.client_id = "".into()), "a client id");
    let at = Some(WallTime(1));
    assert_eq!(refused(&|it| it.will_due = at), "a will that is due");
    let quota = "a send quota without a connection";
    assert_eq!(
        refused(&|it| (it.expires_at, it.window.quota_max) = (at, 1)),
        quota
    );
    assert_eq!(refused(&|it| it.window.quota = 1), "a window");
    assert_eq!(refused(&|it| it.window.resent = 1), "a window");
    assert_eq!(
        refused(&|it| it.received.open = vec![2, 2]),
        "identifiers received"
    );
    let sent = DeliveryImage::of(&delivery("t", Qos::AtMostOnce), CLOCKS);
    let entry = EntryImage::Publish(sent.clone());
    assert_eq!(
        refused(&|it| it.window.entries = vec![entry.clone()]),
        "a window"
    );
    let queued = |change: &dyn Fn(&mut DeliveryImage)| {
        let mut delivery = sent.clone();
        change(&mut delivery);
        refused(&|it| it.queue = vec![delivery.clone().into()])
    };
    assert_eq!(queued(&|it| it.topic = "a/#".into()), "a topic");
    assert_eq!(
        queued(&|it| it.shared = Some("$share/g".into())),
        "a filter"
    );
    assert_eq!(
        queued(&|it| it.identifiers = vec![0]),
        "a subscription identifier"
    );
    // A topic alias, and a content type that is cut off.
    for properties in [&b"\x23\0\x01"[..], b"\x03\0\x02a"] {
        let properties = Bytes::from_static(properties);
        let what = queued(&|it| it.properties = properties.clone());
        assert_eq!(what, "properties of a message");
    }
}

#[test]
fn an_image_of_a_later_format_is_named() {
    let mut bytes = encoded(&Session::new("c".into(), 7).image(CLOCKS));
    bytes[0] = FORMAT + 1;
    let found = FORMAT + 1;
    assert_eq!(
        SessionImage::decode(&bytes),
        Err(ImageError::Format { found })
    );
}
