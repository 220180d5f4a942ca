//! Frames of a log through a ring of their own into real files, and back.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::operations::Ring;
use crate::io::data_dir::{open_segment, path_of, Ready};
use crate::io::frame_writer::FrameWriter;
use crate::journal::{DataId, Log, Record, Recovered, Recovery, SegmentNumber};
use crate::time::WallTime;

const SEGMENT_BYTES: u32 = 64 << 10;
const DATA: DataId = DataId([3; 16]);

/// A folder with segments, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("ringmq-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn segment(&self, number: u32) -> Ready {
        let number = SegmentNumber(number);
        let path = path_of(&self.0, number);
        fs::write(&path, vec![0; SEGMENT_BYTES as usize]).unwrap();
        let file = Arc::new(open_segment(&path).unwrap());
        Ready { number, file }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn frames_of_all_sizes_over_many_segments() {
    let folder = Folder::new("frames");
    let mut ring = Ring::new();
    let mut writer = FrameWriter::new(vec![folder.segment(1)], SEGMENT_BYTES.into());
    let mut log = Log::new(DATA, 0, SEGMENT_BYTES, &Recovered::default());
    log.handle_prepared(SegmentNumber(1));
    // The last but one is larger than a segment, and than the buffer that is kept.
    let sizes = [1, 5_000, 40_000, 60_000, 3_000, 700_000, 17];
    let mut prepared = 1;
    for (kind, bytes) in (0..).zip(sizes) {
        log.append(&Record {
            kind,
            flags: 0,
            lane: 0,
            body: &vec![kind; bytes],
        });
        while log.segment().0 > prepared {
            prepared += 1;
            writer.add(folder.segment(prepared));
            log.handle_prepared(SegmentNumber(prepared));
        }
        let frame = log.next_write(WallTime(1)).expect("its segment is ready");
        writer.take(&frame);
        assert!(!writer.is_idle());
        writer.submit(&mut ring.poller).unwrap();
        writer.complete(ring.completion()).unwrap();
        log.handle_written();
        assert!(writer.is_idle());
    }
    let mut recovery = Recovery::new(DATA, 0);
    let mut found = Vec::new();
    for number in (1..=prepared).map(SegmentNumber) {
        let bytes = fs::read(path_of(&folder.0, number)).unwrap();
        let read = recovery.segment(number, &bytes, &mut |_, record| {
            assert!(record.body.iter().all(|byte| *byte == record.kind));
            found.push(record.body.len());
        });
        read.unwrap();
    }
    assert_eq!(found, sizes);
    assert!(recovery.finish().used.len() > 3);
}

/// A file that takes nothing: what is complete says so.
#[test]
fn a_write_that_fails_is_an_error() {
    let folder = Folder::new("failing");
    let mut ring = Ring::new();
    let mut ready = folder.segment(1);
    let read_only = fs::File::open(path_of(&folder.0, ready.number)).unwrap();
    ready.file = Arc::new(read_only.into());
    let mut writer = FrameWriter::new(vec![ready], SEGMENT_BYTES.into());
    let mut log = Log::new(DATA, 0, SEGMENT_BYTES, &Recovered::default());
    log.handle_prepared(SegmentNumber(1));
    log.append(&Record {
        kind: 1,
        flags: 0,
        lane: 0,
        body: b"x",
    });
    writer.take(&log.next_write(WallTime(1)).unwrap());
    writer.submit(&mut ring.poller).unwrap();
    assert!(writer.complete(ring.completion()).is_err());
}
