//! Captures: packets of chosen clients and publications to chosen topics, kept for an operator who asks for
//! them while they last.
//!
//! Packets are kept as bytes and taken apart by who asks. A connection that is captured has a flag, and without
//! captures nothing else is looked at. Connections that were there before are found piece by piece, as their
//! records are asked for.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::ids::{ConnectionId, SessionId};
use crate::mqtt::{topic, Frame, Version};
use crate::shard::clients::connection::Connection;
use crate::shard::delivery::message::Message;
use crate::shard::queries::captures::{
    Capture, CaptureFlag, CaptureRecord, CaptureTerms, Captured, CAPTURES_MAX,
};
use crate::shard::Shard;
use crate::time::{Span, Time};

/// Places of sessions looked at by one question.
const PLACES: usize = 1_024;
/// Records of one answer, in bytes.
const ANSWER_BYTES: usize = 64 << 10;

impl Shard {
    /// Begins a capture; false when there are too many.
    pub(super) fn begin_capture(
        &mut self,
        id: u64,
        terms: CaptureTerms,
        lasts: Span,
        now: Time,
    ) -> bool {
        let captures = self.outbox.captures.get_or_insert_default();
        captures.all.retain(|capture| capture.until > now);
        if captures.all.len() >= CAPTURES_MAX {
            return false;
        }
        let looks = terms.client.is_some() || terms.address.is_some();
        captures.all.push(Capture {
            id,
            terms,
            until: now + lasts,
            unseen: looks.then_some(0),
            waiting: VecDeque::new(),
            bytes: 0,
            left_out: 0,
        });
        self.find_captured(id);
        true
    }

    /// Ends a capture; without any, nothing is looked at any more.
    pub(super) fn end_capture(&mut self, id: u64) -> bool {
        let Some(captures) = &mut self.outbox.captures else {
            return false;
        };
        let before = captures.all.len();
        captures.all.retain(|capture| capture.id != id);
        let is_ended = captures.all.len() < before;
        if captures.all.is_empty() {
            self.outbox.captures = None;
        }
        is_ended
    }

    /// The records so far, of which each is given once; `None`: there is no such capture, or it is over and
    /// everything was given.
    pub(super) fn take_records(&mut self, id: u64, now: Time) -> Option<(Vec<CaptureRecord>, u64)> {
        self.find_captured(id);
        let captures = self.outbox.captures.as_mut()?;
        let capture = captures.all.iter_mut().find(|capture| capture.id == id)?;
        let (mut records, mut bytes) = (Vec::new(), 0);
        while bytes < ANSWER_BYTES {
            let Some(record) = capture.waiting.pop_front() else {
                break;
            };
            bytes += record.what.bytes();
            records.push(record);
        }
        capture.bytes -= bytes;
        let left_out = std::mem::take(&mut capture.left_out);
        if capture.until <= now && records.is_empty() {
            self.end_capture(id);
            return None;
        }
        Some((records, left_out))
    }

    /// Flags the next of the connections that were there before a capture.
    fn find_captured(&mut self, id: u64) {
        let Some(captures) = &mut self.outbox.captures else {
            return;
        };
        let Some(capture) = captures.all.iter_mut().find(|capture| capture.id == id) else {
            return;
        };
        let Some(from) = capture.unseen else { return };
        let places = self.clients.sessions.places(from).take(PLACES);
        let found = places.filter_map(|(_, found)| {
            let entry = found?.1;
            let connection = entry.session.connection?;
            let peer = self.clients.connection(connection).origin.peer;
            let name = Some(&*entry.session.client_id);
            (capture.terms.takes(name, peer.ip())).then_some(connection)
        });
        let found: Vec<ConnectionId> = found.collect();
        let next = from + PLACES as u32;
        let has_more = (next as usize) < self.clients.sessions.places_len();
        capture.unseen = has_more.then_some(next);
        for id in found {
            flag(self.clients.connection_mut(id));
        }
    }

    /// Whether an operator is shown the packets of a connection.
    pub(in crate::shard) fn is_captured(&self, id: ConnectionId) -> bool {
        let connection = self.clients.connections.get(id); // one that was handed off has none
        connection.is_some_and(|connection| connection.captured != CaptureFlag::No)
    }

    /// A connection was opened.
    pub(in crate::shard) fn capture_opened(&mut self, id: ConnectionId, now: Time) {
        let Some(captures) = &self.outbox.captures else {
            return;
        };
        let connection = self.clients.connection_mut(id);
        if captures.wants(None, connection.origin.peer) {
            flag(connection);
            self.capture(id, Captured::Opened, now);
        }
    }

