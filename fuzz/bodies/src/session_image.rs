//! Images of sessions, made from choices.

use std::rc::Rc;

use bytes::Bytes;
use ringmq::mqtt::{Qos, RetainHandling, SubscriptionOptions};
use ringmq::session::{
    DeliveryImage, EntryImage, ReceivedImage, RulesImage, SessionImage, SessionSubscription,
    StoredWill, WindowImage,
};
use ringmq::time::WallTime;

use crate::choices::Choices;

/// Things in one list, at most.
const LIST_MAX: usize = 4;
/// Identifiers are 1 to 65,535.
const IDS: u16 = 65_535;
const FILTERS: [&str; 5] = ["#", "$share/g/a/+", "+/b", "a", "a/b"];
/// None; a content type; a user property and a text flag.
const PROPERTIES: [&[u8]; 3] = [b"", b"\x03\0\x01t", b"\x26\0\x01k\0\x01v\x01\x01"];

/// Any image that a shard might save.
pub(crate) fn session_image(choices: &mut Choices<'_>) -> SessionImage {
    let is_away = choices.flag();
    let will = choices.maybe(will);
    let mut window = window(choices);
    if is_away {
        (window.quota, window.quota_max) = (0, 0);
    }
    SessionImage {
        sensor: None,
        client_id: choices.one_of(&["c", "client", "ä"]).into(),
        owner: choices.maybe(|choices| choices.text().into()),
        rules: choices.maybe(|choices| match choices.flag() {
            true => RulesImage::OfFile(choices.text().into()),
            false => RulesImage::Brought {
                publish: vec![choices.one_of(&FILTERS).into()],
                receive: Vec::new(),
            },
        }),
        expiry_interval_s: choices.number(),
        expires_at: is_away.then(|| time(choices)),
        will_due: (is_away && will.is_some()).then(|| time(choices)),
        will,
        subscriptions: subscriptions(choices),
        window,
        queue: list(choices, |choices| delivery(choices).into()),
        received: ReceivedImage {
            open: rising(choices),
            earlier: rising(choices),
        },
    }
}

fn list<T>(choices: &mut Choices<'_>, mut make: impl FnMut(&mut Choices<'_>) -> T) -> Vec<T> {
    let count = choices.below(LIST_MAX + 1);
    (0..count).map(|_| make(choices)).collect()
}

pub(crate) fn time(choices: &mut Choices<'_>) -> WallTime {
    WallTime(u64::from(choices.number()) << (choices.byte() % 33))
}

fn rising(choices: &mut Choices<'_>) -> Vec<u16> {
    let mut ids = list(choices, |choices| choices.non_zero().get());
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn delivery(choices: &mut Choices<'_>) -> DeliveryImage {
    DeliveryImage {
        topic: choices.topic().into(),
        payload: Bytes::copy_from_slice(choices.data()),
        properties: Bytes::from_static(choices.one_of(&PROPERTIES)),
        published_qos: choices.qos(),
        published_retain: choices.flag(),
        expires_at: choices.maybe(time),
        qos: choices.qos(),
        retain: choices.flag(),
        identifiers: list(choices, |choices| 1 + u32::from(choices.short())),
        shared: choices.maybe(|_| FILTERS[1].into()),
    }
}

fn window(choices: &mut Choices<'_>) -> WindowImage {
    let mut entries = list(choices, |choices| match choices.byte() % 4 {
        0 => EntryImage::Done,
        1 => EntryImage::Release {
            took_quota: choices.flag(),
        },
        _ => {
            let mut delivery = delivery(choices);
            delivery.qos = delivery.qos.max(Qos::AtLeastOnce);
            EntryImage::Publish(delivery)
        }
    });
    while entries.first() == Some(&EntryImage::Done) {
        entries.remove(0);
    }
    let quota_max = choices.short();
    WindowImage {
        first: choices.short() % IDS,
        resent: choices.short() % (entries.len() as u16 + 1),
        quota: choices.short().min(quota_max),
        quota_max,
        entries,
    }
}

fn subscriptions(choices: &mut Choices<'_>) -> Vec<(Rc<str>, SessionSubscription)> {
    let count = choices.below(FILTERS.len() + 1);
    let filters = FILTERS[..count].iter();
    let record = |choices: &mut Choices<'_>| SessionSubscription {
        options: SubscriptionOptions {
            qos: choices.qos(),
            no_local: choices.flag(),
            retain_as_published: choices.flag(),
            retain_handling: choices.one_of(&[
                RetainHandling::Send,
                RetainHandling::SendIfNew,
                RetainHandling::DoNotSend,
            ]),
        },
        identifier: choices.maybe(|choices| 1 + u32::from(choices.short())),
        owes_retained: choices.flag(),
    };
    filters
        .map(|filter| (Rc::from(*filter), record(choices)))
        .collect()
}

fn will(choices: &mut Choices<'_>) -> StoredWill {
    StoredWill {
        topic: choices.topic().into(),
        payload: Bytes::copy_from_slice(choices.data()),
        properties: Bytes::from_static(choices.one_of(&PROPERTIES)),
        qos: choices.qos(),
        retain: choices.flag(),
        delay_interval_s: choices.number(),
        message_expiry_interval_s: choices.maybe(Choices::number),
    }
}
