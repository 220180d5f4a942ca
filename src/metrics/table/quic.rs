//! Connections of QUIC.

use super::row;
use crate::metrics::family::{Family, Kind};

pub(super) const FAMILIES: &[Family] = &[
    Family::shard(
        (Kind::Counter, "ringmq_quic_datagrams"),
        "Datagrams of listeners of QUIC.",
        &[
            row!(["direction": "received"] |report| report.driver.quic.received as f64),
            row!(["direction": "sent"] |report| report.driver.quic.sent as f64),
        ],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_quic_retries"),
        "Clients of QUIC that were asked to show that they get what is sent to their address; each is, once.",
        &[row!([] |report| report.driver.quic.retries as f64)],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_quic_connections"),
        "Connections of QUIC that have opened their stream, that have ended before that, or for which there was no room.",
        &[
            row!(["result": "opened"] |report| report.driver.quic.opened as f64),
            row!(["result": "failed"] |report| report.driver.quic.failed as f64),
            row!(["result": "refused"] |report| report.driver.quic.refused as f64),
        ],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_quic_moved"),
        "Changes of address of connections of QUIC.",
        &[row!([] |report| report.driver.quic.moved as f64)],
    ),
];
