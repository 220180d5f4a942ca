//! The data directory: what outlives the process. One broker has it at a time.
//!
//! ```text
//! manifest              what the directory is (`manifest.rs`), written by rename
//! lock                  held by the process that uses the directory, with its number
//! bans.json             who is banned by an operator, replaced whole (`small_file.rs`)
//! shard-02-of-04/extent  which segments must be there (`extent.rs`)
//! shard-02-of-04/7.seg  segment 7 of the log of the third of four shards (`segments.rs`)
//! ```
//! What cannot be used is refused before anything is changed.

mod at_rest;
pub(super) mod copies;
mod errors;
mod extent;
mod look;
mod manifest;
mod names;
mod probe;
mod segments;
pub(super) mod small_file;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{flock, statfs, statvfs, FlockOperation};

pub(super) use self::at_rest::AtRest;
pub(super) use self::errors::DataError;
pub(super) use self::extent::Extent;
pub(super) use self::look::look;
use self::manifest::{Manifest, Unreadable};
pub(super) use self::names::path_of;
pub(super) use self::segments::{
    open as open_segment, open_direct, read_whole, Part, Ready, Visit,
};
use crate::ids::ShardId;
use crate::journal::{DataId, Recovered};
use crate::shard::{PlacementSeed, HOME_LANES};

/// Segments of a shard that exist at least: the one that is written, and those ahead of it.
const SEGMENTS_MIN: u64 = 3;
/// Of `statfs`: a file system in memory.
const TMPFS: i64 = 0x0102_1994;
/// What may be in a folder that becomes a data directory: of a start that was cut short, and of the file system.
const MAY_BE_THERE: [&str; 4] = ["lock", "manifest.new", "lost+found", probe::NAME];

/// An open data directory. Lives on: the start of the process, until its end.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    /// As it was found.
    manifest: Manifest,
    /// There are now.
    shards: u16,
    segment_bytes: u32,
    /// Locked as long as it is open.
    lock: File,
}

impl DataDir {
    /// Opens it for so many shards, or makes it.
    pub(super) fn open(path: &Path, shards: u16, segment_bytes: u32) -> Result<Self, DataError> {
        let lock = lock_folder(path)?;
        Self::open_locked(path, shards, segment_bytes, lock)
    }

    /// The same with the lock of the process before, which does not write any more.
    pub(super) fn open_locked(
        path: &Path,
        shards: u16,
        segment_bytes: u32,
        lock: File,
    ) -> Result<Self, DataError> {
        let found = read_manifest(path)?;
        let is_new = found.is_none();
        let manifest = match found {
            Some(manifest) => {
                let manifest = check(path, manifest)?;
                all_logs_are_there(path, manifest.shards)?;
                manifest
            }
            None => {
                check_new(path, shards, segment_bytes)?;
                let manifest = new_manifest(path, shards)?;
                write_manifest(path, &manifest)?;
                manifest
            }
        };
        // Files are opened by io_uring with no folder to begin at.
        let path = &std::path::absolute(path).map_err(DataError::of("cannot look at", path))?;
        remove_others(path, manifest.shards)?;
        match probe::write_a_block(path) {
            // What was written there before is served, full or not.
            Err(DataError::Full(_)) if !is_new => tracing::warn!(
                "the file system of {} is full: what has to be written there may be refused",
                path.display()
            ),
            tried => tried?,
        }
        warn_of_memory(path);
        Ok(Self {
            path: path.to_owned(),
            manifest,
            shards,
            segment_bytes,
            lock,
        })
    }

