//! Options of quotas: rates of clients and listeners, half-open connections, memory, length of turns.

use super::{count_or_none, opt, Access, Opt, MEMORY_LARGEST, U32};
use crate::config::kind::{Kind, Value};

const GROUP: &str = "Quotas";

pub(super) static OPTIONS: &[Opt] = &[
    opt(
        (GROUP, "client-in-messages-per-s"),
        count_or_none(U32),
        optional!(limits.client_rates.incoming.messages_per_s),
        (
            "PUBLISH packets per second of one client",
            "A client that sends more is read more slowly: nothing it sent is lost.",
        ),
    ),
    opt(
        (GROUP, "client-in-bytes-per-s"),
        count_or_none(U32),
        optional!(limits.client_rates.incoming.bytes_per_s),
        (
            "Bytes per second of one client",
            "The same, for the bytes of all packets.",
        ),
    ),
    opt(
        (GROUP, "client-out-messages-per-s"),
        count_or_none(U32),
        optional!(limits.client_rates.outgoing.messages_per_s),
        (
            "PUBLISH packets per second to one client",
            "QoS 0 messages above it are dropped and counted; QoS 1 and 2 messages wait in the client's queue.",
        ),
    ),
    opt(
        (GROUP, "client-out-bytes-per-s"),
        count_or_none(U32),
        optional!(limits.client_rates.outgoing.bytes_per_s),
        (
            "Bytes of PUBLISH packets per second to one client",
            "The same, for bytes.",
        ),
    ),
    opt(
        (GROUP, "listener-in-messages-per-s"),
        count_or_none(U32),
        optional!(limits.listener_rates.incoming.messages_per_s),
        (
            "PUBLISH packets per second of all clients of one listener",
            "Each shard has its part of it. The clients that send are read more slowly, each as often as the others.",
        ),
    ),
    opt(
        (GROUP, "listener-in-bytes-per-s"),
        count_or_none(U32),
        optional!(limits.listener_rates.incoming.bytes_per_s),
        (
            "Bytes per second of all clients of one listener",
            "The same, for the bytes of all packets.",
        ),
    ),
    opt(
        (GROUP, "listener-out-messages-per-s"),
        count_or_none(U32),
        optional!(limits.listener_rates.outgoing.messages_per_s),
        (
            "PUBLISH packets per second to all clients of one listener",
            "Each shard has its part of it. QoS 0 messages above it are dropped and counted; QoS 1 and 2 messages wait in the clients' queues.",
        ),
    ),
    opt(
        (GROUP, "listener-out-bytes-per-s"),
        count_or_none(U32),
        optional!(limits.listener_rates.outgoing.bytes_per_s),
        (
            "Bytes of PUBLISH packets per second to all clients of one listener",
            "The same, for bytes.",
        ),
    ),
    opt(
        (GROUP, "rate-burst"),
        Kind::Seconds {
            min: 0,
            max: 3_600,
            word: None,
        },
        number!(limits.rate_burst_s),
        (
            "How much of a rate may come at once, as the time it would take",
            "A client that was quiet may send or get this much without a pause. What one read brings \
             (64 KiB at most) is always taken.",
        ),
    ),
    opt(
        (GROUP, "half-open-max"),
        count_or_none(U32),
        optional!(limits.half_open_max),
        (
            "Connections that have not sent their CONNECT",
            "More are closed at once. It bounds what strangers can hold; in a storm of reconnecting clients many are half open for a moment, so it should be generous. Each shard has its part of it.",
        ),
    ),
    opt(
        (GROUP, "memory-max"),
        Kind::Bytes {
            min: 0,
            max: MEMORY_LARGEST,
        },
        number!(run.memory_max),
        (
            "Memory of the process from which on no clients are let in",
            "They get 0x97 (Quota exceeded; return code 3 in 3.1.1), before the kernel kills the \
             broker and ends all sessions. Those that are connected are served as before, but nothing \
             more is kept for them: subscriptions and messages to be retained are refused, queues do not \
             grow. 0 takes 90 % of what the cgroup allows, or of the machine's memory when it allows \
             everything.",
        ),
    ),
    opt(
        (GROUP, "turn-max-ms"),
        count_or_none(10_000),
        optional!(run.turn_max_ms),
        (
            "Milliseconds that a turn of a shard may take",
            "When turns take longer, less is read in each, so that clients are answered sooner and \
             all publishers slow down alike; when that does not help for a second, new clients are \
             refused with 0x97. A turn of 10 ms is long; other programs on the shard's core make \
             turns long, too.",
        ),
    ),
];
