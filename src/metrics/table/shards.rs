//! Work of the shards, and what their limits do.

use super::{counted, row};
use crate::metrics::family::{Family, Kind, DEPTH, LATENCY};

pub(super) static FAMILIES: &[Family] = &[
    Family::histogram(
        "ringmq_turn_seconds",
        "How long the turns of a shard took that had something to do.",
        LATENCY,
        |report| &report.driver.turn_length,
    ),
    Family::shard(
        (Kind::Counter, "ringmq_busy_seconds"),
        "Time of the turns that had something to do.",
        &[row!([] |report| report.driver.busy.0 as f64 / 1e9)],
    ),
    Family::shard(
        (Kind::Gauge, "ringmq_sockets"),
        "Sockets of clients that a shard has.",
        &[row!([] |report| report.driver.sockets as f64)],
    ),
    Family::histogram(
        "ringmq_ring_depth",
        "Blocks of other shards that waited when a shard looked.",
        DEPTH,
        |report| &report.driver.ring_depth,
    ),
    Family::shard(
        (Kind::Gauge, "ringmq_outbox_bytes"),
        "Bytes that wait for room in the rings to other shards.",
        &[row!([] |report| report.shard.outbox_bytes as f64)],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_route_misses"),
        "Topics that had to be looked for in the index.",
        &[row!([] |report| report.shard.route_misses as f64)],
    ),
    Family::histogram(
        "ringmq_commit_seconds",
        "From a frame of the journal handed to the disk until it is durable.",
        LATENCY,
        |report| &report.driver.commit,
    ),
    Family::shard(
        (Kind::Counter, "ringmq_pauses"),
        "Pauses in reading a client (in) or sending to one (out), because of a rate.",
        &[
            counted!(["direction": "in"] reads_paused),
            counted!(["direction": "out"] sends_paused),
        ],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_overload_refusals"),
        "What was refused because memory is short (CONNECTs, subscriptions, messages to be retained), the disk of \
         data-dir is full (what has to be written there) or turns take too long (CONNECTs).",
        &[
            counted!(["reason": "memory"] refused_memory),
            counted!(["reason": "disk"] refused_disk),
            counted!(["reason": "turns"] refused_turns),
        ],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_publications_waited"),
        "Publications that had to wait because the queue of a bridge with queue-policy block was full.",
        &[counted!(publications_waited)],
    ),
    Family::shard(
        (Kind::Gauge, "ringmq_overload"),
        "1 while clients are refused because memory is short, the disk of data-dir is full, or turns take too long.",
        &[
            row!(["reason": "memory"] |report| f64::from(u8::from(report.shard.overload_memory))),
            row!(["reason": "disk"] |report| f64::from(u8::from(report.shard.overload_disk))),
            row!(["reason": "turns"] |report| f64::from(u8::from(report.shard.overload_turns))),
        ],
    ),
];
