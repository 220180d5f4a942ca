//! The cluster, as this node sees it. Without one all are 0.

use super::{counted, row};
use crate::metrics::family::{Family, Kind, Row, Series};
use crate::metrics::report::BrokerReport;

const fn once(
    (kind, name): (Kind, &'static str),
    help: &'static str,
    rows: &'static [Row<BrokerReport>],
) -> Family {
    Family {
        name,
        kind,
        help,
        series: Series::Broker(rows),
    }
}

pub(super) static FAMILIES: &[Family] = &[
    once(
        (Kind::Gauge, "ringmq_cluster_nodes"),
        "Nodes of the cluster that are alive, with this one; 0: it is of none.",
        &[row!([] | report | report.cluster.nodes as f64)],
    ),
    once(
        (Kind::Gauge, "ringmq_cluster_lease"),
        "1 while this node may acknowledge what other nodes must not miss.",
        &[row!(
            [] | report | f64::from(u8::from(report.cluster.has_lease))
        )],
    ),
    once(
        (Kind::Gauge, "ringmq_cluster_groups"),
        "Groups of client ids, 64 in all: that this node owns; of those, that are another node's as soon as their sessions \
         have ended; and that no node owns which is alive.",
        &[
            row!(["state": "owned"] |report| report.cluster.groups_owned as f64),
            row!(["state": "kept"] |report| report.cluster.groups_kept as f64),
            row!(["state": "without_owner"] |report| report.cluster.groups_without_owner as f64),
        ],
    ),
    once(
        (Kind::Gauge, "ringmq_cluster_waiting_bytes"),
        "What waits here for other nodes, all together.",
        &[row!([] | report | report.cluster.waiting_bytes as f64)],
    ),
    once(
        (Kind::Counter, "ringmq_cluster_messages_sent"),
        "Publications given to another node, each once for each node.",
        &[row!([] | report | report.cluster.sent as f64)],
    ),
    once(
        (Kind::Counter, "ringmq_cluster_messages_received"),
        "Publications that came from other nodes.",
        &[row!([] | report | report.cluster.received as f64)],
    ),
    once(
        (Kind::Counter, "ringmq_cluster_messages_dropped"),
        "Publications of QoS 0 that were not given to a node which takes too little.",
        &[row!([] | report | report.cluster.dropped as f64)],
    ),
    once(
        (Kind::Counter, "ringmq_cluster_malformed"),
        "Blocks and frames by way of NATS that were none.",
        &[row!([] | report | report.cluster.malformed as f64)],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_connections_relayed"),
        "Connections passed on to the node that owns their client id.",
        &[counted!(relayed)],
    ),
];
