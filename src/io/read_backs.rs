//! Pieces of a shard's log that are read while it runs: messages that wait for their clients on the disk alone.
//!
//! Files are opened by the shard's io_uring as well, and some stay open. The shard finds out whether what was read
//! is what it needs.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
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

/// A segment of the shard's own log, or of a former one.
type Segment = (Option<u16>, SegmentNumber);

/// See the module. Lives on: a shard's driver. Bounded by what the shard asks for at a time.
pub(super) struct ReadBacks {
    folder: PathBuf,
    /// Of the logs of another number of shards.
    formers: Vec<PathBuf>,
    files: HashMap<Segment, File>,
    under_way: HashMap<u64, ReadBack>,
    /// Past the page cache, where the file system can do that.
    flags: OFlags,
}

impl ReadBacks {
    pub(super) fn new(folder: PathBuf, formers: Vec<PathBuf>) -> Self {
        Self {
            folder,
            formers,
            files: HashMap::new(),
            under_way: HashMap::new(),
            flags: OFlags::DIRECT,
        }
    }

    /// Of a log, as [`ReadBack`] names it.
    pub(super) fn folder(&self, former: Option<u16>) -> &Path {
        let former = former.and_then(|former| self.formers.get(usize::from(former)));
        former.unwrap_or(&self.folder)
    }

    /// Begins to read what the shard asks for.
    pub(super) fn begin(&mut self, shard: &mut Shard, poller: &mut Poller) {
        while let Some(read) = shard.poll_read() {
            match self.files.get_mut(&(read.former, read.segment)) {
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
                    let segment = (read.former, read.segment);
                    self.open(segment, poller);
                    self.files
                        .insert(segment, File::Opening(vec![read], self.flags));
                }
            }
        }
    }

    fn open(&self, (former, segment): Segment, poller: &mut Poller) {
        let path = path_of(self.folder(former), segment);
        let path = CString::new(path.as_os_str().as_bytes()).expect("a path of ours");
        poller.open(path, self.flags, tag_of((former, segment)));
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
                self.opened(segment_of(tag), result, (shard, poller), now)
            }
            Completion::Written { .. } | Completion::Flushed { .. } => Ok(()),
        }
    }

    fn opened(
        &mut self,
        number: Segment,
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
        self.files.retain(|(former, number), file| {
            former.is_some() || *number >= needed || matches!(file, File::Opening(..))
        });
    }

    /// Nothing is read from the logs of another number of shards any more; their room is free when they are closed.
    pub(super) fn forget_formers(&mut self) {
        if !self.formers.is_empty() {
            self.formers.clear();
            self.files.retain(|(former, _), _| former.is_none());
        }
    }
}

impl ReadBacks {
    /// Pieces that are being read, or whose files are being opened.
    pub(super) fn under_way(&self) -> usize {
        let waiting = self.files.values().map(|file| match file {
            File::Opening(waiting, _) => waiting.len(),
            File::Open(_) => 0,
        });
        self.under_way.len() + waiting.sum::<usize>()
    }
}

#[cfg(test)]
impl ReadBacks {
    pub(super) fn open_files(&self) -> usize {
        let is_open = |file: &&File| matches!(file, File::Open(_));
        self.files.values().filter(is_open).count()
    }
}

/// For the kernel to give back.
fn tag_of((former, segment): Segment) -> u64 {
    let former = former.map_or(0, |former| 1 + u64::from(former));
    former << 32 | u64::from(segment.0)
}

fn segment_of(tag: u64) -> Segment {
    let former = (tag >> 32).checked_sub(1).map(|former| former as u16);
    (former, SegmentNumber(tag as u32))
}

/// The blocks that a piece lies in.
fn blocks_of(read: &ReadBack) -> (usize, usize) {
    let (from, to) = (
        read.offset as usize,
        read.offset as usize + read.bytes as usize,
    );
    (from / ALIGNMENT * ALIGNMENT, to.next_multiple_of(ALIGNMENT))
}
