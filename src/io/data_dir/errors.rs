//! Why a data directory is not used, each in a sentence with what to change.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::journal::Corrupt;
use crate::shard::RecordError;

#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("the data directory {0} is not a folder: give another one with --data-dir")]
    NotFolder(PathBuf),
    #[error("the data directory {0} cannot be made, there is no folder for it: make it, or give another one with --data-dir")]
    NoParent(PathBuf),
    #[error("there is no folder {0}")]
    Missing(PathBuf),
    #[error("{0} is not a data directory of ringmq: it has no manifest")]
    NoManifest(PathBuf),
    #[error("{0} is missing, which had the log of one of the shards: bring the data directory back from a backup, or move it away to begin without what it holds")]
    NoLog(PathBuf),
    #[error("{path} is missing, a segment of a log that was there: bring the data directory back from a backup, or see what can be kept without it: ringmq journal repair {}", data_dir_of(path).display())]
    NoSegment { path: PathBuf },
    #[error("{path} has {bytes} bytes, and was {expected} bytes long: bring the data directory back from a backup, or see what can be kept without it: ringmq journal repair {}", data_dir_of(path).display())]
    Shorter {
        path: PathBuf,
        bytes: u64,
        expected: u64,
    },
    #[error("{0} would begin in its middle: what was before that is missing")]
    NoBeginning(PathBuf),
    #[error("ringmq may not write to {0}: change its owner or its permissions, or give another folder with --data-dir")]
    Forbidden(PathBuf),
    #[error("the file system of {0} is read-only: give a folder elsewhere with --data-dir")]
    ReadOnly(PathBuf),
    #[error("the data directory {path} is in use by {by}: stop it, or give this one another folder with --data-dir")]
    InUse { path: PathBuf, by: String },
    #[error("the data directory {path} has no manifest, but other files ({found}): give an empty folder with --data-dir, or bring its manifest back from a backup")]
    Foreign { path: PathBuf, found: String },
    #[error("{0} is damaged: bring it back from a backup, or move the whole data directory away to begin without what it holds")]
    Manifest(PathBuf),
    #[error("{path} has format {found:?}, which this version does not read: start the version of ringmq that wrote it, or give another folder with --data-dir")]
    Format { path: PathBuf, found: String },
    #[error("the journal needs {needed} MiB to begin with in {path}, where {free} MiB are free: make room, or lower journal-segment-bytes or shards")]
    NoSpace {
        path: PathBuf,
        needed: u64,
        free: u64,
    },
    #[error("the journal needs {needed} MiB to begin with, and journal-bytes-max is {max} MiB: raise it, or lower journal-segment-bytes or shards")]
    BytesMax { needed: u64, max: u64 },
    #[error("the journal is damaged at {path}: {corrupt}. What was acknowledged may be lost, so ringmq does not start with the rest: bring the data directory back from a backup, or see what can be kept without it: ringmq journal repair {}", data_dir_of(path).display())]
    Corrupt { path: PathBuf, corrupt: Corrupt },
    #[error("the journal is damaged at {path}: {error}. What was acknowledged may be lost, so ringmq does not start with the rest: bring the data directory back from a backup, or see what can be kept without it: ringmq journal repair {}", data_dir_of(path).display())]
    Record { path: PathBuf, error: RecordError },
    #[error("the file system of {0} cannot write a block to the disk at once (O_DIRECT, O_DSYNC), which every acknowledgement waits for: give a folder elsewhere with --data-dir")]
    NoCommit(PathBuf),
    #[error(
        "the file system of {0} is full: make room, or give a folder elsewhere with --data-dir"
    )]
    Full(PathBuf),
    #[error("{0} is still being written for a process that has ended: its disk does not answer; start again when it does")]
    StillWritten(PathBuf),
    #[error("{action} {path}: {error}")]
    Io {
        action: &'static str,
        path: PathBuf,
        error: io::Error,
    },
}

/// Of a segment's path.
fn data_dir_of(segment: &Path) -> &Path {
    let shard = segment.parent().unwrap_or(segment);
    shard.parent().unwrap_or(shard)
}

impl DataError {
    /// For `map_err`: what could not be done with which file.
    pub(in crate::io) fn of<'a>(
        action: &'static str,
        path: &'a Path,
    ) -> impl Fn(io::Error) -> Self + 'a {
        move |error| {
            let path = path.to_owned();
            match error.kind() {
                io::ErrorKind::PermissionDenied => Self::Forbidden(path),
                io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(path),
                _ => Self::Io {
                    action,
                    path,
                    error,
                },
            }
        }
    }
}

/// The system's own error where there is one, by which it is decided what to do about it
/// ([`NoFile`](crate::io::no_file::NoFile)).
impl From<DataError> for io::Error {
    fn from(error: DataError) -> Self {
        match error {
            DataError::Io { error, .. } => error,
            DataError::Forbidden(_) => Errno::ACCESS.into(),
            DataError::ReadOnly(_) => Errno::ROFS.into(),
            DataError::Full(_) => Errno::NOSPC.into(),
            other => Self::other(other.to_string()),
        }
    }
}
