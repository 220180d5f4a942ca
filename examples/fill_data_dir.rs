//! A data directory with many sessions for which messages wait, for `scripts/recovery.sh`: as a broker would have
//! written it, without the hours of clients that would have had it do so.
//!
//!     fill_data_dir FOLDER SESSIONS MESSAGES_EACH PAYLOAD_BYTES

use std::path::Path;
use std::rc::Rc;

use ringmq::io::found_data_dir;
use ringmq::mqtt::Qos;
use ringmq::session::{DeliveryImage, SessionImage};
use ringmq::shard::KeptState;
use ringmq::time::WallTime;

/// As the broker's.
const SEGMENT_BYTES: u32 = 64 << 20;
/// Sessions in memory at once.
const PART: usize = 10_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Option<Vec<usize>> = arguments
        .iter()
        .skip(1)
        .map(|word| word.parse().ok())
        .collect();
    let (Some(folder), Some([sessions, each, payload])) = (arguments.first(), numbers.as_deref())
    else {
        eprintln!("fill_data_dir FOLDER SESSIONS MESSAGES_EACH PAYLOAD_BYTES");
        std::process::exit(2);
    };
    let numbers: Vec<usize> = (0..*sessions).collect();
    let parts = numbers.chunks(PART).map(|part| {
        let images = part.iter().map(|number| session(*number, *each, *payload));
        KeptState::of(images.collect(), Vec::new())
    });
    if let Err(text) = found_data_dir(Path::new(folder), SEGMENT_BYTES, parts) {
        eprintln!("fill_data_dir: {text}");
        std::process::exit(1);
    }
}

fn session(number: usize, each: usize, payload: usize) -> SessionImage {
    let topic: Rc<str> = format!("waits/{number}").into();
    let mut image = SessionImage::empty(format!("client-{number}").into());
    image.expiry_interval_s = u32::MAX;
    image.expires_at = Some(WallTime::FAR);
    image.queue = (0..each)
        .map(|nth| {
            let mut bytes = vec![b'x'; payload];
            let text = format!("{number} {nth} ");
            let length = text.len().min(payload);
            bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
            DeliveryImage {
                topic: Rc::clone(&topic),
                payload: bytes.into(),
                properties: bytes::Bytes::new(),
                published_qos: Qos::AtLeastOnce,
                published_retain: false,
                expires_at: None,
                qos: Qos::AtLeastOnce,
                retain: false,
                identifiers: Vec::new(),
                shared: None,
            }
            .into()
        })
        .collect();
    image
}
