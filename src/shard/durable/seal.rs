//! The end of a turn: what has changed becomes records of the log, in one piece.

use std::rc::Rc;

use super::ledger::Mark;
use super::places::Item;
use super::record::{kind, put_key};
use super::Durable;
use crate::image::Writer;
use crate::journal::SegmentNumber;
use crate::mutant::{is_on, Mutant};
use crate::session::{put_change, Change, SessionImage, SessionKey};
use crate::shard::clients::Clients;
use crate::shard::delivery::Routes;
use crate::shard::turn::Turn;
use crate::shard::Shard;
use crate::time::Clocks;

/// What is written down whole in this turn, and therefore lies where it begins.
#[derive(Default)]
pub(super) struct Written(Vec<Item>);

/// What the records are made of.
pub(super) struct Source<'a> {
    pub(super) clients: &'a Clients,
    routes: &'a mut Routes,
    pub(super) turn: &'a Turn,
}

impl Shard {
    /// Appends what has changed since the last time.
    pub(in crate::shard) fn seal_turn(&mut self) {
        let Self {
            durable,
            clients,
            routes,
            turn,
            ..
        } = self;
        if let Some(durable) = durable.as_deref_mut() {
            let mut source = Source {
                clients,
                routes,
                turn,
            };
            durable.seal(&mut source);
            durable.finish_moves(clients);
            durable.ledger.store_large(clients);
            let memory_max = self.config.own_queue_memory();
            durable.ledger.store_excess(clients, memory_max);
        }
    }

    /// Something has changed since the turn's end, so that there must be another one.
    pub(in crate::shard) fn has_unsealed(&self) -> bool {
        let durable = self.durable.as_deref();
        durable.is_some_and(|durable| {
            let retained_bytes = self.routes.retained.bytes();
            !durable.is_settled()
                || durable.frees_disk(retained_bytes)
                || durable.cleans_idle(retained_bytes)
                || durable.commits.wants_turn()
                || self.routes.retained.has_changed()
                || self.has_estate_ready()
        })
    }
}

impl Durable {
    fn seal(&mut self, source: &mut Source<'_>) {
        let retained_bytes = source.routes.retained.bytes();
        let has_changes = self.has_changes() || source.routes.retained.has_changed();
        let cleans = self.frees_disk(retained_bytes) || self.cleans_idle(retained_bytes);
        if !has_changes && !self.moves.has_loaded() && !cleans {
            return;
        }
        let oldest = self.oldest;
        let mut written = Written::default();
        self.seal_ended();
        self.seal_marked(source, &mut written);
        self.seal_changes(source);
        self.unmark(&written);
        self.seal_retained(source, &mut written);
        self.clean(source, &mut written);
        self.seal_crossings(source, &mut written);
        let appended = self.ledger.records.append_to(&mut self.log);
        if let Some(segment) = appended {
            self.pieces_are_in(segment);
            for item in written.0 {
                match item {
                    Item::Session(key) => {
                        let begun = self.end_pieces(key);
                        let segment = begun.unwrap_or(segment);
                        let session = self.ledger.image_is_in(key, segment);
                        // Pieces name former places of what was read back since.
                        if begun.is_none() {
                            source.clients.session(session).session.release_holds();
                        }
                    }
                    Item::Retained(topic) => self.ledger.retained_is_in(&topic, segment),
                    Item::Held(number) => {
                        let from = self.held.record_is_in(number, segment);
                        self.ledger.places.moved(item, from, segment);
                    }
                    Item::Crossings => {
                        let from = self.cursors.segment.replace(segment);
                        self.ledger.places.moved(item, from, segment);
                    }
                }
            }
            self.note_oldest();
        } else if cleans {
            self.note_oldest(); // nothing was left of it
        }
        self.ledger.drained.clear();
        if has_changes {
            self.note_changes();
        } else if cleans && appended.is_none() && self.oldest == oldest {
            self.stop_cleaning(retained_bytes, source.clients.leaving.has_queues());
        }
    }

    fn seal_ended(&mut self) {
        let ledger = &mut self.ledger;
        for (key, lane) in ledger.ended.drain(..) {
            let clocks = Clocks::default(); // it holds no publication
            let records = &mut ledger.records;
            records.add(kind::ENDED, lane, clocks, |out, _| put_key(out, key));
        }
    }

