//! Options of sessions: expiry, keep alive, subscriptions, inflight window, queue.

use super::{count, opt, Access, Opt, MEMORY_LARGEST, U16, U32};
use crate::config::kind::{Kind, Value};
use crate::limits::QueuePolicy;

const GROUP: &str = "Sessions";

/// Session Expiry Interval that means "never" [MQTT-5.0, 3.1.2.11.2].
const EXPIRY_NEVER_S: u32 = u32::MAX;

pub(super) static OPTIONS: &[Opt] = &[
    opt(
        (GROUP, "session-expiry-max"),
        Kind::Seconds {
            min: 0,
            max: U32 - 1,
            word: Some("none"),
        },
        Access(
            |checked| match checked.limits.session_expiry_max_s {
                EXPIRY_NEVER_S => Value::Word,
                seconds => Value::Number(seconds.into()),
            },
            |checked, value| {
                checked.limits.session_expiry_max_s = match value {
                    Value::Word => EXPIRY_NEVER_S,
                    number => number.number(),
                }
            },
        ),
        (
            "Longest time a session is kept for a client that is away",
            "A 5.0 client asking for more is told this value; a 3.1 or 3.1.1 client without clean \
             session is kept this long. 0 ends every session with its connection, \"none\" lets \
             clients keep a session for ever: their queues then stay, too.",
        ),
    ),
    opt(
        (GROUP, "keep-alive-max"),
        Kind::Seconds {
            min: 1,
            max: U16,
            word: Some("none"),
        },
        Access(
            |checked| match checked.limits.keep_alive_max_s {
                Some(seconds) => Value::Number(seconds.into()),
                None => Value::Word,
            },
            |checked, value| {
                checked.limits.keep_alive_max_s = match value {
                    Value::Word => None,
                    number => Some(number.number()),
                }
            },
        ),
        (
            "Longest keep alive",
            "A client asking for more, or for no keep alive at all, is timed by this value (a 5.0 \
             client is told). \"none\" leaves each client its own value, so that one without keep \
             alive is never timed out.",
        ),
    ),
    opt(
        (GROUP, "subscriptions-max"),
        count(1, U32),
        number!(limits.subscriptions_max),
        (
            "Subscriptions of one session",
            "One more is refused with 0x97 (Quota exceeded). Every shard holds every subscription.",
        ),
    ),
    opt(
        (GROUP, "subscription-bytes-max"),
        Kind::Bytes {
            min: 256,
            max: MEMORY_LARGEST,
        },
        number!(limits.subscription_bytes_max),
        (
            "Bytes that the subscriptions of one session may take",
            "Each takes twice its filter, 64 bytes for each of its levels, and 128. One more is \
             refused with 0x97 (Quota exceeded).",
        ),
    ),
    opt(
        (GROUP, "outgoing-window-max"),
        count(1, U16),
        number!(limits.outgoing_window_max),
        (
            "QoS 1 and 2 messages in flight to one client",
            "Never above the Receive Maximum the client announces. More hides a long round trip, \
             less leaves more to the queue, where messages can still expire or be dropped.",
        ),
    ),
    opt(
        (GROUP, "receive-maximum"),
        count(1, U16),
        number!(limits.receive_maximum),
        (
            "QoS 1 and 2 messages a client may have in flight to the broker",
            "Announced to 5.0 clients as Receive Maximum. A client that goes beyond it is \
             disconnected with 0x93 [MQTT-3.3.4-9].",
        ),
    ),
    opt(
        (GROUP, "queue-messages-max"),
        count(1, U32),
        number!(limits.queue_messages_max),
        (
            "Messages waiting for one client",
            "What happens to one more is queue-policy.",
        ),
    ),
    opt(
        (GROUP, "queue-bytes-max"),
        Kind::Bytes {
            min: 256,
            max: MEMORY_LARGEST,
        },
        number!(limits.queue_bytes_max),
        (
            "Bytes waiting for one client or in flight to it",
            "At least packet-size-max, or the largest messages could never wait. What happens to \
             more is queue-policy.",
        ),
    ),
    opt(
        (GROUP, "queue-policy"),
        Kind::Choice(&["drop-oldest", "drop-newest", "disconnect"]),
        Access(
            |checked| Value::Choice(checked.limits.queue_policy.word()),
            |checked, value| {
                let policy = QueuePolicy::of_word(value.choice());
                checked.limits.queue_policy = policy.unwrap_or_default();
            },
        ),
        (
            "What a full queue does with one more QoS 1 or 2 message",
            "\"drop-oldest\" makes room: a client that returns sees the latest state. \
             \"drop-newest\" keeps what was there. \"disconnect\" ends the connection with 0x97 and \
             keeps the session; while the client is away the new message is dropped.",
        ),
    ),
    opt(
        (GROUP, "queue-qos0"),
        Kind::Boolean,
        boolean!(limits.queue_qos0),
        (
            "Queue QoS 0 messages, too, for clients that are away",
            "MQTT leaves it open. Off: a sensor's stream does not fill the queue of somebody who \
             is away.",
        ),
    ),
];
