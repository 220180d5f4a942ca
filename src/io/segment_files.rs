//! Files of fixed size for journals, made ahead of need: written full of zeros, durable, and in the folder.
//!
//! A shard writes into such a file with one request per commit; growing one, or one that is only reserved,
//! changes the file system with each of them and takes twice as long. Opening, zeroing, renaming and flushing
//! folders can block, so one thread that is not pinned does it for all shards. Its writes bypass the page cache.
//!
//! It waits for each write instead of having several on their way, which takes a tenth longer (ARCHITECTURE.md) and needs no
//! ring of its own.
//!
//! A file has its final name only once it is whole: what a crash has left under the other name is
//! overwritten.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;

use crossbeam::channel::{bounded, Receiver, Sender};
use rustix::fs::statvfs;
use rustix::io::Errno;

use super::aligned_buffer::AlignedBuffer;
use super::data_dir::{open_direct, open_segment, Extent};
use crate::ids::ShardId;
use crate::journal::SegmentNumber;

/// Requests that wait, at most: each shard has a few files ahead.
const REQUESTS_MAX: usize = 1_024;
/// Zeros written with one request: the kernel makes several of it, so that the device has enough to do.
const PIECE: u64 = 2 << 20;

/// A file to be made.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whose it is to be, and as which segment.
    pub shard: ShardId,
    pub number: SegmentNumber,
    pub path: PathBuf,
    /// A multiple of 4 KiB.
    pub bytes: u64,
    /// Bytes that must be free on the disk before one is written anew.
    pub free_min: u64,
    /// The oldest file that is needed, the recycled one left out.
    pub oldest: SegmentNumber,
    /// A file that is no longer needed: it is renamed instead of writing a new one, unless it is shorter.
    pub recycled: Option<PathBuf>,
}

enum Job {
    Make(Request),
    Remove(PathBuf, SegmentNumber),
}

/// Sender's half of the service.
pub struct SegmentFiles {
    jobs: Sender<Job>,
    /// Jobs that are not done.
    open: Arc<AtomicUsize>,
}

impl SegmentFiles {
    /// Starts the thread. `ready` is called on it with each file, open for reading and writing past the
    /// page cache: it hands the file to its shard's inbox. The thread ends with its sender.
    ///
    /// # Errors
    /// There is no thread.
    /// `bytes_max`: of all logs in one data directory.
    pub fn start(
        bytes_max: Option<u64>,
        ready: impl Fn(Request, io::Result<OwnedFd>) + Send + 'static,
    ) -> io::Result<Self> {
        let (jobs, taken) = bounded(REQUESTS_MAX);
        let open = Arc::new(AtomicUsize::new(0));
        let served = Arc::clone(&open);
        thread::Builder::new()
            .name("segments".into())
            .spawn(move || serve(&taken, &served, bytes_max, ready))?;
        Ok(Self { jobs, open })
    }

    /// Without waiting; false when too many wait already.
    #[must_use]
    pub fn prepare(&self, request: Request) -> bool {
        self.give(Job::Make(request))
    }

    /// Removes a file, behind what was asked for before; `oldest` is the oldest that is needed still. Without waiting; false when too many wait already.
    #[must_use]
    pub fn remove(&self, path: PathBuf, oldest: SegmentNumber) -> bool {
        self.give(Job::Remove(path, oldest))
    }

    fn give(&self, job: Job) -> bool {
        self.open.fetch_add(1, Ordering::SeqCst);
        let is_taken = self.jobs.try_send(job).is_ok();
        if !is_taken {
            self.open.fetch_sub(1, Ordering::SeqCst);
        }
        is_taken
    }

    /// No file is being made or removed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.open.load(Ordering::SeqCst) == 0
    }
}

fn serve(
    jobs: &Receiver<Job>,
    open: &AtomicUsize,
    bytes_max: Option<u64>,
    ready: impl Fn(Request, io::Result<OwnedFd>),
) {
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Make(request) => {
                let made = make(&request, bytes_max);
                ready(request, made);
            }
            Job::Remove(path, oldest) => {
                if let Err(error) = remove(&path, oldest) {
                    tracing::warn!("{} cannot be removed: {error}", path.display());
                }
            }
        }
        open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Files are removed for good in the order in which they were asked to be: a log whose oldest segments are missing
/// is whole, one with a gap is not.
fn remove(path: &Path, oldest: SegmentNumber) -> io::Result<()> {
    note_extent(path, |extent| extent.oldest = extent.oldest.max(oldest))?;
    std::fs::remove_file(path)?;
    flush_folder_of(path)
}

/// What must be there is written down before a file goes, and before one that has come is used.
fn note_extent(path: &Path, change: impl FnOnce(&mut Extent)) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let Some(mut extent) = Extent::read(folder)? else {
        return Ok(()); // it is no log
    };
    change(&mut extent);
    extent.write(folder)
}

