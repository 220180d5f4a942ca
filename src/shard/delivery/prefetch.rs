//! Route prefetch: index lookups for the topics of the next publications overlap their cache misses.
//!
//! A client that speaks for many devices sends many topics in one read. When their routes are not known,
//! finding one is mostly waiting for memory, and waiting for several at a time takes hardly longer. So
//! when two routes in succession had to be found, what those of the next publications depend on is read
//! ahead; while routes are known, as those of a few busy topics are, nothing is.

use crate::mqtt::{decode, frame};
use crate::shard::delivery::Routes;
use crate::shard::mesh::publications::{BlockItem, Publications, Reader};

/// Packets, or publications of a block, that are looked at ahead: as many accesses to memory as a
/// processor has under way, and more.
const AHEAD: usize = 16;

/// How far routes have been prefetched, in one read or one block. Lives as long as it is handled.
pub(in crate::shard) struct LookAhead {
    /// Publications not reached yet whose routes have been prefetched.
    left: usize,
    /// Routes the index had found anew when it was last asked.
    misses: u64,
    /// The route of the one before had to be found.
    has_missed: bool,
}

impl Routes {
    pub(in crate::shard) fn prefetcher(&self) -> LookAhead {
        LookAhead {
            left: 0,
            misses: self.index.misses(),
            has_missed: false,
        }
    }

    /// One more packet was handled, and `rest` is behind it.
    #[inline]
    pub(in crate::shard) fn prefetch_following(&mut self, ahead: &mut LookAhead, rest: &[u8]) {
        if ahead.is_due(self.index.misses()) {
            self.index.prefetch(topics(rest));
        }
    }

    /// One more publication of a block was handled, and the reader stands behind it.
    #[inline]
    pub(in crate::shard) fn prefetch_block(
        &mut self,
        ahead: &mut LookAhead,
        publications: &Publications,
        reader: &Reader<'_>,
    ) {
        if ahead.is_due(self.index.misses()) {
            let mut next = publications.reader(reader.position());
            let topics = std::iter::from_fn(|| next.next().map(|carried| topic_of(&carried)));
            self.index.prefetch(topics.take(AHEAD));
        }
    }
}

impl LookAhead {
    /// Whether to prefetch now, after one more publication; `misses` is the index's count.
    #[inline]
    fn is_due(&mut self, misses: u64) -> bool {
        let has_missed = std::mem::replace(&mut self.misses, misses) != misses;
        if self.left > 0 {
            self.left -= 1;
            return false;
        }
        let is_due = has_missed && self.has_missed;
        self.has_missed = has_missed;
        if is_due {
            self.left = AHEAD - 1;
        }
        is_due
    }
}

/// Topics of the next packets, as far as they have come and are PUBLISH.
fn topics(mut bytes: &[u8]) -> impl Iterator<Item = &str> {
    let frames = std::iter::from_fn(move || {
        let frame = frame::next_frame(bytes, u32::MAX).ok()??;
        bytes = &bytes[frame.length..];
        Some(frame)
    });
    frames
        .take(AHEAD)
        .filter_map(|frame| decode::topic_of_publish(&frame))
}

fn topic_of<'a>(carried: &BlockItem<'a>) -> &'a str {
    match carried {
        BlockItem::Message(message, _) => message.topic,
        BlockItem::PublishRun(run) => run.topic(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plain PUBLISH of MQTT 3.1.1.
    fn publish(topic: &str) -> Vec<u8> {
        let mut bytes = vec![0x30, 2 + topic.len() as u8, 0, topic.len() as u8];
        bytes.extend_from_slice(topic.as_bytes());
        bytes
    }

    #[test]
    fn the_second_miss_in_succession_looks_ahead_and_then_every_16th() {
        let mut ahead = LookAhead {
            left: 0,
            misses: 7,
            has_missed: false,
        };
        let mut due = |misses: &[u64]| misses.iter().map(|n| ahead.is_due(*n)).collect::<Vec<_>>();
        assert_eq!(due(&[7, 8, 8, 9, 10]), [false, false, false, false, true]);
        let all_miss: Vec<u64> = (11..11 + 2 * AHEAD as u64).collect();
        let looked = due(&all_miss);
        let at: Vec<usize> = (0..looked.len()).filter(|at| looked[*at]).collect();
        assert_eq!(at, [AHEAD - 1, 2 * AHEAD - 1]);
    }

    #[test]
    fn topics_are_those_of_whole_packets_up_to_the_first_broken_one() {
        let ping = [0xC0, 0];
        let cut = &publish("c")[..4];
        let read = [&publish("a")[..], &ping, &publish("b/b"), cut].concat();
        assert_eq!(topics(&read).collect::<Vec<_>>(), ["a", "b/b"]);
        let wrong_length = [0x30, 2, 0, 9];
        let reserved = [0x00, 0];
        let read = [&wrong_length[..], &publish("a"), &reserved, &publish("b")].concat();
        assert_eq!(topics(&read).collect::<Vec<_>>(), ["a"]);
        assert_eq!(topics(&publish("t").repeat(AHEAD + 1)).count(), AHEAD);
        assert_eq!(topics(&[]).count(), 0);
    }
}