    /// Who has it may use the directory, for as long as any process has it open.
    pub(super) fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// Another process has had the lock so far.
    pub(super) fn name_owner(&self) -> io::Result<()> {
        name_owner(&self.lock)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// As it was found.
    pub(super) fn known(&self) -> copies::Known {
        copies::Known::of(&self.manifest)
    }

    pub(super) fn id(&self) -> DataId {
        self.manifest.id
    }

    pub(super) fn placement_seed(&self) -> PlacementSeed {
        self.manifest.placement_seed
    }

    pub(super) fn segment_bytes(&self) -> u32 {
        self.segment_bytes
    }

    /// A journal that may not have the files it begins with would never be well again.
    pub(super) fn check_bytes_max(&self, bytes_max: Option<u64>) -> Result<(), DataError> {
        let needed = u64::from(self.shards) * SEGMENTS_MIN * u64::from(self.segment_bytes);
        match bytes_max {
            Some(max) if max < needed => Err(DataError::BytesMax {
                needed: needed >> 20,
                max: max >> 20,
            }),
            _ => Ok(()),
        }
    }

    /// Logs there are, when they are of another number of shards than there is now.
    pub(super) fn others(&self) -> Option<u16> {
        (self.manifest.shards != self.shards).then_some(self.manifest.shards)
    }

    /// Folder of a shard's segments.
    pub(super) fn folder(&self, shard: ShardId) -> PathBuf {
        folder_of(&self.path, shard, self.shards)
    }

    /// Reads a shard's log, hands on its records, and makes the folder ready for what is written next.
    pub(super) fn recover(
        &self,
        shard: ShardId,
        visit: Visit<'_>,
    ) -> Result<(Recovered, Vec<Ready>), DataError> {
        let recovered = self.read(shard, visit)?;
        let ready = self.make_ready(shard, &recovered)?;
        Ok((recovered, ready))
    }

    /// The first half of that: nothing of the log is changed.
    pub(super) fn read(&self, shard: ShardId, visit: Visit<'_>) -> Result<Recovered, DataError> {
        let folder = self.folder(shard);
        make_folder(&folder)?;
        segments::remove_unfinished(&folder)?;
        segments::read(&folder, self.id(), shard, visit)
    }

    /// The second half.
    pub(super) fn make_ready(
        &self,
        shard: ShardId,
        recovered: &Recovered,
    ) -> Result<Vec<Ready>, DataError> {
        segments::make_ready(&self.folder(shard), recovered, self.segment_bytes.into())
    }

    /// Reads one of the [others](Self::others); nothing is changed.
    pub(super) fn read_other(
        &self,
        shard: ShardId,
        visit: Visit<'_>,
    ) -> Result<Recovered, DataError> {
        let folder = folder_of(&self.path, shard, self.manifest.shards);
        segments::read(&folder, self.id(), shard, visit)
    }

    /// Folders of the [others](Self::others), in order.
    pub(super) fn folders_of_others(&self) -> Vec<PathBuf> {
        let others = self.others().unwrap_or_default();
        let folder = |shard| folder_of(&self.path, ShardId(shard), others);
        (0..others).map(folder).collect()
    }

    /// What it is from [`adopt`](Self::adopt) on.
    pub(super) fn known_next(&self) -> copies::Known {
        copies::Known::of(&self.next_manifest())
    }

    fn next_manifest(&self) -> Manifest {
        Manifest {
            shards: self.shards,
            ..self.manifest
        }
    }

    /// The logs of the shards that there are now hold everything: from here on they count, the others are removed.
    pub(super) fn adopt(&self) -> Result<(), DataError> {
        let shards = self.shards;
        write_manifest(&self.path, &self.next_manifest())?;
        remove_others(&self.path, shards)
    }
}

fn folder_of(path: &Path, shard: ShardId, shards: u16) -> PathBuf {
    path.join(format!("shard-{:02}-of-{shards:02}", shard.0))
}

fn all_logs_are_there(path: &Path, shards: u16) -> Result<(), DataError> {
    let folders = (0..shards).map(|shard| folder_of(path, ShardId(shard), shards));
    let missing = folders.into_iter().find(|folder| !folder.is_dir());
    missing.map_or(Ok(()), |folder| Err(DataError::NoLog(folder)))
}

/// Removes logs of another number of shards: of a change of that number that was cut short, before its manifest
/// was written or after.
fn remove_others(path: &Path, shards: u16) -> Result<(), DataError> {
    for entry in fs::read_dir(path).map_err(DataError::of("cannot list", path))? {
        let entry = entry.map_err(DataError::of("cannot list", path))?;
        let name = entry.file_name();
        let name = name.to_str().and_then(|name| name.strip_prefix("shard-"));
        let of = name.and_then(|name| name.split_once("-of-")?.1.parse().ok());
        if of.is_some_and(|of: u16| of != shards) {
            let other = entry.path();
            fs::remove_dir_all(&other).map_err(DataError::of("cannot remove", &other))?;
        }
    }
    flush_folder(path)
}

/// Makes the folder itself, not those above it: with a mistyped name, or a disk that is not mounted, nothing
/// is begun anew in silence.
fn make_folder(path: &Path) -> Result<(), DataError> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => return Err(DataError::NotFolder(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(DataError::of("cannot look at", path)(error)),
    }
    // Messages and the seed of the placement are secret.
    let made = DirBuilder::new().mode(0o700).create(path);
    made.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => DataError::NoParent(path.to_owned()),
        _ => DataError::of("cannot make", path)(error),
    })?;
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    flush_folder(above.unwrap_or(Path::new(".")))
}

/// Names in a folder are durable only after this.
pub(super) fn flush_folder(path: &Path) -> Result<(), DataError> {
    let folder = File::open(path);
    let flushed = folder.and_then(|folder| folder.sync_all());
    flushed.map_err(DataError::of("cannot flush", path))
}

