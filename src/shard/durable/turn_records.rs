//! The records of one turn, encoded, until they are appended to the log together.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use super::record::{kind, FIRST, LAST};
use crate::image::Writer;
use crate::journal::{Log, Position, Record, SegmentNumber};
use crate::mqtt::{Place, Publication};
use crate::session::put_publication;
use crate::time::Clocks;

/// Bytes up to which an emptied buffer keeps its memory.
const KEPT_BYTES: usize = 1 << 20;

/// See the module. Bounded by what a turn does.
#[derive(Debug, Default)]
pub(super) struct TurnRecords {
    publications: Records,
    others: Records,
    /// Numbers of this turn's publications, by address, and in the order of their numbers.
    numbers: HashMap<*const Publication, u32, ahash::RandomState>,
    numbered: Vec<Rc<Publication>>,
}

#[derive(Debug, Default)]
struct Records {
    bytes: Vec<u8>,
    list: Vec<(u8, u16, Range<usize>)>,
}

impl Records {
    fn begin(&mut self) -> usize {
        self.bytes.len()
    }

    fn end(&mut self, kind: u8, lane: u16, start: usize) {
        self.list.push((kind, lane, start..self.bytes.len()));
    }

    fn clear(&mut self) {
        self.list.clear();
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BYTES {
            *self = Self::default();
        }
    }
}

/// Of the record of a publication.
pub(super) fn place_of(record: &Record<'_>, at: Position) -> Place {
    Place {
        segment: at.segment.0,
        offset: at.offset,
        bytes: u32::try_from(record.bytes()).expect("a record is below 4 GiB"),
        checksum: crc32c::crc32c(record.body),
    }
}

impl TurnRecords {
    pub(super) fn new(hash_seed: u64) -> Self {
        Self {
            numbers: HashMap::with_hasher(ahash::RandomState::with_seeds(hash_seed, 21, 22, 23)),
            ..Self::default()
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.publications.bytes.len() + self.others.bytes.len()
    }

    /// Adds a record; `put` writes its body and may name publications by their numbers.
    pub(super) fn add(
        &mut self,
        kind: u8,
        lane: u16,
        clocks: Clocks,
        put: impl FnOnce(&mut Writer<'_>, &mut dyn FnMut(&Rc<Publication>) -> u32),
    ) {
        let Self {
            publications,
            others,
            numbers,
            numbered,
        } = self;
        let start = others.begin();
        put(&mut Writer::fields(&mut others.bytes), &mut |publication| {
            let next = numbers.len() as u32;
            *numbers.entry(Rc::as_ptr(publication)).or_insert_with(|| {
                let start = publications.begin();
                let out = &mut Writer::fields(&mut publications.bytes);
                out.number(next);
                put_publication(out, publication, clocks);
                publications.end(kind::PUBLICATION, lane, start);
                numbered.push(Rc::clone(publication));
                next
            })
        });
        others.end(kind, lane, start);
    }

    /// Appends all of them to the log; the segment with the first of them. `None`: there were none.
    pub(super) fn append_to(&mut self, log: &mut Log) -> Option<SegmentNumber> {
        let count = self.publications.list.len() + self.others.list.len();
        let mut first = None;
        let mut index = 0;
        let mut numbered = self.numbered.drain(..);
        for records in [&self.publications, &self.others] {
            for (kind, lane, range) in &records.list {
                index += 1;
                let record = Record {
                    kind: *kind,
                    flags: (u8::from(index == 1) * FIRST) | (u8::from(index == count) * LAST),
                    lane: *lane,
                    body: &records.bytes[range.clone()],
                };
                let (_, position) = log.append(&record);
                // Those of this turn are the first records, in the order of their numbers.
                if let Some(publication) = numbered.next() {
                    publication.kept_at.set(place_of(&record, position));
                }
                first = first.or(Some(position.segment));
            }
        }
        drop(numbered);
        self.publications.clear();
        self.others.clear();
        self.numbers.clear();
        if self.numbers.capacity() > 4_096 {
            self.numbers.shrink_to(4_096);
        }
        first
    }
}
