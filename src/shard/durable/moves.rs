//! Publications that are not in memory are moved out of the oldest segment, so that it can be used again.
//!
//! Each is read back, a piece at a time, and written anew as a publication of the turn, with a change of its
//! session that says so. What was read back for its client is written anew as well: the log still names the
//! former place for it.

use std::rc::Rc;

use super::seal::Source;
use super::Durable;
use crate::image::Writer;
use crate::journal::SegmentNumber;
use crate::mqtt::Publication;
use crate::session::{put_change, Change, Session, SessionKey, Waiting};
use crate::shard::durable::kind;
use crate::shard::durable::ledger::Ledger;
use crate::shard::durable::record::put_key;
use crate::time::Clocks;

/// Changes of one record.
const CHANGES_EACH: usize = 512;

/// The session whose publications are being moved. Lives on: the shard, when it has a journal.
#[derive(Debug, Default)]
pub(super) struct Moves(Option<(SegmentNumber, SessionKey)>);

impl Durable {
    /// Moves what lies in the oldest segment and in no memory, until the turn has so many bytes or has to wait for
    /// the disk.
    pub(super) fn move_from(
        &mut self,
        oldest: SegmentNumber,
        bytes_max: usize,
        source: &Source<'_>,
    ) {
        while self.ledger.records.bytes() < bytes_max {
            let Some(hold) = self.ledger.holds.used(oldest) else {
                return;
            };
            let under_way = self.moves.0.filter(|(segment, _)| *segment == oldest);
            let key = under_way.map(|(_, key)| key);
            let Some(key) = key.or_else(|| hold.take_session().map(SessionKey)) else {
                return;
            };
            self.moves.0 = Some((oldest, key));
            let Some(kept) = self.ledger.sessions.get(&key) else {
                self.moves.0 = None; // it has ended
                continue;
            };
            let (id, lane) = (kept.session, kept.lane);
            let session = &source.clients.session(id).session;
            let changes = moved_changes(session, oldest);
            if !changes.is_empty() {
                self.ledger
                    .put_changes(key, lane, &changes, source.turn.clocks);
            }
            if session.stored().any(|one| one.place().segment == oldest.0) {
                self.loads.want_to_move(id, oldest);
                return; // until it has been read
            }
            self.moves.0 = None;
        }
    }
}

/// What a session has in memory that the log names in this segment.
fn moved_changes(session: &Session, from: SegmentNumber) -> Vec<Change> {
    let lies_there = |publication: &Rc<Publication>| {
        let hold = publication.kept_at.hold();
        hold.is_some_and(|hold| hold.segment() == from.0)
    };
    let sent = session.window.sent().map(|(id, delivery)| {
        let publication = &delivery.publication;
        lies_there(publication).then(|| Change::MovedSent(id, Rc::clone(publication)))
    });
    let waiting = (0..).zip(session.queue.iter()).map(|(index, one)| {
        let publication = &one.delivery()?.publication;
        lies_there(publication).then(|| Change::Moved(index, Rc::clone(publication)))
    });
    sent.chain(waiting).flatten().collect()
}

impl Ledger {
    /// Everything that waits in a queue, behind the image of its session.
    pub(super) fn put_queue(&mut self, key: SessionKey, session: &Session, clocks: Clocks) {
        let changes: Vec<Change> = session
            .queue
            .iter()
            .map(|one| match one {
                Waiting::Here(delivery) => Change::Queued(delivery.clone()),
                Waiting::Stored(stored) => Change::QueuedStored(stored.clone()),
            })
            .collect();
        let lane = self.sessions[&key].lane;
        self.put_changes(key, lane, &changes, clocks);
    }

    fn put_changes(&mut self, key: SessionKey, lane: u16, changes: &[Change], clocks: Clocks) {
        for some in changes.chunks(CHANGES_EACH) {
            self.records.add(
                kind::CHANGES,
                lane,
                clocks,
                |out: &mut Writer<'_>, number_of| {
                    put_key(out, key);
                    for change in some {
                        put_change(out, change, number_of);
                    }
                },
            );
        }
    }
}
