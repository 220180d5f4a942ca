//! How much memory the limits permit at most, line by line.
//!
//! This is the sum when every limit is reached at once by clients that do their worst: an upper end
//! to reason with, not a forecast. It counts what can grow with what clients send and what a shard
//! holds from the start, with a fixed allowance for the broker's own bookkeeping per item; the
//! program itself and the kernel's socket buffers are not in it.

use std::fmt;

use crate::auth::{RULED_TOPIC_BYTES_MAX, RULINGS_KEPT_MAX};
use crate::limits::{
    Limits, BLOCK_BYTES, CONTROL_HIGH_WATER, DATA_BLOCKS, DATA_HIGH_WATER, READ_BUFFER, TURN_BYTES,
};

/// The most memory a configuration permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryBound {
    pub shards: u16,
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
const PER_CLIENT: [&str; 5] = [
    "connections",
    "bytes to send",
    "sessions",
    "queues",
    "rulings",
];
const SUBSCRIPTIONS: &str = "subscriptions";
const ALIASES: &str = "topic aliases";

/// Longest UTF-8 string of MQTT (topic names, filters, client identifiers) [MQTT-5.0, 1.5.4].
const STRING_BYTES_MAX: u128 = 65_535;
/// Bookkeeping of one connection: its entry, timers, and the smallest buffers.
const CONNECTION_BYTES: u128 = 2 << 10;
/// Bookkeeping of one session: its entry, place in the maps, and smallest collections.
const SESSION_BYTES: u128 = 2 << 10;
/// What was decided lately about topics of one session, both ways.
const RIGHTS_BYTES: u128 = 2 * 16 * 320;
/// What a service has ruled for one connection, with bookkeeping, both ways.
const RULINGS_BYTES: u128 = 2 * (RULINGS_KEPT_MAX * (RULED_TOPIC_BYTES_MAX + 64)) as u128;
/// Bookkeeping of one message that waits or is in flight: entry and shared header.
const MESSAGE_BYTES: u128 = 128;
/// Bookkeeping of one subscription: entry, options, and nodes of the topic index per level.
const SUBSCRIPTION_BYTES: u128 = 128;
/// Bookkeeping of one level of a topic or filter in an index.
const LEVEL_BYTES: u128 = 64;
/// A packet identifier on the list of received QoS 2 messages.
const PACKET_ID_BYTES: u128 = 4;
/// What a shard holds from the start besides its read buffer: its rings and the stack of its thread.
const SHARD_BYTES: u128 = 4 << 20;

impl MemoryBound {
    /// `asks`: a service rules what clients may do.
    pub(super) fn new(limits: &Limits, login_queue_max: u32, asks: bool, shards: u16) -> Self {
        let shard_count = u128::from(shards);
        let connections = u128::from(limits.connections_max);
        let sessions = u128::from(limits.sessions_max);
        let packet = u128::from(limits.packet_size_max);
        let string = STRING_BYTES_MAX.min(packet);
        let levels = u128::from(limits.topic_levels_max) * LEVEL_BYTES;
        let aliases =
            u128::from(limits.topic_alias_maximum) + u128::from(limits.topic_alias_outgoing_max);
        let waiting =
            u128::from(limits.queue_messages_max) + u128::from(limits.outgoing_window_max);
        let pairs = shard_count * shard_count.saturating_sub(1);
        let line = |what, count, bytes_each, why| MemoryLine {
            what,
            count,
            bytes_each,
            why,
        };
        let rulings = line(
            "rulings",
            connections,
            RULINGS_BYTES + 2 * packet,
            "connections-max, each with what http-hook-acl-url has said of it and what it is asked",
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
                ALIASES,
                connections * aliases,
                string + MESSAGE_BYTES,
                "connections-max x (topic-alias-maximum + topic-alias-outgoing-max)",
            ),
            line(
                "sessions",
                sessions,
                SESSION_BYTES
                    + u128::from(limits.client_id_bytes_max)
                    + u128::from(limits.receive_maximum) * PACKET_ID_BYTES
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
                SUBSCRIPTIONS,
                sessions * u128::from(limits.subscriptions_max) * shard_count,
                string + SUBSCRIPTION_BYTES + levels,
                "sessions-max x subscriptions-max, every filter on every shard",
            ),
            line(
                "retained messages",
                1,
                u128::from(limits.retained_bytes_max)
                    + u128::from(limits.retained_messages_max) * (MESSAGE_BYTES + levels),
                "retained-bytes-max, and bookkeeping for retained-messages-max",
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
                pairs * 2 * CONTROL_HIGH_WATER as u128,
                string + SUBSCRIPTION_BYTES,
                "each shard to each other: as many changes in the ring as in the outbox",
            ),
        ];
        lines.extend(Some(rulings).filter(|_| asks));
        Self { shards, lines }
    }

    /// One readable line: what all clients share, and what one client doing its worst can hold. The
    /// whole sum, clients times subscriptions of the longest filters, is in the table.
    #[must_use]
    pub fn summary(&self) -> String {
        let per_client = |line: &&MemoryLine| PER_CLIENT.contains(&line.what);
        let shared = self
            .lines
            .iter()
            .filter(|line| !PER_CLIENT.contains(&line.what));
        let shared = shared.filter(|line| line.what != SUBSCRIPTIONS && line.what != ALIASES);
        let shared: u128 = shared.map(MemoryLine::bytes).sum();
        let client: u128 = self
            .lines
            .iter()
            .filter(per_client)
            .map(|line| line.bytes_each)
            .sum();
        format!(
            "memory: at most {} for {} shard(s), their rings and retained messages, and at most {} \
             for each client's buffers, session and queue; details: --check-config",
            human(shared),
            self.shards,
            human(client),
        )
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
        writeln!(
            out,
            "memory when every limit is reached at once, {} shard(s): {}",
            self.shards,
            human(self.total())
        )?;
        for line in &self.lines {
            let (what, bytes) = (line.what, human(line.bytes()));
            writeln!(out, "  {what:<28} {bytes:>9}  {}", line.why)?;
        }
        Ok(())
    }
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
