//! A shard adopts the sessions of another node: its logs are read from files that the cluster's link has made of the
//! node's stream, a segment in a turn, and then its sessions, some in a turn.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;

use super::commits::EXIT_JOURNAL;
use super::data_dir::copies::{read_segment, segments_of, Known};
use super::data_dir::path_of;
use super::logging;
use crate::ids::ShardId;
use crate::journal::{Recovery, SegmentNumber};
use crate::mqtt::Place;
use crate::shard::{Adoption, KeptState, Shard, StateFold};
use crate::time::Time;

/// Logs of another node, which were checked.
pub(super) struct NodeLogs {
    pub(super) node: String,
    pub(super) path: PathBuf,
    pub(super) known: Known,
    /// An attempt was cut short.
    pub(super) is_again: bool,
}

/// Takes the number of sessions that a shard has adopted, when they are on the disk and announced.
pub(super) type Adopted = Box<dyn FnOnce(usize) + Send>;

/// See the module. Lives on: the shard's driver.
#[derive(Default)]
pub(super) struct Adopting {
    orders: VecDeque<(Arc<NodeLogs>, Adopted)>,
    stage: Stage,
    files: HashMap<(u16, u32), File>,
}

#[derive(Default)]
enum Stage {
    #[default]
    Nothing,
    Reading {
        states: Vec<KeptState>,
        log: Option<Box<Reading>>,
    },
    Taking(Box<Adoption>),
}

/// A log that is being read.
struct Reading {
    shard: ShardId,
    segments: VecDeque<SegmentNumber>,
    recovery: Recovery,
    fold: StateFold,
}

impl Adopting {
    pub(super) fn begin(&mut self, logs: Arc<NodeLogs>, done: Adopted) {
        self.orders.push_back((logs, done));
    }

    /// One step; true when there is another one.
    pub(super) fn step(&mut self, shard: &mut Shard, now: Time) -> bool {
        let Some((logs, _)) = self.orders.front() else {
            return false;
        };
        let logs = Arc::clone(logs);
        match std::mem::take(&mut self.stage) {
            Stage::Nothing => {
                self.stage = Stage::Reading {
                    states: Vec::new(),
                    log: None,
                };
            }
            Stage::Reading { mut states, log } => {
                let next = ShardId(states.len() as u16); // there are as many logs as shards at most
                let reading = match log {
                    Some(log) => log,
                    None if next.0 < logs.known.shards => begin(&logs, next, shard),
                    None => {
                        let adoption = shard.begin_adoption(states, logs.is_again);
                        self.stage = Stage::Taking(Box::new(adoption));
                        return true;
                    }
                };
                let log = match read(&logs, reading) {
                    Ok(reading) => Some(reading),
                    Err(state) => {
                        states.push(*state);
                        None
                    }
                };
                self.stage = Stage::Reading { states, log };
            }
            Stage::Taking(adoption) => return self.take(adoption, (&logs, shard), now),
        }
        true
    }

    fn take(
        &mut self,
        mut adoption: Box<Adoption>,
        (logs, shard): (&NodeLogs, &mut Shard),
        now: Time,
    ) -> bool {
        let files = &mut self.files;
        let mut read = |log: u16, place: &Place| read_place(logs, files, (log, place));
        let was_over = adoption.is_over();
        match shard.adopt_some(&mut adoption, &mut read, now) {
            Err(wrong) => fail(logs, &wrong.to_string()),
            Ok(false) => {
                self.stage = Stage::Taking(adoption);
                !was_over // what remains is waited for
            }
            Ok(true) => {
                self.files.clear();
                if let Some((_, done)) = self.orders.pop_front() {
                    done(adoption.adopted());
                }
                !self.orders.is_empty()
            }
        }
    }
}

fn begin(logs: &NodeLogs, log: ShardId, shard: &Shard) -> Box<Reading> {
    let folder = logs.known.log(&logs.path, log);
    let segments = segments_of(&folder).unwrap_or_else(|error| fail(logs, &error.to_string()));
    Box::new(Reading {
        shard: log,
        segments: segments.into(),
        recovery: Recovery::new(logs.known.id, log.0),
        fold: shard.begin_fold_of_node(log),
    })
}

/// The next segment; or the state, after the last one.
fn read(logs: &NodeLogs, mut reading: Box<Reading>) -> Result<Box<Reading>, Box<KeptState>> {
    let Some(number) = reading.segments.pop_front() else {
        return Err(Box::new(reading.fold.finish()));
    };
    let folder = logs.known.log(&logs.path, reading.shard);
    let bytes =
        read_segment(&folder, number).unwrap_or_else(|error| fail(logs, &error.to_string()));
    let (fold, mut wrong) = (&mut reading.fold, None);
    let done = reading
        .recovery
        .segment(number, &bytes, &mut |position, record| {
            if wrong.is_none() {
                wrong = fold.record(position, record).err();
            }
        });
    if let Some(error) = wrong {
        fail(logs, &error.to_string());
    }
    if let Err(error) = done {
        fail(logs, &error.to_string());
    }
    Ok(reading)
}

fn read_place(
    logs: &NodeLogs,
    files: &mut HashMap<(u16, u32), File>,
    (log, place): (u16, &Place),
) -> Option<Vec<u8>> {
    let key = (log, place.segment);
    let file = match files.entry(key) {
        Entry::Occupied(open) => open.into_mut(),
        Entry::Vacant(closed) => {
            let folder = logs.known.log(&logs.path, ShardId(log));
            let path = path_of(&folder, SegmentNumber(place.segment));
            closed.insert(File::open(path).ok()?)
        }
    };
    let mut bytes = vec![0; place.bytes as usize];
    let read = file.read_exact_at(&mut bytes, place.offset.into());
    read.ok().map(|()| bytes)
}

/// The logs were checked before: nothing else than the disk can be wrong. Another attempt begins anew.
fn fail(logs: &NodeLogs, error: &str) -> ! {
    tracing::error!(
        "cluster: the sessions of node {} cannot be adopted from {}: {error}; the process ends",
        logs.node,
        logs.path.display()
    );
    logging::flush();
    process::exit(EXIT_JOURNAL)
}
