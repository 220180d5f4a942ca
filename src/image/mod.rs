//! Images: the serial form of state that outlives its process, or leaves its shard.
//!
//! One form serves a checkpoint, a hand-over and a migration. It begins with its format and its kind, so that a
//! later version can tell what it reads; numbers are little-endian, lengths are variable, and every value has
//! one encoding. Bytes that are cut, garbled or of another format give an [`ImageError`]; what they claim is
//! compared with what is there before anything is allocated. Times are [`WallTime`]: a monotonic one ends with
//! its process.
//!
//! [`WallTime`]: crate::time::WallTime

mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

/// The format that is written.
pub const FORMAT: u8 = 1;
/// The oldest that is read: the one before, so that each release can take over from the one before.
pub const OLDEST_READ: u8 = oldest_read_by(FORMAT);

/// There is no format 0.
const fn oldest_read_by(format: u8) -> u8 {
    match format {
        0 | 1 => 1,
        format => format - 1,
    }
}

/// What an image is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Session = 1,
    Connection = 2,
    /// A session of a client of MQTT-SN that has left something with it.
    SensorSession = 3,
}

/// Why bytes are not an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    #[error("the image has format {found}; this version reads formats {OLDEST_READ} to {FORMAT}")]
    Format { found: u8 },
    #[error("the image is of kind {found}, not of a {expected:?}")]
    Kind { found: u8, expected: Kind },
    #[error("the image is cut off")]
    Truncated,
    #[error("{bytes} bytes follow the image")]
    Trailing { bytes: usize },
    #[error("{what} in the image cannot be")]
    Invalid { what: &'static str },
}

impl ImageError {
    /// A value that no writer would have written.
    #[must_use]
    pub const fn invalid(what: &'static str) -> Self {
        Self::Invalid { what }
    }
}
