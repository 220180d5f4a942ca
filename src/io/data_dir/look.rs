//! A look at a data directory as a start would find it, without changing anything: for `--check-config`.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{access, Access};

use super::{all_logs_are_there, check, check_new_with, read_manifest, DataError};

/// A sentence; a broker may be using the directory.
///
/// # Errors
/// A start would be refused.
pub(in crate::io) fn look(
    path: &Path,
    shards: u16,
    segment_bytes: u32,
) -> Result<String, DataError> {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(DataError::NotFolder(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let above = path.parent().filter(|above| !above.as_os_str().is_empty());
            let above = above.unwrap_or(Path::new("."));
            if !above.is_dir() {
                return Err(DataError::NoParent(path.to_owned()));
            }
            may_write(above)?;
            return Ok(format!("{shown} will be made"));
        }
        Err(error) => return Err(DataError::of("cannot look at", path)(error)),
    }
    may_write(path)?;
    let Some(manifest) = read_manifest(path)? else {
        check_new_with(path, (shards, segment_bytes), &|_| false)?;
        return Ok(format!("{shown} is empty"));
    };
    let manifest = check(path, manifest)?;
    all_logs_are_there(path, manifest.shards)?;
    Ok(match manifest.shards {
        same if same == shards => format!("{shown} has the logs of {shards} shards"),
        others => {
            format!("{shown} has the logs of {others} shards, which will be read for {shards}")
        }
    })
}

fn may_write(path: &Path) -> Result<(), DataError> {
    let may = access(path, Access::WRITE_OK | Access::EXEC_OK);
    may.map_err(|errno| DataError::of("cannot write to", path)(errno.into()))
}
