//! Packets, messages, queues and retained messages.

use super::{counted, row};
use crate::metrics::family::{Family, Kind, Series, DEPTH, LATENCY};

pub(super) static FAMILIES: &[Family] = &[
    Family {
        name: "ringmq_packets",
        kind: Kind::Counter,
        help: "Control packets of clients by direction and type.",
        series: Series::Packets,
    },
    Family::shard(
        (Kind::Counter, "ringmq_bytes"),
        "Bytes of MQTT by direction, without what lies below it.",
        &[
            counted!(["direction": "in"] bytes_received),
            counted!(["direction": "out"] bytes_sent),
        ],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_payload_bytes"),
        "Bytes of the payloads of messages by direction.",
        &[
            counted!(["direction": "in"] payload_bytes_received),
            counted!(["direction": "out"] payload_bytes_sent),
        ],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_messages_received"),
        "Messages that clients have published, by QoS.",
        &[
            row!(["qos": "0"] |report| report.shard.stats.publications_qos0() as f64),
            counted!(["qos": "1"] publications_qos1),
            counted!(["qos": "2"] publications_qos2),
        ],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_messages_delivered"),
        "Messages sent to clients for the first time, by QoS.",
        &[
            row!(["qos": "0"] |report| report.shard.stats.deliveries_qos0() as f64),
            counted!(["qos": "1"] deliveries_qos1),
            counted!(["qos": "2"] deliveries_qos2),
        ],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_messages_dropped"),
        "Deliveries that were dropped, by reason.",
        &[
            counted!(["reason": "queue_full"] dropped_queue_full),
            counted!(["reason": "outgoing_full"] dropped_slow_reader),
            counted!(["reason": "rate"] dropped_over_rate),
            counted!(["reason": "away"] dropped_away),
            counted!(["reason": "too_large"] dropped_too_large),
            counted!(["reason": "acl"] dropped_not_authorized),
            counted!(["reason": "expired"] dropped_expired),
            counted!(["reason": "no_group_member"] dropped_no_member),
        ],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_messages_refused"),
        "Publications that went nowhere: not authorized, or the authorization service is down.",
        &[
            counted!(["reason": "acl"] publications_refused),
            counted!(["reason": "hook_down"] authz_unavailable),
        ],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_messages_queued"),
        "Deliveries that had to wait: for room in the window, or for an absent client.",
        &[counted!(deliveries_queued)],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_messages_redispatched"),
        "Messages that another member of a shared group was given instead.",
        &[counted!(redispatched)],
    ),
    Family::histogram(
        "ringmq_delivery_seconds",
        "From the read of a PUBLISH to the last byte of a delivery handed to the kernel; one delivery of each turn.",
        LATENCY,
        |report| &report.shard.delivery,
    ),
    Family::histogram(
        "ringmq_publish_ack_seconds",
        "From the read of a QoS 1 or 2 PUBLISH to its PUBACK or PUBREC handed to the kernel; once for each turn.",
        LATENCY,
        |report| &report.shard.publish_ack,
    ),
    Family::shard(
        (Kind::Gauge, "ringmq_queued_messages"),
        "Messages that wait in sessions' queues.",
        &[row!([] |report| report.kept.queued as f64)],
    ),
    Family::shard(
        (Kind::Gauge, "ringmq_queued_bytes"),
        "Bytes of the messages that wait in sessions' queues.",
        &[row!([] |report| report.kept.queued_bytes as f64)],
    ),
    Family::shard(
        (Kind::Gauge, "ringmq_inflight"),
        "QoS 1 and 2 messages sent and not yet acknowledged.",
        &[row!([] |report| report.kept.in_flight as f64)],
    ),
    Family::histogram(
        "ringmq_queue_depth",
        "Messages in the queue of a session when one more is queued; one queue of each turn.",
        DEPTH,
        |report| &report.shard.queue_depth,
    ),
    Family::shard(
        (Kind::Counter, "ringmq_wills_published"),
        "Wills that were published.",
        &[counted!(wills_published)],
    ),
    Family::shard(
        (Kind::Gauge, "ringmq_retained_messages"),
        "Retained messages, each on the shard its topic belongs to.",
        &[row!([] |report| report.shard.retained as f64)],
    ),
    Family::shard(
        (Kind::Gauge, "ringmq_retained_bytes"),
        "Bytes that retained messages take.",
        &[row!([] |report| report.shard.retained_bytes as f64)],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_retained_refused"),
        "Messages that were not retained because of a limit.",
        &[counted!(retained_refused)],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_retained_races"),
        "Retained messages sent again because publishers of several shards wrote their topic at once.",
        &[counted!(retained_races)],
    ),
];
