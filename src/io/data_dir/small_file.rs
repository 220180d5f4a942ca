//! A small file beside the logs: read whole, and replaced whole.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{flush_folder, DataError};

/// More is none of ours: ten thousand bans with long names take 6 MiB.
const BYTES_MAX: u64 = 16 << 20;

/// `None`: there is no such file.
pub(in crate::io) fn read(folder: &Path, name: &str) -> Result<Option<String>, DataError> {
    let path = folder.join(name);
    let cannot = DataError::of("cannot read", &path);
    let file = match fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    let mut text = String::new();
    match file.take(BYTES_MAX).read_to_string(&mut text) {
        Ok(_) => Ok(Some(text)),
        Err(error) => Err(cannot(error)),
    }
}

/// Is on the disk when this returns; when it fails, or the machine does meanwhile, the file is as it was.
pub(in crate::io) fn replace(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), DataError> {
    let path = folder.join(name);
    let unfinished = folder.join(format!("{name}.new"));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&unfinished).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)
    });
    written.map_err(DataError::of("cannot write", &path))?;
    flush_folder(folder)
}
