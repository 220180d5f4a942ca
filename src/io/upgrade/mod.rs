//! A process gives its clients to another one: sockets, shards and processes around what [`crate::upgrade`] decides.
//!
//! The old process runs `giving` on its reload thread, so that nothing else changes meanwhile; its shards do what is in
//! `shard_gives`. The new one runs `taking` within its start, its shards `shard_takes`. Until the commit the shards of
//! neither touch a client: those of the old one are still, those of the new one are `Arriving`.

mod drain;
mod farewell;
mod giving;
mod orders;
mod parent;
mod pauses;
mod pipe;
mod relay;
mod shard_gives;
mod shard_takes;
mod start;
mod taking;
mod tickets;
mod waits;

pub use giving::Successor;
pub(super) use giving::{hand_over, Old};
pub(super) use orders::{Upgrade, UpgradeOrder};
pub(super) use parent::{hand_on, must_stay as parent_stays};
pub(super) use relay::Relay;
pub(super) use start::{greet, read_later, see_off, take_over};
pub use taking::refuse as refuse_upgrade;
pub(super) use taking::{HandedSockets, Taking};

/// In the environment of a new process: the number of the old one, whose pipe is standard input.
const FROM: &str = "RINGMQ_UPGRADE_FROM";
