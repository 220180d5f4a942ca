//! Logs as another place has copies of them: their frames read one after the other, and files made of such frames.
//!
//! Done at the start, before a log is read for what it says, and by one thread.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::manifest::Manifest;
use super::segments::{numbers, read_whole};
use super::{check, flush_folder, folder_of, make_folder, read_manifest, small_file, DataError};
use crate::ids::ShardId;
use crate::journal::{survey, DataId, Lsn, Piece, Recovery, SegmentNumber, BLOCK_BYTES};

/// Where a node that others have taken over from keeps what it had.
pub(super) const ADOPTED: &str = "adopted-";

/// What a data directory is by its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::io) struct Known {
    pub(in crate::io) text: String,
    pub(in crate::io) id: DataId,
    pub(in crate::io) shards: u16,
}

impl Known {
    /// `None`: no manifest of this version.
    pub(in crate::io) fn decode(text: &str) -> Option<Self> {
        Manifest::decode(text)
            .ok()
            .map(|manifest| Self::of(&manifest))
    }

    pub(super) fn of(manifest: &Manifest) -> Self {
        Self {
            text: manifest.encode(),
            id: manifest.id,
            shards: manifest.shards,
        }
    }

    /// `None`: the folder is no data directory yet.
    pub(in crate::io) fn read(path: &Path) -> Result<Option<Self>, DataError> {
        let found = read_manifest(path)?;
        let found = found.map(|manifest| check(path, manifest)).transpose()?;
        Ok(found.as_ref().map(Self::of))
    }

    /// Folder of a log of its.
    pub(in crate::io) fn log(&self, path: &Path, shard: ShardId) -> PathBuf {
        folder_of(path, shard, self.shards)
    }

    /// Makes a data directory of the files that are there.
    pub(in crate::io) fn write(&self, path: &Path) -> Result<(), DataError> {
        for shard in (0..self.shards).map(ShardId) {
            make_folder(&self.log(path, shard))?;
        }
        small_file::replace(path, "manifest", self.text.as_bytes())
    }
}

/// A frame, with the header of its segment if it is the first.
#[derive(Debug)]
pub(in crate::io) struct FoundFrame<'a> {
    pub(in crate::io) lsn: Lsn,
    pub(in crate::io) segment: SegmentNumber,
    pub(in crate::io) offset: u32,
    pub(in crate::io) bytes: &'a [u8],
}

