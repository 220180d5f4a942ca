//! Changes of a session, recorded and done again, give the same session.

use std::rc::Rc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::image::{Reader, Writer};
use crate::limits::QueuePolicy;
use crate::mqtt::{KeptAt, PacketId, Publication, Qos, SubscriptionOptions};
use crate::time::{Clocks, Time};

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A message with this QoS and of this subscription.
    Offer(u8, u8),
    /// From the queue into the window, or to the client if it is of QoS 0.
    Send,
    SendDirectly(u8, u8),
    Drop,
    Acknowledge(u8, u16),
    HandOn(u8),
    Receive(u16),
    Release(u16),
    Subscribe(u8),
    Unsubscribe(u8),
    SendRetained(u8),
    Connect(u16),
    Disconnect,
}

fn step() -> impl Strategy<Value = Step> {
    let (qos, name) = (0..3_u8, 0..4_u8);
    prop_oneof![
        4 => (qos.clone(), name.clone()).prop_map(|(qos, name)| Step::Offer(qos, name)),
        4 => Just(Step::Send),
        2 => (1..3_u8, name.clone()).prop_map(|(qos, name)| Step::SendDirectly(qos, name)),
        1 => Just(Step::Drop),
        6 => (0..5_u8, 0..6_u16).prop_map(|(kind, index)| Step::Acknowledge(kind, index)),
        1 => name.clone().prop_map(Step::HandOn),
        2 => (1..6_u16).prop_map(Step::Receive),
        2 => (1..6_u16).prop_map(Step::Release),
        1 => name.clone().prop_map(Step::Subscribe),
        1 => name.clone().prop_map(Step::Unsubscribe),
        1 => name.prop_map(Step::SendRetained),
        1 => (1..8_u16).prop_map(Step::Connect),
        1 => Just(Step::Disconnect),
    ]
}

fn shared(name: u8) -> Option<Rc<str>> {
    (name > 1).then(|| format!("$share/g{name}/t").into())
}

fn qos_of(qos: u8) -> Qos {
    [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][usize::from(qos)]
}

fn delivery(qos: u8, name: u8, number: usize) -> Delivery {
    Delivery {
        publication: Rc::new(Publication {
            topic: format!("t/{number}").into(),
            payload: Bytes::from(vec![name; number % 7]),
            properties: Bytes::new(),
            qos: Qos::ExactlyOnce,
            retain: false,
            expires_at: number
                .is_multiple_of(3)
                .then_some(Time(number as u64 * 1_000_000)),
            kept_at: KeptAt::default(),
        }),
        qos: qos_of(qos),
        retain: number.is_multiple_of(2),
        identifiers: (name == 1).then(|| [7, 9].into()),
        shared: shared(name),
    }
}

/// Acknowledges the identifier that is so many before the next one.
fn acknowledge(window: &mut Window, kind: u8, index: u16) {
    let back = u32::from(index) % (window.len() as u32 + 1);
    let zero_based = u32::from(window.next_id().get()) + 65_534 - back;
    let id = PacketId::new((zero_based % 65_535) as u16 + 1).unwrap();
    let _ = match kind {
        0 => window.puback(id),
        1 => window.pubrec(id),
        2 => window.pubrec_refused(id),
        3 => window.pubcomp(id),
        _ => window.discard(id),
    };
}

fn run(session: &mut Session, step: Step, number: usize) {
    let bounds = QueueBounds {
        messages_max: 6,
        bytes_max: 1 << 20,
        policy: [QueuePolicy::DropOldest, QueuePolicy::DropNewest][number % 2],
    };
    let Session {
        window,
        queue,
        received,
        subscriptions,
        ..
    } = session;
    match step {
        Step::Offer(qos, name) => {
            queue.offer(delivery(qos, name, number), &bounds);
        }
        Step::Send => {
            while window.next_resend().is_some() {}
            if queue.front().is_some_and(|d| d.qos() == Qos::AtMostOnce) || window.has_room() {
                if let Some(delivery) = queue.pop().filter(|d| d.qos > Qos::AtMostOnce) {
                    window.push(delivery);
                }
            }
        }
        Step::SendDirectly(qos, name) if window.has_room() => {
            window.push(delivery(qos, name, number));
        }
        Step::SendDirectly(..) => {}
        Step::Drop => {
            queue.pop();
        }
        Step::Acknowledge(kind, index) => {
            acknowledge(window, kind, index);
        }
        Step::HandOn(name) => {
            let names = [shared(name), shared(2)];
            let wanted = |of: &str| names.iter().flatten().any(|name| **name == *of);
            window.take_shared(wanted);
            queue.take_shared(wanted);
        }
        Step::Receive(id) => {
            received.insert(PacketId::new(id).unwrap());
        }
        Step::Release(id) => {
            received.release(PacketId::new(id).unwrap());
        }
        Step::Subscribe(name) => {
            let record = SessionSubscription {
                options: SubscriptionOptions::default(),
                identifier: Some(number as u32 + 1),
                owes_retained: number.is_multiple_of(2),
            };
            subscriptions.insert(format!("f/{name}").into(), record);
        }
        Step::SendRetained(name) => {
            subscriptions.sent_retained(&format!("f/{name}").into());
        }
        Step::Unsubscribe(name) => {
            subscriptions.remove(&format!("f/{name}"));
        }
        Step::Connect(quota) => {
            received.start();
            window.start(quota);
        }
        Step::Disconnect => window.stop(),
    }
}

