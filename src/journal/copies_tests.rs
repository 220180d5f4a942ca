//! Frames that must be in another place as well.

use super::*;
use crate::time::WallTime;

const SEGMENT: u32 = 64 << 10;

fn log() -> Log {
    let mut log = Log::new(DataId([7; 16]), 0, SEGMENT, &Recovered::default());
    log.handle_prepared(SegmentNumber(2));
    log.await_copies();
    log
}

fn append(log: &mut Log, bytes: usize) -> Lsn {
    let body = &vec![1; bytes];
    let record = Record {
        kind: 1,
        flags: 0,
        lane: 0,
        body,
    };
    log.append(&record).0
}

/// A frame for the other place; it is on the own disk.
fn write(log: &mut Log) -> Vec<u8> {
    let frame = log.next_write(WallTime(1)).unwrap();
    let mut bytes = vec![0; frame.bytes()];
    frame.copy_to(&mut bytes);
    assert!(bytes[frame.bytes_before_padding()..]
        .iter()
        .all(|byte| *byte == 0));
    bytes.truncate(frame.bytes_before_padding());
    log.handle_written();
    bytes
}

#[test]
fn a_frame_is_durable_when_both_places_have_it() {
    let mut log = log();
    for n in 1..=3 {
        assert_eq!(append(&mut log, 10), Lsn(n));
        write(&mut log);
        assert_eq!(log.durable(), Lsn(0), "on the own disk alone");
    }
    assert_eq!(log.unwritten_bytes(), 3 * 18);
    log.handle_copied(Lsn(2));
    assert_eq!((log.durable(), log.unwritten_bytes()), (Lsn(2), 18));
    log.handle_copied(Lsn(1)); // late
    assert_eq!(log.durable(), Lsn(2));
    // The other place may have a frame before the disk.
    append(&mut log, 10);
    assert!(log.next_write(WallTime(1)).is_some());
    log.handle_copied(Lsn(4));
    assert_eq!(log.durable(), Lsn(3));
    assert_eq!(log.handle_written(), Lsn(4));
    assert_eq!(log.unwritten_bytes(), 0);
}

#[test]
fn a_segment_can_be_made_of_its_frames() {
    let mut log = log();
    let mut file = vec![0; SEGMENT as usize];
    let mut at = 0;
    for n in 1..=5 {
        append(&mut log, 1_000 * n);
        let bytes = write(&mut log);
        file[at..at + bytes.len()].copy_from_slice(&bytes);
        at = (at + bytes.len()).next_multiple_of(BLOCK_BYTES);
    }
    let seen: Vec<_> = survey(SegmentNumber(1), &file, 0).collect();
    assert_eq!(seen.len(), 5);
    let (start, end) = seen[1].range();
    assert_eq!((start % BLOCK_BYTES, end - start), (0, 64 + 8 + 2_000));
    let mut recovery = Recovery::new(DataId([7; 16]), 0);
    recovery
        .segment(SegmentNumber(1), &file, &mut |_, _| {})
        .unwrap();
    assert_eq!(recovery.finish().last, Lsn(5));
}
