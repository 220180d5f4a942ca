//! The shapes of filters: how many levels, and where the wildcards stand.
//!
//! Of all filters of one shape at most one matches a topic, and its text follows from the topic: under
//! `site/+/temp`, a topic of three levels asks for itself with `+` in the middle. So where the filters in
//! use have few shapes, as those of real systems do, a match is one lookup per shape, however many filters
//! there are. Filters beyond these bounds are left to the [tree](super::tree).

/// Shapes in use at most, of each number of levels and of those that end in `#`: what a topic costs at
/// most is twice as many lookups. In unit tests few, so that the tree is used beside the table.
const SHAPES_MAX: usize = if cfg!(test) { 2 } else { 16 };
/// Filters that may match a topic, one per shape.
pub(super) const CANDIDATES_MAX: usize = 2 * SHAPES_MAX;
/// Levels of a filter that has a shape, `#` aside.
const LEVELS_MAX: usize = 16;
/// Bytes of a filter that has a shape: what is written per shape and topic.
const BYTES_MAX: usize = 256;

/// Where the wildcards of a filter stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// A bit for each level that is `+`.
    plus: u16,
    /// Levels without `#`.
    levels: u8,
    /// Whether it ends in `#`.
    is_open: bool,
}

impl Shape {
    /// The shape of a filter with wildcards; `None` when it is too long to have one.
    pub(super) fn of(filter: &str) -> Option<Self> {
        let mut shape = Self {
            plus: 0,
            levels: 0,
            is_open: false,
        };
        if filter.len() > BYTES_MAX {
            return None;
        }
        for level in filter.split('/') {
            match level {
                "#" => shape.is_open = true,
                _ if usize::from(shape.levels) == LEVELS_MAX => return None,
                "+" => {
                    shape.plus |= 1 << shape.levels;
                    shape.levels += 1;
                }
                _ => shape.levels += 1,
            }
        }
        Some(shape)
    }

    fn begins_with_wildcard(self) -> bool {
        self.levels == 0 || self.plus & 1 == 1
    }
}

#[derive(Clone, Copy, Debug)]
struct InUse {
    shape: Shape,
    filters: u32,
}

/// The shapes in use. Lives on: each shard its own. Bounded by [`SHAPES_MAX`].
#[derive(Debug, Default)]
pub(super) struct Shapes {
    /// Without `#`, by their number of levels.
    closed: [Vec<InUse>; LEVELS_MAX + 1],
    /// With `#`.
    open: Vec<InUse>,
    /// Filters of all shapes.
    filters: usize,
}

impl Shapes {
    /// Counts one more filter of a shape; false when it is new and there is no room for it.
    pub(super) fn admit(&mut self, shape: Shape) -> bool {
        let list = self.list(shape);
        match list.iter().position(|known| known.shape == shape) {
            Some(at) => list[at].filters += 1,
            None if list.len() < SHAPES_MAX => list.push(InUse { shape, filters: 1 }),
            None => return false,
        }
        self.filters += 1;
        true
    }

    /// Counts one filter of a shape less.
    pub(super) fn release(&mut self, shape: Shape) {
        let list = self.list(shape);
        let Some(at) = list.iter().position(|known| known.shape == shape) else {
            return;
        };
        list[at].filters -= 1;
        if list[at].filters == 0 {
            list.remove(at);
        }
        self.filters -= 1;
    }

    fn list(&mut self, shape: Shape) -> &mut Vec<InUse> {
        if shape.is_open {
            &mut self.open
        } else {
            &mut self.closed[usize::from(shape.levels)]
        }
    }

    /// Calls `visit` with the text of each filter that matches `topic` if it exists, once per shape; only of
    /// those whose bit in `wanted` is set, the first one's the lowest. `text` is room to write it in.
    #[inline]
    pub(super) fn candidates(
        &self,
        topic: &str,
        wanted: u64,
        text: &mut Vec<u8>,
        mut visit: impl FnMut(u32, &[u8]),
    ) {
        let levels = Levels::of(topic);
        let closed = self.closed.get(levels.count).map_or(&[][..], |of| of);
        // [MQTT-4.7.2-1]: wildcards at the first level do not match topics that start with $.
        let is_reserved = topic.starts_with('$');
        for (nth, InUse { shape, .. }) in (0..).zip(closed.iter().chain(&self.open)) {
            let matches = wanted >> nth & 1 == 1
                && usize::from(shape.levels) <= levels.count
                && !(is_reserved && shape.begins_with_wildcard());
            if matches && levels.write(topic.as_bytes(), *shape, text) {
                visit(nth, text);
            }
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.filters == 0
    }
}

/// Where the levels of a topic end.
struct Levels {
    ends: [usize; LEVELS_MAX],
    /// At most one more than [`LEVELS_MAX`], whose end is not known.
    count: usize,
}

impl Levels {
    fn of(topic: &str) -> Self {
        let mut levels = Self {
            ends: [0; LEVELS_MAX],
            count: 0,
        };
        for (at, byte) in topic.bytes().enumerate() {
            if byte == b'/' {
                if levels.count == LEVELS_MAX {
                    levels.count += 1;
                    return levels;
                }
                levels.ends[levels.count] = at;
                levels.count += 1;
            }
        }
        if let Some(end) = levels.ends.get_mut(levels.count) {
            *end = topic.len();
        }
        levels.count += 1;
        levels
    }

