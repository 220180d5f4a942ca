//! Memory for files opened with `O_DIRECT`: begins at, and has room for, a multiple of 4 KiB.
//!
//! Owned and used again: an operation of the ring takes it and gives it back with its completion.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// What addresses, lengths and offsets of `O_DIRECT` are multiples of. Devices ask for 512 or 4,096.
pub const ALIGNMENT: usize = 4_096;

/// Bytes that the kernel may read or write by itself. Derefs to those that were put in.
pub struct AlignedBuffer {
    // A `Vec`, since its memory stays where it is and may be shared with the kernel when the value moves.
    memory: Vec<u8>,
    /// Of the first aligned byte.
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// Room for at least `capacity` bytes, rounded up to whole blocks.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.next_multiple_of(ALIGNMENT).max(ALIGNMENT);
        let memory = vec![0; capacity + ALIGNMENT - 1];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        let length = 0;
        Self {
            memory,
            start,
            length,
        }
    }

    #[must_use]
    pub fn capacity(&self) -> usize {
        (self.memory.len() + 1 - ALIGNMENT) / ALIGNMENT * ALIGNMENT
    }

    #[must_use]
    pub fn room(&self) -> usize {
        self.capacity() - self.length
    }

    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// Appends bytes.
    ///
    /// # Panics
    /// There is no room for them: ask [`AlignedBuffer::room`] before.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.room(), "a buffer does not grow");
        let end = self.start + self.length;
        self.memory[end..end + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    /// Appends zeros up to the end of a block, as a write with `O_DIRECT` wants it.
    pub fn pad(&mut self) {
        let padded = self.length.next_multiple_of(ALIGNMENT);
        let start = self.start;
        self.memory[start + self.length..start + padded].fill(0);
        self.length = padded;
    }

    /// First byte of the whole room, for the kernel.
    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.memory[self.start..].as_mut_ptr()
    }

    /// What the kernel has put in.
    pub(super) fn set_len(&mut self, length: usize) {
        assert!(length <= self.capacity());
        self.length = length;
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuffer({} of {})", self.length, self.capacity())
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_at_a_block_and_has_whole_blocks_of_room() {
        for capacity in [0, 1, 4_096, 4_097, 1 << 20] {
            let mut buffer = AlignedBuffer::new(capacity);
            assert_eq!(buffer.as_mut_ptr().align_offset(ALIGNMENT), 0);
            assert_eq!(
                buffer.capacity(),
                capacity.max(1).next_multiple_of(ALIGNMENT)
            );
            let all = vec![7; buffer.capacity()];
            buffer.extend_from_slice(&all);
            assert_eq!((&buffer[..], buffer.room()), (&all[..], 0));
        }
    }

    /// What an earlier use has left behind does not reach the disk.
    #[test]
    fn pads_with_zeros() {
        let mut buffer = AlignedBuffer::new(8_192);
        buffer.extend_from_slice(&[9; 8_192]);
        buffer.clear();
        buffer.pad();
        assert!(buffer.is_empty());
        buffer.extend_from_slice(b"abc");
        buffer.pad();
        assert_eq!(buffer.len(), ALIGNMENT);
        assert_eq!(&buffer[..3], b"abc");
        assert!(buffer[3..].iter().all(|byte| *byte == 0));
    }

    #[test]
    #[should_panic = "a buffer does not grow"]
    fn does_not_grow() {
        AlignedBuffer::new(1).extend_from_slice(&[0; ALIGNMENT + 1]);
    }
}
