//! The keys by which one node of several adopts the sessions of a lost one.

use crate::cluster::{Incarnation, Node, NodeName};

/// Of keys, before the name of a node that is being adopted from. No node has a name with a dot.
pub(super) const CLAIM: &str = "adopt.";

/// What such a key says.
pub(super) struct Claim {
    pub(super) by: Node,
    /// The life that is lost.
    pub(super) of: Incarnation,
}

impl Claim {
    pub(super) fn encode(&self) -> String {
        let (name, by) = (self.by.name.as_str(), self.by.incarnation.0);
        format!("1 {name} {by:016x} {:016x}", self.of.0)
    }

    /// `None`: nothing of this format.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let mut fields = text.strip_prefix("1 ")?.split(' ');
        let name = NodeName::new(fields.next()?)?;
        let mut life = || {
            u64::from_str_radix(fields.next()?, 16)
                .ok()
                .map(Incarnation)
        };
        let incarnation = life()?;
        Some(Self {
            by: Node { name, incarnation },
            of: life()?,
        })
    }
}
