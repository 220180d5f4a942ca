//! Operations on files through the shard's io_uring: each owns its memory and its file until the kernel has
//! answered.
//!
//! The kernel reads and writes the buffer by itself, at any time between submission and completion. So
//! the caller hands the buffer over and gets it back with the completion, which is typed. Files stay open
//! as long, so that no request ever meets a descriptor that has been given to another file.
//!
//! The caller bounds what it has on its way. Sockets are not read and written like this: a buffer would
//! wait at each of them.

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use io_uring::types::{Fd, FsyncFlags};
use io_uring::{opcode, squeue};
use rustix::fs::{OFlags, CWD};
use rustix::io::ReadWriteFlags;

use super::aligned_buffer::AlignedBuffer;

/// What has become of an operation. `tag` is the caller's; every error is final.
#[derive(Debug)]
pub enum Completion {
    /// All of the buffer is in the file and would survive a loss of power, or there is an error.
    Written {
        tag: u64,
        buffer: AlignedBuffer,
        result: io::Result<()>,
    },
    /// The buffer holds what there was: less than was asked for only at the end of the file.
    Read {
        tag: u64,
        buffer: AlignedBuffer,
        result: io::Result<()>,
    },
    /// A file to be read, or why there is none.
    Opened {
        tag: u64,
        result: io::Result<OwnedFd>,
    },
    /// What had been written to the file before would survive a loss of power.
    Flushed { tag: u64, result: io::Result<()> },
}

/// Who carries a write out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// The thread that submits, as far as the device takes the request at once.
    Submitter,
    /// A thread of the kernel: submission is short, and the whole costs more.
    Worker,
}

struct Operation {
    tag: u64,
    memory: Memory,
    _file: Option<Arc<OwnedFd>>,
}

enum Memory {
    Write(AlignedBuffer),
    Read(AlignedBuffer),
    /// The path of a file to be opened.
    Open {
        _path: CString,
    },
    None,
}

/// Operations on their way, by number. A number is used again only after its completion, of which there is
/// exactly one.
#[derive(Default)]
pub(super) struct Operations {
    slots: Vec<Option<Operation>>,
    free: Vec<u32>,
}

impl Operations {
    /// A write that is complete when its bytes are durable (`RWF_DSYNC`).
    pub(super) fn write(
        &mut self,
        file: &Arc<OwnedFd>,
        mut buffer: AlignedBuffer,
        (offset, carrier): (u64, Carrier),
        tag: u64,
    ) -> (u32, squeue::Entry) {
        let entry = opcode::Write::new(descriptor(file), buffer.as_mut_ptr(), len(&buffer))
            .offset(offset)
            .rw_flags(ReadWriteFlags::DSYNC.bits() as i32)
            .build();
        let entry = match carrier {
            Carrier::Submitter => entry,
            Carrier::Worker => entry.flags(squeue::Flags::ASYNC),
        };
        (self.insert(Some(file), Memory::Write(buffer), tag), entry)
    }

    /// A read of as much as the buffer has room for.
    pub(super) fn read(
        &mut self,
        file: &Arc<OwnedFd>,
        mut buffer: AlignedBuffer,
        offset: u64,
        tag: u64,
    ) -> (u32, squeue::Entry) {
        buffer.set_len(buffer.capacity());
        let entry = opcode::Read::new(descriptor(file), buffer.as_mut_ptr(), len(&buffer))
            .offset(offset)
            .build();
        (self.insert(Some(file), Memory::Read(buffer), tag), entry)
    }

    pub(super) fn flush(&mut self, file: &Arc<OwnedFd>, tag: u64) -> (u32, squeue::Entry) {
        let entry = opcode::Fsync::new(descriptor(file))
            .flags(FsyncFlags::DATASYNC)
            .build();
        (self.insert(Some(file), Memory::None, tag), entry)
    }

    /// Opens a file to be read; `flags` beside that.
    pub(super) fn open(&mut self, path: CString, flags: OFlags, tag: u64) -> (u32, squeue::Entry) {
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC;
        let entry = opcode::OpenAt::new(Fd(CWD.as_raw_fd()), path.as_ptr())
            .flags(flags.bits() as i32)
            .build();
        // The text stays where it is when its owner moves.
        (self.insert(None, Memory::Open { _path: path }, tag), entry)
    }

    fn insert(&mut self, file: Option<&Arc<OwnedFd>>, memory: Memory, tag: u64) -> u32 {
        let operation = Some(Operation {
            tag,
            memory,
            _file: file.map(Arc::clone),
        });
        if let Some(number) = self.free.pop() {
            self.slots[number as usize] = operation;
            return number;
        }
        self.slots.push(operation);
        self.slots.len() as u32 - 1
    }

    /// The kernel has answered and will not touch the memory again.
    pub(super) fn complete(&mut self, number: u32, result: i32) -> Completion {
        let operation = self.slots[number as usize].take();
        let Operation { tag, memory, _file } = operation.expect("one completion per operation");
        self.free.push(number);
        let count = usize::try_from(result)
            .map_err(|_| io::Error::from_raw_os_error(result.wrapping_neg()));
        match memory {
            Memory::Write(buffer) => Completion::Written {
                tag,
                result: count.and_then(|count| all_of(count, buffer.len())),
                buffer,
            },
            Memory::Read(mut buffer) => {
                buffer.set_len(*count.as_ref().unwrap_or(&0));
                let result = count.map(drop);
                Completion::Read {
                    tag,
                    buffer,
                    result,
                }
            }
            Memory::Open { .. } => Completion::Opened {
                tag,
                // SAFETY: the kernel has just opened it for this operation, and nothing else has it.
                result: count.map(|_| unsafe { OwnedFd::from_raw_fd(result) }),
            },
            Memory::None => {
                let result = count.map(drop);
                Completion::Flushed { tag, result }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// Numbers of those on their way.
    pub(super) fn numbers(&self) -> Vec<u32> {
        let numbers = (0..).zip(&self.slots);
        let busy = numbers.filter(|(_, slot)| slot.is_some());
        busy.map(|(number, _)| number).collect()
    }

    /// Gives up memory that the kernel may still use: it is never freed.
    pub(super) fn leak(&mut self) {
        mem::forget(mem::take(self));
    }
}

fn descriptor(file: &Arc<OwnedFd>) -> Fd {
    Fd(file.as_raw_fd())
}

fn len(buffer: &AlignedBuffer) -> u32 {
    u32::try_from(buffer.len()).expect("a buffer of less than 4 GiB")
}

/// Disks write less than they were asked to when they are full: that is no success.
fn all_of(count: usize, length: usize) -> io::Result<()> {
    if count == length {
        return Ok(());
    }
    let text = format!("{count} of {length} bytes were written");
    Err(io::Error::new(io::ErrorKind::WriteZero, text))
}
