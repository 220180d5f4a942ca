//! Whether a commit is possible at all in a folder, tried before anything depends on it.

use std::fs::{self, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::{pwritev2, ReadWriteFlags};

use super::DataError;
use crate::io::aligned_buffer::AlignedBuffer;
use crate::journal::BLOCK_BYTES;

/// Removed again at once.
pub(super) const NAME: &str = "probe";

/// Writes and flushes a block as frames are written.
pub(super) fn write_a_block(folder: &Path) -> Result<(), DataError> {
    let path = folder.join(NAME);
    let written = try_in(&path);
    let removed = fs::remove_file(&path);
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput => {
            DataError::NoCommit(folder.to_owned())
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            DataError::Full(folder.to_owned())
        }
        _ => DataError::of("cannot write to", folder)(error),
    };
    written.map_err(failed)?;
    removed.map_err(DataError::of("cannot remove", &path))
}

fn try_in(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    drop(options.open(path)?); // one that cannot be opened with O_DIRECT may be made all the same
    let file = options
        .custom_flags(OFlags::DIRECT.bits() as i32)
        .open(path)?;
    let mut block = AlignedBuffer::new(BLOCK_BYTES);
    block.set_len(BLOCK_BYTES);
    let written = pwritev2(
        file.as_fd(),
        &[IoSlice::new(&block)],
        0,
        ReadWriteFlags::DSYNC,
    )?;
    match written {
        BLOCK_BYTES => Ok(()),
        _ => Err(io::ErrorKind::StorageFull.into()),
    }
}
