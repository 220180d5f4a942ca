//! Recent ACL decisions of one connection, so that the next message of a topic costs a comparison.

/// Slots: a client usually publishes to a few topics.
const SLOTS: usize = 16;
/// Longer topics are decided anew each time, in bytes.
const TOPIC_BYTES_MAX: usize = 256;

/// Topic names with their answers. At most 4 KiB of topics; empty costs a pointer. Lives on: the
/// session's shard, for one kind of access; dropped when rules change.
#[derive(Debug, Default)]
pub struct Decisions(Option<Box<[Option<Decision>; SLOTS]>>);

#[derive(Debug)]
struct Decision {
    topic: Box<str>,
    allowed: bool,
}

impl Decisions {
    /// The decision kept for this topic, or the result of `decide`.
    #[inline]
    pub fn get_or(&mut self, topic: &str, decide: impl FnOnce() -> bool) -> bool {
        if topic.len() > TOPIC_BYTES_MAX {
            return decide();
        }
        let slots = self
            .0
            .get_or_insert_with(|| Box::new([const { None }; SLOTS]));
        let slot = &mut slots[slot_of(topic)];
        match slot {
            Some(known) if *known.topic == *topic => known.allowed,
            _ => {
                let allowed = decide();
                *slot = Some(Decision {
                    topic: topic.into(),
                    allowed,
                });
                allowed
            }
        }
    }
}

/// A few bytes spread topics enough: a clash costs a decision, not a wrong answer.
fn slot_of(topic: &str) -> usize {
    let bytes = topic.as_bytes();
    let last = bytes.iter().rev().take(8);
    let mixed = last.fold(bytes.len(), |hash, byte| {
        hash.wrapping_mul(31) + usize::from(*byte)
    });
    (mixed ^ mixed >> 4 ^ mixed >> 8) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decides_once_and_never_mistakes_a_topic() {
        let mut decisions = Decisions::default();
        let mut asked = 0;
        for _ in 0..3 {
            for topic in ["a/b", "a/c"] {
                let allowed = decisions.get_or(topic, || {
                    asked += 1;
                    topic == "a/b"
                });
                assert_eq!(allowed, topic == "a/b");
            }
        }
        assert_eq!(asked, 2);
        // Far more topics than slots.
        for round in 0..2 {
            for n in 0..1_000 {
                let allowed = decisions.get_or(&format!("t/{n}"), || n % 2 == 0);
                assert_eq!(allowed, n % 2 == 0, "{round}");
            }
        }
        let long = "x".repeat(TOPIC_BYTES_MAX + 1);
        assert!(decisions.get_or(&long, || true));
        assert!(!decisions.get_or(&long, || false), "long ones are not kept");
    }
}
