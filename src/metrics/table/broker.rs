//! The process and the broker as a whole.

use super::row;
use crate::metrics::family::{Family, Kind, Row, Series};
use crate::metrics::report::BrokerReport;
use crate::time::Span;

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

fn seconds(span: Span) -> f64 {
    span.0 as f64 / 1e9
}

pub(super) static FAMILIES: &[Family] = &[
    Family {
        name: "ringmq_build_info",
        kind: Kind::Gauge,
        help: "Always 1, with the version of the program and the commit it was built from.",
        series: Series::Build,
    },
    once(
        (Kind::Gauge, "ringmq_ready"),
        "1 while clients are let in.",
        &[row!(
            [] | report | f64::from(u8::from(report.process.is_ready))
        )],
    ),
    once(
        (Kind::Gauge, "ringmq_uptime_seconds"),
        "Time since the broker started.",
        &[row!([] | report | seconds(report.process.up))],
    ),
    once(
        (Kind::Gauge, "ringmq_connections_max"),
        "Connections that may be open at once (connections-max).",
        &[row!([] | report | report.process.connections_max as f64)],
    ),
    once(
        (Kind::Gauge, "ringmq_memory_limit_bytes"),
        "Memory of the process from which on clients are refused (memory-max); 0: not limited.",
        &[row!([] | report | report.process.memory_limit_bytes as f64)],
    ),
    once(
        (Kind::Counter, "process_cpu_seconds"),
        "Processor time of the process.",
        &[row!([] | report | seconds(report.process.cpu))],
    ),
    once(
        (Kind::Gauge, "process_resident_memory_bytes"),
        "Memory of the process that is in use.",
        &[row!([] | report | report.process.resident_bytes as f64)],
    ),
    once(
        (Kind::Gauge, "process_start_time_seconds"),
        "When the process started, in seconds since 1970.",
        &[row!([] | report | report.process.started_s as f64)],
    ),
    once(
        (Kind::Gauge, "process_open_fds"),
        "Open file descriptors.",
        &[row!([] | report | report.process.open_files as f64)],
    ),
    once(
        (Kind::Gauge, "process_max_fds"),
        "File descriptors that may be open.",
        &[row!([] | report | report.process.open_files_max as f64)],
    ),
];
