//! The segments of one shard: read in their order at the start, and what holds nothing made ready to be
//! written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{flock, FlockOperation, OFlags};
use rustix::io::Errno;

use super::errors::DataError;
use super::flush_folder;
use crate::ids::ShardId;
use crate::journal::{Corrupt, DataId, Position, Record, Recovered, Recovery, SegmentNumber};
use crate::shard::RecordError;

/// How long a write of the process before may take to end.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
const WRITE_LOOK_EVERY: Duration = Duration::from_millis(5);
/// Files that are kept to be written next; the others are removed.
const READY_MAX: usize = 2;

/// Takes the records of a log in order, until one is wrong.
pub(in crate::io) type Visit<'a> =
    &'a mut dyn FnMut(Position, Record<'_>) -> Result<(), RecordError>;

/// A segment's file that is whole and holds nothing of the log.
#[derive(Debug)]
pub(in crate::io) struct Ready {
    pub(in crate::io) number: SegmentNumber,
    pub(in crate::io) file: Arc<OwnedFd>,
}

pub(in crate::io) fn path_of(folder: &Path, number: SegmentNumber) -> PathBuf {
    folder.join(format!("{}.seg", number.0))
}

/// Opens a segment to be written past the page cache. Some file systems in memory cannot do that.
///
/// The open file is locked: a write that the kernel has been given holds the file, and so the lock, also when
/// its process has ended. Who reads waits for it ([`read_whole`]), so that no write reaches a log whose end has
/// been found.
pub(in crate::io) fn open(path: &Path) -> io::Result<OwnedFd> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let mut direct = options.clone();
    let direct = direct.custom_flags(OFlags::DIRECT.bits() as i32).open(path);
    let file = match direct {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => options.open(path),
        opened => opened,
    }?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file.into())
}

/// Folds all segments of a folder, and removes what was never finished.
pub(super) fn read(
    folder: &Path,
    id: DataId,
    shard: ShardId,
    visit: Visit<'_>,
) -> Result<Recovered, DataError> {
    let mut recovery = Recovery::new(id, shard.0);
    let mut bytes = Vec::new();
    for number in list(folder)? {
        let path = path_of(folder, number);
        read_whole(&path, &mut bytes)?;
        let mut wrong = None;
        let read = recovery.segment(number, &bytes, &mut |position, record| {
            if wrong.is_none() {
                wrong = visit(position, record).err();
            }
        });
        if let Some(error) = wrong {
            return Err(DataError::Record { path, error });
        }
        read.map_err(|corrupt| DataError::Corrupt {
            path: match corrupt {
                Corrupt::Beginning { before, .. } => path_of(folder, before),
                _ => path,
            },
            corrupt,
        })?;
    }
    let recovered = recovery.finish();
    if let Some(last) = recovered.used.last() {
        flush(&path_of(folder, *last))?;
    }
    Ok(recovered)
}

/// The last frame is taken as written, so it must not be lost behind what is written next: its process may have
/// ended before its disk had answered.
fn flush(path: &Path) -> Result<(), DataError> {
    let file = File::open(path);
    let flushed = file.and_then(|file| file.sync_data());
    flushed.map_err(DataError::of("cannot flush", path))
}

/// Numbers of the segments there are, in order. Files that were being made are removed.
fn list(folder: &Path) -> Result<Vec<SegmentNumber>, DataError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).map_err(DataError::of("cannot list", folder))? {
        let path = entry.map_err(DataError::of("cannot list", folder))?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let number = stem.and_then(|stem| stem.parse().ok()).map(SegmentNumber);
        match (number, extension) {
            (Some(number), Some("seg")) if path == path_of(folder, number) => numbers.push(number),
            (Some(_), Some("new")) => {
                fs::remove_file(&path).map_err(DataError::of("cannot remove", &path))?;
            }
            _ => {} // not ours
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn read_whole(path: &Path, bytes: &mut Vec<u8>) -> Result<(), DataError> {
    let mut file = File::open(path).map_err(DataError::of("cannot read", path))?;
    let give_up_at = Instant::now() + WRITE_PATIENCE;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => break,
            Err(Errno::WOULDBLOCK) if Instant::now() < give_up_at => {
                thread::sleep(WRITE_LOOK_EVERY);
            }
            Err(Errno::WOULDBLOCK) => return Err(DataError::StillWritten(path.to_owned())),
            Err(errno) => return Err(DataError::of("cannot lock", path)(errno.into())),
        }
    }
    bytes.clear();
    let read = file.read_to_end(bytes);
    read.map(drop).map_err(DataError::of("cannot read", path))
}

/// Gives files that hold nothing of the log the numbers behind its end, the first ones, and removes the
/// others: a file without a header before the first one that has one would look like damage.
pub(super) fn make_ready(
    folder: &Path,
    recovered: &Recovered,
    segment_bytes: u64,
) -> Result<Vec<Ready>, DataError> {
    let mut number = recovered.last_segment;
    let mut ready = Vec::new();
    let unused = list(folder)?;
    let unused = unused
        .into_iter()
        .filter(|number| !recovered.used.contains(number));
    for old in unused {
        let path = path_of(folder, old);
        let found = fs::metadata(&path).map_err(DataError::of("cannot look at", &path))?;
        if found.len() != segment_bytes || ready.len() == READY_MAX {
            fs::remove_file(&path).map_err(DataError::of("cannot remove", &path))?;
            continue;
        }
        number = number.next();
        let renamed = path_of(folder, number);
        fs::rename(&path, &renamed).map_err(DataError::of("cannot rename", &path))?;
        let file = open(&renamed).map_err(DataError::of("cannot open", &renamed))?;
        let file = Arc::new(file);
        ready.push(Ready { number, file });
    }
    flush_folder(folder)?;
    Ok(ready)
}
