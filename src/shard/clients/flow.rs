//! The course of a connection after one of its packets.

use crate::ids::ShardId;

/// What follows after a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Flow {
    Continue,
    /// No packet is handled before a verdict or an authorization decision has arrived.
    Wait,
    /// The connection accepts no further bytes.
    Stop,
    /// The turn's budget is exhausted: the packet and all after it wait for the next one.
    Pause,
    /// The packet and all after it belong to another shard.
    HandOff(ShardId),
    /// The same, of another node.
    Relay,
}