/// Makes the folder, if it is not there, and has it for this process.
pub(super) fn lock_folder(path: &Path) -> Result<File, DataError> {
    make_folder(path)?;
    lock(path)
}

/// Keeps other processes away until the file is closed.
fn lock(path: &Path) -> Result<File, DataError> {
    let name = path.join("lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = options
        .open(&name)
        .map_err(DataError::of("cannot open", &name))?;
    let file = lock_file(path, file)?;
    name_owner(&file).map_err(DataError::of("cannot write", &name))?;
    Ok(file)
}

fn name_owner(mut lock: &File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

fn lock_file(path: &Path, mut file: File) -> Result<File, DataError> {
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut number = String::new();
        let _ = file.read_to_string(&mut number); // only for the sentence
        return Err(DataError::InUse {
            path: path.to_owned(),
            by: match number.trim() {
                "" => "another process".into(),
                number => format!("process {number}"),
            },
        });
    }
    Ok(file)
}

fn read_manifest(path: &Path) -> Result<Option<Manifest>, DataError> {
    let name = path.join("manifest");
    let bytes = match fs::read(&name) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DataError::of("cannot read", &name)(error)),
    };
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    match Manifest::decode(text) {
        Ok(manifest) => Ok(Some(manifest)),
        Err(Unreadable::Damaged) => Err(DataError::Manifest(name)),
        Err(Unreadable::Format(found)) => Err(DataError::Format { path: name, found }),
    }
}

fn check(path: &Path, manifest: Manifest) -> Result<Manifest, DataError> {
    if manifest.lanes != HOME_LANES || manifest.shards == 0 {
        return Err(DataError::Format {
            path: path.join("manifest"),
            found: format!("{} lanes", manifest.lanes),
        });
    }
    Ok(manifest)
}

/// Whether a folder may become a data directory.
fn check_new(path: &Path, shards: u16, segment_bytes: u32) -> Result<(), DataError> {
    // Of a start that was cut short before there was a manifest. What holds something is not removed.
    check_new_with(path, (shards, segment_bytes), &|entry| {
        fs::remove_dir(entry).is_ok()
    })
}

/// `remove`: tries to remove an empty folder of a log.
fn check_new_with(
    path: &Path,
    (shards, segment_bytes): (u16, u32),
    remove: &dyn Fn(&Path) -> bool,
) -> Result<(), DataError> {
    let entries = fs::read_dir(path).map_err(DataError::of("cannot list", path))?;
    for entry in entries {
        let entry = entry.map_err(DataError::of("cannot list", path))?;
        let found = entry.file_name().to_string_lossy().into_owned();
        let is_empty_log = found.starts_with("shard-") && remove(&entry.path());
        let is_aside = found.starts_with(copies::ADOPTED);
        if !MAY_BE_THERE.contains(&found.as_str()) && !is_empty_log && !is_aside {
            let path = path.to_owned();
            return Err(DataError::Foreign { path, found });
        }
    }
    let space =
        statvfs(path).map_err(|errno| DataError::of("cannot look at", path)(errno.into()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let needed = u64::from(shards) * SEGMENTS_MIN * u64::from(segment_bytes);
    let is_told = space.f_blocks > 0; // ramfs has no size
    if is_told && free < needed {
        return Err(DataError::NoSpace {
            path: path.to_owned(),
            needed: needed >> 20,
            free: free >> 20,
        });
    }
    Ok(())
}

fn new_manifest(path: &Path, shards: u16) -> Result<Manifest, DataError> {
    let drawn = || {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map(|()| bytes)
    };
    let draw = || {
        drawn().map_err(|error| DataError::of("cannot draw an identity for", path)(error.into()))
    };
    Ok(Manifest {
        id: DataId(draw()?),
        placement_seed: PlacementSeed(draw()?),
        lanes: HOME_LANES,
        shards,
    })
}

/// From then on every log that it names has a folder: one that is missing was removed.
fn write_manifest(path: &Path, manifest: &Manifest) -> Result<(), DataError> {
    for shard in (0..manifest.shards).map(ShardId) {
        make_folder(&folder_of(path, shard, manifest.shards))?;
    }
    small_file::replace(path, "manifest", manifest.encode().as_bytes())
}

fn warn_of_memory(path: &Path) {
    if statfs(path).is_ok_and(|found| found.f_type == TMPFS) {
        tracing::warn!(
            "the data directory {} is on a file system in memory (tmpfs): it outlives the process, but not \
             the machine",
            path.display()
        );
    }
}
