//! A stream cut anywhere gives the same packets, and the same error at the same place, as the whole.

use ringmq::mqtt::frame::{needed, next_frame};
use ringmq::mqtt::DecodeError;

use crate::features::note;

/// Bytes of a packet, so that some streams are refused for it.
const PACKET_SIZE_MAX: u32 = 300;

/// What a stream gives: where packets end, the error if one comes, and where.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    ends: Vec<usize>,
    error: Option<DecodeError>,
}

/// See the module. The last bytes of the input are also the sizes of the chunks.
pub fn body(input: &[u8]) {
    let whole = cut(input, std::iter::once(input.len()));
    note((whole.ends.len().min(6), whole.error.map(|e| e.to_string())));
    let sizes = &input[input.len().saturating_sub(6)..];
    let sizes = sizes.iter().map(|&byte| usize::from(byte % 24) + 1);
    assert_eq!(cut(input, sizes.cycle()), whole, "in chunks");
    assert_eq!(cut(input, std::iter::repeat(1)), whole, "byte by byte");
}

/// As the broker does it: the start of a packet is kept until the rest is there.
fn cut(stream: &[u8], sizes: impl Iterator<Item = usize>) -> Seen {
    let mut seen = Seen {
        ends: Vec::new(),
        error: None,
    };
    let (mut start, mut end) = (0, 0usize);
    for size in sizes.chain(std::iter::once(usize::MAX)) {
        end = end.saturating_add(size).min(stream.len());
        loop {
            let bytes = &stream[start..end];
            match next_frame(bytes, PACKET_SIZE_MAX) {
                Ok(Some(frame)) => {
                    assert_eq!(needed(bytes), Some(frame.length));
                    assert_eq!(
                        frame.body,
                        &bytes[frame.length - frame.body.len()..frame.length]
                    );
                    start += frame.length;
                    seen.ends.push(start);
                }
                Ok(None) => {
                    let is_more = needed(bytes).is_none_or(|needed| needed > bytes.len());
                    assert!(is_more, "a whole packet is held back");
                    break;
                }
                Err(error) => {
                    seen.error = Some(error);
                    return seen;
                }
            }
        }
        if end == stream.len() {
            break;
        }
    }
    seen
}
