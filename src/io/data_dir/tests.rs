//! Data directories in a real file system: made, opened again, and refused.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::journal::{Log, Record, SegmentNumber, BLOCK_BYTES};
use crate::time::WallTime;

const SEGMENT_BYTES: u32 = 1 << 20;
const SHARD: ShardId = ShardId(1);

/// A folder for one test, removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("ringmq-{}-data-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn open(&self) -> Result<DataDir, DataError> {
        DataDir::open(&self.0, 2, SEGMENT_BYTES)
    }

    fn refusal(&self) -> String {
        self.open().unwrap_err().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn is_made_once_and_is_then_the_same() {
    let scratch = Scratch::new("made");
    let first = scratch.open().unwrap();
    let (id, seed) = (first.id(), first.placement_seed());
    assert_ne!(id.0, seed.0);
    drop(first);
    let again = scratch.open().unwrap();
    assert_eq!((again.id(), again.placement_seed()), (id, seed));
    let other = Scratch::new("made-too");
    assert_ne!(other.open().unwrap().id(), id);
}

#[test]
fn what_cannot_be_used_is_refused_in_a_sentence() {
    let scratch = Scratch::new("refused");
    let file = scratch.0.join("file");
    fs::write(&file, "x").unwrap();
    let refused = |path: &Path| {
        let opened = DataDir::open(path, 2, SEGMENT_BYTES);
        opened.unwrap_err().to_string()
    };
    assert!(refused(&file).contains("is not a folder"));
    assert!(refused(&scratch.0.join("no/such")).contains("there is no folder for it"));
    assert!(scratch.refusal().contains("other files (file)"));
    fs::remove_file(&file).unwrap();

    let open = scratch.open().unwrap();
    let own = format!("in use by process {}", std::process::id());
    assert!(scratch.refusal().contains(&own), "{}", scratch.refusal());
    drop(open);

    let manifest = scratch.0.join("manifest");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("format 1", "format 2")).unwrap();
    assert!(scratch.refusal().contains("has format \"2\""));
    fs::write(&manifest, text.replace("shards 2", "shards 1")).unwrap();
    assert!(scratch.refusal().contains("manifest is damaged"));
    fs::write(&manifest, text).unwrap();
    scratch.open().unwrap();
}

/// What is left of a start that was cut short is no foreign file.
#[test]
fn a_start_that_was_cut_short_is_begun_again() {
    let scratch = Scratch::new("cut");
    fs::write(scratch.0.join("manifest.new"), "half").unwrap();
    fs::write(scratch.0.join("lock"), "").unwrap();
    scratch.open().unwrap();
    assert!(!scratch.0.join("manifest.new").exists());
}

#[test]
fn an_empty_data_directory_needs_room_for_its_first_files() {
    let scratch = Scratch::new("room");
    let refused = check_new(&scratch.0, u16::MAX, 1 << 30).unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains("201323520 MiB") || text.contains("needs 201"),
        "{text}"
    );
}

/// Until the new logs are adopted the old ones count, and what was begun is removed; then it is the other way
/// round.
#[test]
fn another_number_of_shards() {
    let scratch = Scratch::new("shards");
    let first = scratch.open().unwrap();
    let (empty, ..) = recover(&first).unwrap();
    let old = first.folder(SHARD);
    let content = segment(&first, &empty, &[b"a"]);
    fs::write(path_of(&old, SegmentNumber(1)), content).unwrap();
    // Several shards read this log at the same time: what one of them removed, another one would miss.
    let unfinished = old.join("2.new");
    fs::write(&unfinished, "half").unwrap();
    drop(first);
    let open_for_three = || DataDir::open(&scratch.0, 3, SEGMENT_BYTES).unwrap();
    let read = |data: &DataDir| {
        let mut bodies = Vec::new();
        let read = data.read_other(SHARD, &mut |_, record| {
            bodies.push(record.body.to_vec());
            Ok(())
        });
        read.map(|_| bodies)
    };
    for _ in 0..2 {
        let data = open_for_three();
        assert_eq!(data.others(), Some(2));
        let (recovered, ready, bodies) = recover(&data).unwrap();
        assert_eq!((recovered.records, ready.len(), bodies.len()), (0, 0, 0));
        assert_eq!(read(&data).unwrap(), [b"a"]);
        assert!(unfinished.exists(), "nothing is changed");
        // A process that ends here has changed nothing: this file does not survive the next start.
        fs::write(path_of(&data.folder(SHARD), SegmentNumber(1)), "half").unwrap();
    }
    let data = open_for_three();
    recover(&data).unwrap();
    data.adopt().unwrap();
    assert!(!old.exists());
    drop(data);
    assert_eq!(open_for_three().others(), None);
}

