//! Memory bound: the most memory that the limits permit, line by line.
//!
//! This is the sum when every limit is reached at once by clients that do their worst: an upper end
//! to reason with, not a forecast. It counts what can grow with what clients send and what a shard
//! holds from the start, with a fixed allowance for the broker's own bookkeeping per item; the
//! program itself and the kernel's socket buffers are not in it.

use std::fmt;

use crate::auth::{DECIDED_TOPIC_BYTES_MAX, DECISIONS_KEPT_MAX};
use crate::limits::{
    Limits, OwnTerms, QueuePolicy, BLOCK_BYTES, CONTROL_BYTES_HIGH_WATER, CONTROL_HIGH_WATER,
    DATA_BLOCKS, DATA_HIGH_WATER, HELD_HIGH_WATER, LOG_HIGH_WATER, READ_BUFFER, TURN_BYTES,
};
use crate::sparkplug::STATE_BYTES;

/// What of the machine the sum depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// As many as there will be.
    pub shards: u16,
    /// Connections for which the limit of open files leaves room; `None`: not limited.
    pub connections: Option<u32>,
    /// Memory in bytes that the cgroup allows or the machine has; `None`: not known.
    pub memory: Option<u64>,
}

/// The most memory a configuration permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryBound {
    pub machine: Machine,
    /// Clients that may be connected at once.
    pub connections: u32,
    pub lines: Vec<MemoryLine>,
}

/// So many things of so many bytes each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLine {
    pub what: &'static str,
    pub count: u128,
    pub bytes_each: u128,
    /// Which limits make it so.
    pub why: &'static str,
}

/// Lines that count one thing of every client.
const PER_CLIENT: [&str; 7] = [
    "connections",
    "bytes to send",
    "topic aliases",
    "sessions",
    "queues",
    "subscriptions",
    "decisions",
];
/// Lines of what clients that behave make the broker keep in time.
const LASTING: [&str; 2] = ["retained messages", "shards"];

/// Longest UTF-8 string of MQTT (topic names, filters, client identifiers) [MQTT-5.0, 1.5.4].
const STRING_BYTES_MAX: u128 = 65_535;
/// Bookkeeping of one connection: its entry, timers, and the smallest buffers.
const CONNECTION_BYTES: u128 = 2 << 10;
/// Bookkeeping of one session: its entry, place in the maps, and smallest collections.
const SESSION_BYTES: u128 = 2 << 10;
/// What was decided lately about topics of one session, both ways.
const RIGHTS_BYTES: u128 = 2 * 16 * 320;
/// What a service has ruled for one connection, with bookkeeping, both ways.
const RULINGS_BYTES: u128 = 2 * (DECISIONS_KEPT_MAX * (DECIDED_TOPIC_BYTES_MAX + 64)) as u128;
/// Bookkeeping of one message that waits or is in flight: entry and shared header.
const MESSAGE_BYTES: u128 = 128;
/// A filter of another shard: its hash, and its place in a table that may be half empty.
const REMOTE_FILTER_BYTES: u128 = 48;
/// A change on its way to another shard, besides its filter.
const CHANGE_BYTES: u128 = 64;
/// All packet identifiers on the lists of received QoS 2 messages: those of 3.1.1 have no other limit.
const RECEIVED_BYTES: u128 = 65_535 * 8;
/// What a shard holds from the start besides its read buffer: its rings and the stack of its thread.
const SHARD_BYTES: u128 = 4 << 20;

/// What may wait for a bridge. A queue with the policy `block` takes as many bytes again while its publishers learn
/// that it is full.
fn own_queue(terms: OwnTerms, limits: &Limits) -> u128 {
    let (messages_max, bytes_max, policy) = terms.queue(limits);
    let once = u128::from(bytes_max) + u128::from(messages_max) * MESSAGE_BYTES;
    match policy {
        QueuePolicy::Block => 2 * once,
        QueuePolicy::DropOldest | QueuePolicy::DropNewest | QueuePolicy::Disconnect => once,
    }
}

