//! A disk in memory, for one journal: segments, a write on its way, and crashes that tear it.

use std::collections::BTreeMap;

use crate::journal::{FrameWrite, Position, SegmentNumber};

/// What a device writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// The files of a shard's journal.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    segments: BTreeMap<SegmentNumber, Vec<u8>>,
    writing: Option<Write>,
}

#[derive(Clone, Debug)]
struct Write {
    segment: SegmentNumber,
    offset: usize,
    bytes: Vec<u8>,
}

/// What a crash leaves of a sector that was being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sector {
    Kept,
    Lost,
    /// The first half is new.
    Torn,
}

impl Disk {
    /// A segment for the log to write into, of zeros or of whatever it held in its last use.
    pub fn prepare(&mut self, number: SegmentNumber, bytes: usize, reused: Option<SegmentNumber>) {
        let old = reused.and_then(|number| self.segments.remove(&number));
        self.segments
            .insert(number, old.unwrap_or_else(|| vec![0; bytes]));
    }

    /// Begins a write. One is under way at most.
    pub fn write(&mut self, write: &FrameWrite<'_>) {
        assert!(self.writing.is_none(), "one write at a time");
        let mut bytes = vec![0xAA; write.bytes()];
        write.copy_to(&mut bytes);
        self.writing = Some(Write {
            segment: write.segment(),
            offset: write.offset() as usize,
            bytes,
        });
    }

    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// The write under way is durable.
    pub fn complete(&mut self) {
        self.crash(|_| Sector::Kept);
    }

    /// The power is lost: of the write under way each sector is kept, lost or torn.
    pub fn crash(&mut self, mut sector: impl FnMut(usize) -> Sector) {
        let Some(write) = self.writing.take() else {
            return;
        };
        let file = self.segments.entry(write.segment).or_default();
        let end = write.offset + write.bytes.len();
        if file.len() < end {
            file.resize(end, 0); // a frame larger than a segment
        }
        let file = &mut file[write.offset..end];
        let sectors = file.chunks_mut(SECTOR_BYTES);
        for (index, (old, new)) in sectors.zip(write.bytes.chunks(SECTOR_BYTES)).enumerate() {
            let kept = match sector(index) {
                Sector::Kept => new.len(),
                Sector::Lost => 0,
                Sector::Torn => new.len() / 2,
            };
            old[..kept].copy_from_slice(&new[..kept]);
        }
    }

    /// Segments in the order of their numbers.
    pub fn segments(&self) -> impl Iterator<Item = (SegmentNumber, &[u8])> {
        let segments = self.segments.iter();
        segments.map(|(number, bytes)| (*number, bytes.as_slice()))
    }

    #[must_use]
    pub fn segment(&self, number: SegmentNumber) -> Option<&[u8]> {
        self.segments.get(&number).map(Vec::as_slice)
    }

    /// The bytes of a place.
    #[must_use]
    pub fn read(&self, at: Position, bytes: u32) -> Option<Vec<u8>> {
        let start = at.offset as usize;
        let segment = self.segment(at.segment)?;
        Some(segment.get(start..start + bytes as usize)?.to_vec())
    }

    /// Removes what is not needed any more.
    pub fn remove_before(&mut self, needed: SegmentNumber) {
        self.segments.retain(|number, _| *number >= needed);
    }

    /// As if it ended before its last segment that has something.
    pub fn remove_last(&mut self) {
        let written = |bytes: &[u8]| bytes.iter().any(|byte| *byte != 0);
        let last = self.segments.iter().rev();
        let last = last
            .filter(|(_, bytes)| written(bytes))
            .map(|(n, _)| *n)
            .next();
        if let Some(last) = last {
            self.segments.retain(|number, _| *number < last);
        }
    }

    /// Keeps these segments only.
    pub fn retain(&mut self, used: &[SegmentNumber]) {
        self.segments.retain(|number, _| used.contains(number));
    }

    /// Bytes of a segment, to be damaged.
    pub fn segment_mut(&mut self, number: SegmentNumber) -> Option<&mut Vec<u8>> {
        self.segments.get_mut(&number)
    }
}