/// A segment's file with one committed record for each of `bodies`, each in a frame of its own.
fn segment(data: &DataDir, recovered: &Recovered, bodies: &[&[u8]]) -> Vec<u8> {
    let mut log = Log::new(data.id(), SHARD.0, SEGMENT_BYTES, recovered);
    log.handle_prepared(SegmentNumber(u32::MAX));
    let mut bytes = vec![0; SEGMENT_BYTES as usize];
    for body in bodies {
        log.append(&Record {
            kind: 1,
            flags: 0,
            lane: 0,
            body,
        });
        let frame = log.next_write(WallTime(1)).unwrap();
        let offset = frame.offset() as usize;
        frame.copy_to(&mut bytes[offset..offset + frame.bytes()]);
        log.handle_written();
    }
    bytes
}

type Found = (Recovered, Vec<Ready>, Vec<Vec<u8>>);

fn recover(data: &DataDir) -> Result<Found, DataError> {
    let mut bodies = Vec::new();
    let (recovered, ready) = data.recover(SHARD, &mut |_, record| {
        bodies.push(record.body.to_vec());
        Ok(())
    })?;
    Ok((recovered, ready, bodies))
}

#[test]
fn a_log_is_read_back_and_files_that_hold_nothing_are_next() {
    let scratch = Scratch::new("read");
    let data = scratch.open().unwrap();
    let (empty, ready, _) = recover(&data).unwrap();
    assert_eq!((empty.records, ready.len()), (0, 0));
    let folder = data.folder(SHARD);
    let file = |number| path_of(&folder, SegmentNumber(number));
    fs::write(file(1), segment(&data, &empty, &[b"a", b"b"])).unwrap();
    let unused = vec![0; SEGMENT_BYTES as usize];
    for number in 2..6 {
        fs::write(file(number), &unused).unwrap();
    }
    fs::write(file(2), &unused[1..]).unwrap(); // of another size
    fs::write(folder.join("6.new"), "half").unwrap();
    fs::write(folder.join("notes.txt"), "not ours").unwrap();

    let (recovered, ready, bodies) = recover(&data).unwrap();
    assert_eq!(bodies, [b"a", b"b"]);
    assert_eq!(recovered.used, [SegmentNumber(1)]);
    let numbers: Vec<_> = ready.iter().map(|ready| ready.number.0).collect();
    assert_eq!(numbers, [6, 7]);
    let length = |number| fs::metadata(file(number)).unwrap().len();
    assert_eq!([length(6), length(7)], [u64::from(SEGMENT_BYTES); 2]);
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["1.seg", "6.seg", "7.seg", "extent", "notes.txt"]);

    // The log continues in the first of them.
    drop(ready);
    fs::write(file(6), segment(&data, &recovered, &[b"c"])).unwrap();
    let (_, ready, bodies) = recover(&data).unwrap();
    assert_eq!(bodies, [b"a", b"b", b"c"]);
    assert_eq!(ready.len(), 1);
}

/// A torn end is forgotten; a bit in the middle names its file and place, and nothing is touched.
#[test]
fn a_torn_end_and_a_damaged_middle() {
    let scratch = Scratch::new("damaged");
    let data = scratch.open().unwrap();
    let (empty, ..) = recover(&data).unwrap();
    let whole = segment(&data, &empty, &[b"a", b"b", b"c"]);
    let path = path_of(&data.folder(SHARD), SegmentNumber(1));
    fs::write(&path, &whole[..3 * BLOCK_BYTES + 40]).unwrap();
    let (_, _, bodies) = recover(&data).unwrap();
    assert_eq!(bodies, [b"a", b"b"]);

    let mut flipped = whole;
    flipped[2 * BLOCK_BYTES + 70] ^= 1;
    fs::write(&path, &flipped).unwrap();
    let text = recover(&data).unwrap_err().to_string();
    let place = format!(
        "damaged at {}: frame 2 (segment 1, byte 8192)",
        path.display()
    );
    assert!(text.contains(&place), "{text}");
    assert!(text.contains("bring the data directory back from a backup"));
    assert_eq!(fs::read(&path).unwrap(), flipped);
}

/// The kernel may still be writing for a process that has been killed.
#[test]
fn a_write_that_is_on_its_way_is_waited_for() {
    let scratch = Scratch::new("late");
    let data = scratch.open().unwrap();
    let (empty, ..) = recover(&data).unwrap();
    let path = path_of(&data.folder(SHARD), SegmentNumber(1));
    fs::write(&path, vec![0; SEGMENT_BYTES as usize]).unwrap();
    let writer = open_segment(&path).unwrap();
    let late = segment(&data, &empty, &[b"late"]);
    let write = std::thread::spawn(move || {
        let mut buffer = crate::io::aligned_buffer::AlignedBuffer::new(late.len());
        buffer.extend_from_slice(&late);
        rustix::io::pwrite(&writer, &buffer, 0).unwrap();
    });
    let (_, _, bodies) = recover(&data).unwrap();
    write.join().unwrap();
    assert_eq!(bodies, [b"late"]);
}
