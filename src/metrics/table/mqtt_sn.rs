//! Clients of MQTT-SN.

use super::row;
use crate::metrics::family::{Family, Kind};

pub(super) const FAMILIES: &[Family] = &[
    Family::shard(
        (Kind::Gauge, "ringmq_mqtt_sn_clients"),
        "Clients of MQTT-SN by state.",
        &[
            row!(["state": "connecting"] |report| report.driver.gateway_states[0] as f64),
            row!(["state": "active"] |report| report.driver.gateway_states[1] as f64),
            row!(["state": "asleep"] |report| report.driver.gateway_states[2] as f64),
            row!(["state": "awake"] |report| report.driver.gateway_states[3] as f64),
        ],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_mqtt_sn_datagrams"),
        "Datagrams of listeners of MQTT-SN.",
        &[
            row!(["direction": "received"] |report| report.driver.gateway.received as f64),
            row!(["direction": "sent"] |report| report.driver.gateway.sent as f64),
        ],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_mqtt_sn_dropped"),
        "Messages of clients of MQTT-SN, and for them, that came to nothing: no message at all, of an address that is no \
         client, out of order, with a topic id that stands for nothing, at a time when there was no room here or on the \
         way to another shard, larger than a datagram, of a topic that its client refuses, or at QoS -1 where that is not \
         taken.",
        &[
            row!(["reason": "malformed"] |report| report.driver.gateway.malformed as f64),
            row!(["reason": "unknown_peer"] |report| report.driver.gateway.unknown_peer as f64),
            row!(["reason": "out_of_order"] |report| report.driver.gateway.out_of_order as f64),
            row!(["reason": "unknown_topic"] |report| report.driver.gateway.unknown_topic as f64),
            row!(["reason": "held_back"] |report| report.driver.gateway.held_back as f64),
            row!(["reason": "crossing_full"] |report| report.driver.gateway.crossing_full as f64),
            row!(["reason": "too_large"] |report| report.driver.gateway.too_large as f64),
            row!(["reason": "muted"] |report| report.driver.gateway.muted as f64),
            row!(["reason": "qos_minus_one"] |report| report.driver.gateway.minus_one_refused as f64),
        ],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_mqtt_sn_retransmitted"),
        "Messages that were sent again because their client had not answered.",
        &[row!([] |report| report.driver.gateway.retransmitted as f64)],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_mqtt_sn_lost"),
        "Clients of MQTT-SN that were silent too long, or did not answer.",
        &[row!([] |report| report.driver.gateway.lost as f64)],
    ),
];
