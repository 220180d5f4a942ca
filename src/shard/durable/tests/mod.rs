//! Shards whose process ends, and shards that continue from the disks.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::*;
use crate::ids::ShardId;
use crate::journal::{DataId, Position, Record, Recovered, Recovery};
use crate::limits::QueuePolicy;
use crate::session::{QueueBounds, Session, SessionImage};
use crate::testing::{Disk, Setup, World};
use crate::time::{Clocks, Span, WallTime};

mod clocks;
mod copies;
mod earlier;
mod estates;
mod kills;
mod long_queues;
mod queues;
mod retained_and_wills;
mod space;
mod stored;
mod turns;

const DATA: DataId = DataId([5; 16]);
const SEGMENT_BYTES: u32 = 512 << 10;
/// Delay 3 s, topic `w`, payload `x`, QoS 1.
const DELAYED: &[u8] = b"\x05\x18\0\0\0\x03\0\x01w\0\x01x";
const AT_ONCE: &[u8] = b"\0\0\x01w\0\x01y";
/// CONNECT flags: a will of QoS 1.
const WILL: u8 = 0xC;

/// A broker of one life, and its disks.
struct Life {
    world: World,
    disks: Vec<Disk>,
    /// Of another number of shards, until all of it is in the new logs.
    formers: Vec<Disk>,
    segment_bytes: u32,
    /// This shard's disk takes no writes.
    stalled: Option<usize>,
}

fn setup(shards: u16) -> Setup {
    let mut setup = Setup::new(shards);
    setup.limits.queue_qos0 = true;
    setup.limits.sparkplug = true;
    setup
}

impl Life {
    fn first(shards: u16) -> Self {
        Self::of(setup(shards), Vec::new(), SEGMENT_BYTES)
    }

    /// Continues from the disks of shards that may have been more or fewer.
    fn of(setup: Setup, before: Vec<Disk>, segment_bytes: u32) -> Self {
        Self::cleaned(setup, before, segment_bytes, None)
    }

    /// The same, with bounds of cleaning.
    fn cleaned(
        setup: Setup,
        before: Vec<Disk>,
        segment_bytes: u32,
        cleaning: Option<(u64, usize)>,
    ) -> Self {
        let mut world = World::calm(setup);
        let shards = world.shards.len();
        let goes_on = before.len() == shards;
        let mut disks = Vec::new();
        let (clocks, now) = (world.clocks(), world.now);
        for shard in 0..shards {
            let it = &mut world.shards[shard];
            it.handle_clocks(clocks);
            let mut wall = WallTime::default();
            let (recovered, state, disk) = if goes_on {
                let (recovered, state) = read(it.begin_fold(), &before[shard], shard);
                let mut disk = before[shard].clone();
                disk.retain(&recovered.used);
                (recovered, state, disk)
            } else {
                let disks = before.iter().enumerate();
                let states = disks.map(|(of, disk)| {
                    let fold = it.begin_fold_of_former(ShardId(of as u16));
                    let (recovered, state) = read(fold, disk, of);
                    wall = wall.max(recovered.wall);
                    state
                });
                let state = KeptState::of_several(states);
                (Recovered::default(), state, Disk::default())
            };
            let log = Log::new(DATA, shard as u16, segment_bytes, &recovered);
            it.begin_journal(log, Durability::Commit);
            if let Some((slack_bytes, turn_bytes)) = cleaning {
                it.set_cleaning(slack_bytes, turn_bytes);
            }
            it.handle_clocks(clocks.reading_since(wall.max(recovered.wall)));
            it.restore(state, now);
            disks.push(disk);
        }
        let mut life = Self {
            world,
            disks,
            formers: if goes_on { Vec::new() } else { before },
            segment_bytes,
            stalled: None,
        };
        life.settle();
        life.formers.clear();
        life
    }

    /// Everything that is under way happens, and is on the disk.
    fn settle(&mut self) {
        self.world.settle();
        let stalled = self.stalled;
        let mut goes_on = true;
        while goes_on {
            goes_on = false;
            for shard in (0..self.disks.len()).filter(|shard| stalled != Some(*shard)) {
                while self.write(shard) {
                    goes_on = true; // what was held is forwarded now
                }
                while self.read_back(shard) {
                    goes_on = true;
                }
            }
            self.world.settle();
        }
        self.world.audit();
    }

    /// One frame of a shard; false when there was none.
    fn write(&mut self, shard: usize) -> bool {
        let (it, disk) = (&mut self.world.shards[shard], &mut self.disks[shard]);
        let wanted = it.segment_wanted().expect("a journal");
        let prepared = disk.segments().last().map_or(0, |(number, _)| number.0);
        for number in prepared + 1..=wanted.0 {
            disk.prepare(SegmentNumber(number), self.segment_bytes as usize, None);
        }
        it.handle_segment_ready(wanted);
        let Some(write) = it.poll_journal() else {
            return false;
        };
        disk.write(&write);
        disk.complete();
        it.handle_committed(self.world.now);
        if let Some(needed) = it.poll_retired() {
            let kept: Vec<_> = disk.segments().map(|(number, _)| number).collect();
            let kept: Vec<_> = kept.into_iter().filter(|one| *one >= needed).collect();
            disk.retain(&kept);
        }
        true
    }

