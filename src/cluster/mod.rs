//! A cluster's pure parts: who is alive, who owns a client id, and a stream of blocks to each other node that loses and
//! doubles nothing.
//!
//! They know of names, numbers, bytes and times. What the bytes mean is decided above
//! (the exchange of `shard`), how they travel is `io`'s.

pub mod frame;
mod lane_values;
pub mod lanes;
pub mod log_stream;
pub mod membership;
pub mod relay_header;
pub mod stream;

use std::sync::Arc;

/// Other nodes that a node has to do with at the same time.
pub const NODES_MAX: usize = 31;

/// Characters of a node's name.
const NAME_MAX: usize = 32;

/// A node's name: what operators call it, and a part of subjects and keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// `None`: not 1 to 32 letters, digits, `-` or `_`.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let is_sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let is_name = (1..=NAME_MAX).contains(&name.len()) && name.chars().all(is_sound);
        is_name.then(|| Self(name.into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One life of a node: drawn when its process starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// A node in one of its lives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    pub name: NodeName,
    pub incarnation: Incarnation,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parts_of_subjects() {
        for name in ["a", "node-17", "eu_1", &"x".repeat(32)] {
            assert_eq!(NodeName::new(name).unwrap().as_str(), name);
        }
        for name in ["", "a.b", "a b", "*", ">", "ö", &"x".repeat(33)] {
            assert!(NodeName::new(name).is_none(), "{name:?}");
        }
    }
}
