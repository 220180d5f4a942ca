//! Records read back: no records make the fold panic or keep more than they hold, what it ends with is sessions that
//! have images, and a shard continues from it.

use ringmq::journal::{DataId, Log, Position, Record, Recovered, SegmentNumber};
use ringmq::session::SessionImage;
use ringmq::shard::{Durability, RecordError, StateFold};
use ringmq::testing::{Setup, World};

use crate::choices::Choices;
use crate::features::note;
use crate::session_image::session_image;

const TURNS_MAX: usize = 24;
/// Flags of the first and the last record of a turn.
const FIRST: u8 = 1;
const LAST: u8 = 2;
const SEGMENT_BYTES: u32 = 64 << 10;
/// Kinds of records, see `src/shard/durable/record.rs`.
const PUBLICATION: u8 = 1;
const IMAGE: u8 = 2;
const CHANGES: u8 = 4;
const RETAINED: u8 = 6;

/// See the module.
pub fn body(input: &[u8]) {
    let mut choices = Choices::new(input);
    let mut world = World::calm(Setup::new(1));
    let (clocks, now) = (world.clocks(), world.now);
    let shard = &mut world.shards[0];
    shard.handle_clocks(clocks);
    let mut fold = shard.begin_fold();
    let mut count = 0;
    while !choices.is_empty() && count < TURNS_MAX {
        count += 1;
        if let Err(error) = turn(&mut fold, &mut choices) {
            note(error.problem.to_string());
            break; // what follows is not read
        }
    }
    let state = fold.finish();
    note((state.sessions.len(), state.retained()));
    for kept in &state.sessions {
        let mut bytes = Vec::new();
        let image = kept.image();
        image.encode(&mut bytes);
        let again = SessionImage::decode(&bytes);
        assert_eq!(again.as_ref(), Ok(&image), "an image of what was read");
        note((image.queue.len(), image.window.entries.len()));
    }
    let log = Log::new(DataId([1; 16]), 0, SEGMENT_BYTES, &Recovered::default());
    shard.begin_journal(log, Durability::Commit);
    shard.restore(state, now);
    shard.end_turn(now);
    world.settle();
    world.audit();
}

/// Two publications, and records that may name them. Mostly a good one.
fn turn(fold: &mut StateFold, choices: &mut Choices<'_>) -> Result<(), RecordError> {
    for (number, flags) in [(0, FIRST), (1, 0)] {
        let qos = choices.below(3) as u8;
        let body = [number, 0, 0, 0, qos, 0, 1, b't', 1, number, 0, 0];
        give(fold, choices, PUBLICATION, flags, body.to_vec())?;
    }
    for left in (0..=choices.below(4)).rev() {
        let kind = choices.one_of(&[IMAGE, CHANGES, CHANGES, CHANGES, RETAINED, 3, 5, 1, 0]);
        let body = match kind {
            IMAGE | CHANGES => of_session(kind, choices),
            RETAINED if choices.flag() => vec![1, choices.below(3) as u8, 0, 0, 0],
            RETAINED => vec![0, 1, b't'],
            _ => vec![choices.below(3) as u8, 0, 0, 0, 0, 0, 0, 0],
        };
        give(fold, choices, kind, u8::from(left == 0) * LAST, body)?;
    }
    Ok(())
}

fn of_session(kind: u8, choices: &mut Choices<'_>) -> Vec<u8> {
    let mut body = vec![choices.below(3) as u8, 0, 0, 0, 0, 0, 0, 0];
    if kind == IMAGE {
        session_image(choices).encode(&mut body);
        return body;
    }
    for _ in 0..choices.below(12) {
        change(choices, &mut body);
    }
    body
}

/// Some are changed on their way.
fn give(
    fold: &mut StateFold,
    choices: &mut Choices<'_>,
    kind: u8,
    flags: u8,
    mut body: Vec<u8>,
) -> Result<(), RecordError> {
    let (mut flags, mut lane) = (flags, 0);
    if choices.below(16) == 1 {
        flags = choices.byte();
        lane = choices.short();
        for _ in 0..choices.below(8) {
            body.push(choices.byte());
        }
        let at = usize::from(choices.short()) % body.len();
        body[at] = choices.byte();
    }
    let at = Position {
        segment: SegmentNumber(1),
        offset: 0,
    };
    let record = Record {
        kind,
        flags,
        lane,
        body: &body,
    };
    fold.record(at, record)
}

/// Mostly a good one.
fn change(choices: &mut Choices<'_>, body: &mut Vec<u8>) {
    let kind = choices.below(12) as u8;
    body.push(kind);
    match kind {
        0 | 3 => {
            body.push(choices.one_of(&[0, 1, 2, 5, 6]));
            body.extend_from_slice(&[choices.below(2) as u8, 0, 0, 0]);
        }
        4 | 5 | 7 | 8 => body.extend_from_slice(&[choices.below(6) as u8, 0]),
        6 => body.extend_from_slice(b"\x0A$share/g/t"),
        9 => body.extend_from_slice(&[1, b't', choices.below(3) as u8, 0]),
        10 => body.extend_from_slice(b"\x01t"),
        _ => {}
    }
}
