//! What a process holds, and the signals that stop it and let it go on.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{kill_process, Pid, Signal};

/// Without any change in so much time, what is awaited will not come.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A process at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure {
    pub(super) descriptors: usize,
    /// Memory that is its own: no program text, no page cache.
    pub(super) resident_kib: u64,
}

impl Measure {
    pub(super) fn of(process: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("RssAnon:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        Self {
            descriptors: descriptors_at_rest(process),
            resident_kib: kib.and_then(|kib| kib.parse().ok()).expect("a number"),
        }
    }
}

fn descriptors(process: u32) -> usize {
    let folder = fs::read_dir(format!("/proc/{process}/fd")).expect("it runs");
    folder.count()
}

/// The fewest of several looks: threads beside the shards open files of /proc for a moment.
fn descriptors_at_rest(process: u32) -> usize {
    let look = |_| {
        std::thread::sleep(Duration::from_millis(5));
        descriptors(process)
    };
    (0..10).map(look).min().expect("several looks")
}

/// Waits until a process has closed all but so many descriptors.
pub(super) fn wait_for_descriptors(process: u32, expected: usize) {
    let mut last = (descriptors(process), Instant::now());
    while last.0 != expected {
        assert!(
            last.1.elapsed() < PATIENCE,
            "the broker has {} descriptors, {expected} are in use: it forgets to close some",
            last.0
        );
        std::thread::sleep(Duration::from_millis(20));
        let current = descriptors(process);
        if current != last.0 {
            last = (current, Instant::now());
        }
    }
}

/// Stops a process for a while. Only for processes that this test started.
pub(super) fn stop(process: u32, duration: Duration) {
    signal(process, Signal::STOP);
    std::thread::sleep(duration);
    signal(process, Signal::CONT);
}

fn signal(process: u32, signal: Signal) {
    let id = i32::try_from(process).ok().and_then(Pid::from_raw);
    kill_process(id.expect("a process"), signal).expect("it runs");
}