    fn seal_marked(&mut self, source: &Source<'_>, written: &mut Written) {
        if self.copies.are_under_way() {
            return; // images name places, which are to be in this log
        }
        while let Some(key) = self.ledger.marked.pop() {
            let Some(kept) = self.ledger.sessions.get_mut(&key) else {
                continue; // ended since
            };
            match kept.mark {
                // It stays marked until its changes have been passed over.
                Mark::Image => {
                    self.forget_pieces(key); // what waits may have changed as a whole
                    self.put_image(key, source, written);
                }
                Mark::Attributes => {
                    kept.mark = Mark::Nothing;
                    let entry = source.clients.session(kept.session);
                    let attributes = entry.attributes(&source.turn.timers, source.turn.clocks);
                    let (lane, clocks) = (kept.lane, source.turn.clocks);
                    self.ledger.count_here(key, &entry.session);
                    let records = &mut self.ledger.records;
                    records.add(kind::ATTRIBUTES, lane, clocks, |out, _| {
                        put_key(out, key);
                        attributes.put(out);
                    });
                }
                Mark::Nothing => {}
            }
            let is_full = self.ledger.records.bytes() >= self.ledger.cleaning.turn_bytes;
            if self.ledger.takes_over && is_full {
                break;
            }
        }
        self.ledger.takes_over &= !self.ledger.marked.is_empty();
    }

    /// The whole state of a session, as it is now.
    pub(super) fn put_image(
        &mut self,
        key: SessionKey,
        source: &Source<'_>,
        written: &mut Written,
    ) {
        let kept = &self.ledger.sessions[&key];
        let (lane, clocks) = (kept.lane, source.turn.clocks);
        let entry = source.clients.session(kept.session);
        let attributes = entry.attributes(&source.turn.timers, clocks);
        let image = match entry.session.is_recorded() {
            true => entry.session.image_without_queue(clocks),
            false => only_will(&entry.session.client_id),
        };
        let image = image.with(attributes);
        let ledger = &mut self.ledger;
        ledger.records.add(kind::IMAGE, lane, clocks, |out, _| {
            put_key(out, key);
            out.rest(|bytes| image.encode(bytes));
        });
        if entry.session.is_recorded() {
            let from = self.put_pieces(key, source);
            let ledger = &mut self.ledger;
            ledger.put_queue(key, &entry.session, from, source.turn.clocks);
        }
        self.ledger.count_cost(key, &entry.session);
        written.0.push(Item::Session(key));
    }

    /// Changes of one session are one record, whatever came between them: all of the turn counts or nothing.
    fn seal_changes(&mut self, source: &Source<'_>) {
        let ledger = &mut self.ledger;
        let mut drained = std::mem::take(&mut ledger.drained);
        ledger.changes.take_into(&mut drained);
        if is_on(Mutant::ForgetSubscriptionRecords) {
            drained.retain(|(_, change)| !matches!(change, Change::Subscribed(..)));
        }
        if is_on(Mutant::ForgetTopicIdRecords) {
            drained.retain(|(_, change)| !matches!(change, Change::TopicId(..)));
        }
        // Numbers are sorted instead of changes, which are large.
        let mut order = std::mem::take(&mut ledger.order);
        order.extend(
            drained
                .iter()
                .zip(0..)
                .map(|((key, _), index)| (*key, index)),
        );
        order.sort_unstable();
        for changes in order.chunk_by(|(one, _), (other, _)| one == other) {
            let key = changes[0].0;
            let Some(kept) = ledger.sessions.get_mut(&key) else {
                continue; // it has ended
            };
            if kept.mark == Mark::Image {
                continue; // in its image
            }
            let (lane, session) = (kept.lane, kept.session);
            let clocks = source.turn.clocks;
            let mut changed = changes.iter().map(|(_, index)| &drained[*index].1);
            if changed.any(|change| matches!(change, Change::HandedOn(_))) {
                self.long_image.take_if(|image| image.is_of(key)); // taken from the middle
            }
            ledger
                .records
                .add(kind::CHANGES, lane, clocks, |out, number_of| {
                    put_key(out, key);
                    for (_, index) in changes {
                        put_change(out, &drained[*index].1, number_of);
                    }
                });
            ledger.count_cost(key, &source.clients.session(session).session);
        }
        order.clear();
        order.shrink_to(4_096);
        ledger.order = order;
        ledger.drained = drained; // publications are known by their addresses until all are written
    }

    /// What is written whole needs no mark.
    fn unmark(&mut self, written: &Written) {
        for item in &written.0 {
            if let Item::Session(key) = item {
                self.ledger.mark_written(*key);
            }
        }
    }

    fn seal_retained(&mut self, source: &mut Source<'_>, written: &mut Written) {
        let mut topics = source.routes.retained.take_changed();
        if is_on(Mutant::ForgetRetainedRecords) {
            return;
        }
        topics.sort_unstable();
        topics.dedup();
        for topic in topics {
            self.put_retained(Item::Retained(topic), source, written);
        }
    }

