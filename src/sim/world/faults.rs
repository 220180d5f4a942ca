//! Tiny rings, partial reads and writes, ends seen late, no room: the surroundings of simulated shards.

use std::io::IoSlice;

use super::accounts::Accounts;
use super::crash::Commits;
use super::disks::DiskFaults;
use super::record::Record;
use crate::auth::{Question, Request};
use crate::ids::ConnectionId;
use crate::limits::Limits;
use crate::shard::{CloseCause, Lane};
use crate::sim::parameters::Parameters;
use crate::sim::random::Random;
use crate::testing::{At, Command, Environment, Event, Link};
use crate::time::Time;

const NS_PER_S: u64 = 1_000_000_000;
/// No packet of a client is larger.
const PACKET_MAX: u64 = 400;
/// A socket with bytes is not reported as readable in one of so many turns.
const UNHEARD_ONCE_IN: usize = 3;
/// A client that has closed takes along what was not read yet, once in so many.
const LOSES_REST_ONCE_IN: usize = 3;

/// What the simulator has seen of a link.
#[derive(Debug)]
pub(super) struct Seen {
    opened_at: Time,
    /// When the broker last read from it.
    pub(super) read_at: Time,
    /// When the broker had last read everything.
    pub(super) emptied_at: Time,
    /// Since when there is something that it has not read.
    pub(super) unread_since: Option<Time>,
    /// Bytes that it has not read.
    unread: usize,
    /// When the broker had done with it.
    pub(super) gone_at: Option<Time>,
    /// Since when it may have been over for its shard: what a shard asks for is carried out later in its turn,
    /// and time may jump in between.
    pub(super) gone_since: Option<Time>,
    /// The broker has answered its CONNECT; bytes read since then.
    is_answered: bool,
    read_since: u64,
}

pub(super) struct Faults {
    random: Random,
    parameters: Parameters,
    /// Most that is read of one client.
    bytes_per_s: Option<u32>,
    outgoing_bytes_max: usize,
    /// How many turns a commit takes.
    pub(super) commits: Option<Commits>,
    /// The last shard that has committed something in this step.
    pub(super) committed: Option<usize>,
    pub(super) disks: DiskFaults,
    pub(super) accounts: Accounts,
    pub(super) record: Record,
    /// By link.
    pub(super) seen: Vec<Seen>,
    /// Links whose shard has seen their end and may have packets of them left for its next turns.
    pub(super) ending: Vec<(usize, At)>,
    /// By shard: when all it had asked for was last carried out.
    pub(super) acted_at: Vec<Time>,
}

impl Seen {
    fn gone(&mut self, since: Time, now: Time) {
        self.gone_since = Some(since);
        self.gone_at = Some(now);
    }
}

impl Faults {
    pub(super) fn new(
        parameters: &Parameters,
        limits: &Limits,
        random: Random,
        disks: DiskFaults,
    ) -> Self {
        Self {
            random,
            parameters: parameters.clone(),
            disks,
            bytes_per_s: limits.client_rates.incoming.bytes_per_s,
            outgoing_bytes_max: limits.outgoing_bytes_max as usize,
            commits: None,
            committed: None,
            accounts: Accounts::default(),
            record: Record::new(),
            seen: Vec::new(),
            ending: Vec::new(),
            acted_at: vec![Time::ZERO; usize::from(parameters.shards)],
        }
    }

    /// The last packets of a link have been handled.
    pub(super) fn note_gone(&mut self, link: usize, now: Time) {
        self.seen[link].gone(now, now);
    }

    /// A client has sent so much.
    pub(super) fn note_sent(&mut self, link: usize, count: usize, now: Time) {
        let seen = &mut self.seen[link];
        seen.unread += count;
        if seen.unread > 0 {
            seen.unread_since.get_or_insert(now);
        }
    }

    /// Bytes that a client reads at once.
    pub(super) fn piece(&mut self) -> usize {
        1 + self.random.below(self.parameters.piece_max)
    }

    /// No more was read than its rate allows since it was opened, and what may come at once, before the
    /// bytes that are read now. What is not a whole packet does not count yet.
    fn check_rate(&mut self, link: usize, now: Time) {
        let Some(per_s) = self.bytes_per_s else {
            return;
        };
        let seen = &self.seen[link];
        let elapsed = now.since(seen.opened_at).0 + NS_PER_S;
        let most = elapsed.saturating_mul(u64::from(per_s)) / NS_PER_S + PACKET_MAX;
        let before = seen.read_since;
        if before > most {
            let text = format!("connection {link}: {before} bytes read, its rate allows {most}");
            self.record.fail(text);
        }
    }

    fn is_read(&mut self, link: usize, count: usize, now: Time) {
        self.check_rate(link, now);
        let seen = &mut self.seen[link];
        seen.read_at = now;
        seen.unread = seen.unread.saturating_sub(count);
        if seen.unread == 0 {
            seen.emptied_at = now;
            seen.unread_since = None;
        }
        if seen.is_answered {
            seen.read_since += count as u64;
        }
    }

