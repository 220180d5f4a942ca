//! Messages that wait in files alone, read through a ring of its own for a shard without sockets.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::operations::Ring;
use crate::io::data_dir::path_of;
use crate::io::read_backs::{ReadBacks, FILES_MAX};
use crate::journal::SegmentNumber;
use crate::shard::Durability;
use crate::testing::{connect_packet, Environment, Setup, World, V5};

/// More than files stay open.
const MESSAGES: u8 = 80;
/// With a payload of 1,000 bytes.
const PUBLISH_BYTES: usize = 1_009;
/// A header and one frame, which has one message.
const SEGMENT_BYTES: usize = 8 << 10;

/// The test reads the log.
struct ReadByTest;

impl Environment for ReadByTest {
    fn reads_logs(&self) -> bool {
        false
    }
}

/// Files of a log, removed in the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A client that is away, and the files that its messages are in.
struct Waiting {
    world: World<ReadByTest>,
    folder: Folder,
    segments: Vec<SegmentNumber>,
    ring: Ring,
    reads: ReadBacks,
}

/// With a Session Expiry Interval and without keep alive.
fn durable(name: u8) -> Vec<u8> {
    let mut connect = connect_packet(V5, name);
    connect[9] = 0;
    connect[10..12].fill(0);
    connect[1] += 5;
    connect[12] = 5;
    connect.splice(13..13, [0x11, 0, 0, 0, 60]);
    connect
}

impl Waiting {
    fn new(name: &str) -> Self {
        let mut setup = Setup::new(1);
        setup.limits.queue_memory = 0;
        let mut world = World::new(setup, ReadByTest);
        world.segment_bytes = SEGMENT_BYTES;
        world.begin_journals(Durability::Commit);
        world.shards[0].set_cleaning(1 << 40, 0); // what the files hold stays where it is
        let link = world.open(0);
        world.send(link, &durable(b'a'));
        world.send(link, &[0x82, 7, 0, 1, 0, 0, 1, b't', 1]);
        world.settle();
        world.close(link);
        let publisher = world.open(0);
        world.send(publisher, &durable(b'p'));
        for n in 1..=MESSAGES {
            let mut packet = vec![0x32, 0xEE, 7, 0, 1, b't', 0, n, 0];
            packet.resize(PUBLISH_BYTES, n);
            world.send(publisher, &packet);
            world.settle();
        }
        let folder = format!("ringmq-{}-read-backs-{name}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(folder));
        fs::create_dir(&folder.0).unwrap();
        let disk = world.disk_mut(0).unwrap();
        let write = |(number, bytes)| fs::write(path_of(&folder.0, number), bytes).map(|()| number);
        let segments: Result<Vec<_>, _> = disk.segments().map(write).collect();
        Self {
            world,
            segments: segments.unwrap(),
            ring: Ring::new(),
            reads: ReadBacks::new(folder.0.clone(), Vec::new()),
            folder,
        }
    }

    fn file(&self, number: SegmentNumber) -> PathBuf {
        path_of(&self.folder.0, number)
    }

    /// Its client comes back.
    fn resume(&mut self, connect: &[u8]) -> usize {
        let link = self.world.open(0);
        self.world.send(link, connect);
        self.world.settle();
        link
    }

    /// Begins what is to be read; false: nothing is.
    fn begin(&mut self) -> bool {
        let (shard, poller) = (&mut self.world.shards[0], &mut self.ring.poller);
        let before = self.reads.under_way();
        self.reads.begin(shard, poller);
        self.reads.under_way() > before
    }

    /// Takes one answer of the kernel.
    fn complete(&mut self) -> Result<(), Option<ErrorKind>> {
        let completion = self.ring.completion();
        let shard = (&mut self.world.shards[0], &mut self.ring.poller);
        let handled = (self.reads).complete(completion, shard, self.world.now);
        self.world.settle();
        handled.map_err(|(_, error)| error.map(|error| error.kind()))
    }

    /// The first bytes of the payloads that its client is sent until nothing is left to be read.
    fn received(&mut self, link: usize) -> Result<Vec<u8>, Option<ErrorKind>> {
        let mut answers = 0;
        while self.begin() || self.reads.under_way() > 0 {
            answers += 1;
            assert!(answers < 10 * u32::from(MESSAGES), "the same is read again");
            self.complete()?;
            let files = self.reads.open_files();
            assert!(files <= FILES_MAX, "{files} files are open");
        }
        let received = std::mem::take(&mut self.world.links[link].received);
        let (_, publications) = received.split_at(2 + usize::from(received[1]));
        let publications = publications.chunks(PUBLISH_BYTES);
        Ok(publications.map(|one| one[PUBLISH_BYTES - 1]).collect())
    }
}

#[test]
fn messages_come_from_files_in_order() {
    let mut it = Waiting::new("order");
    assert!(it.segments.len() > FILES_MAX, "{:?}", it.segments);
    let link = it.resume(&durable(b'a'));
    let expected: Vec<u8> = (1..=MESSAGES).collect();
    assert_eq!(it.received(link), Ok(expected));
}

#[test]
fn what_is_not_as_it_was_written_is_an_error() {
    let mut it = Waiting::new("changed");
    for segment in &it.segments {
        let mut bytes = fs::read(it.file(*segment)).unwrap();
        bytes[5_000] ^= 1;
        fs::write(it.file(*segment), bytes).unwrap();
    }
    let link = it.resume(&durable(b'a'));
    assert_eq!(it.received(link), Err(None));
}

#[test]
fn a_file_that_was_cut_or_removed_is_an_error() {
    for (name, length, expected) in [
        ("cut", Some(4_096), None),
        ("removed", None, Some(ErrorKind::NotFound)),
    ] {
        let mut it = Waiting::new(name);
        for segment in &it.segments {
            match length {
                Some(length) => {
                    let file = fs::File::options().write(true).open(it.file(*segment));
                    file.unwrap().set_len(length).unwrap();
                }
                None => fs::remove_file(it.file(*segment)).unwrap(),
            }
        }
        let link = it.resume(&durable(b'a'));
        assert_eq!(it.received(link), Err(expected), "{name}");
    }
}

/// A segment is used again, and its file removed, while it is being opened.
#[test]
fn a_file_that_nobody_needs_any_more_may_be_missing() {
    let mut it = Waiting::new("ended");
    it.resume(&durable(b'a'));
    let mut clean = durable(b'a');
    clean[9] = 2; // Clean Start
    assert!(it.begin());
    for segment in &it.segments {
        fs::remove_file(it.file(*segment)).unwrap();
    }
    let link = it.resume(&clean);
    assert_eq!(it.received(link), Ok(Vec::new()));
}

/// The numbers of files that are used again are not those of what was read before.
#[test]
fn files_that_are_used_again_are_opened_anew() {
    let mut it = Waiting::new("again");
    let link = it.resume(&durable(b'a'));
    it.received(link).unwrap();
    assert!(it.reads.open_files() > 0);
    let last = *it.segments.last().unwrap();
    it.reads.forget_before(last.next());
    assert_eq!(it.reads.open_files(), 0);
}
