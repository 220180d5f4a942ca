//! Sessions of another node are adopted, from its logs, while clients are served.
//!
//! Nothing of a session counts here before all of it does: its messages are read first, then it enters the index, and the
//! turn that does so writes it whole. So a publication that comes meanwhile finds it or does not, and what it is acknowledged
//! is in this log in both cases. It is done some at a time, and done again from the beginning if the process ends: who
//! is there already then stays as it is.
//!
//! The other node's lanes may be other ones than here, so each shard reads all of its logs and takes whose client ids
//! have their home here.

use std::collections::VecDeque;
use std::rc::Rc;

use super::crossing_records::KeptCrossings;
use super::estates::is_kept_estate;
use super::fold::{KeptSession, KeptState, StateFold};
use super::loads::{publication_of, NotWritten};
use super::record::READ_BACK;
use super::restore::logs_of_clients;
use super::restore_held::LogsOfClients;
use crate::ids::{SessionId, ShardId};
use crate::journal::Lsn;
use crate::limits::QueuePolicy;
use crate::mqtt::Place;
use crate::session::{QueueBounds, Session, SessionImage};
use crate::shard::mesh::placement::HOME_LANES;
use crate::shard::notices::About;
use crate::shard::Shard;
use crate::time::Time;

/// Bytes of messages that one turn adopts, unless a single session has more.
const TURN_BYTES: usize = 256 << 10;

/// Everything fits that was once there.
const NO_BOUNDS: QueueBounds = QueueBounds {
    messages_max: usize::MAX,
    bytes_max: usize::MAX,
    policy: QueuePolicy::DropNewest,
};

/// Gives the bytes of a record of one of the other node's logs.
pub type ReadPlace<'a> = &'a mut dyn FnMut(u16, &Place) -> Option<Vec<u8>>;

/// What is left to be adopted by one shard. Lives on: the shard's driver.
#[derive(Debug)]
pub struct Adoption {
    sessions: VecDeque<KeptSession>,
    logs: Vec<KeptCrossings>,
    of_clients: LogsOfClients,
    /// Some of it may be here, by an attempt that was cut short.
    is_again: bool,
    adopted: usize,
    /// The barrier behind it, when all of it is here; and from the next turn on, where the last of it is in this log.
    end: Option<(u64, Option<Lsn>)>,
}

impl Adoption {
    /// What remains is waited for.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.end.is_some()
    }

    /// Sessions that are here now and were not.
    #[must_use]
    pub fn adopted(&self) -> usize {
        self.adopted
    }
}

impl Shard {
    /// Begins to read a log of another node, of which all states are for [`begin_adoption`](Self::begin_adoption).
    #[must_use]
    pub fn begin_fold_of_node(&self, log: ShardId) -> StateFold {
        let all = vec![true; usize::from(HOME_LANES)].into_boxed_slice();
        StateFold::new(all, self.config.hash_seed, Some(log))
    }

    /// Keeps what is for this shard, of the states of all logs of a node, in order.
    #[must_use]
    pub fn begin_adoption(&self, states: Vec<KeptState>, is_again: bool) -> Adoption {
        let state = KeptState::of_several(states);
        let of_clients = logs_of_clients(&state, self.config.hash_seed);
        let is_own = |kept: &KeptSession| {
            let name = kept.client_id().trim_start_matches('\0'); // of an estate
            self.routes.placement.home(name) == self.id
        };
        Adoption {
            sessions: state.sessions.into_iter().filter(is_own).collect(),
            logs: state.logs.into_iter().map(|(log, _)| log).collect(),
            of_clients,
            is_again,
            adopted: 0,
            end: None,
        }
    }

    /// Adopts some of it, within a turn. True: all of it is on the disk, and known to all shards and nodes.
    ///
    /// # Errors
    /// A message cannot be read: the process must not go on as if it had adopted it.
    pub fn adopt_some(
        &mut self,
        adoption: &mut Adoption,
        read: ReadPlace<'_>,
        now: Time,
    ) -> Result<bool, NotWritten> {
        if let Some((barrier, last)) = &mut adoption.end {
            let log = &self.durable.as_deref().expect("a journal").log;
            let last = *last.get_or_insert(log.last()); // the turn before has appended it
            let peers = &self.mesh.peers;
            let is_known = peers.is_alone() || peers.barrier_reached() >= *barrier;
            return Ok(is_known && log.durable() >= last);
        }
        let mut bytes = 0;
        while bytes < TURN_BYTES {
            let Some(mut kept) = adoption.sessions.pop_front() else {
                self.end_adoption(adoption, now);
                break;
            };
            bytes += load(&mut kept, read)?;
            self.adopt_session(&kept, adoption, now);
        }
        Ok(false)
    }

    /// What was on its way between the other node's shards is delivered, to whom it was for.
    fn end_adoption(&mut self, adoption: &mut Adoption, now: Time) {
        if !adoption.is_again {
            let logs = std::mem::take(&mut adoption.logs);
            self.deliver_crossings(&logs, &adoption.of_clients, now);
        }
        adoption.end = Some((self.mesh.want_barrier(), None));
    }

    fn adopt_session(&mut self, kept: &KeptSession, adoption: &mut Adoption, now: Time) {
        let image = kept.image();
        let there = self.clients.by_client_id.get(&image.client_id).copied();
        let there = there.filter(|id| self.clients.sessions.get(*id).is_some());
        let Some(there) = there.filter(|_| !is_kept_estate(kept)) else {
            adoption.adopted += 1;
            let of_image = KeptState::of(vec![image], Vec::new());
            for kept in of_image.sessions {
                self.restore_kept(kept, false, now);
            }
            return;
        };
        if adoption.is_again {
            return; // it is that one
        }
        let client_id = Rc::clone(&image.client_id);
        let messages = kept.messages();
        let is_kept = self.clients.session(there).session.is_durable();
        if is_kept {
            self.give_to(there, image, now);
        }
        let count = messages as u64;
        let about = About::loss("session of another node", Some(&client_id), count.max(1));
        self.notice(&about, now, || match is_kept {
            true => format!("it has a session here, which is given the {messages} messages of its session on the other node"),
            false => format!("it has begun anew here: the {messages} messages of its session on the other node are dropped"),
        });
    }

    /// The client has a session here, which it has made since the other node was lost: its messages are not lost with it.
    fn give_to(&mut self, id: SessionId, image: SessionImage, now: Time) {
        let mut queue = image.window.publications();
        queue.extend(image.queue);
        let left = SessionImage {
            queue,
            ..SessionImage::empty(image.client_id)
        };
        let clocks = self.turn.clocks;
        let (mut left, _) = Session::restore(left, self.config.hash_seed, NO_BOUNDS, clocks);
        while let Some(delivery) = left.queue.pop() {
            let queue = &mut self.clients.session_mut(id).session.queue;
            queue.offer(delivery, &NO_BOUNDS);
        }
        self.pump(id, now);
    }
}

/// Reads what waits for a session and is in no memory; how many bytes that were.
fn load(kept: &mut KeptSession, read: ReadPlace<'_>) -> Result<usize, NotWritten> {
    let (mut bytes, mut wrong) = (1, None);
    kept.load(&mut |stored| {
        let place = stored.place();
        let log = stored.hold().former().unwrap_or_default();
        let record = read(log, &place);
        let found = record.and_then(|record| publication_of(&record, &place, READ_BACK));
        match &found {
            Some(_) => bytes += place.bytes as usize,
            None => wrong = wrong.or(Some(NotWritten::of(stored))),
        }
        found
    });
    wrong.map_or(Ok(bytes), Err)
}
