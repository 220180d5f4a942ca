//! Losses of a repair: the part of a log that it gives up, as far as it can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::draw_seed;
use super::plan::Plan;
use crate::io::data_dir::{read_whole, AtRest, DataError, Part};
use crate::journal::{survey, Lsn, SeenFrame};
use crate::shard::RecordReader;

/// Of one log.
#[derive(Debug, Default)]
pub(super) struct Loss {
    /// With whether it can be read.
    frames: BTreeMap<Lsn, bool>,
    /// Frames of which nothing can be read.
    missing: u64,
    /// Of those that can.
    records: u64,
    /// Records among them that say nothing without a frame that is missing.
    unreadable_records: u64,
    publications: u64,
    /// By key.
    sessions: BTreeMap<u64, SessionLoss>,
    retained: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct SessionLoss {
    client_id: Option<String>,
    /// That it begins to wait for.
    messages: usize,
    changes: usize,
    /// All of it is in what is given up.
    is_gone: bool,
}

impl Loss {
    pub(super) fn of(data: &AtRest, plan: &Plan) -> Result<Self, DataError> {
        let mut loss = Self::default();
        for kept in &plan.state.sessions {
            let session = loss.sessions.entry(kept.key).or_default();
            session.client_id = Some(kept.client_id.clone());
        }
        let kept_keys: BTreeSet<u64> = loss.sessions.keys().copied().collect();
        let mut reader = RecordReader::new(draw_seed());
        let mut bytes = Vec::new();
        for part in &plan.found {
            let Some(from) = given_up(*part, &plan.kept) else {
                continue;
            };
            read_whole(&data.path_of(plan.shard, part.number), &mut bytes)?;
            for frame in survey(part.number, &bytes, from) {
                loss.frame(&frame, &mut reader);
            }
        }
        loss.sessions.retain(|_, session| session.changes > 0);
        for (key, session) in &mut loss.sessions {
            session.is_gone = !kept_keys.contains(key);
        }
        loss.missing = loss.count_missing(plan);
        Ok(loss)
    }

    fn frame(&mut self, frame: &SeenFrame<'_>, reader: &mut RecordReader) {
        self.frames.insert(frame.lsn, frame.is_whole());
        frame.each_record(&mut |_, record| {
            let Ok(described) = reader.read(&record) else {
                self.unreadable_records += 1;
                return;
            };
            self.records += 1;
            self.publications += u64::from(described.is_publication);
            self.retained.extend(described.retained_topic);
            if let Some(key) = described.key {
                let session = self.sessions.entry(key).or_default();
                session.changes += 1;
                session.messages += described.messages;
                if described.client_id.is_some() {
                    session.client_id = described.client_id;
                }
            }
        });
    }

    /// All numbers between those that are there were written once.
    fn count_missing(&self, plan: &Plan) -> u64 {
        let behind = plan.state.recovered.last.next();
        let numbers = self.frames.keys();
        let (first, last) = match (numbers.clone().next(), numbers.clone().next_back()) {
            (Some(first), Some(last)) if *last > behind => (behind.min(*first), *last),
            (Some(first), Some(last)) => (*first, *last),
            _ => return 1, // what is damaged was one at least
        };
        last.0 + 1 - first.0 - self.readable()
    }

    fn readable(&self) -> u64 {
        self.frames.values().filter(|readable| **readable).count() as u64
    }
}

/// From which byte on a segment is given up; `None`: all of it is kept.
fn given_up(part: Part, kept: &[Part]) -> Option<u32> {
    let Some(kept) = kept.iter().find(|kept| kept.number == part.number) else {
        return Some(0);
    };
    kept.cut
}

impl fmt::Display for Loss {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "  lost: {} frames", self.readable() + self.missing)?;
        if self.missing > 0 {
            write!(
                out,
                ", of which {} cannot be read, so that nobody knows what they say",
                self.missing
            )?;
        }
        writeln!(out)?;
        if self.records > 0 {
            let sessions = self.sessions.len();
            let retained = self.retained.len();
            writeln!(
                out,
                "  lost, of what can be read: {} publications; changes of {sessions} sessions and of {retained} \
                 retained messages",
                self.publications
            )?;
        }
        if self.unreadable_records > 0 {
            writeln!(
                out,
                "  lost: {} records that name what cannot be read",
                self.unreadable_records
            )?;
        }
        for (key, session) in &self.sessions {
            let name = match &session.client_id {
                Some(client_id) => format!("session {client_id:?}"),
                None => format!("session with key {key}, whose client id cannot be read"),
            };
            let SessionLoss {
                messages, changes, ..
            } = session;
            let gone = if session.is_gone { ", all of it" } else { "" };
            writeln!(
                out,
                "  lost: {name}{gone}: {messages} messages in {changes} records"
            )?;
        }
        for topic in &self.retained {
            writeln!(
                out,
                "  lost: what became of the retained message of {topic:?}"
            )?;
        }
        Ok(())
    }
}
