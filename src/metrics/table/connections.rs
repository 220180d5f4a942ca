//! Connections, sessions and logins.

use super::{counted, row};
use crate::metrics::family::{Family, Kind, Series, LATENCY};

pub(super) static FAMILIES: &[Family] = &[
    Family {
        name: "ringmq_connections",
        kind: Kind::Gauge,
        help: "Connections open on a listener.",
        series: Series::Listener(&[row!([] |listener| listener.open as f64)]),
    },
    Family {
        name: "ringmq_listener_refused",
        kind: Kind::Counter,
        help: "Connections that a limit of their listener refused, by its option.",
        series: Series::ListenerRefusals,
    },
    Family::shard(
        (Kind::Gauge, "ringmq_half_open"),
        "Connections that have not sent their CONNECT.",
        &[row!([] |report| report.shard.half_open as f64)],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_connections_accepted"),
        "Connections that came to a shard; one that moves to its home shard counts on both.",
        &[counted!(connections_opened)],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_connections_handed_off"),
        "Connections that moved to the home shard of their client id.",
        &[counted!(handed_off)],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_connections_refused"),
        "Connections closed before anything was read: their address is banned, connections-max or half-open-max is \
         reached, or accepting failed.",
        &[
            row!(["reason": "banned"] |report| report.driver.banned as f64),
            row!(["reason": "connections_max"] |report| (report.driver.connections_max + report.shard.stats.connections_refused) as f64),
            counted!(["reason": "half_open_max"] refused_half_open),
            row!(["reason": "accept_failed"] |report| report.driver.accept_failed as f64),
        ],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_connections_broken"),
        "Connections that the broker ended for a fault of the client or of the way to it.",
        &[
            counted!(["reason": "keep_alive"] keep_alive_timeouts),
            counted!(["reason": "malformed"] malformed_packets),
            counted!(["reason": "protocol"] protocol_errors),
            counted!(["reason": "transport"] transport_errors),
        ],
    ),
    Family {
        name: "ringmq_violations",
        kind: Kind::Counter,
        help: "Rules of the protocol that clients have broken; only those that were.",
        series: Series::Violations,
    },
    Family::shard(
        (Kind::Counter, "ringmq_connects"),
        "CONNECTs by result.",
        &[
            counted!(["result": "accepted"] connects_accepted),
            counted!(["result": "refused"] connects_refused),
        ],
    ),
    Family::histogram(
        "ringmq_connack_seconds",
        "From a client's CONNECT, or the last step of its authentication, to its CONNACK.",
        LATENCY,
        |report| &report.shard.connack,
    ),
    Family::shard(
        (Kind::Counter, "ringmq_logins_refused"),
        "Failed authentications by reason.",
        &[
            counted!(["reason": "wrong"] logins_wrong),
            counted!(["reason": "banned"] logins_banned),
            counted!(["reason": "busy"] logins_busy),
            counted!(["reason": "unavailable"] logins_unavailable),
        ],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_authorization_requests"),
        "Requests to the authorization service (http-hook-acl-url).",
        &[counted!(authz_requested)],
    ),
    Family::shard(
        (Kind::Gauge, "ringmq_sessions"),
        "Sessions whose client is connected, and others.",
        &[
            row!(["state": "connected"] |report| report.shard.connected as f64),
            row!(["state": "disconnected"] |report| report.shard.sessions.saturating_sub(report.shard.connected) as f64),
        ],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_sessions_taken_over"),
        "Connections that a newer one with the same client id has replaced.",
        &[counted!(takeovers)],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_sessions_expired"),
        "Sessions that ended because their client stayed away.",
        &[counted!(sessions_expired)],
    ),
    Family::shard(
        (Kind::Gauge, "ringmq_subscriptions"),
        "Subscriptions of the shard's sessions.",
        &[
            row!(["kind": "own"] |report| report.kept.subscriptions.saturating_sub(report.kept.shared_subscriptions) as f64),
            row!(["kind": "shared"] |report| report.kept.shared_subscriptions as f64),
        ],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_subscriptions_refused"),
        "Subscriptions that are not allowed, or no longer.",
        &[
            counted!(["reason": "acl"] subscriptions_refused),
            counted!(["reason": "rules_changed"] subscriptions_ended),
        ],
    ),
];
