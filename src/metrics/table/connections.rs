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
    Family {
        name: "ringmq_tls_handshakes",
        kind: Kind::Counter,
        help: "Handshakes of a listener with TLS, until all of its layers are open, by result.",
        series: Series::Handshakes,
    },
    Family {
        name: "ringmq_tls_certificate_expiry_timestamp_seconds",
        kind: Kind::Gauge,
        help: "When the first certificate that a listener has in force ends, in seconds since 1970.",
        series: Series::Certificates,
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
    Family {
        name: "ringmq_hook_requests",
        kind: Kind::Counter,
        help: "Questions for a service (http-hook-url, http-hook-acl-url): answered by it, failed, answered from what it \
               had answered before, or not asked as it had failed shortly before.",
        series: Series::Hook(&[
            row!(["result": "answered"] |hook| hook.answered as f64),
            row!(["result": "failed"] |hook| hook.failed as f64),
            row!(["result": "cached"] |hook| hook.cached as f64),
            row!(["result": "skipped"] |hook| hook.skipped as f64),
        ]),
    },
    Family {
        name: "ringmq_hook_seconds",
        kind: Kind::Histogram,
        help: "From a request to a service to its answer, or its failure.",
        series: Series::HookHistogram(LATENCY),
    },
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
        (Kind::Gauge, "ringmq_clients_connected"),
        "Connected clients, by protocol version.",
        &[
            row!(["version": "3.1"] |report| report.shard.connected_by_version[0] as f64),
            row!(["version": "3.1.1"] |report| report.shard.connected_by_version[1] as f64),
            row!(["version": "5.0"] |report| report.shard.connected_by_version[2] as f64),
        ],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_sessions_begun"),
        "CONNECTs accepted with a new session, or with the one that was there.",
        &[
            counted!(["session": "created"] sessions_created),
            counted!(["session": "resumed"] sessions_resumed),
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
