//! Images of sessions and connections: no bytes make a decoder panic or keep more than they have room for, and what decodes
//! has one encoding, which is refused wherever it is cut.

use std::mem::size_of;

use bytes::Bytes;
use ringmq::ids::ListenerId;
use ringmq::mqtt::Version;
use ringmq::session::{DeliveryImage, EntryImage, SessionImage};

use ringmq::shard::{ConnectionImage, LoginImage, MetersImage, Origin, RemoteEnd, SilenceImage};

use crate::choices::Choices;
use crate::features::note;
use crate::session_image::{session_image, time};

/// Changes to one good image.
const CHANGES_MAX: usize = 8;

/// See the module.
pub fn body(input: &[u8]) {
    check(input);
    let mut choices = Choices::new(input);
    connection(&mut choices);
    let mut bytes = Vec::new();
    session_image(&mut choices).encode(&mut bytes);
    let image = check(&bytes).expect("a good image decodes");
    note((
        image.queue.len(),
        image.window.entries.len(),
        image.subscriptions.len(),
        image.will.is_some(),
        image.rules.is_some(),
    ));
    let cut = usize::from(choices.short()) % bytes.len();
    let refused = SessionImage::decode(&bytes[..cut]);
    assert!(refused.is_err(), "cut at {cut}");
    for _ in 0..choices.below(CHANGES_MAX) {
        let at = usize::from(choices.short()) % bytes.len();
        bytes[at] = choices.byte();
        if let Err(error) = SessionImage::decode(&bytes) {
            note(error.to_string());
        }
        check(&bytes);
    }
}

/// What decodes is encoded as it was, and no list of it is longer than its bytes.
fn check(bytes: &[u8]) -> Option<SessionImage> {
    if let Ok(image) = ConnectionImage::decode(bytes) {
        let mut again = Vec::with_capacity(bytes.len());
        image.encode(&mut again);
        assert_eq!(again, bytes, "another encoding of the same");
    }
    let image = SessionImage::decode(bytes).ok()?;
    let mut again = Vec::with_capacity(bytes.len());
    image.encode(&mut again);
    assert_eq!(again, bytes, "another encoding of the same");
    let lists = image.queue.capacity() * size_of::<DeliveryImage>()
        + image.window.entries.capacity() * size_of::<EntryImage>();
    // Seven bytes are the smallest message, one byte is the smallest entry, and lists grow by doubling.
    let most = 2 * (size_of::<EntryImage>() + size_of::<DeliveryImage>() / 7) * bytes.len() + 1_024;
    assert!(lists <= most, "{lists} bytes kept of {}", bytes.len());
    Some(image)
}

/// A good image of a connection, cut and changed.
fn connection(choices: &mut Choices<'_>) {
    let data = |choices: &mut Choices<'_>| Bytes::copy_from_slice(choices.data());
    let image = ConnectionImage {
        version: Version::V5,
        is_bridge: choices.flag(),
        publishes: choices.flag(),
        named_reserved: choices.flag(),
        problem_information: choices.flag(),
        waits_for_turn: choices.flag(),
        packet_size_max: choices.number(),
        acks_unsent: choices.short(),
        origin: Origin {
            identity: choices.maybe(|choices| Box::new(choices.text().into())),
            ..Origin::new(RemoteEnd::Unix, ListenerId(choices.short()))
        },
        silence: choices.maybe(|choices| SilenceImage {
            max_ms: choices.number().max(1),
            over_at: time(choices),
            checked_at: time(choices),
        }),
        login: LoginImage {
            method: choices.maybe(|choices| choices.text().into()),
            proof_expires_at: choices.maybe(time),
        },
        meters: choices.maybe(|choices| MetersImage(std::array::from_fn(|_| time(choices)))),
        aliases_out: choices.maybe(|choices| (1, vec![choices.topic().into()])),
        aliases_in: vec![(choices.non_zero(), choices.topic().into())],
        unhandled: data(choices),
        unsent: data(choices),
        held: vec![data(choices)],
    };
    let mut bytes = Vec::new();
    image.encode(&mut bytes);
    let decoded = ConnectionImage::decode(&bytes);
    assert_eq!(decoded.as_ref(), Ok(&image));
    let cut = usize::from(choices.short()) % bytes.len();
    let refused = ConnectionImage::decode(&bytes[..cut]);
    assert!(refused.is_err(), "cut at {cut}");
    bytes[cut] = choices.byte();
    check(&bytes);
}
