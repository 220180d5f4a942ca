//! Messages that wait in files alone, read by a ring of their own for a shard without sockets.

use std::fs;
use std::io::ErrorKind;

use super::frames::Folder;
use super::operations::Ring;
use crate::io::data_dir::path_of;
use crate::io::read_backs::ReadBacks;
use crate::shard::{Durability, TurnStep, TURN};
use crate::testing::{connect_packet, Setup, World, V5};

const MESSAGES: u8 = 60;
/// With a payload of 1,000 bytes.
const PUBLISH_BYTES: usize = 1_009;
const SEGMENT_BYTES: usize = 16 << 10;

/// A client that is away, and the segments that its messages are in.
struct Waiting {
    world: World,
    folder: Folder,
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
        let mut world = World::calm(setup);
        world.segment_bytes = SEGMENT_BYTES;
        world.begin_journals(Durability::Commit);
        let link = world.open(0);
        world.send(link, &durable(b'a'));
        world.send(link, &[0x82, 7, 0, 1, 0, 0, 1, b't', 1]);
        world.settle();
        world.close(link);
        world.settle();
        let publisher = world.open(0);
        world.send(publisher, &durable(b'p'));
        for n in 1..=MESSAGES {
            let mut packet = vec![0x32, 0xEE, 7, 0, 1, b't', 0, n, 0];
            packet.resize(PUBLISH_BYTES, n);
            world.send(publisher, &packet);
            world.settle();
        }
        let folder = Folder::new(name);
        let disk = world.disk_mut(0).unwrap();
        let segments: Vec<_> = disk.segments().collect();
        assert!(segments.len() > 4, "{} segments", segments.len());
        for (number, bytes) in segments {
            fs::write(path_of(folder.path(), number), bytes).unwrap();
        }
        let reads = ReadBacks::new(folder.path().into());
        Self {
            world,
            folder,
            ring: Ring::new(),
            reads,
        }
    }

    /// Steps of a turn without those of the world's own disks.
    fn turns(&mut self) {
        for _ in 0..4 {
            for step in TURN.iter().filter(|step| **step != TurnStep::Commit) {
                self.world.step(0, *step);
            }
        }
    }

    /// What a client is sent until all has come or something is wrong.
    fn received(&mut self, name: u8) -> Result<Vec<u8>, Option<ErrorKind>> {
        let link = self.world.open(0);
        self.world.send(link, &durable(name));
        let mut payloads = Vec::new();
        loop {
            self.turns();
            self.take_payloads(link, &mut payloads);
            if payloads.len() == usize::from(MESSAGES) {
                return Ok(payloads);
            }
            let (shard, poller) = (&mut self.world.shards[0], &mut self.ring.poller);
            self.reads.begin(shard, poller);
            // Nothing is left to be read from the world's own disks; CONNACK is held until it is written.
            self.world.step(0, TurnStep::Commit);
            let completion = self.ring.completion();
            let (shard, poller) = (&mut self.world.shards[0], &mut self.ring.poller);
            let handled = self
                .reads
                .complete(completion, (shard, poller), self.world.now);
            handled.map_err(|(_, error)| error.map(|error| error.kind()))?;
        }
    }

    /// The first byte of each payload that has come whole.
    fn take_payloads(&mut self, link: usize, payloads: &mut Vec<u8>) {
        let received = &mut self.world.links[link].received;
        loop {
            match received[..] {
                [0x20, length, ..] => drop(received.drain(..2 + usize::from(length))),
                [0x32, ..] if received.len() >= PUBLISH_BYTES => {
                    payloads.push(received[PUBLISH_BYTES - 1]);
                    received.drain(..PUBLISH_BYTES);
                }
                _ => return,
            }
        }
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        let files = fs::read_dir(self.folder.path()).unwrap();
        files.map(|file| file.unwrap().path()).collect()
    }
}

#[test]
fn messages_come_from_files_in_order() {
    let mut it = Waiting::new("read-backs");
    let expected: Vec<u8> = (1..=MESSAGES).collect();
    assert_eq!(it.received(b'a'), Ok(expected));
}

#[test]
fn a_file_that_was_cut_is_an_error() {
    let mut it = Waiting::new("read-backs-cut");
    for file in it.files() {
        fs::write(file, [7; 4_096]).unwrap();
    }
    assert!(it.received(b'a').is_err());
}
