//! Findings: what messages of nodes say that is not as it should be.

/// Something that an operator wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finding {
    /// Messages are missing in the sequence of a node.
    Gap { expected: u64, seq: u64 },
    /// A node is born again in another session, and no death was seen of the one before.
    BirthWithoutDeath { before: u64, now: u64 },
    /// A death of another session than the one at hand changes nothing.
    StaleDeath { of: u64, now: u64 },
    /// A node or device that is not online has sent something.
    BeforeBirth,
    /// There is no room for another state.
    NoRoom,
}