/// Writes the changes down and reads them back.
fn through_bytes(changes: &[(SessionKey, Change)]) -> Vec<Change> {
    let mut publications: Vec<Rc<Publication>> = Vec::new();
    let mut bytes = Vec::new();
    for (_, change) in changes {
        put_change(
            &mut Writer::fields(&mut bytes),
            change,
            &mut |publication| {
                let known = publications.iter().position(|p| Rc::ptr_eq(p, publication));
                known.unwrap_or_else(|| {
                    publications.push(Rc::clone(publication));
                    publications.len() - 1
                }) as u32
            },
        );
    }
    let it = &mut Reader::fields(&bytes);
    let mut read = Vec::new();
    while !it.rest().is_empty() {
        let find = |number: u32| publications.get(number as usize).cloned();
        read.push(take_change(it, &find).unwrap());
    }
    read
}

fn without_connection(session: &Session, clocks: Clocks) -> SessionImage {
    let bounds = QueueBounds {
        messages_max: usize::MAX,
        bytes_max: usize::MAX,
        policy: QueuePolicy::DropNewest,
    };
    let (mut copy, _) = Session::restore(session.image(clocks), 1, bounds, clocks);
    copy.forget_connection();
    copy.image(clocks)
}

proptest! {
    /// From any moment on: what came before is in the image that was made then.
    #[test]
    fn changes_done_again_give_the_same_session(
        steps in vec(step(), 0..120),
        begin in 0..40_usize,
    ) {
        let clocks = Clocks::default();
        let mut session = Session::new("c".into(), 1);
        session.window.start(5);
        let begin = begin.min(steps.len());
        for (number, step) in steps[..begin].iter().enumerate() {
            run(&mut session, *step, number);
        }
        let bounds = QueueBounds {
            messages_max: usize::MAX,
            bytes_max: usize::MAX,
            policy: QueuePolicy::DropNewest,
        };
        let (mut copy, _) =
            Session::restore(without_connection(&session, clocks), 1, bounds, clocks);
        let changes = SharedChanges::default();
        session.record_by(Some(Recorder::new(SessionKey(3), &changes)));
        for (number, step) in (begin..).zip(&steps[begin..]) {
            run(&mut session, *step, number);
        }
        let mut recorded = Vec::new();
        changes.take_into(&mut recorded);
        for change in through_bytes(&recorded) {
            prop_assert!(!copy.is_recorded());
            copy.apply(change).unwrap();
        }
        prop_assert_eq!(without_connection(&copy, clocks), without_connection(&session, clocks));
        prop_assert_eq!(copy.queue.bytes(), session.queue.bytes());
        prop_assert_eq!(copy.window.bytes(), session.window.bytes());
    }
}

/// The payload of what was queued is written once.
#[test]
fn what_goes_from_the_queue_into_the_window_is_one_change() {
    let bounds = QueueBounds {
        messages_max: 9,
        bytes_max: 1 << 20,
        policy: QueuePolicy::DropNewest,
    };
    let mut session = Session::new("c".into(), 1);
    session.window.start(5);
    let changes = SharedChanges::default();
    session.record_by(Some(Recorder::new(SessionKey(3), &changes)));
    let (first, second) = (delivery(1, 0, 1), delivery(2, 2, 2));
    session.queue.offer(first.clone(), &bounds);
    let waiting = session.queue.pop().unwrap();
    session.window.push(waiting);
    session.queue.offer(delivery(0, 0, 3), &bounds);
    session.queue.pop(); // sent at QoS 0
    session.window.push(second.clone());
    let mut recorded = Vec::new();
    changes.take_into(&mut recorded);
    let recorded: Vec<Change> = recorded.into_iter().map(|(_, change)| change).collect();
    let third = delivery(0, 0, 3);
    let expected = [
        Change::Queued(first),
        Change::SentOldest,
        Change::Queued(third),
        Change::Unqueued,
        Change::Sent(second),
    ];
    assert_eq!(recorded, expected);
}
