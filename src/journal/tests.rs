//! A log on a disk that crashes: what was durable is read back, in order, over any number of lives.

use proptest::prelude::*;

use super::*;
use crate::testing::{Disk, Sector};
use crate::time::WallTime;

const SEGMENT_BYTES: usize = 64 << 10;
const DATA: DataId = DataId([7; 16]);

const SEALED_AT: WallTime = WallTime(1_800_000_000_000);

/// A record as a test remembers it.
type Written = (u8, u16, Vec<u8>);

/// One shard's log, its disk, and what was handed to it.
struct Life {
    log: Log,
    disk: Disk,
    /// By frame.
    appended: Vec<(Lsn, Written)>,
    positions: Vec<Position>,
}

impl Life {
    fn new() -> Self {
        Self::on(Disk::default(), Vec::new())
    }

    /// Recovers from a disk, to append behind the end that it has.
    fn on(mut disk: Disk, appended: Vec<(Lsn, Written)>) -> Self {
        let (recovered, _) = recover(&disk).expect("the log is not damaged");
        disk.retain(&recovered.used);
        let segment_bytes = u32::try_from(SEGMENT_BYTES).unwrap();
        Self {
            log: Log::new(DATA, 3, segment_bytes, &recovered),
            disk,
            appended,
            positions: Vec::new(),
        }
    }

    fn append(&mut self, kind: u8, body: &[u8]) -> Lsn {
        let lane = u16::from(kind) * 3;
        let record = Record {
            kind,
            flags: 0,
            lane,
            body,
        };
        let (lsn, position) = self.log.append(&record);
        self.appended.push((lsn, (kind, lane, body.to_vec())));
        self.positions.push(position);
        lsn
    }

    fn begin_write(&mut self) -> bool {
        let next = self.log.segment();
        for number in self.prepared()..=next.0 {
            self.disk
                .prepare(SegmentNumber(number), SEGMENT_BYTES, None);
        }
        self.log.handle_prepared(next);
        let write = self.log.next_write(SEALED_AT);
        if let Some(write) = &write {
            self.disk.write(write);
        }
        write.is_some()
    }

    fn prepared(&self) -> u32 {
        self.disk
            .segments()
            .last()
            .map_or(1, |(number, _)| number.0 + 1)
    }

    fn complete(&mut self) {
        if self.disk.is_writing() {
            self.disk.complete();
            self.log.handle_written();
        }
    }

    fn commit(&mut self) {
        while self.begin_write() {
            self.complete();
        }
    }

    /// What was durable, and what was appended behind it and is lost at a crash.
    fn crash(mut self, sector: impl FnMut(usize) -> Sector) -> (Disk, Vec<(Lsn, Written)>, Lsn) {
        let durable = self.log.durable();
        self.disk.crash(sector);
        (self.disk, self.appended, durable)
    }
}

fn recover(disk: &Disk) -> Result<(Recovered, Vec<(Position, Written)>), Corrupt> {
    let mut recovery = Recovery::new(DATA, 3);
    let mut records = Vec::new();
    for (number, bytes) in disk.segments() {
        recovery.segment(number, bytes, &mut |position, record| {
            records.push((position, (record.kind, record.lane, record.body.to_vec())));
        })?;
    }
    Ok((recovery.finish(), records))
}

#[test]
fn what_is_committed_is_read_back_at_its_position() {
    let mut life = Life::new();
    for index in 0..2_000_u16 {
        let body = vec![index as u8; usize::from(index)];
        life.append(index as u8, &body);
        if index % 7 == 0 {
            life.commit();
        }
    }
    life.commit();
    assert_eq!(life.log.durable(), life.log.last());
    assert_eq!(life.log.unwritten_bytes(), 0);
    let (recovered, records) = recover(&life.disk).unwrap();
    assert_eq!(recovered.last, life.log.durable());
    assert_eq!(recovered.records, 2_000);
    assert_eq!(recovered.wall, SEALED_AT);
    let written = life.appended.iter().map(|(_, record)| record.clone());
    let expected: Vec<_> = life.positions.iter().copied().zip(written).collect();
    assert!(records == expected, "another record, or another place");
    assert!(recovered.used.len() > 20, "many segments were filled");
}

/// A record beyond the size of a segment has one of its own, and the next record is in a new one.
#[test]
fn a_record_larger_than_a_segment() {
    let mut life = Life::new();
    life.append(1, b"before");
    life.append(2, &vec![9; 3 * SEGMENT_BYTES]);
    life.append(3, b"behind");
    life.commit();
    let (_, records) = recover(&life.disk).unwrap();
    let kinds: Vec<u8> = records.iter().map(|(_, (kind, ..))| *kind).collect();
    assert_eq!(kinds, [1, 2, 3]);
    let segments: Vec<u32> = records.iter().map(|(at, _)| at.segment.0).collect();
    assert_eq!(segments, [1, 2, 3]);
}

