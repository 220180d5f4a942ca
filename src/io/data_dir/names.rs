//! Names of the files of a log.

use std::path::{Path, PathBuf};

use crate::journal::SegmentNumber;

pub(in crate::io) fn path_of(folder: &Path, number: SegmentNumber) -> PathBuf {
    folder.join(format!("{}.seg", number.0))
}
