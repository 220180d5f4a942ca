//! Sparkplug.

use super::{counted, row};
use crate::metrics::family::{Family, Kind};

pub(super) static FAMILIES: &[Family] = &[
    Family::shard(
        (Kind::Counter, "ringmq_sparkplug_messages"),
        "Messages in the namespace of Sparkplug, while the option sparkplug is on.",
        &[counted!(sparkplug_messages)],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_sparkplug_not_sparkplug"),
        "Among them, those that pass without a meaning: no topic of Sparkplug, or no payload of it.",
        &[
            counted!(["reason": "topic"] sparkplug_not_topic),
            counted!(["reason": "payload"] sparkplug_not_payload),
        ],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_sparkplug_certificates"),
        "Births that were retained below $sparkplug/certificates/.",
        &[counted!(sparkplug_certificates)],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_sparkplug_findings"),
        "What messages of edge nodes say that is not as it should be: a gap in a sequence, a birth without the death \
         before, a death of another session, a message before the birth.",
        &[
            counted!(["finding": "gap"] sparkplug_gaps),
            counted!(["finding": "birth_without_death"] sparkplug_births_without_death),
            counted!(["finding": "stale_death"] sparkplug_stale_deaths),
            counted!(["finding": "before_birth"] sparkplug_before_birth),
        ],
    ),
    Family::shard(
        (Kind::Counter, "ringmq_sparkplug_states_refused"),
        "Births and states that were not taken up, since sparkplug-states-max is reached.",
        &[counted!(sparkplug_states_refused)],
    ),
    Family::shard(
        (Kind::Gauge, "ringmq_sparkplug_states"),
        "Edge nodes, devices and host applications whose state is kept.",
        &[
            row!(["of": "node"] |report| report.shard.sparkplug.nodes as f64),
            row!(["of": "device"] |report| report.shard.sparkplug.devices as f64),
            row!(["of": "host"] |report| report.shard.sparkplug.hosts as f64),
        ],
    ),
    Family::shard(
        (Kind::Gauge, "ringmq_sparkplug_online"),
        "Those of them that are online.",
        &[
            row!(["of": "node"] |report| report.shard.sparkplug.nodes_online as f64),
            row!(["of": "device"] |report| report.shard.sparkplug.devices_online as f64),
            row!(["of": "host"] |report| report.shard.sparkplug.hosts_online as f64),
        ],
    ),
];