    /// One piece of a shard's log; false when it asks for none.
    fn read_back(&mut self, shard: usize) -> bool {
        let it = &mut self.world.shards[shard];
        let Some(read) = it.poll_read() else {
            return false;
        };
        let disk = match read.former {
            Some(former) => &self.formers[usize::from(former)],
            None => &self.disks[shard],
        };
        let segment = disk.segment(read.segment).unwrap_or_default();
        let (from, to) = (read.offset as usize, (read.offset + read.bytes) as usize);
        let bytes = segment.get(from..to).unwrap_or_default();
        it.handle_read(read.id, bytes, self.world.now).unwrap();
        true
    }

    /// The process ends now, and another one begins after so long, with so many shards.
    fn killed(self, after_ms: u64, shards: u16) -> Self {
        let wall = self.world.clocks().wall;
        let mut setup = setup(shards);
        setup.wall = WallTime(wall.0 + after_ms);
        Self::of(setup, self.disks, self.segment_bytes)
    }

    /// A client of 5.0 with so many seconds of expiry, and what it is answered.
    fn connect(&mut self, name: u8, expiry_s: u8, flags: u8, will: &[u8]) -> usize {
        let mut packet = vec![0x10, 0, 0, 4];
        packet.extend_from_slice(b"MQTT\x05");
        packet.extend_from_slice(&[flags, 0, 0, 5, 0x11, 0, 0, 0, expiry_s, 0, 1, name]);
        packet.extend_from_slice(will);
        packet[1] = packet.len() as u8 - 2;
        let link = self.world.open(0);
        self.send(link, &packet);
        link
    }

    fn resume(&mut self, name: u8, is_present: bool) -> usize {
        let link = self.connect(name, 100, 0, &[]);
        let received = self.received(link);
        assert_eq!(received[..4], [0x20, received[1], is_present.into(), 0]);
        let rest = received[2 + usize::from(received[1])..].to_vec();
        self.world.links[link].received = rest;
        link
    }

    fn send(&mut self, link: usize, packet: &[u8]) {
        self.world.send(link, packet);
        self.settle();
    }

    fn received(&mut self, link: usize) -> Vec<u8> {
        std::mem::take(&mut self.world.links[link].received)
    }

    fn subscribe(&mut self, link: usize, topic: u8, qos: u8) {
        self.send(link, &[0x82, 7, 0, 1, 0, 0, 1, topic, qos]);
        let received = self.received(link);
        assert_eq!(received[..6], [0x90, 4, 0, 1, 0, qos]);
        self.world.links[link].received = received[6..].to_vec();
    }

    /// PUBLISH of one byte to a topic of one byte.
    fn publish(&mut self, link: usize, flags: u8, topic: u8, id: u8, payload: u8) {
        let packet = match flags & 6 {
            0 => vec![0x30 | flags, 5, 0, 1, topic, 0, payload],
            _ => vec![0x30 | flags, 7, 0, 1, topic, 0, id, 0, payload],
        };
        self.send(link, &packet);
    }

    fn close(&mut self, link: usize) {
        self.world.close(link);
        self.settle();
    }

    /// All sessions by client id, as another process would continue them, with all that waits for them.
    fn sessions(&self) -> BTreeMap<Rc<str>, SessionImage> {
        let mut all = BTreeMap::new();
        for (shard, disk) in self.world.shards.iter().zip(&self.disks) {
            for id in shard.client_ids() {
                let image = shard.look_at_session(id).expect("a session");
                all.insert(Rc::clone(id), whole(image, disk, shard.clocks()));
            }
        }
        all
    }
}

/// With what is on the disk alone.
fn whole(image: SessionImage, disk: &Disk, clocks: Clocks) -> SessionImage {
    let bounds = QueueBounds {
        messages_max: usize::MAX,
        bytes_max: usize::MAX,
        policy: QueuePolicy::DropNewest,
    };
    let (mut session, _) = Session::restore(image.clone(), 1, bounds, clocks);
    session.load_any(&mut |stored| {
        let place = stored.place();
        let at = Position {
            segment: SegmentNumber(place.segment),
            offset: place.offset,
        };
        let bytes = disk.read(at, place.bytes).expect("it is on the disk");
        loads::publication_of(&bytes, &place, clocks)
    });
    let SessionImage { window, queue, .. } = session.image(clocks);
    SessionImage {
        window,
        queue,
        ..image
    }
}

fn read(mut fold: StateFold, disk: &Disk, number: usize) -> (Recovered, KeptState) {
    let mut recovery = Recovery::new(DATA, number as u16);
    for (segment, bytes) in disk.segments() {
        let visit = &mut |at, record: Record<'_>| {
            fold.record(at, record).expect("the shard has written it");
        };
        recovery
            .segment(segment, bytes, visit)
            .expect("not damaged");
    }
    let (recovered, mut state) = (recovery.finish(), fold.finish());
    if let Some(first) = recovered.used.first() {
        state.drop_before(*first);
    }
    (recovered, state)
}

/// What is left after the end of the connection, without the times.
fn at_rest(mut image: SessionImage) -> SessionImage {
    image.expires_at = None;
    image.will_due = None;
    image.window.resent = 0;
    image.window.quota = 0;
    image.window.quota_max = 0;
    for entry in &mut image.window.entries {
        if let crate::session::EntryImage::Release { took_quota } = entry {
            *took_quota = false;
        }
    }
    let open = std::mem::take(&mut image.received.open);
    image.received.earlier.extend(open);
    image.received.earlier.sort_unstable();
    image
}
