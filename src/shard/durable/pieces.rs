//! Serial form of the pieces of a queue that is written over several turns: see [`long_images`](super::long_images).

use crate::image::{ImageError, Reader, Writer};

/// What the image of a session begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PiecesOfQueue {
    /// Messages of the pieces that have left the queue since.
    pub(super) left: u32,
    /// Messages of the pieces that wait.
    pub(super) wait: u32,
}

impl PiecesOfQueue {
    pub(super) fn take(it: &mut Reader<'_>) -> Result<Self, ImageError> {
        let (left, wait) = (it.number()?, it.number()?);
        Ok(Self { left, wait })
    }

    pub(super) fn wait(self) -> usize {
        self.wait as usize
    }

    #[cfg(test)]
    pub(super) fn left(self) -> u32 {
        self.left
    }
}

pub(super) fn put_begins(out: &mut Writer<'_>, begins: bool) {
    out.byte(begins.into());
}

pub(super) fn take_begins(it: &mut Reader<'_>) -> Result<bool, ImageError> {
    match it.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(ImageError::invalid("whether a queue begins")),
    }
}
