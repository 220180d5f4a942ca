//! A stream cut anywhere gives the same packets, and the same error at the same place, as the whole;
//! and a shard answers it with the same bytes.

use ringmq::limits::Limits;
use ringmq::mqtt::frame::{needed, next_frame};
use ringmq::mqtt::Violation;

use crate::broker::Broker;
use crate::features::note;

/// First byte of CONNECT.
const CONNECT: u8 = 0x10;
/// Bytes of a packet, so that some streams are refused for it.
const PACKET_SIZE_MAX: u32 = 300;

/// What a stream gives: where packets end, the error if one comes, and where.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    ends: Vec<usize>,
    error: Option<Violation>,
}

/// See the module. The last bytes of the input are also the sizes of the chunks.
pub fn body(input: &[u8]) {
    let whole = cut(input, std::iter::once(input.len()));
    note((whole.ends.len().min(6), whole.error.map(|e| e.to_string())));
    let sizes = &input[input.len().saturating_sub(6)..];
    let sizes = sizes.iter().map(|&byte| usize::from(byte % 24) + 1);
    assert_eq!(cut(input, sizes.clone().cycle()), whole, "in chunks");
    assert_eq!(cut(input, std::iter::repeat(1)), whole, "byte by byte");
    if whole.ends.len() > 1 && input[0] == CONNECT {
        let answers = answer(input, std::iter::repeat(usize::MAX));
        note(("answers", answers.0.len().min(40), answers.1));
        assert_eq!(answer(input, sizes.cycle()), answers, "answers in chunks");
        assert_eq!(answer(input, std::iter::repeat(1)), answers, "byte by byte");
    }
}

/// What a shard answers to a stream that arrives in one turn, and whether the connection stays.
fn answer(stream: &[u8], sizes: impl Iterator<Item = usize>) -> (Vec<u8>, bool) {
    let limits = Limits {
        packet_size_max: PACKET_SIZE_MAX,
        ..Limits::default()
    };
    let mut broker = Broker::new(1, limits);
    broker.open(0, 0);
    let mut rest = stream;
    for size in sizes {
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        broker.give(0, chunk);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    broker.settle();
    (broker.take(0), broker.is_open(0))
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
