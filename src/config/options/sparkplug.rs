//! Options of Sparkplug.

use super::{count, opt, Access, Opt, U32};
use crate::config::kind::{Kind, Value};

const GROUP: &str = "Sparkplug";

pub(super) static OPTIONS: &[Opt] = &[
    opt(
        (GROUP, "sparkplug"),
        Kind::Boolean,
        boolean!(limits.sparkplug),
        (
            "Be a Sparkplug Aware server for the namespace spBv1.0",
            "Births of edge nodes and devices are retained below $sparkplug/certificates/, and the \
             state of each node, device and host is shown by \"ringmq ctl sparkplug\". Costs the \
             reading of each payload below spBv1.0/, and nothing for other topics.",
        ),
    ),
    opt(
        (GROUP, "sparkplug-ndeath-timestamp"),
        Kind::Boolean,
        boolean!(limits.sparkplug_ndeath_timestamp),
        (
            "Give the death of an edge node the time of its delivery",
            "The will of an edge node is written when it connects, so its own timestamp says nothing \
             about its death. Without sparkplug it has no effect.",
        ),
    ),
    opt(
        (GROUP, "sparkplug-states-max"),
        count(1, U32),
        number!(limits.sparkplug_states_max),
        (
            "Edge nodes, devices and hosts whose state is kept",
            "Each may take 512 bytes in the mean. When there are more, nodes that are not online are \
             forgotten, and what has no room then is counted; its messages pass all the same.",
        ),
    ),
];