/// Visits the frames of a segment's file from one on, in order.
fn frames_of(
    folder: &Path,
    segment: SegmentNumber,
    visit: &mut dyn FnMut(FoundFrame<'_>),
) -> Result<(), DataError> {
    let mut file = Vec::new();
    read_whole(&super::path_of(folder, segment), &mut file)?;
    let mut last = None;
    for seen in survey(segment, &file, BLOCK_BYTES as u32) {
        let is_next = last.is_none_or(|last: Lsn| seen.lsn == last.next());
        if !is_next || !seen.is_whole() {
            return Ok(()); // a torn end
        }
        last = Some(seen.lsn);
        let (start, end) = seen.range();
        let start = if start == BLOCK_BYTES { 0 } else { start };
        visit(FoundFrame {
            lsn: seen.lsn,
            segment,
            offset: start as u32, // within the segment
            bytes: &file[start..end],
        });
    }
    Ok(())
}

/// The last frame of a log, with its bytes.
pub(in crate::io) fn last_frame(folder: &Path) -> Result<Option<(Lsn, Vec<u8>)>, DataError> {
    let (numbers, _) = numbers(folder)?;
    for segment in numbers.into_iter().rev() {
        let mut last = None;
        frames_of(folder, segment, &mut |frame| {
            last = Some((frame.lsn, frame.bytes.to_vec()));
        })?;
        if last.is_some() {
            return Ok(last);
        }
    }
    Ok(None)
}

/// Visits the frames of a log from one on, in order.
pub(in crate::io) fn frames_from(
    folder: &Path,
    first: Lsn,
    visit: &mut dyn FnMut(FoundFrame<'_>),
) -> Result<(), DataError> {
    let (numbers, _) = numbers(folder)?;
    for segment in numbers {
        frames_of(folder, segment, &mut |frame| {
            if frame.lsn >= first {
                visit(frame);
            }
        })?;
    }
    Ok(())
}

/// Files of logs that are made of frames.
pub(in crate::io) struct Rebuild {
    path: PathBuf,
    segment_bytes: u64,
    files: HashMap<(u16, SegmentNumber), File>,
    folders: Vec<PathBuf>,
}

impl Rebuild {
    /// In a folder that is there.
    pub(in crate::io) fn new(path: &Path, segment_bytes: u32) -> Self {
        Self {
            path: path.to_owned(),
            segment_bytes: segment_bytes.into(),
            files: HashMap::new(),
            folders: Vec::new(),
        }
    }

    /// Of a log among so many.
    pub(in crate::io) fn piece(
        &mut self,
        (shard, of): (ShardId, u16),
        piece: &Piece<'_>,
    ) -> Result<(), DataError> {
        let folder = folder_of(&self.path, shard, of);
        if !self.folders.contains(&folder) {
            make_folder(&folder)?;
            self.folders.push(folder.clone());
        }
        let path = super::path_of(&folder, piece.segment);
        let cannot = |error: io::Error| DataError::of("cannot write", &path)(error);
        let end = u64::from(piece.offset) + u64::from(piece.total);
        let bytes = end.next_multiple_of(BLOCK_BYTES as u64);
        let key = (shard.0, piece.segment);
        if !self.files.contains_key(&key) {
            // A file without its header would be taken for one that holds nothing, and what follows for the beginning.
            if (piece.offset, piece.at) != (0, 0) && !path.exists() {
                return Err(DataError::NoBeginning(path));
            }
            // The segment before is complete.
            let before = self.files.extract_if(|(other, _), _| *other == shard.0);
            for (_, file) in before {
                file.sync_all().map_err(cannot)?;
            }
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o600);
            self.files.insert(key, options.open(&path).map_err(cannot)?);
        }
        let file = &self.files[&key];
        let there = file.metadata().map_err(cannot)?.len();
        if there < bytes.max(self.segment_bytes) {
            file.set_len(bytes.max(self.segment_bytes))
                .map_err(cannot)?;
        }
        let at = u64::from(piece.offset) + u64::from(piece.at);
        file.write_all_at(piece.bytes, at).map_err(cannot)
    }

    /// All of it is on the disk when this returns.
    pub(in crate::io) fn finish(self) -> Result<(), DataError> {
        for file in self.files.into_values() {
            let cannot = DataError::of("cannot flush", &self.path);
            file.sync_all().map_err(cannot)?;
        }
        self.folders
            .iter()
            .try_for_each(|folder| flush_folder(folder))
    }
}

/// Moves what a data directory has out of the way; where to.
pub(in crate::io) fn set_aside(path: &Path) -> Result<PathBuf, DataError> {
    let names = (1..).map(|number| path.join(format!("{ADOPTED}{number}")));
    let aside = names.into_iter().find(|aside| !aside.exists());
    let aside = aside.unwrap_or_else(|| path.join(ADOPTED));
    let made = fs::DirBuilder::new().mode(0o700).create(&aside);
    made.map_err(DataError::of("cannot make", &aside))?;
    let cannot = |error: io::Error| DataError::of("cannot move", path)(error);
    // The manifest first: without it the rest is refused, if this is cut short.
    let logs = fs::read_dir(path).map_err(cannot)?;
    let logs = logs
        .filter_map(|entry| entry.ok())
        .map(|entry| entry.file_name());
    let logs = logs.filter(|name| name.to_string_lossy().starts_with("shard-"));
    let names = ["manifest".into()].into_iter().chain(logs);
    for name in names.collect::<Vec<_>>() {
        fs::rename(path.join(&name), aside.join(&name)).map_err(cannot)?;
    }
    flush_folder(&aside)?;
    flush_folder(path)?;
    Ok(aside)
}

/// Segments of a log, in order.
pub(in crate::io) fn segments_of(folder: &Path) -> Result<Vec<SegmentNumber>, DataError> {
    if !folder.exists() {
        return Ok(Vec::new()); // nothing was ever written to it
    }
    numbers(folder).map(|(numbers, _)| numbers)
}

pub(in crate::io) fn read_segment(
    folder: &Path,
    number: SegmentNumber,
) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    read_whole(&super::path_of(folder, number), &mut bytes)?;
    Ok(bytes)
}

/// Whether logs that were made of frames are whole.
pub(in crate::io) fn check_logs(path: &Path, known: &Known) -> Result<(), String> {
    for shard in (0..known.shards).map(ShardId) {
        let folder = known.log(path, shard);
        let said = |error: DataError| error.to_string();
        let mut recovery = Recovery::new(known.id, shard.0);
        for number in segments_of(&folder).map_err(said)? {
            let bytes = read_segment(&folder, number).map_err(said)?;
            let read = recovery.segment(number, &bytes, &mut |_, _| {});
            read.map_err(|corrupt| format!("the log of shard {}: {corrupt}", shard.0))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_lacks_its_beginning_is_not_made() {
        let name = format!("ringmq-{}-rebuild", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        let piece = |offset, at| Piece {
            lsn: Lsn(7),
            segment: SegmentNumber(3),
            offset,
            total: 8_192,
            at,
            bytes: &[1; 4_096],
        };
        let log = (ShardId(0), 1);
        for (offset, at) in [(8_192, 0), (0, 4_096)] {
            let mut files = Rebuild::new(&path, 64 << 10);
            let text = files
                .piece(log, &piece(offset, at))
                .unwrap_err()
                .to_string();
            assert!(text.contains("3.seg would begin in its middle"), "{text}");
        }
        let mut files = Rebuild::new(&path, 64 << 10);
        for (offset, at) in [(0, 0), (0, 4_096), (8_192, 0)] {
            files.piece(log, &piece(offset, at)).unwrap();
        }
        files.finish().unwrap();
        // One that is there already is completed.
        let mut files = Rebuild::new(&path, 64 << 10);
        files.piece(log, &piece(16_384, 0)).unwrap();
        fs::remove_dir_all(&path).unwrap();
    }
}