impl MemoryBound {
    /// `asks`: a service rules what clients may do. `keeps`: there is a data directory.
    pub(super) fn new(
        limits: &Limits,
        login_queue_max: u32,
        (asks, keeps): (bool, bool),
        bridges: &[OwnTerms],
        machine: Machine,
    ) -> Self {
        let shard_count = u128::from(machine.shards);
        let by_files = machine.connections.unwrap_or(u32::MAX);
        let connection_count = limits.connections_max.min(by_files);
        let connections = u128::from(connection_count);
        let sessions = u128::from(limits.sessions_max);
        let packet = u128::from(limits.packet_size_max);
        let string = STRING_BYTES_MAX.min(packet);
        let aliases =
            u128::from(limits.topic_alias_maximum) + u128::from(limits.topic_alias_outgoing_max);
        let alias_bytes =
            |count: u16| (u128::from(count) * string).min(u128::from(limits.topic_alias_bytes_max));
        let alias_texts =
            alias_bytes(limits.topic_alias_maximum) + alias_bytes(limits.topic_alias_outgoing_max);
        let waiting =
            u128::from(limits.queue_messages_max) + u128::from(limits.outgoing_window_max);
        let pairs = shard_count * shard_count.saturating_sub(1);
        let line = |what, count, bytes_each, why| MemoryLine {
            what,
            count,
            bytes_each,
            why,
        };
        let decisions = line(
            "decisions",
            connections,
            RULINGS_BYTES + 2 * packet,
            "connections-max, each with what http-hook-acl-url has said of it and what it is asked",
        );
        let journals = line(
            "journals",
            shard_count,
            (LOG_HIGH_WATER + HELD_HIGH_WATER) as u128 + 3 * (TURN_BYTES as u128 + packet),
            "shards, each with what waits for its disk and for others', and one turn's records, frame and write",
        );
        let mut lines = vec![
            line(
                "connections",
                connections,
                CONNECTION_BYTES + packet,
                "connections-max, each with one packet that has not fully arrived (packet-size-max)",
            ),
            line(
                "bytes to send",
                connections,
                u128::from(limits.outgoing_bytes_max) + packet,
                "connections-max x outgoing-bytes-max, and one packet that goes beyond it",
            ),
            line(
                "topic aliases",
                connections,
                alias_texts + aliases * MESSAGE_BYTES,
                "connections-max x topic-alias-bytes-max each way, and bookkeeping for their maximums",
            ),
            line(
                "sessions",
                sessions,
                SESSION_BYTES
                    + u128::from(limits.client_id_bytes_max)
                    + RECEIVED_BYTES
                    + RIGHTS_BYTES
                    + packet,
                "sessions-max, each with client id, received QoS 2 identifiers and a will",
            ),
            line(
                "logins",
                u128::from(login_queue_max),
                packet + READ_BUFFER as u128 + 2 * string,
                "login-queue-max, each with its CONNECT, its credentials and what follows it",
            ),
            line(
                "queues",
                sessions,
                u128::from(limits.queue_bytes_max) + waiting * MESSAGE_BYTES,
                "sessions-max x (queue-bytes-max, and bookkeeping for queue-messages-max)",
            ),
            line(
                "subscriptions",
                sessions,
                u128::from(limits.subscription_bytes_max)
                    + u128::from(limits.subscriptions_max)
                        * (shard_count - 1)
                        * REMOTE_FILTER_BYTES,
                "sessions-max x (subscription-bytes-max, and subscriptions-max hashes on each other shard)",
            ),
            line(
                "retained messages",
                1,
                u128::from(limits.retained_bytes_max),
                "retained-bytes-max, bookkeeping included",
            ),
            line(
                "shards",
                shard_count,
                SHARD_BYTES + READ_BUFFER as u128,
                "shards: read buffer, rings, stack",
            ),
            line(
                "publications between shards",
                pairs,
                (DATA_BLOCKS * BLOCK_BYTES + DATA_HIGH_WATER) as u128
                    + (DATA_BLOCKS as u128 + 1) * (TURN_BYTES as u128 + packet),
                "each shard to each other: a ring and an outbox, and what one turn goes beyond them",
            ),
            line(
                "subscriptions between shards",
                pairs * 2,
                CONTROL_HIGH_WATER as u128 * CHANGE_BYTES + CONTROL_BYTES_HIGH_WATER as u128,
                "each shard to each other: as many changes in the ring as in the outbox",
            ),
        ];
        let states = line(
            "states of Sparkplug",
            limits.sparkplug_states_max.into(),
            STATE_BYTES.into(),
            "sparkplug-states-max, names included",
        );
        let of_bridges = line(
            "queues of bridges",
            1,
            bridges.iter().map(|terms| own_queue(*terms, limits)).sum(),
            "queue-bytes-max and queue-messages-max of each bridge, twice with queue-policy \"block\"",
        );
        lines.extend(Some(of_bridges).filter(|_| !bridges.is_empty()));
        lines.extend(Some(states).filter(|_| limits.sparkplug));
        lines.extend(Some(decisions).filter(|_| asks));
        lines.extend(Some(journals).filter(|_| keeps));
        Self {
            machine,
            connections: connection_count,
            lines,
        }
    }

