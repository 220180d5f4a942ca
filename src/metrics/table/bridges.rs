//! Bridges.

use super::row;
use crate::metrics::family::{Family, Kind, Series};

pub(super) static FAMILIES: &[Family] = &[
    Family {
        name: "ringmq_bridge_up",
        kind: Kind::Gauge,
        help: "1 while the remote and the broker have granted all that a bridge subscribes to.",
        series: Series::Bridge(&[row!([] |bridge| f64::from(u8::from(bridge.is_up)))]),
    },
    Family {
        name: "ringmq_bridge_connects",
        kind: Kind::Counter,
        help: "Connections of a bridge that its remote has accepted.",
        series: Series::Bridge(&[row!([] |bridge| bridge.connects as f64)]),
    },
    Family {
        name: "ringmq_bridge_failures",
        kind: Kind::Counter,
        help: "Attempts of a bridge that ended before its remote had accepted it, one for each address.",
        series: Series::Bridge(&[row!([] |bridge| bridge.failures as f64)]),
    },
    Family {
        name: "ringmq_bridge_queue_messages",
        kind: Kind::Gauge,
        help: "Messages that wait in the session of a bridge.",
        series: Series::Bridge(&[row!([] |bridge| bridge.queue.0 as f64)]),
    },
    Family {
        name: "ringmq_bridge_queue_bytes",
        kind: Kind::Gauge,
        help: "Bytes that these messages take.",
        series: Series::Bridge(&[row!([] |bridge| bridge.queue.1 as f64)]),
    },
    Family {
        name: "ringmq_bridge_lag_seconds",
        kind: Kind::Gauge,
        help: "How long the oldest message that waits in the session of a bridge has waited; 0 when none waits.",
        series: Series::Bridge(&[row!([] |bridge| bridge.lag.0 as f64 / 1e9)]),
    },
    Family {
        name: "ringmq_bridge_messages",
        kind: Kind::Counter,
        help: "Messages that a bridge has passed on; repetitions count.",
        series: Series::Bridge(&[
            row!(["direction": "out"] |bridge| bridge.counts.messages_out as f64),
            row!(["direction": "in"] |bridge| bridge.counts.messages_in as f64),
        ]),
    },
    Family {
        name: "ringmq_bridge_payload_bytes",
        kind: Kind::Counter,
        help: "Bytes of their payloads.",
        series: Series::Bridge(&[
            row!(["direction": "out"] |bridge| bridge.counts.bytes_out as f64),
            row!(["direction": "in"] |bridge| bridge.counts.bytes_in as f64),
        ]),
    },
    Family {
        name: "ringmq_bridge_dropped",
        kind: Kind::Counter,
        help: "Messages that a bridge has not passed on: no line is about them, they would have no valid topic, a \
               limit of a packet's size is below them, or they have been here or passed more bridges than hops-max.",
        series: Series::BridgeDrops,
    },
    Family {
        name: "ringmq_bridge_stalls",
        kind: Kind::Counter,
        help: "Keep alive periods in which the remote of a bridge has acknowledged nothing of what was in flight.",
        series: Series::Bridge(&[row!([] |bridge| bridge.counts.stalls as f64)]),
    },
    Family {
        name: "ringmq_bridge_refused",
        kind: Kind::Counter,
        help: "Messages of a bridge that were answered with a failure, by the remote or by this broker.",
        series: Series::Bridge(&[
            row!(["side": "remote"] |bridge| bridge.counts.refused_there as f64),
            row!(["side": "local"] |bridge| bridge.counts.refused_here as f64),
        ]),
    },
];