#[test]
fn nothing_is_written_before_its_segment_is_ready() {
    let mut life = Life::new();
    life.append(1, b"x");
    assert!(life.log.next_write(WallTime(1)).is_none());
    assert_eq!(life.log.space(), Space::Low);
    life.log.handle_prepared(SegmentNumber(2));
    assert_eq!(life.log.space(), Space::Ready);
    assert!(life.log.next_write(WallTime(1)).is_some());
    assert!(
        life.log.next_write(WallTime(1)).is_none(),
        "one at a time is on its way"
    );
}

/// What is appended while a frame is on its way goes into the next one, however little it is.
#[test]
fn a_frame_on_its_way_takes_no_more_records() {
    let mut life = Life::new();
    let first = life.append(1, b"a");
    assert_eq!(life.append(2, b"b"), first);
    assert!(life.begin_write());
    let second = life.append(3, b"c");
    assert_eq!(second, first.next());
    life.complete();
    assert_eq!(life.log.durable(), first);
    life.commit();
    assert_eq!(life.log.durable(), second);
}

/// Any bit of a log whose later frames exist: damage is found, never a shorter log.
#[test]
fn a_flipped_bit_is_damage_and_not_an_end() {
    let mut life = Life::new();
    for index in 0..40 {
        life.append(index, &[index; 5_000]);
        life.commit();
    }
    let last = *life.positions.last().unwrap();
    let whole = life.disk.clone();
    let mut flipped = 0;
    for (number, bytes) in whole.segments() {
        for at in (0..bytes.len()).step_by(61) {
            let is_last_frame = number == last.segment && at + 4096 > last.offset as usize;
            let is_padding = bytes[at] == 0;
            if is_last_frame || is_padding || number > last.segment {
                continue;
            }
            let mut disk = whole.clone();
            disk.segment_mut(number).unwrap()[at] ^= 4;
            flipped += 1;
            assert!(recover(&disk).is_err(), "segment {number:?}, byte {at}");
        }
    }
    assert!(flipped > 1_000);
}

/// What is behind damage is seen, with the place of the damage, and a torn end is distinguished.
#[test]
fn frames_are_seen_behind_damage() {
    let mut life = Life::new();
    for index in 0..7 {
        life.append(index, &[index; 5_000]);
        life.commit();
    }
    let broken = life.positions[3];
    let segment = life.disk.segment_mut(broken.segment).unwrap();
    segment[broken.offset as usize + 100] ^= 1;
    let bytes = segment.clone();
    let mut seen = Vec::new();
    for frame in survey(broken.segment, &bytes, 0) {
        let mut kinds = Vec::new();
        frame.each_record(&mut |at, record| kinds.push((at, record.kind)));
        assert_eq!(kinds.is_empty(), !frame.is_whole());
        seen.push((frame.lsn.0, frame.is_whole(), frame.records, kinds));
    }
    let expected = (1..=7).map(|lsn: u64| {
        let index = lsn as usize - 1;
        let record = (life.positions[index], index as u8);
        let is_whole = index != 3;
        (
            lsn,
            is_whole,
            1,
            is_whole.then_some(record).into_iter().collect(),
        )
    });
    assert_eq!(seen, expected.collect::<Vec<_>>());
    let behind = survey(broken.segment, &bytes, broken.offset);
    assert_eq!(behind.map(|frame| frame.lsn.0).next(), Some(5));
}

#[test]
fn a_torn_end_is_told_from_an_end() {
    let mut life = Life::new();
    for index in 0..3 {
        life.append(index, &[index; 5_000]);
        life.commit();
    }
    let whole = recover(&life.disk).unwrap().0;
    let last = life.positions[2];
    assert!(!whole.is_torn);
    assert!(whole.end > last && whole.end.segment == last.segment);
    let segment = life.disk.segment_mut(last.segment).unwrap();
    segment[last.offset as usize + 3_000] ^= 1;
    let torn = recover(&life.disk).unwrap().0;
    assert!(torn.is_torn);
    assert_eq!(
        (torn.end, torn.last),
        (
            Position {
                offset: last.offset - 64,
                ..last
            },
            Lsn(2)
        )
    );
}

