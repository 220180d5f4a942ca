//! Writes the frames of one log, one at a time, from one buffer that is used again.
//!
//! A thread of the kernel carries each write out (`Carrier::Worker`). By itself the submitting thread would
//! ring the device's bell, which on a virtual disk took 75 to 175 us of the shard's turn against 2, with the
//! same median until the frame is durable (`benches/journal_write.rs`).

use std::collections::VecDeque;
use std::io;

use rustix::fs::{fallocate, flock, FallocateFlags, FlockOperation};

use super::aligned_buffer::AlignedBuffer;
use super::data_dir::Ready;
use super::operations::{Carrier, Completion};
use super::poller::Poller;
use crate::journal::{FrameWrite, SegmentNumber};

/// A buffer beyond this is freed once it is written: few records are as large.
const BUFFER_KEPT: usize = 512 << 10;

/// See the module. Lives on: a shard's driver.
pub(super) struct FrameWriter {
    /// In the order of their numbers; those before the one that is written are closed.
    files: VecDeque<Ready>,
    segment_bytes: u64,
    state: State,
}

enum State {
    Idle(AlignedBuffer),
    /// Copied, and not given to the kernel yet.
    Sealed(Sealed),
    /// The buffer is the operation's.
    Writing,
}

struct Sealed {
    buffer: AlignedBuffer,
    segment: SegmentNumber,
    offset: u64,
}

impl FrameWriter {
    pub(super) fn new(files: Vec<Ready>, segment_bytes: u64) -> Self {
        Self {
            files: files.into(),
            segment_bytes,
            state: State::Idle(AlignedBuffer::new(0)),
        }
    }

    /// A further segment, the next one after those that were given.
    pub(super) fn add(&mut self, ready: Ready) {
        self.files.push_back(ready);
    }

    /// Lets other processes read its files, or not any more.
    pub(super) fn share(&self, is_shared: bool) -> io::Result<()> {
        let operation = match is_shared {
            true => FlockOperation::NonBlockingUnlock,
            false => FlockOperation::NonBlockingLockExclusive,
        };
        let mut files = self.files.iter();
        files.try_for_each(|ready| Ok(flock(&*ready.file, operation)?))
    }

    /// No frame waits or is on its way.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle(_))
    }

    /// A frame waits for room in its file.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Sealed(_))
    }

    /// Takes a frame, while there is no other.
    pub(super) fn take(&mut self, frame: &FrameWrite<'_>) {
        let State::Idle(buffer) = &mut self.state else {
            panic!("one frame at a time");
        };
        let mut buffer = std::mem::replace(buffer, AlignedBuffer::new(0));
        if buffer.capacity() < frame.bytes() {
            buffer = AlignedBuffer::new(frame.bytes());
        }
        buffer.set_len(frame.bytes());
        frame.copy_to(&mut buffer);
        self.state = State::Sealed(Sealed {
            buffer,
            segment: frame.segment(),
            offset: frame.offset().into(),
        });
    }

    /// Gives the frame that was taken, if any, to the kernel.
    ///
    /// # Errors
    /// It is larger than its file, which cannot be made larger: to be called again later.
    pub(super) fn submit(&mut self, poller: &mut Poller) -> io::Result<()> {
        let State::Sealed(sealed) = &self.state else {
            return Ok(());
        };
        let is_older = |ready: &Ready| ready.number < sealed.segment;
        while self.files.front().is_some_and(is_older) {
            self.files.pop_front();
        }
        let ready = self.files.front().expect("frames go to ready segments");
        let end = sealed.offset + sealed.buffer.len() as u64;
        // A record larger than a segment: a full disk is to be noticed before anything is written.
        if end > self.segment_bytes {
            fallocate(&*ready.file, FallocateFlags::empty(), 0, end)?;
        }
        if let State::Sealed(sealed) = std::mem::replace(&mut self.state, State::Writing) {
            let Sealed { buffer, offset, .. } = sealed;
            poller.write(&ready.file, buffer, offset, Carrier::Worker, 0);
        }
        Ok(())
    }

    /// The write is complete.
    ///
    /// # Errors
    /// The frame may be on the disk, or in part, or not: nothing further may be acknowledged.
    pub(super) fn complete(&mut self, completion: Completion) -> io::Result<()> {
        let Completion::Written { buffer, result, .. } = completion else {
            return Ok(()); // there are no other operations
        };
        let buffer = match buffer.capacity() {
            0..=BUFFER_KEPT => buffer,
            _ => AlignedBuffer::new(0),
        };
        self.state = State::Idle(buffer);
        result
    }
}
