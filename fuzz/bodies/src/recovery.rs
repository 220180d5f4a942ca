//! A log read back from files that were changed, cut, exchanged or never whole: nothing panics, and what is read is
//! what was written, from the beginning up to some record.

use ringmq::journal::{
    survey, DataId, Log, Position, Record, Recovered, Recovery, SegmentNumber, BLOCK_BYTES,
};
use ringmq::shard::{RecordReader, StateFold};
use ringmq::time::WallTime;

use crate::choices::Choices;
use crate::features::note;

const DATA: DataId = DataId([7; 16]);
const SEGMENT_BYTES: u32 = 32 << 10;
const FRAMES_MAX: u16 = 24;

/// A record as it was written, or read.
type Found = (Position, u8, Vec<u8>);

/// See the module.
pub fn body(input: &[u8]) {
    let mut choices = Choices::new(input);
    let (mut segments, written) = log(&mut choices);
    for _ in 0..choices.below(4) {
        damage(&mut choices, &mut segments);
    }
    let mut read = Vec::new();
    let mut fold = StateFold::of_all_lanes(1);
    let mut recovery = Recovery::new(DATA, 3);
    let mut is_whole = true;
    for (index, bytes) in segments.iter().enumerate() {
        let number = number_of(index);
        let found = recovery.segment(number, bytes, &mut |at, record| {
            let _ = fold.record(at, record); // a body that no shard writes
            read.push((at, record.kind, record.body.to_vec()));
        });
        look(number, bytes, &written);
        if let Err(corrupt) = found {
            note(corrupt.to_string().split(' ').next().map(str::to_owned));
            is_whole = false;
            break;
        }
    }
    // The oldest segments may be gone, as they are when nothing in them is needed.
    let first = read
        .first()
        .and_then(|first| written.iter().position(|own| own == first));
    let from = first.unwrap_or(written.len());
    assert!(
        read.is_empty() || first.is_some(),
        "nobody has written {:?}",
        read[0]
    );
    assert!(
        written[from..].starts_with(&read),
        "records that were not written so"
    );
    if is_whole {
        let Recovered {
            records, is_torn, ..
        } = recovery.finish();
        assert_eq!(records, read.len() as u64);
        note((is_torn, read.len() == written.len()));
    }
    let _ = fold.finish().summaries();
}

fn number_of(index: usize) -> SegmentNumber {
    SegmentNumber(index as u32 + 1)
}

/// The files of a log, and its records.
fn log(choices: &mut Choices<'_>) -> (Vec<Vec<u8>>, Vec<Found>) {
    let mut log = Log::new(DATA, 3, SEGMENT_BYTES, &Recovered::default());
    log.handle_prepared(SegmentNumber(u32::MAX));
    let (mut segments, mut written): (Vec<Vec<u8>>, Vec<Found>) = Default::default();
    for _ in 0..choices.below(FRAMES_MAX.into()) {
        for _ in 0..=choices.below(3) {
            let (kind, flags) = (choices.byte() % 10, choices.byte() % 4);
            let body = vec![choices.byte(); usize::from(choices.short()) % 6_000];
            let record = Record {
                kind,
                flags,
                lane: 0,
                body: &body,
            };
            let (_, at) = log.append(&record);
            written.push((at, kind, body));
        }
        while let Some(frame) = log.next_write(WallTime(1)) {
            let index = frame.segment().0 as usize - 1;
            segments.resize(
                segments.len().max(index + 1),
                vec![0; SEGMENT_BYTES as usize],
            );
            let offset = frame.offset() as usize;
            frame.copy_to(&mut segments[index][offset..offset + frame.bytes()]);
            log.handle_written();
        }
    }
    (segments, written)
}

fn damage(choices: &mut Choices<'_>, segments: &mut [Vec<u8>]) {
    if segments.is_empty() {
        return;
    }
    let index = usize::from(choices.byte()) % segments.len();
    let other = usize::from(choices.byte()) % segments.len();
    let bytes = &mut segments[index];
    if bytes.is_empty() {
        return;
    }
    let at = usize::from(choices.short()) % bytes.len();
    match choices.below(6) {
        0 => bytes[at] ^= 1 << choices.below(8),
        1 => bytes.truncate(at),
        2 => segments.swap(index, other),
        3 => segments[index] = segments[other].clone(),
        4 => bytes[at..].fill(0),
        _ => {
            let block = at / BLOCK_BYTES * BLOCK_BYTES;
            for byte in bytes[block..].iter_mut().take(64) {
                *byte = choices.byte();
            }
        }
    }
}

/// What a look at the files shows is what was written, too.
fn look(number: SegmentNumber, bytes: &[u8], written: &[Found]) {
    let mut reader = RecordReader::new(1);
    for frame in survey(number, bytes, 0) {
        frame.each_record(&mut |at, record| {
            let _ = reader.read(&record); // as above
            let is_own = |own: &&Found| (own.1, &own.2[..]) == (record.kind, record.body);
            assert!(
                written.iter().any(|own| is_own(&own)),
                "{at}: nobody has written it"
            );
        });
    }
}
