//! Kinds of records, for good: they are written down.

pub(super) const PUBLICATION: u8 = 1;
pub(super) const IMAGE: u8 = 2;
pub(super) const ATTRIBUTES: u8 = 3;
pub(super) const CHANGES: u8 = 4;
pub(super) const ENDED: u8 = 5;
pub(super) const RETAINED: u8 = 6;
pub(super) const HELD: u8 = 7;
pub(super) const CROSSINGS: u8 = 8;
pub(super) const PIECE: u8 = 9;
pub(super) const PIECES: u8 = 10;

/// It is of no lane: each shard that reads the log takes it.
pub(super) const fn is_of_log(kind: u8) -> bool {
    matches!(kind, PUBLICATION | HELD | CROSSINGS)
}