    /// One readable line: what all clients share, and what one client can hold.
    #[must_use]
    pub fn summary(&self) -> String {
        let shared = self.lines.iter().filter(|line| !is_per_client(line));
        let shared: u128 = shared.map(MemoryLine::bytes).sum();
        format!(
            "memory: at most {} for {} shard(s), what lies between them, and retained messages; {} \
             for each of {} clients that is quiet, and at most {} for one that does its worst; \
             details: --check-config",
            human(shared),
            self.machine.shards,
            human(CONNECTION_BYTES + SESSION_BYTES),
            self.connections,
            human(self.worst_client()),
        )
    }

    /// What the machine has too little memory for, and what to do.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let memory = u128::from(self.machine.memory?);
        let quiet = self.quiet();
        (quiet > memory).then(|| {
            format!(
                "{} of memory are there, and {} may be used without anybody doing wrong: {} shard(s), \
                 retained messages up to their limits, and {} clients that are quiet. Lower \
                 retained-bytes-max, retained-messages-max or connections-max; as it is, clients, \
                 subscriptions and retained messages will be refused (0x97) when memory is short",
                human(memory),
                human(quiet),
                self.machine.shards,
                self.connections,
            )
        })
    }

    /// Bytes that clients which behave make the broker use in time: its shards, retained messages up to
    /// their limits, and the connections and sessions of as many clients as may connect.
    #[must_use]
    pub fn quiet(&self) -> u128 {
        let lasting = self
            .lines
            .iter()
            .filter(|line| LASTING.contains(&line.what));
        let clients = u128::from(self.connections) * (CONNECTION_BYTES + SESSION_BYTES);
        lasting.map(MemoryLine::bytes).sum::<u128>() + clients
    }

    /// Bytes that one client can hold.
    #[must_use]
    pub fn worst_client(&self) -> u128 {
        let of_client = self.lines.iter().filter(|line| is_per_client(line));
        of_client.map(|line| line.bytes_each).sum()
    }

    /// Bytes of all lines together.
    #[must_use]
    pub fn total(&self) -> u128 {
        self.lines.iter().map(MemoryLine::bytes).sum()
    }
}

impl MemoryLine {
    #[must_use]
    pub fn bytes(&self) -> u128 {
        self.count * self.bytes_each
    }
}

impl fmt::Display for MemoryBound {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { shards, memory, .. } = self.machine;
        let quiet = human(self.quiet());
        let (connections, worst) = (self.connections, human(self.worst_client()));
        let memory = memory.map_or_else(|| "not known".into(), |bytes| human(bytes.into()));
        writeln!(out, "memory there is (cgroup or machine): {memory}")?;
        writeln!(
            out,
            "memory to have: {quiet}, and {worst} for each client at a time that does its worst"
        )?;
        writeln!(
            out,
            "  ({shards} shard(s), retained messages up to their limits, and {connections} quiet \
             clients: connections-max, or what the limit of open files leaves room for)"
        )?;
        writeln!(
            out,
            "memory when every limit is reached at once: {}; before that, memory-max refuses",
            human(self.total())
        )?;
        for line in &self.lines {
            let (what, bytes) = (line.what, human(line.bytes()));
            writeln!(out, "  {what:<28} {bytes:>9}  {}", line.why)?;
        }
        Ok(())
    }
}

fn is_per_client(line: &MemoryLine) -> bool {
    PER_CLIENT.contains(&line.what)
}

/// Bytes with one decimal and the largest unit that leaves at least 1.
fn human(bytes: u128) -> String {
    const UNITS: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];
    let mut unit = 0;
    while unit + 1 < UNITS.len() && bytes >> (10 * (unit + 1)) > 0 {
        unit += 1;
    }
    let tenths = (bytes >> (10 * unit)) * 10 + (((bytes % (1 << (10 * unit))) * 10) >> (10 * unit));
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]),
    }
}