    /// A client that takes some of more than the broker keeps for it is not silent: its own packets wait
    /// because of that.
    fn is_written(&mut self, link: usize, waiting: usize, now: Time) {
        let seen = &mut self.seen[link];
        seen.is_answered = true;
        if waiting > self.outgoing_bytes_max {
            seen.read_at = now;
        }
    }

    /// Keeps what the oracle asks about.
    fn look(&mut self, now: Time, event: Event<'_>) {
        match event {
            Event::Opened { is_accepted, .. } => self.seen.push(Seen {
                opened_at: now,
                read_at: now,
                emptied_at: now,
                unread_since: None,
                unread: 0,
                gone_at: (!is_accepted).then_some(now),
                gone_since: (!is_accepted).then_some(now),
                is_answered: false,
                read_since: 0,
            }),
            Event::Read { link, bytes, .. } => self.is_read(link, bytes.len(), now),
            Event::Written { link, waiting, .. } => self.is_written(link, waiting, now),
            Event::Ended {
                link,
                shard,
                connection,
                cause,
            } => {
                if cause == CloseCause::Asked {
                    let since = self.acted_at[shard];
                    self.seen[link].gone(since, now);
                } else {
                    self.ending.push((link, (shard, connection)));
                }
            }
            Event::Arrives {
                link, is_accepted, ..
            } => {
                if is_accepted {
                    self.seen[link].read_at = now;
                } else {
                    self.seen[link].gone(now, now);
                }
            }
            Event::Committed { shard } => self.committed = Some(shard),
            Event::WriteFailed { .. } => self.disks.note_failed(),
            Event::DiskFull { is_full, .. } => self.disks.note_full(is_full),
            _ => {}
        }
    }

    fn describe(event: Event<'_>) -> String {
        match event {
            Event::Read { link, shard, bytes } => {
                format!(
                    "shard {shard} reads {} bytes of connection {link}",
                    bytes.len()
                )
            }
            other => format!("{other:?}"),
        }
    }
}

impl Environment for Faults {
    fn ring_room(&self) -> usize {
        self.parameters.ring_blocks
    }

    fn blocks(&mut self, lane: Lane, _waiting: usize) -> usize {
        match lane {
            Lane::Control => self.random.below(3),
            Lane::Data if self.random.once_in(self.parameters.data_lag) => 1 + self.random.below(2),
            Lane::Data => 0,
        }
    }

    fn first_read(&mut self, connections: usize) -> usize {
        self.random.below(connections)
    }

    fn read(&mut self, _waiting: usize) -> usize {
        if self.random.once_in(UNHEARD_ONCE_IN) {
            return 0;
        }
        self.piece()
    }

    fn sees_end(&mut self, waiting: usize, _wants_input: bool) -> bool {
        !self.random.once_in(UNHEARD_ONCE_IN)
            && (waiting == 0 || self.random.once_in(LOSES_REST_ONCE_IN))
    }

    fn write(&mut self, link: &Link, _waiting: usize) -> usize {
        let held = link.received.len();
        let room = self.parameters.socket_room.saturating_sub(held);
        room.min(1 + self.random.below(4 * self.parameters.piece_max))
    }

    fn has_room(&mut self, link: &Link) -> bool {
        let has_room = link.received.len() < self.parameters.socket_room;
        (has_room || link.is_closed_by_client) && self.random.once_in(2)
    }

    fn deliver(&mut self, link: &mut Link, slices: &[IoSlice<'_>], count: usize) {
        let mut left = count;
        for slice in slices {
            let taken = &slice[..slice.len().min(left)];
            self.record.add(taken);
            if !link.is_closed_by_client {
                link.received.extend_from_slice(taken);
            }
            left -= taken.len();
        }
    }

    fn authenticate(&mut self, shard: usize, connection: ConnectionId, question: Box<Question>) {
        self.accounts.ask_who(shard, connection, question);
    }

    fn authorize(&mut self, shard: usize, id: ConnectionId, _request: Box<Request>) {
        self.record
            .fail(format!("shard {shard} asks what {id:?} may do"));
    }

    fn command(&mut self, shard: usize) -> Option<Command> {
        self.accounts.take_command(shard)
    }

    fn commit_turns(&mut self, shard: usize) -> Option<u32> {
        let commits = self.commits.as_mut();
        Some(commits.map_or(1, |commits| commits.turns(shard)))
    }

    fn write_fails(&mut self, _shard: usize) -> bool {
        self.disks.fails()
    }

    fn read_turns(&mut self, shard: usize) -> u32 {
        let commits = self.commits.as_mut();
        commits.map_or(1, |commits| commits.turns(shard))
    }

    fn is_broken(&mut self, problem: String) {
        self.record.fail(problem);
    }

    fn happened(&mut self, now: Time, event: Event<'_>) {
        self.record.add((now.0, event));
        self.record.note(now, || Self::describe(event));
        self.look(now, event);
    }
}
