//! Figures of the operating system: its version, the processor, limits, another process.

use std::fs;

use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

/// Descriptors needed besides the clients' sockets.
const DESCRIPTORS_BESIDES: u64 = 64;

/// Release of the running kernel.
#[must_use]
pub fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".into(), |text| text.trim().to_string())
}

/// Name of the processor.
#[must_use]
pub fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(':'))
        .map_or_else(|| "unknown".into(), |(_, name)| name.trim().to_string())
}

/// Cores this process may use.
#[must_use]
pub fn cores() -> Vec<usize> {
    core_affinity::get_core_ids()
        .unwrap_or_default()
        .into_iter()
        .map(|core| core.id)
        .collect()
}

/// Raises the limit of open files as far as it goes.
///
/// # Errors
/// A sentence when that is too low for so many clients.
pub fn allow_clients(clients: u64) -> Result<(), String> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised); // what counts is the limit read next
    let wanted = clients + DESCRIPTORS_BESIDES;
    match getrlimit(Resource::Nofile).current {
        Some(current) if current < wanted => Err(format!(
            "{clients} clients need {wanted} open files and the limit is {current}: raise it with: ulimit -n {wanted} \
             (as root, or LimitNOFILE= in a systemd unit)"
        )),
        _ => Ok(()),
    }
}

/// Figures of a process, from /proc.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    pub rss_kb: u64,
    /// User and system time in clock ticks of 10 ms.
    pub cpu_ticks: u64,
    pub sockets: u64,
}

/// Whether a process is there and has not ended: one that its parent has not taken note of has.
#[must_use]
pub fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.trim_start().chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Reads a process's figures; `None` when there is no such process (any more).
#[must_use]
pub fn process(pid: u32) -> Option<Process> {
    let usage = usage(pid)?;
    let sockets = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |entries| {
        let is_socket = |entry: &fs::DirEntry| {
            fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
        };
        entries.flatten().filter(is_socket).count() as u64
    });
    Some(Process { sockets, ..usage })
}

/// The same without its sockets, which take long to count.
#[must_use]
pub fn usage(pid: u32) -> Option<Process> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let rss = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; user and system time are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Process {
        rss_kb: rss.split_whitespace().next()?.parse().ok()?,
        cpu_ticks: ticks(11)? + ticks(12)?,
        sockets: 0,
    })
}
