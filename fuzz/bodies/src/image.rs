//! Images of sessions: no bytes make the decoder panic or keep more than they have room for, and what decodes
//! has one encoding, which is refused wherever it is cut.

use std::mem::size_of;

use ringmq::session::{DeliveryImage, EntryImage, SessionImage};

use crate::choices::Choices;
use crate::features::note;
use crate::session_image::session_image;

/// Changes to one good image.
const CHANGES_MAX: usize = 8;

/// See the module.
pub fn body(input: &[u8]) {
    check(input);
    let mut choices = Choices::new(input);
    let mut bytes = good(&mut choices);
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

/// The bytes of an image of anything that there may be.
fn good(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    session_image(choices).encode(&mut out);
    out
}