    /// The retained message of a topic as it is now, or that it has none.
    fn put_retained(&mut self, item: Item, source: &Source<'_>, written: &mut Written) {
        let Item::Retained(topic) = &item else {
            return;
        };
        let lane = source.routes.placement.lane_number(topic);
        let clocks = source.turn.clocks;
        let ledger = &mut self.ledger;
        match source.routes.retained.get(topic) {
            Some(publication) => {
                ledger
                    .records
                    .add(kind::RETAINED, lane, clocks, |out, number_of| {
                        out.option(Some(number_of(publication)), Writer::number);
                    });
                written.0.push(item);
            }
            None => {
                let Some(segment) = ledger.retained.remove(topic) else {
                    return; // it was never in the log
                };
                ledger.places.left(Some(segment));
                ledger.records.add(kind::RETAINED, lane, clocks, |out, _| {
                    out.option(None, Writer::number);
                    out.text(topic);
                });
            }
        }
    }

    /// What is held for other shards since this turn, and what has become of the rest.
    fn seal_crossings(&mut self, source: &Source<'_>, written: &mut Written) {
        let unwritten: Vec<_> = self.held.unwritten().collect();
        for number in unwritten {
            self.put_held(number, source.turn.clocks);
            written.0.push(Item::Held(number));
        }
        if std::mem::take(&mut self.cursors.is_old) | self.cursors.has_taken() {
            self.put_crossing_numbers();
            written.0.push(Item::Crossings);
        }
    }

    pub(super) fn alive(&self, retained_bytes: u64) -> u64 {
        self.ledger.sessions_cost + retained_bytes + self.held.bytes() as u64
    }

    /// The log from its oldest segment on takes more than twice what is alive.
    pub(super) fn is_too_large(&self, oldest: SegmentNumber, retained_bytes: u64) -> bool {
        let slack_bytes = self.ledger.cleaning.slack_bytes;
        self.log.bytes_since(oldest) > 2 * self.alive(retained_bytes) + slack_bytes
    }

    /// Writes anew some of what keeps the oldest segment, when the log is larger than twice what is alive. It may grow by
    /// what is alive in that segment before it can be used again.
    fn clean(&mut self, source: &Source<'_>, written: &mut Written) {
        let current = self.log.segment();
        let oldest = self.ledger.oldest_needed(current);
        let retained_bytes = source.routes.retained.bytes();
        let bounds = self.ledger.cleaning;
        let is_wanted = match self.full.own {
            true => self.wants_disk_freed(retained_bytes),
            false => self.is_too_large(oldest, retained_bytes),
        };
        // What is taken over is not counted as alive before its session is written.
        if !is_wanted || oldest == current || self.ledger.takes_over {
            self.give_up_moves();
            return;
        }
        // What a turn writes is at most as much as what it frees, as at least half of the log is not alive.
        let bytes_max = 2 * self.ledger.records.bytes();
        let bytes_max = bytes_max.max(self.ledger.records.bytes() + bounds.turn_bytes);
        let room = self.cleaning_room(retained_bytes);
        let bytes_max = bytes_max.min(usize::try_from(room).unwrap_or(usize::MAX));
        while self.ledger.records.bytes() < bytes_max {
            let Some(item) = self.ledger.places.take_from(oldest) else {
                self.move_from(oldest, (bytes_max, room), source);
                if self.moves.bytes_to_read() as u64 > room {
                    self.give_up_moves();
                    self.note_unfit(retained_bytes);
                }
                break;
            };
            if !self.is_in(&item, oldest) {
                continue;
            }
            match item {
                Item::Session(key) if self.ledger.stores_first(key, bounds.turn_bytes) => {
                    self.ledger.places.put_back(item, oldest);
                    break;
                }
                Item::Session(key) if self.ledger.image_bytes(key, source) > room => {
                    self.ledger.places.put_back(item, oldest);
                    self.note_unfit(retained_bytes);
                    break;
                }
                Item::Session(key) => {
                    if !self.put_session(key, source, written) {
                        self.ledger.places.put_back(item, oldest);
                        break;
                    }
                }
                Item::Retained(_) => self.put_retained(item, source, written),
                Item::Held(number) if is_on(Mutant::CleaningForgetsHeld) => {
                    let from = self.held.record_is_in(number, current);
                    self.ledger.places.moved(item, from, current);
                }
                Item::Held(number) => {
                    self.put_held(number, source.turn.clocks);
                    written.0.push(item);
                }
                Item::Crossings => self.cursors.is_old = true,
            }
        }
        self.put_loaded(source); // behind images, which name former places
    }

    fn is_in(&self, item: &Item, segment: SegmentNumber) -> bool {
        match item {
            Item::Session(key) => {
                let kept = self.ledger.sessions.get(key);
                kept.is_some_and(|kept| kept.segment == Some(segment))
            }
            Item::Retained(topic) => self.ledger.retained.get(topic) == Some(&segment),
            Item::Held(number) => self.held.is_in(*number, segment),
            Item::Crossings => self.cursors.segment == Some(segment),
        }
    }
}

/// A session that ends with its connection: nothing of it is kept but its will.
fn only_will(client_id: &Rc<str>) -> SessionImage {
    SessionImage::empty(Rc::clone(client_id))
}
