//! The segments of a log that must be there, in a file of its own: a log alone does not show that its newest or its
//! oldest files were removed.
//!
//! Two blocks are written in turn, each with a number and a checksum, so that one that is torn leaves the other; the
//! file has its size from the beginning and needs no room on a full disk.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::errors::DataError;
use super::names::path_of;
use crate::journal::{SegmentNumber, BLOCK_BYTES};

const NAME: &str = "extent";
const TITLE: &str = "ringmq log";
const FORMAT: u32 = 1;
/// Of the text in a block; the rest of it are spaces.
const TEXT_BYTES: usize = 512;

/// See the module. Files with lower numbers than `oldest` may be there and are not needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::io) struct Extent {
    /// Counts the times it was written.
    pub(in crate::io) edition: u64,
    pub(in crate::io) oldest: SegmentNumber,
    /// The last one that processes before this one have written; 0: none.
    pub(in crate::io) tail: SegmentNumber,
    /// Those of this process, all of them, from the first one to the newest.
    pub(in crate::io) first: SegmentNumber,
    pub(in crate::io) newest: SegmentNumber,
    /// Bytes of a file, at least.
    pub(in crate::io) bytes: u64,
}

impl Extent {
    /// `None`: there is no such file.
    pub(in crate::io) fn read(folder: &Path) -> Result<Option<Self>, DataError> {
        let path = folder.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DataError::of("cannot read", &path)(error)),
        };
        let blocks = bytes.chunks(BLOCK_BYTES);
        let texts = blocks.filter_map(|block| std::str::from_utf8(block).ok());
        let newest = texts.filter_map(Self::decode).max_by_key(|it| it.edition);
        newest.map(Some).ok_or(DataError::Manifest(path))
    }

    /// Writes it and waits until it is on the disk.
    pub(in crate::io) fn write(&mut self, folder: &Path) -> io::Result<()> {
        self.edition += 1;
        let mut text = self.encode();
        text.extend(std::iter::repeat_n(' ', TEXT_BYTES - text.len()));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(folder.join(NAME))?;
        let place = self.edition % 2 * BLOCK_BYTES as u64;
        file.write_all_at(text.as_bytes(), place)?;
        file.sync_data()
    }

    /// It is not known any more what must be there.
    pub(in crate::io) fn forget(folder: &Path) -> io::Result<()> {
        match fs::remove_file(folder.join(NAME)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// A file that must be there and is not, or has lost its end.
    pub(super) fn check(&self, folder: &Path, found: &[SegmentNumber]) -> Result<(), DataError> {
        let own = (self.first.0..=self.newest.0).map(SegmentNumber);
        let tail = Some(self.tail).filter(|tail| tail.0 > 0);
        for number in tail.into_iter().chain(own) {
            if number < self.oldest {
                continue;
            }
            let path = path_of(folder, number);
            if !found.contains(&number) {
                return Err(DataError::NoSegment { path });
            }
            let there = fs::metadata(&path).map_err(DataError::of("cannot look at", &path))?;
            if there.len() < self.bytes {
                let (bytes, expected) = (there.len(), self.bytes);
                return Err(DataError::Shorter {
                    path,
                    bytes,
                    expected,
                });
            }
        }
        let is_needed = self.oldest <= self.newest.max(self.tail);
        if is_needed && found.iter().min() > Some(&self.oldest) {
            let path = path_of(folder, self.oldest);
            return Err(DataError::NoSegment { path });
        }
        Ok(())
    }

    fn encode(&self) -> String {
        let Self {
            edition,
            oldest,
            tail,
            first,
            newest,
            bytes,
        } = self;
        let mut text = format!(
            "{TITLE}\nformat {FORMAT}\nedition {edition}\noldest {}\ntail {}\nfirst {}\nnewest {}\nbytes {bytes}\n",
            oldest.0, tail.0, first.0, newest.0
        );
        let check = crc32c::crc32c(text.as_bytes());
        let _ = writeln!(text, "check {check:08x}"); // to a String it does not fail
        text
    }

    fn decode(block: &str) -> Option<Self> {
        let text = block.trim_start_matches('\0').trim_end_matches([' ', '\0']);
        let mut lines = text.lines().skip(2);
        let mut value = |name: &str| {
            let value = lines.next()?.strip_prefix(name)?.strip_prefix(' ')?;
            value.parse::<u64>().ok()
        };
        let edition = value("edition")?;
        let mut number = |name: &str| u32::try_from(value(name)?).ok().map(SegmentNumber);
        let it = Self {
            edition,
            oldest: number("oldest")?,
            tail: number("tail")?,
            first: number("first")?,
            newest: number("newest")?,
            bytes: value("bytes")?,
        };
        // What is written in one way only is checked by writing it again.
        (it.encode() == text).then_some(it)
    }
}

/// Where the file is, for sentences.
pub(in crate::io) fn extent_of(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let name = format!("ringmq-{}-extent-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn a_block_that_is_torn_leaves_the_one_before() {
        let path = folder("torn");
        assert_eq!(Extent::read(&path).unwrap(), None);
        let mut it = Extent {
            first: SegmentNumber(3),
            bytes: 4096,
            ..Extent::default()
        };
        for newest in 3..8 {
            let before = it;
            it.newest = SegmentNumber(newest);
            it.write(&path).unwrap();
            assert_eq!(Extent::read(&path).unwrap(), Some(it));
            let whole = fs::read(extent_of(&path)).unwrap();
            let place = (it.edition % 2) as usize * BLOCK_BYTES;
            for at in [0, 40, 90] {
                let mut torn = whole.clone();
                torn[place + at] ^= 1;
                fs::write(extent_of(&path), &torn).unwrap();
                match Extent::read(&path) {
                    Ok(read) => assert_eq!(read, Some(before), "byte {at}"),
                    Err(_) => assert_eq!(newest, 3, "there was none before"),
                }
            }
            fs::write(extent_of(&path), &whole).unwrap();
        }
        Extent::forget(&path).unwrap();
        Extent::forget(&path).unwrap();
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn what_is_missing_is_named() {
        let path = folder("missing");
        let it = Extent {
            edition: 1,
            oldest: SegmentNumber(2),
            tail: SegmentNumber(4),
            first: SegmentNumber(7),
            newest: SegmentNumber(8),
            bytes: 3,
        };
        for number in [1, 2, 3, 4, 7, 8] {
            fs::write(path_of(&path, SegmentNumber(number)), b"abc").unwrap();
        }
        let missing = |numbers: &[u32]| {
            let found: Vec<_> = numbers.iter().copied().map(SegmentNumber).collect();
            it.check(&path, &found).map_err(|error| error.to_string())
        };
        for found in [&[1, 2, 3, 4, 7, 8][..], &[2, 4, 7, 8], &[1, 3, 4, 7, 8, 9]] {
            assert_eq!(missing(found), Ok(()));
        }
        let others: [(&[u32], u32); 4] = [
            (&[2, 3, 7, 8], 4),
            (&[2, 4, 8], 7),
            (&[2, 4, 7], 8),
            (&[3, 4, 7, 8], 2),
        ];
        for (found, number) in others {
            let text = missing(found).unwrap_err();
            assert!(
                text.contains(&format!("/{number}.seg is missing")),
                "{text}"
            );
        }
        fs::write(path_of(&path, SegmentNumber(8)), b"ab").unwrap();
        let text = missing(&[2, 4, 7, 8]).unwrap_err();
        assert!(text.contains("has 2 bytes"), "{text}");
        fs::remove_dir_all(&path).unwrap();
    }
}
