//! Options that limit packets, connections, sessions, topics and retained messages.

use super::{count, opt, Access, Opt, MEMORY_LARGEST, U16, U32};
use crate::config::kind::{Kind, Value};

const GROUP: &str = "Limits";

/// The largest MQTT packet: a fixed header of 5 bytes and 268,435,455 bytes after it.
const PACKET_SIZE_LARGEST: u64 = 5 + 268_435_455;
/// A match with the rules of an ACL goes down the stack by one call per level: far within the 2 MiB of a shard's thread.
const TOPIC_LEVELS_LARGEST: u64 = 1_000;

pub(super) static OPTIONS: &[Opt] = &[
    opt(
        (GROUP, "packet-size-max"),
        Kind::Bytes {
            min: 256,
            max: PACKET_SIZE_LARGEST,
        },
        number!(limits.packet_size_max),
        (
            "Largest packet accepted, header included",
            "A larger one ends the connection with 0x95 before its bytes are read. Announced to \
             5.0 clients as Maximum Packet Size. queue-bytes-max, outgoing-bytes-max and \
             retained-bytes-max must be at least as large.",
        ),
    ),
    opt(
        (GROUP, "connect-timeout"),
        Kind::Seconds {
            min: 1,
            max: U16,
            word: None,
        },
        number!(limits.connect_timeout_s),
        (
            "Time for a new connection to send its CONNECT",
            "Closes what connects and stays silent before it has said who it is.",
        ),
    ),
    opt(
        (GROUP, "connections-max"),
        count(1, U32),
        number!(limits.connections_max),
        (
            "Network connections of the whole broker",
            "One more is closed at once. The open-file limit of the process must leave room for \
             them.",
        ),
    ),
    opt(
        (GROUP, "sessions-max"),
        count(1, U32),
        number!(limits.sessions_max),
        (
            "Sessions of the whole broker, connected or not",
            "A client that would need one more is refused with 0x97 (3.1.1: server unavailable). \
             Below connections-max, it is the limit that counts.",
        ),
    ),
    opt(
        (GROUP, "client-id-bytes-max"),
        count(23, U16),
        number!(limits.client_id_bytes_max),
        (
            "Longest client identifier, in bytes",
            "Longer ones are refused with 0x85. 23 bytes must be accepted [MQTT-3.1.3-5].",
        ),
    ),
    opt(
        (GROUP, "topic-levels-max"),
        count(1, TOPIC_LEVELS_LARGEST),
        number!(limits.topic_levels_max),
        (
            "Levels of a topic name or topic filter",
            "Deeper topics are refused. Each level is a step of every match.",
        ),
    ),
    opt(
        (GROUP, "topic-alias-maximum"),
        count(0, U16),
        number!(limits.topic_alias_maximum),
        (
            "Topic aliases a 5.0 client may use towards the broker",
            "Each keeps a topic name per connection. 0 allows none.",
        ),
    ),
    opt(
        (GROUP, "topic-alias-outgoing-max"),
        count(0, U16),
        number!(limits.topic_alias_outgoing_max),
        (
            "Topic aliases the broker uses towards a 5.0 client",
            "Never more than the client announces. Each keeps a topic name per connection. 0 uses \
             none.",
        ),
    ),
    opt(
        (GROUP, "topic-alias-bytes-max"),
        Kind::Bytes { min: 1, max: U32 },
        number!(limits.topic_alias_bytes_max),
        (
            "Bytes of topic names kept for aliases, each way",
            "Of one connection. A client that sets aliases for more is disconnected with 0x97; \
             the broker itself sends topics in full beyond it.",
        ),
    ),
    opt(
        (GROUP, "retained-messages-max"),
        count(0, U32),
        number!(limits.retained_messages_max),
        (
            "Retained messages of the whole broker",
            "One more is delivered but not kept. 0 keeps none: 5.0 clients are told so, and \
             disconnected with 0x9A if they ask for it; of others messages are delivered and not kept.",
        ),
    ),
    opt(
        (GROUP, "retained-bytes-max"),
        Kind::BytesOr {
            min: 0,
            max: MEMORY_LARGEST,
            word: "auto",
        },
        Access(
            |checked| match checked.retained_by_memory {
                true => Value::Word,
                false => Value::Number(checked.limits.retained_bytes_max),
            },
            |checked, value| {
                checked.retained_by_memory = value == Value::Word;
                if !checked.retained_by_memory {
                    checked.limits.retained_bytes_max = value.number();
                }
            },
        ),
        (
            "Bytes of retained messages of the whole broker",
            "\"auto\" is a quarter of the memory that the cgroup allows or the machine has, at most \
             1 GiB. At least packet-size-max, or the largest messages could never be kept; 0 keeps \
             none. While memory is short (memory-max) nothing more is kept.",
        ),
    ),
    opt(
        (GROUP, "outgoing-bytes-max"),
        Kind::Bytes {
            min: 256,
            max: U32,
        },
        number!(limits.outgoing_bytes_max),
        (
            "Bytes waiting to be sent on one connection",
            "Above it QoS 0 messages for this client are dropped, QoS 1 and 2 messages stay in its \
             queue, and nothing more is read from it. At least packet-size-max, or the largest \
             packets could never be sent.",
        ),
    ),
];