    /// A CONNECT came whose home is this shard: only now the client's name is known.
    pub(in crate::shard) fn capture_connect(
        &mut self,
        id: ConnectionId,
        (client_id, version): (&str, Version),
        frame: &Frame<'_>,
        now: Time,
    ) {
        let Some(captures) = &self.outbox.captures else {
            return;
        };
        let connection = self.clients.connection_mut(id);
        let peer = connection.origin.peer;
        if connection.captured != CaptureFlag::No || !captures.wants(Some(client_id), peer) {
            return;
        }
        flag(connection);
        let what = Captured::In(version, frame.to_bytes().into());
        self.capture_named(id, Some(client_id.into()), what, now);
    }

    /// Packets of a connection that is captured were handled.
    #[cold]
    pub(in crate::shard) fn capture_input(&mut self, id: ConnectionId, bytes: &[u8], now: Time) {
        let version = self.clients.connection(id).version;
        self.capture(id, Captured::In(version, bytes.into()), now);
    }

    /// The socket is about to have taken `count` bytes.
    #[cold]
    pub(in crate::shard) fn capture_output(&mut self, id: ConnectionId, count: usize, now: Time) {
        let connection = self.clients.connection_mut(id);
        if connection.captured == CaptureFlag::Input {
            if connection.outgoing.len() == count {
                connection.captured = CaptureFlag::Both; // the next byte begins a packet
            }
            return;
        }
        let bytes = &connection.outgoing.to_bytes()[..count];
        let what = Captured::Out(connection.version, bytes.into());
        self.capture(id, what, now);
    }

    /// A connection that is captured ends or has ended.
    #[cold]
    pub(in crate::shard) fn capture(&mut self, id: ConnectionId, what: Captured, now: Time) {
        let session = self.clients.connection(id).session();
        let name = session.map(|session| &*self.clients.session(session).session.client_id);
        let name = name.map(Box::from).or_else(|| {
            let captures = self.outbox.captures.as_ref()?;
            captures.names.get(&id).cloned()
        });
        self.capture_named(id, name, what, now);
    }

    fn capture_named(
        &mut self,
        id: ConnectionId,
        client_id: Option<Box<str>>,
        what: Captured,
        now: Time,
    ) {
        let at = self.turn.clocks_read.to_wall(now);
        let connection = self.clients.connection_mut(id);
        let record = CaptureRecord {
            at,
            connection: Some(id),
            client_id,
            peer: Some(connection.origin.peer),
            what,
        };
        let Some(captures) = &mut self.outbox.captures else {
            connection.captured = CaptureFlag::No;
            return;
        };
        let is_taken = captures.take(&record, now);
        match &record.client_id {
            Some(name) if is_taken => captures.know(id, name),
            Some(_) => connection.captured = CaptureFlag::No,
            None => {}
        }
        if matches!(record.what, Captured::Closed(_)) {
            captures.names.remove(&id);
        }
    }

    /// A publication was accepted, and there are captures.
    #[cold]
    pub(in crate::shard) fn capture_publication(
        &mut self,
        publisher: Option<SessionId>,
        message: &Message<'_>,
        now: Time,
    ) {
        let at = self.turn.clocks_read.to_wall(now);
        // One that has ended published its will.
        let entry = publisher.and_then(|id| self.clients.sessions.get(id));
        let Some(captures) = &mut self.outbox.captures else {
            return;
        };
        let mut record = None;
        for capture in captures
            .all
            .iter_mut()
            .filter(|capture| capture.until > now)
        {
            let filter = capture.terms.filter.as_deref();
            if filter.is_none_or(|filter| !topic::matches(filter, message.topic)) {
                continue;
            }
            let record = record.get_or_insert_with(|| CaptureRecord {
                at,
                connection: entry.and_then(|entry| entry.session.connection),
                client_id: entry.map(|entry| (*entry.session.client_id).into()),
                peer: None,
                what: Captured::Publication {
                    topic: message.topic.into(),
                    qos: message.qos,
                    retain: message.retain,
                    payload: Bytes::copy_from_slice(message.payload),
                },
            });
            capture.keep(record);
        }
    }
}

fn flag(connection: &mut Connection) {
    if connection.captured == CaptureFlag::No {
        let is_clean = connection.outgoing.is_empty();
        connection.captured = match is_clean {
            true => CaptureFlag::Both,
            false => CaptureFlag::Input,
        };
    }
}
