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
use super::extent::{extent_of, Extent};
use super::flush_folder;
use super::names::path_of;
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

/// A segment of a log that is read, or what is left of one without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::io) struct Part {
    pub(in crate::io) number: SegmentNumber,
    /// Bytes that count; `None`: all.
    pub(in crate::io) cut: Option<u32>,
}

/// A segment's file that is whole and holds nothing of the log.
#[derive(Debug)]
pub(in crate::io) struct Ready {
    pub(in crate::io) number: SegmentNumber,
    pub(in crate::io) file: Arc<OwnedFd>,
}

/// Opens a file past the page cache, where the file system can do that: some in memory cannot.
pub(in crate::io) fn open_direct(options: &OpenOptions, path: &Path) -> io::Result<File> {
    let mut direct = options.clone();
    let direct = direct.custom_flags(OFlags::DIRECT.bits() as i32).open(path);
    match direct {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => options.open(path),
        opened => opened,
    }
}

/// Opens a segment to be written past the page cache.
///
/// The open file is locked: a write that the kernel has been given holds the file, and so the lock, also when
/// its process has ended. Who reads waits for it ([`read_whole`]), so that no write reaches a log whose end has
/// been found.
pub(in crate::io) fn open(path: &Path) -> io::Result<OwnedFd> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let file = open_direct(&options, path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file.into())
}

/// Removes files that were never finished. Of the log that this process writes alone: others are read by several
/// shards at the same time.
pub(super) fn remove_unfinished(folder: &Path) -> Result<(), DataError> {
    let (_, unfinished) = numbers(folder)?;
    for path in unfinished {
        fs::remove_file(&path).map_err(DataError::of("cannot remove", &path))?;
    }
    Ok(())
}

/// Folds all segments of a folder.
pub(super) fn read(
    folder: &Path,
    id: DataId,
    shard: ShardId,
    visit: Visit<'_>,
) -> Result<Recovered, DataError> {
    let (found, _) = numbers(folder)?;
    let parts = found.into_iter().map(|number| Part { number, cut: None });
    let parts: Vec<Part> = parts.collect();
    let recovered = fold(folder, &parts, (id, shard), visit)?;
    check_extent(folder, &parts)?;
    if let Some(last) = recovered.used.last() {
        flush(&path_of(folder, *last))?;
    }
    Ok(recovered)
}

/// Whether all segments are there that must be.
pub(super) fn check_extent(folder: &Path, parts: &[Part]) -> Result<(), DataError> {
    let found: Vec<SegmentNumber> = parts.iter().map(|part| part.number).collect();
    match Extent::read(folder)? {
        Some(extent) => extent.check(folder, &found),
        None => Ok(()),
    }
}

/// Folds these segments.
pub(super) fn fold(
    folder: &Path,
    parts: &[Part],
    (id, shard): (DataId, ShardId),
    visit: Visit<'_>,
) -> Result<Recovered, DataError> {
    let mut recovery = Recovery::new(id, shard.0);
    let mut bytes = Vec::new();
    for Part { number, cut } in parts.iter().copied() {
        let path = path_of(folder, number);
        read_whole(&path, &mut bytes)?;
        if let Some(cut) = cut {
            bytes.get_mut(cut as usize..).unwrap_or_default().fill(0);
        }
        let mut wrong = None;
        let read = recovery.segment(number, &bytes, &mut |position, record| {
            if wrong.is_none() {
                wrong = visit(position, record).err();
            }
        });
        match wrong {
            Some(error) if error.is_of_another_version() => {
                let found = error.to_string();
                return Err(DataError::Format { path, found });
            }
            Some(error) => return Err(DataError::Record { path, error }),
            None => {}
        }
        read.map_err(|corrupt| refusal(folder, path, corrupt))?;
    }
    Ok(recovery.finish())
}

fn refusal(folder: &Path, path: PathBuf, corrupt: Corrupt) -> DataError {
    match corrupt {
        Corrupt::Format { found, .. } => DataError::Format {
            path,
            found: found.to_string(),
        },
        Corrupt::Beginning { before, .. } => DataError::Corrupt {
            path: path_of(folder, before),
            corrupt,
        },
        _ => DataError::Corrupt { path, corrupt },
    }
}

/// The last frame is taken as written, so it must not be lost behind what is written next: its process may have
/// ended before its disk had answered.
fn flush(path: &Path) -> Result<(), DataError> {
    let file = File::open(path);
    let flushed = file.and_then(|file| file.sync_data());
    flushed.map_err(DataError::of("cannot flush", path))
}

/// Numbers of the segments there are, in order; and files that were being made.
pub(super) fn numbers(folder: &Path) -> Result<(Vec<SegmentNumber>, Vec<PathBuf>), DataError> {
    let (mut numbers, mut unfinished) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(DataError::of("cannot list", folder))? {
        let path = entry.map_err(DataError::of("cannot list", folder))?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let number = stem.and_then(|stem| stem.parse().ok()).map(SegmentNumber);
        match (number, extension) {
            (Some(number), Some("seg")) if path == path_of(folder, number) => numbers.push(number),
            (Some(_), Some("new")) => unfinished.push(path),
            _ => {} // not ours
        }
    }
    numbers.sort_unstable();
    Ok((numbers, unfinished))
}

pub(in crate::io) fn read_whole(path: &Path, bytes: &mut Vec<u8>) -> Result<(), DataError> {
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
    let before = Extent::read(folder)?;
    let tail = recovered.used.last().copied();
    let tail_path = tail.map(|tail| path_of(folder, tail));
    let tail_bytes = match &tail_path {
        Some(path) => {
            let found = fs::metadata(path).map_err(DataError::of("cannot look at", path))?;
            found.len() // of an earlier journal-segment-bytes
        }
        None => segment_bytes,
    };
    let mut extent = Extent {
        edition: before.map_or(0, |before| before.edition),
        oldest: recovered.used.first().copied().unwrap_or(number.next()),
        tail: tail.unwrap_or_default(),
        first: number.next(),
        newest: number,
        bytes: segment_bytes.min(tail_bytes),
    };
    // Files without records get other numbers now, or none.
    let write = |extent: &mut Extent| {
        let written = extent.write(folder);
        written.map_err(DataError::of("cannot write", &extent_of(folder)))
    };
    write(&mut extent)?;
    let (found, _) = numbers(folder)?;
    let unused = found
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
    extent.newest = number;
    write(&mut extent)?;
    Ok(ready)
}
