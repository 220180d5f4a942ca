//! Sessions with long queues: their images are written a piece at a time, and nothing is lost in between.

use super::*;
use crate::session::WaitingImage;
use crate::shard::durable::record::FIRST;

const SMALL: u32 = 16 << 10;
/// What a turn writes anew, about: pieces of 16 messages.
const TURN_BYTES: usize = 1 << 10;
const WAITING: usize = 200;

/// The most messages that changes of one turn put into queues.
fn most_in_a_turn(disk: &Disk) -> usize {
    let mut recovery = Recovery::new(DATA, 0);
    let mut reader = RecordReader::new(1);
    let (mut count, mut most) = (0, 0);
    for (segment, content) in disk.segments() {
        let visit = &mut |_, record: Record<'_>| {
            if record.flags & FIRST != 0 {
                count = 0;
            }
            // Of the rest of a turn that began before the log, messages are not known.
            let described = reader.read(&record).unwrap_or_default();
            if described.kind == "changes" {
                count += described.messages;
            }
            most = most.max(count);
        };
        (recovery.segment(segment, content, visit)).expect("not damaged");
    }
    most
}

/// The session of `q`, which drops its oldest messages for new ones, and a publisher.
fn life() -> (Life, usize) {
    let mut setup = setup(1);
    setup.limits.queue_memory = 0;
    setup.limits.queue_messages_max = WAITING as u32;
    setup.limits.queue_policy = QueuePolicy::DropOldest;
    let mut life = Life::cleaned(setup, Vec::new(), SMALL, Some((0, TURN_BYTES)));
    let link = life.resume(b'q', false);
    life.subscribe(link, b'q', 1);
    life.close(link);
    let publisher = life.resume(b'p', false);
    for n in 0..WAITING {
        life.publish(publisher, 2, b'q', 1, n as u8);
    }
    (life, publisher)
}

fn queue_of(life: &Life) -> Vec<u8> {
    let image = life.sessions().remove("q").expect("it is kept");
    let queue = image.queue.iter();
    let payload = |one: &WaitingImage| match one {
        WaitingImage::Here(one) => one.payload[0],
        WaitingImage::Stored(_) => unreachable!("they are read back"),
    };
    queue.map(payload).collect()
}

/// Whether its image is being written, and how many messages of its pieces have left since.
fn pieces(life: &Life) -> Option<(u32, usize)> {
    let shard = &life.world.shards[0];
    let session = shard.clients.session(shard.clients.by_client_id["q"]);
    let image = shard.durable.as_deref().unwrap().long_image.as_ref()?;
    let pieces = image.pieces(&session.session);
    Some((pieces.left(), pieces.wait()))
}

#[test]
fn a_long_queue_is_written_in_pieces_and_counts_when_it_is_whole() {
    let (mut life, publisher) = life();
    let (mut begun, mut left) = (0, 0);
    let first = (0..WAITING).map(|n| n as u8);
    let sent: Vec<u8> = first.chain(0..80).collect();
    for n in 0..80 {
        // The oldest leaves, one comes, and the turn cleans as much again.
        life.world
            .send(publisher, &[0x32, 7, 0, 1, b'q', 0, 1, 0, n]);
        life.world.settle();
        // The process may end before each of the frames.
        loop {
            if let Some(pieces) = pieces(&life) {
                begun += 1;
                left = left.max(pieces.0);
            }
            let next = Life::of(setup(1), life.disks.clone(), SMALL);
            let found = queue_of(&next);
            let from = usize::from(n);
            let is_it = |from: usize| found == sent[from..from + WAITING];
            assert!(is_it(from) || is_it(from + 1), "round {n}: {found:?}");
            if !life.write(0) {
                break;
            }
            while life.read_back(0) {}
            life.world.settle();
        }
    }
    assert!(begun > 20, "it was written in pieces {begun} times");
    assert!(left > 0, "none left meanwhile");
    let most = most_in_a_turn(&life.disks[0]);
    assert!(most < 20, "{most} messages in one turn");
}
