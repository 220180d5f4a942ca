//! Reports about the process and its listeners: what is known beside the shards.

use std::fs;

use rustix::process::{getrlimit, Resource};
use rustix::time::{clock_gettime, ClockId};

use super::clock::wall;
use super::gate::Refusal;
use super::shared::SharedState;
use super::stage::Stage;
use crate::metrics::{ListenerReport, ProcessReport};
use crate::time::{Span, Time};

/// Each number is 0 where it cannot be found out.
pub(super) fn process(shared: &SharedState, now: Time) -> ProcessReport {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let cpu_ns = cpu.tv_sec as u64 * 1_000_000_000 + cpu.tv_nsec as u64;
    let up = now.since(Time::ZERO);
    let files_max = getrlimit(Resource::Nofile).current;
    ProcessReport {
        started_s: wall().as_secs().saturating_sub(up.as_secs()),
        up,
        cpu: Span(cpu_ns),
        resident_bytes: resident_bytes(),
        open_files: open_files(),
        open_files_max: files_max.unwrap_or(0),
        memory_limit_bytes: shared.memory().map_or(0, |memory| memory.max),
        connections_max: shared.connections_max() as u64,
        is_ready: shared.stage() == Stage::Ready && !shared.cluster().lacks_lease(now),
    }
}

pub(super) fn listeners(shared: &SharedState) -> Vec<ListenerReport> {
    let gates = shared.counters().gates();
    let reports = gates.iter().map(|gate| ListenerReport {
        name: gate.name().into(),
        open: gate.connections().into(),
        refused: Refusal::ALL
            .into_iter()
            .map(|reason| (reason.option(), gate.refused(reason)))
            .collect(),
        handshakes: gate.handshakes(),
        certificate_until_s: gate.certificate_until_s(),
    });
    reports.collect()
}

fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// Since Linux 6.2 the size of the folder; before, its entries are counted.
fn open_files() -> u64 {
    const FOLDER: &str = "/proc/self/fd";
    match fs::metadata(FOLDER).map(|folder| folder.len()) {
        Ok(count) if count > 0 => count,
        _ => fs::read_dir(FOLDER).map_or(0, |entries| entries.count() as u64),
    }
}
