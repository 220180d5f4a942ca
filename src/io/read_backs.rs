//! Pieces of a shard's log that are read while it runs: messages that wait for their clients on the disk alone.
//!
//! Files are opened by the shard's io_uring as well, and some stay open. The shard finds out whether what was read
//! is what it needs.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::OFlags;

use super::aligned_buffer::{AlignedBuffer, ALIGNMENT};
use super::data_dir::path_of;
use super::operations::Completion;
use super::poller::Poller;
use crate::journal::SegmentNumber;
use crate::shard::{NotWritten, ReadBack, Shard};
use crate::time::Time;

/// Files that stay open, at most.
pub(super) const FILES_MAX: usize = 64;

enum File {
    /// With what is to be read of it, and how it is opened.
    Opening(Vec<ReadBack>, OFlags),
    Open(Arc<OwnedFd>),
}

/// See the module. Lives on: a shard's driver. Bounded by what the shard asks for at a time.
pub(super) struct ReadBacks {
    folder: PathBuf,
    files: HashMap<SegmentNumber, File>,
    under_way: HashMap<u64, ReadBack>,
    /// Past the page cache, where the file system can do that.
    flags: OFlags,
}

impl ReadBacks {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            files: HashMap::new(),
            under_way: HashMap::new(),
            flags: OFlags::DIRECT,
        }
    }

    /// Begins to read what the shard asks for.
    pub(super) fn begin(&mut self, shard: &mut Shard, poller: &mut Poller) {
        while let Some(read) = shard.poll_read() {
            match self.files.get_mut(&read.segment) {
                Some(File::Open(file)) => {
                    let file = Arc::clone(file);
                    self.read(read, &file, poller);
                }
                Some(File::Opening(waiting, _)) => waiting.push(read),
                None => {
                    if self.files.len() >= FILES_MAX {
                        self.files
                            .retain(|_, file| matches!(file, File::Opening(..)));
                    }
                    self.open(read.segment, poller);
                    self.files
                        .insert(read.segment, File::Opening(vec![read], self.flags));
                }
            }
        }
    }

    fn open(&self, segment: SegmentNumber, poller: &mut Poller) {
        let path = path_of(&self.folder, segment);
        let path = CString::new(path.as_os_str().as_bytes()).expect("a path of ours");
        poller.open(path, self.flags, segment.0.into());
    }

    fn read(&mut self, read: ReadBack, file: &Arc<OwnedFd>, poller: &mut Poller) {
        let (start, end) = blocks_of(&read);
        self.under_way.insert(read.id, read);
        poller.read(file, AlignedBuffer::new(end - start), start as u64, read.id);
    }

    /// Hands on what was read.
    ///
    /// # Errors
    /// Something that is needed could not be read, or is not what was written; with the error of the system, if there
    /// was one.
    pub(super) fn complete(
        &mut self,
        completion: Completion,
        (shard, poller): (&mut Shard, &mut Poller),
        now: Time,
    ) -> Result<(), (NotWritten, Option<io::Error>)> {
        match completion {
            Completion::Read {
                tag,
                buffer,
                result,
            } => {
                let Some(read) = self.under_way.remove(&tag) else {
                    return Ok(());
                };
                let (start, _) = blocks_of(&read);
                let from = read.offset as usize - start;
                let bytes = buffer.get(from..from + read.bytes as usize);
                let bytes = bytes.filter(|_| result.is_ok()).unwrap_or_default();
                let handled = shard.handle_read(read.id, bytes, now);
                handled.map_err(|error| (error, result.err()))
            }
            Completion::Opened { tag, result } => {
                let number = SegmentNumber(tag as u32);
                self.opened(number, result, (shard, poller), now)
            }
            Completion::Written { .. } | Completion::Flushed { .. } => Ok(()),
        }
    }

    fn opened(
        &mut self,
        number: SegmentNumber,
        result: io::Result<OwnedFd>,
        (shard, poller): (&mut Shard, &mut Poller),
        now: Time,
    ) -> Result<(), (NotWritten, Option<io::Error>)> {
        let Some(File::Opening(waiting, flags)) = self.files.remove(&number) else {
            return Ok(());
        };
        let is_refused = result.as_ref().is_err_and(|error| {
            error.kind() == io::ErrorKind::InvalidInput && flags.contains(OFlags::DIRECT)
        });
        if is_refused {
            self.flags = OFlags::empty(); // as some file systems in memory
            self.open(number, poller);
            (self.files).insert(number, File::Opening(waiting, self.flags));
            return Ok(());
        }
        match result {
            Ok(file) => {
                let file = Arc::new(file);
                for read in waiting {
                    self.read(read, &file, poller);
                }
                self.files.insert(number, File::Open(file));
                Ok(())
            }
            Err(error) => {
                // The file is not there any more if nothing in it is needed.
                for read in waiting {
                    if let Err(wrong) = shard.handle_read(read.id, &[], now) {
                        return Err((wrong, Some(error)));
                    }
                }
                Ok(())
            }
        }
    }

    /// Files that are used again are not read from any more.
    pub(super) fn forget_before(&mut self, needed: SegmentNumber) {
        self.files
            .retain(|number, file| *number >= needed || matches!(file, File::Opening(..)));
    }
}

#[cfg(test)]
impl ReadBacks {
    /// Pieces that are being read, or whose files are being opened.
    pub(super) fn under_way(&self) -> usize {
        let waiting = self.files.values().map(|file| match file {
            File::Opening(waiting, _) => waiting.len(),
            File::Open(_) => 0,
        });
        self.under_way.len() + waiting.sum::<usize>()
    }

    pub(super) fn open_files(&self) -> usize {
        let is_open = |file: &&File| matches!(file, File::Open(_));
        self.files.values().filter(is_open).count()
    }
}

/// The blocks that a piece lies in.
fn blocks_of(read: &ReadBack) -> (usize, usize) {
    let (from, to) = (
        read.offset as usize,
        read.offset as usize + read.bytes as usize,
    );
    (from / ALIGNMENT * ALIGNMENT, to.next_multiple_of(ALIGNMENT))
}
