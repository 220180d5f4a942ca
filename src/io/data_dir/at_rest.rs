//! A data directory that no broker uses, to be looked at or repaired: it is locked meanwhile, and not changed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::extent::{extent_of, Extent};
use super::manifest::Manifest;
use super::segments::{check_extent, fold, numbers, Part, Visit};
use super::{check, flush_folder, folder_of, lock_file, read_manifest, DataError};
use crate::ids::ShardId;
use crate::journal::{Recovered, SegmentNumber};

/// See the module.
#[derive(Debug)]
pub(in crate::io) struct AtRest {
    path: PathBuf,
    manifest: Manifest,
    /// Locked as long as it is open; `None`: there is no such file, and so no broker.
    _lock: Option<File>,
}

impl AtRest {
    pub(in crate::io) fn open(path: &Path) -> Result<Self, DataError> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(DataError::NotFolder(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DataError::Missing(path.to_owned()))
            }
            Err(error) => return Err(DataError::of("cannot look at", path)(error)),
        }
        let lock = lock(path)?;
        let manifest = read_manifest(path)?;
        let manifest = manifest.ok_or_else(|| DataError::NoManifest(path.to_owned()))?;
        Ok(Self {
            path: path.to_owned(),
            manifest: check(path, manifest)?,
            _lock: lock,
        })
    }

    pub(in crate::io) fn path(&self) -> &Path {
        &self.path
    }

    pub(in crate::io) fn shards(&self) -> impl Iterator<Item = ShardId> {
        (0..self.manifest.shards).map(ShardId)
    }

    pub(in crate::io) fn folder(&self, shard: ShardId) -> PathBuf {
        folder_of(&self.path, shard, self.manifest.shards)
    }

    /// The segments of a shard, whole ones.
    pub(in crate::io) fn parts(&self, shard: ShardId) -> Result<Vec<Part>, DataError> {
        let folder = self.folder(shard);
        if !folder.is_dir() {
            return Err(DataError::NoLog(folder));
        }
        let parts = numbers(&folder)?.0.into_iter();
        Ok(parts.map(|number| Part { number, cut: None }).collect())
    }

    /// Reads a log of these parts only.
    pub(in crate::io) fn fold(
        &self,
        shard: ShardId,
        parts: &[Part],
        visit: Visit<'_>,
    ) -> Result<Recovered, DataError> {
        fold(&self.folder(shard), parts, (self.manifest.id, shard), visit)
    }

    /// Whether all of a log's segments are there that must be.
    pub(in crate::io) fn check_extent(&self, shard: ShardId) -> Result<(), DataError> {
        check_extent(&self.folder(shard), &self.parts(shard)?)
    }

    /// Those that are there are all of a log from here on.
    pub(in crate::io) fn forget_extent(&self, shard: ShardId) -> Result<(), DataError> {
        let folder = self.folder(shard);
        let forgotten = Extent::forget(&folder);
        forgotten.map_err(DataError::of("cannot remove", &extent_of(&folder)))?;
        flush_folder(&folder)
    }

    pub(in crate::io) fn path_of(&self, shard: ShardId, number: SegmentNumber) -> PathBuf {
        super::path_of(&self.folder(shard), number)
    }
}

/// Who only looks need not be allowed to write.
fn lock(path: &Path) -> Result<Option<File>, DataError> {
    let name = path.join("lock");
    let mut options = OpenOptions::new();
    let file = match options.read(true).write(true).open(&name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(_) => File::open(&name),
        opened => opened,
    };
    let file = file.map_err(DataError::of("cannot open", &name))?;
    lock_file(path, file).map(Some)
}
