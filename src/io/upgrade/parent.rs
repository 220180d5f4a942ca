//! Process 1 of a container stays when another process serves: with it all others would end. It waits for them, hands
//! on the signals that it gets, and ends as the last of them does.

use std::fs;

use rustix::io::Errno;
use rustix::process::{getpid, kill_process, wait, Pid, Signal, WaitOptions};

/// Whether this process must stay.
pub(in crate::io) fn must_stay() -> bool {
    getpid().is_init()
}

/// Waits for all processes that this one has begun or inherited; the exit code of the last one.
pub(super) fn outlast() -> i32 {
    let mut code = 0;
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((_, status))) => {
                let by_signal = status.terminating_signal().map(|signal| 128 + signal);
                code = status.exit_status().or(by_signal).unwrap_or(0);
            }
            Ok(None) | Err(Errno::INTR) => {}
            Err(_) => return code, // there is none any more
        }
    }
}

/// Hands a signal on to all processes that have come of this one: the one that serves may be the child of one that has
/// not ended yet.
pub(in crate::io) fn hand_on(signal: i32) {
    let Some(signal) = Signal::from_named_raw(signal) else {
        return;
    };
    let mut found = children(getpid().as_raw_pid());
    while let Some(process) = found.pop() {
        found.extend(children(process));
        if let Some(process) = Pid::from_raw(process) {
            let _ = kill_process(process, signal); // it may have ended
        }
    }
}

fn children(parent: i32) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child = |process: &i32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        parent_in(&stat) == Some(parent)
    };
    processes.filter(is_child).collect()
}

/// The parent in a line of `/proc/PID/stat`, where the second field is a name in parentheses that may hold anything.
fn parent_in(stat: &str) -> Option<i32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_found_whatever_the_name_is() {
        assert_eq!(parent_in("17 (ringmq) S 12 17 17 0 -1"), Some(12));
        assert_eq!(parent_in("17 (a) b ) S 12 17"), Some(12));
        assert_eq!(parent_in(""), None);
        assert_eq!(parent_in("17 (x) S"), None);
    }

    #[test]
    fn own_children_are_found() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let own = getpid().as_raw_pid();
        assert!(children(own).contains(&(child.id() as i32)));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children(own).contains(&(child.id() as i32)));
    }
}
