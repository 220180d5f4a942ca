//! The journal: one shard's log of what must outlive its process, as a value without files.
//!
//! [`Log`] gives each record its place and seals the records of some turns into one *frame*, which is
//! written and flushed at once (group commit): a turn never waits for the disk. [`Recovery`] is the fold
//! that reads frames back, finds the end of the log and distinguishes a torn end, which was never
//! acknowledged, from a damaged log, which is refused. What records mean is the shard's.
//!
//! ```text
//! K.seg:   header block | frame | frame | ... | zeros       a segment, named by its number
//! frame:   header 64 B | record | record | ... | zeros      begins at a multiple of 4 KiB
//! record:  kind u8 | flags u8 | lane u16 | bytes u32 | body
//! ```
//! All numbers are little-endian.

#[cfg(test)]
mod copies_tests;
mod frame;
mod log;
mod piece;
mod position;
mod record;
mod recovery;
mod segment;
mod survey;
#[cfg(test)]
mod tests;

pub use frame::FrameWrite;
pub use log::{Log, Space};
pub use piece::Piece;
pub use position::{Lsn, Position, SegmentNumber};
pub use record::Record;
pub use recovery::{Corrupt, Recovered, Recovery};
pub use segment::{DataId, BLOCK_BYTES};
pub use survey::{survey, SeenFrame};