    /// Writes the filter of a shape that matches; false when it is longer than any in use.
    #[inline]
    fn write(&self, topic: &[u8], shape: Shape, text: &mut Vec<u8>) -> bool {
        text.clear();
        let mut copied = 0;
        let mut plus = shape.plus;
        while plus != 0 {
            let level = plus.trailing_zeros() as usize;
            plus &= plus - 1;
            let start = level
                .checked_sub(1)
                .map_or(0, |before| self.ends[before] + 1);
            if text.len() + (start - copied) > BYTES_MAX {
                return false;
            }
            text.extend_from_slice(&topic[copied..start]);
            text.push(b'+');
            copied = self.ends[level];
        }
        // As `a/#` matches `a`, what comes before `/#` may be the whole topic.
        let end = usize::from(shape.levels)
            .checked_sub(1)
            .map_or(0, |last| self.ends[last]);
        if text.len() + (end - copied) > BYTES_MAX {
            return false;
        }
        text.extend_from_slice(&topic[copied..end]);
        if shape.is_open {
            text.extend_from_slice(if shape.levels == 0 { b"#" } else { b"/#" });
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(filters: &[&str], topic: &str) -> Vec<String> {
        let mut shapes = Shapes::default();
        for filter in filters {
            assert!(shapes.admit(Shape::of(filter).unwrap()), "{filter}");
        }
        let mut found = Vec::new();
        shapes.candidates(topic, u64::MAX, &mut Vec::new(), |_, text| {
            found.push(String::from_utf8(text.to_vec()).unwrap());
        });
        found
    }

    #[test]
    fn a_topic_asks_for_one_filter_per_shape() {
        for (filters, topic, expected) in [
            (&["x/+/y"][..], "a/b/c", &["a/+/c"][..]),
            (&["x/+/y"], "a/b", &[]),
            (&["+/+", "x/+"], "/b", &["+/+", "/+"]),
            (&["#", "x/y/#"], "a/b/c", &["#", "a/b/#"]),
            (&["x/y/#"], "a/b", &["a/b/#"]),
            (&["x/y/#"], "a", &[]),
            (&["+/#", "x/#"], "$SYS/up", &["$SYS/#"]),
            (&["+"], "$SYS", &[]),
            (&["+/x/+"], "//", &["+//+"]),
        ] {
            assert_eq!(candidates(filters, topic), expected, "{filters:?} {topic}");
        }
    }

    #[test]
    fn what_is_too_long_has_no_shape_and_is_not_asked_for() {
        assert_eq!(Shape::of(&"+/".repeat(LEVELS_MAX)), None);
        assert_eq!(Shape::of(&format!("{}/+", "x".repeat(BYTES_MAX))), None);
        let deepest = format!("{}#", "a/".repeat(LEVELS_MAX));
        let deep_topic = "a/".repeat(LEVELS_MAX + 5);
        assert_eq!(candidates(&[&deepest], &deep_topic), [deepest]);
        let wide = "x".repeat(BYTES_MAX + 1);
        assert_eq!(candidates(&["a/+"], &format!("{wide}/b")), [""; 0]);
        assert_eq!(candidates(&["+/b"], &format!("a/{wide}")), [""; 0]);
    }

    #[test]
    fn a_shape_without_filters_makes_room() {
        let [one, two, three] = ["+/b", "a/+", "+/+"].map(|filter| Shape::of(filter).unwrap());
        let mut shapes = Shapes::default();
        assert!(shapes.admit(one) && shapes.admit(two) && shapes.admit(one));
        assert!(!shapes.admit(three));
        shapes.release(one);
        assert!(!shapes.admit(three), "one is still in use");
        shapes.release(one);
        assert!(shapes.admit(three));
        shapes.release(three);
        shapes.release(two);
        assert!(shapes.is_empty());
    }
}