#[test]
fn segments_that_are_missing_exchanged_or_anothers_are_refused() {
    let mut life = Life::new();
    for index in 0..60 {
        life.append(index, &[index; 9_000]);
        life.commit();
    }
    let numbers: Vec<_> = life.disk.segments().map(|(number, _)| number).collect();
    let without = |gone: SegmentNumber| {
        let mut disk = life.disk.clone();
        let kept = numbers.iter().copied().filter(|number| *number != gone);
        disk.retain(&kept.collect::<Vec<_>>());
        recover(&disk)
    };
    assert!(matches!(without(numbers[3]), Err(Corrupt::Gap { .. })));
    assert!(without(numbers[0]).is_ok(), "the oldest was retired");
    let mut disk = life.disk.clone();
    let older = disk.segment_mut(numbers[2]).unwrap().clone();
    *disk.segment_mut(numbers[4]).unwrap() = older;
    assert!(matches!(recover(&disk), Err(Corrupt::Gap { .. })));
    let mut other = Recovery::new(DataId([8; 16]), 3);
    let (number, bytes) = life.disk.segments().next().unwrap();
    assert_eq!(
        other.segment(number, bytes, &mut |_, _| {}),
        Err(Corrupt::Foreign(number))
    );
}

/// A segment that is used again holds whole frames of its last life behind what is written now.
#[test]
fn frames_of_an_earlier_life_are_not_read() {
    let mut life = Life::new();
    for index in 0..30 {
        life.append(index, &[1; 5_000]);
        life.commit();
    }
    let first = life.disk.segments().next().unwrap().0;
    let next = SegmentNumber(life.prepared());
    life.disk.prepare(next, SEGMENT_BYTES, Some(first));
    while life.log.segment() < next {
        life.append(99, &[2; 5_000]);
        life.commit();
    }
    let (recovered, _) = recover(&life.disk).unwrap();
    assert_eq!(recovered.last, life.log.durable());
    assert_eq!(recovered.used.last(), Some(&next));
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<u8>),
    Begin,
    Complete,
    /// The sectors of the write under way by two bits each.
    Crash(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let body = (0..9_000_usize, any::<u8>()).prop_map(|(bytes, fill)| vec![fill; bytes]);
    let step = prop_oneof![
        8 => body.prop_map(Step::Append),
        6 => Just(Step::Begin),
        6 => Just(Step::Complete),
        1 => any::<u64>().prop_map(Step::Crash),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Over any number of crashes: all that was durable, perhaps the frame that was on its way, and nothing
    /// else; in the order in which it was appended.
    #[test]
    fn crashes_lose_nothing_that_was_durable(steps in steps()) {
        let mut life = Life::new();
        for step in steps {
            match step {
                Step::Append(body) => {
                    life.append(5, &body);
                }
                Step::Begin => {
                    life.begin_write();
                }
                Step::Complete => life.complete(),
                Step::Crash(bits) => {
                    let sector = |index: usize| match bits.rotate_right(2 * index as u32) & 3 {
                        0 => Sector::Lost,
                        1 => Sector::Torn,
                        _ => Sector::Kept,
                    };
                    let (disk, mut appended, durable) = life.crash(sector);
                    let (recovered, records) = recover(&disk).unwrap();
                    let last = recovered.last;
                    prop_assert!(last == durable || last == durable.next());
                    appended.retain(|(lsn, _)| *lsn <= last);
                    let read = records.into_iter().map(|(_, record)| record);
                    let expected = appended.iter().map(|(_, record)| record.clone());
                    prop_assert!(read.eq(expected));
                    life = Life::on(disk, appended);
                }
            }
        }
    }

    #[test]
    fn rubbish_is_no_log(bytes in prop::collection::vec(any::<u8>(), 0..20_000), number in 1..9_u32) {
        let mut recovery = Recovery::new(DATA, 3);
        let _ = recovery.segment(SegmentNumber(number), &bytes, &mut |_, _| {});
    }
}

/// The last write before a crash may be torn; one that a frame behind it names as durable was whole.
#[test]
fn what_is_marked_as_durable_is_not_taken_for_torn() {
    let mut life = Life::new();
    life.append(1, b"first");
    life.append(2, b"last");
    life.commit();
    let unmarked = life.disk.clone();
    assert!(life.log.wants_mark());
    life.log.mark();
    life.commit();
    assert!(!life.log.wants_mark(), "a mark needs none");
    let (recovered, records) = recover(&life.disk).unwrap();
    assert_eq!((recovered.frames, records.len()), (2, 2));
    assert_eq!((recovered.proven, recovered.last), (Lsn(1), Lsn(2)));
    for at in [BLOCK_BYTES + 10, BLOCK_BYTES + 80] {
        let flip = |disk: &Disk| {
            let mut disk = disk.clone();
            disk.segment_mut(SegmentNumber(1)).unwrap()[at] ^= 1;
            recover(&disk).map(|(_, records)| records.len())
        };
        assert_eq!(flip(&unmarked), Ok(0), "it looks torn");
        assert!(matches!(
            flip(&life.disk),
            Err(Corrupt::Frame { lost: Lsn(1), .. })
        ));
    }
    // The mark itself holds nothing.
    let mut torn = life.disk.clone();
    torn.segment_mut(SegmentNumber(1)).unwrap()[2 * BLOCK_BYTES + 10] ^= 1;
    assert_eq!(recover(&torn).unwrap().1.len(), 2);
}