fn flush_folder_of(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn make(request: &Request, bytes_max: Option<u64>) -> io::Result<OwnedFd> {
    let path = &request.path;
    let recycled = match &request.recycled {
        Some(recycled) => recycle(recycled, request)?,
        None => false,
    };
    if !recycled {
        check_free(path, request.free_min)?;
        if let Some(bytes_max) = bytes_max {
            check_bytes(path, request.free_min, bytes_max)?;
        }
        let unfinished = path.with_extension("new");
        if let Err(error) = write_zeros(&unfinished, request.bytes) {
            // On a full disk the others need what it took.
            let _ = std::fs::remove_file(&unfinished);
            return Err(error);
        }
        std::fs::rename(&unfinished, path)?;
    }
    // The name is durable before anything is written under it.
    flush_folder_of(path)?;
    note_extent(path, |extent| {
        extent.newest = extent.newest.max(request.number)
    })?;
    open_segment(path)
}

/// A full disk is not written to again and again, which would take from others what little there is.
fn check_free(path: &Path, free_min: u64) -> io::Result<()> {
    let space = statvfs(path.parent().unwrap_or(Path::new(".")))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let has_size = space.f_blocks > 0; // ramfs has none
    match has_size && free < free_min {
        true => Err(io::Error::from_raw_os_error(Errno::NOSPC.raw_os_error())),
        false => Ok(()),
    }
}

/// The same of a disk that is as large as journal-bytes-max.
fn check_bytes(path: &Path, free_min: u64, bytes_max: u64) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    // Logs of another number of shards go when those of this one are written.
    let of = |folder: &Path| {
        let name = folder.file_name()?.to_str()?;
        Some(name.split_once("-of-")?.1.to_owned())
    };
    let mut bytes = 0;
    for log in std::fs::read_dir(folder.parent().unwrap_or(Path::new(".")))? {
        let log = log?.path();
        if of(&log).is_none() || of(&log) != of(folder) {
            continue;
        }
        for file in std::fs::read_dir(&log)? {
            let file = file?;
            if file.path().extension().is_some_and(|it| it == "seg") {
                bytes += file.metadata()?.len();
            }
        }
    }
    match bytes + free_min > bytes_max {
        true => Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!(
                "{} MiB of journal-bytes-max, {} MiB, are in use",
                bytes >> 20,
                bytes_max >> 20
            ),
        )),
        false => Ok(()),
    }
}

/// True when the file has been renamed; one that is too short is removed.
fn recycle(recycled: &Path, request: &Request) -> io::Result<bool> {
    let length = match std::fs::metadata(recycled) {
        Ok(found) => found.len(),
        // An attempt before this one has failed behind the rename.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if length < request.bytes {
        remove(recycled, request.oldest)?;
        return Ok(false);
    }
    if length > request.bytes {
        let file = OpenOptions::new().write(true).open(recycled)?;
        file.set_len(request.bytes)?; // it had a record larger than a segment
    }
    note_extent(recycled, |extent| {
        extent.oldest = extent.oldest.max(request.oldest)
    })?;
    std::fs::rename(recycled, &request.path)?;
    Ok(true)
}

fn write_zeros(path: &Path, bytes: u64) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let file = open_direct(&options, path)?;
    let mut zeros = AlignedBuffer::new(PIECE.min(bytes) as usize);
    zeros.set_len(zeros.capacity());
    for offset in (0..bytes).step_by(PIECE as usize) {
        let left = (bytes - offset).min(PIECE) as usize;
        file.write_all_at(&zeros[..left], offset)?;
    }
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    /// A folder that is removed in the end.
    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn files_are_whole_when_they_have_their_name() {
        let name = format!("ringmq-{}-segments", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        fs::create_dir_all(&folder.0).unwrap();
        let (sender, ready) = channel();
        let files = SegmentFiles::start(None, move |request, made| {
            sender.send((request, made)).unwrap();
        });
        let files = files.unwrap();
        let made = || ready.recv_timeout(Duration::from_secs(30)).unwrap();
        let request = |name: &str, bytes, recycled: Option<&PathBuf>| Request {
            shard: ShardId(0),
            number: SegmentNumber(1),
            path: folder.0.join(name),
            bytes,
            free_min: bytes,
            oldest: SegmentNumber(0),
            recycled: recycled.cloned(),
        };
        let sizes = [4_096, PIECE, 3 * PIECE + 4_096, 8 * PIECE];
        for (bytes, name) in sizes.into_iter().zip(["1", "2", "3", "4"]) {
            assert!(files.prepare(request(name, bytes, None)));
            let (made, file) = made();
            file.unwrap();
            let content = fs::read(&made.path).unwrap();
            assert_eq!(content.len() as u64, bytes);
            assert!(content.iter().all(|byte| *byte == 0));
            let blocks = fs::metadata(&made.path).unwrap().blocks();
            assert!(blocks * 512 >= bytes, "written, not only reserved");
        }
        let first = folder.0.join("1");
        fs::write(&first, [7; 4_096]).unwrap();
        assert!(files.prepare(request("5", 4_096, Some(&first))));
        let (recycled, file) = made();
        file.unwrap();
        assert_eq!(fs::read(recycled.path).unwrap(), [7; 4_096]);
        // What was longer is cut, what is too short is made anew.
        fs::write(folder.0.join("long"), [8; 9_000]).unwrap();
        fs::write(folder.0.join("short"), [9; 40]).unwrap();
        for (old, expected) in [("long", 8), ("short", 0)] {
            let old = folder.0.join(old);
            assert!(files.prepare(request("r", 4_096, Some(&old))));
            let (recycled, file) = made();
            file.unwrap();
            assert_eq!(fs::read(&recycled.path).unwrap(), [expected; 4_096]);
            assert!(!old.exists());
            assert!(files.remove(recycled.path, SegmentNumber(0)));
        }
        // A file that cannot be made is an error of its own request only.
        assert!(files.prepare(request("no/such/folder", 4_096, None)));
        assert!(made().1.is_err());
        assert!(files.prepare(request("6", 4_096, None)));
        made().1.unwrap();
        let mut names: Vec<_> = fs::read_dir(&folder.0).unwrap().collect();
        names.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
        let names: Vec<_> = names
            .iter()
            .map(|e| e.as_ref().unwrap().file_name())
            .collect();
        assert_eq!(names, ["2", "3", "4", "5", "6"]);
    }
}
