//! The records of one turn, encoded, until they are appended to the log together.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use super::record::{kind, FIRST, LAST};
use crate::image::Writer;
use crate::journal::{Log, Record, SegmentNumber};
use crate::mqtt::Publication;
use crate::session::put_publication;
use crate::time::Clocks;

/// Bytes up to which an emptied buffer keeps its memory.
const KEPT_BYTES: usize = 1 << 20;

/// See the module. Bounded by what a turn does.
#[derive(Debug, Default)]
pub(super) struct TurnRecords {
    publications: Records,
    others: Records,
    /// Numbers of this turn's publications, by address: they are held until the turn is sealed.
    numbers: HashMap<*const Publication, u32, ahash::RandomState>,
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
        for records in [&self.publications, &self.others] {
            for (kind, lane, range) in &records.list {
                index += 1;
                let (_, position) = log.append(&Record {
                    kind: *kind,
                    flags: (u8::from(index == 1) * FIRST) | (u8::from(index == count) * LAST),
                    lane: *lane,
                    body: &records.bytes[range.clone()],
                });
                first = first.or(Some(position.segment));
            }
        }
        self.publications.clear();
        self.others.clear();
        self.numbers.clear();
        if self.numbers.capacity() > 4_096 {
            self.numbers.shrink_to(4_096);
        }
        first
    }
}
