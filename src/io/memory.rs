//! Memory that there is and that is used: of the cgroup, the machine or the process.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Of what the cgroup or the machine has, what is left alone: at all of it the kernel kills.
const RESERVE_PART: u64 = 10;
/// It is at least so much: what shards read and sends on the way between two looks.
const RESERVE_MIN: u64 = 16 << 20;
/// Percent of the limit below which clients are admitted again.
const RELAX_PERCENT: u64 = 95;

/// What memory is measured against, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) max: u64,
    /// The group whose memory counts; `None`: the process's own.
    cgroup: Option<Cgroup>,
    /// Where the limit is from, for the log.
    whose: &'static str,
}

/// A group of processes that the kernel limits together.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cgroup {
    folder: PathBuf,
    names: Names,
}

/// What its files are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Names {
    max: &'static str,
    used: &'static str,
    /// In `memory.stat`: inactive cached files; the kernel reclaims them before it kills a process.
    inactive: &'static str,
}

const VERSION_2: Names = Names {
    max: "memory.max",
    used: "memory.current",
    inactive: "inactive_file",
};
const VERSION_1: Names = Names {
    max: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    inactive: "total_inactive_file",
};
/// Version 1 writes a number of this size where nothing is limited.
const UNLIMITED: u64 = 1 << 62;

impl Memory {
    /// `memory_max` is in bytes; 0: what the cgroup allows, or the machine has, less a reserve, since at the
    /// limit itself the kernel kills. `None`: there is no limit that is known.
    pub(super) fn new(memory_max: u64, root: &Path) -> Option<Self> {
        if memory_max > 0 {
            return Some(Self {
                max: memory_max,
                cgroup: None,
                whose: "",
            });
        }
        let (max, cgroup) = there_is(root)?;
        let reserve = (max / RESERVE_PART).max(RESERVE_MIN).min(max / 2);
        let whose = match cgroup {
            Some(_) => " (from the cgroup)",
            None => " (from the machine's memory)",
        };
        Some(Self {
            max: max - reserve,
            cgroup,
            whose,
        })
    }

    /// Hysteresis: refusing continues until a little less is used.
    pub(super) fn is_short(&self, used: u64, was_short: bool) -> bool {
        let limit = if was_short {
            self.max / 100 * RELAX_PERCENT
        } else {
            self.max
        };
        used >= limit
    }

    /// Bytes until it is short.
    pub(super) fn left(&self, used: u64) -> u64 {
        self.max.saturating_sub(used)
    }

    #[cfg(test)]
    pub(super) fn of_group(max: u64, folder: PathBuf) -> Self {
        let names = VERSION_2;
        Self {
            max,
            cgroup: Some(Cgroup { folder, names }),
            whose: "",
        }
    }

    /// Bytes in use; of a cgroup without inactive cached files.
    pub(super) fn used(&self) -> Option<u64> {
        match &self.cgroup {
            None => resident(),
            Some(Cgroup { folder, names }) => {
                let used = number(&folder.join(names.used))?;
                let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
                let mut lines = stat.lines().filter_map(|line| line.split_once(' '));
                let inactive = lines.find(|(name, _)| *name == names.inactive);
                let inactive = inactive.and_then(|(_, bytes)| bytes.parse().ok());
                Some(used.saturating_sub(inactive.unwrap_or(0)))
            }
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB of memory{}", self.max >> 20, self.whose)
    }
}

/// Bytes of this process that are in memory.
pub(super) fn resident() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Memory in bytes that the cgroup allows, or the machine has when that is less; `None`: not known.
#[must_use]
pub fn memory_there_is() -> Option<u64> {
    there_is(Path::new("/")).map(|(max, _)| max)
}

fn there_is(root: &Path) -> Option<(u64, Option<Cgroup>)> {
    let machine = memory_of_machine(root);
    match tightest_cgroup(root) {
        Some((max, cgroup)) if machine.is_none_or(|machine| max <= machine) => {
            Some((max, Some(cgroup)))
        }
        _ => machine.map(|machine| (machine, None)),
    }
}

fn memory_of_machine(root: &Path) -> Option<u64> {
    let info = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let total = info
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// The group of this process, or one above it, that allows the least; `None`: all allow everything,
/// or there are none.
fn tightest_cgroup(root: &Path) -> Option<(u64, Cgroup)> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let limited = groups.lines().flat_map(|line| limited_groups(root, line));
    limited.min_by_key(|(max, _)| *max)
}

/// Groups with a limit of memory, of one line: `0::/path` (version 2), `4:memory:/path` (version 1).
fn limited_groups(root: &Path, line: &str) -> Vec<(u64, Cgroup)> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
        return Vec::new();
    };
    let (mount, names) = match controllers {
        "" => ("sys/fs/cgroup", VERSION_2),
        "memory" => ("sys/fs/cgroup/memory", VERSION_1),
        _ => return Vec::new(),
    };
    let top = root.join(mount);
    let own = top.join(path.trim().trim_start_matches('/'));
    let groups = own.ancestors().take_while(|group| group.starts_with(&top));
    let limited = groups.filter_map(|group| {
        let max = number(&group.join(names.max))?; // "max" is no number
        let folder = group.to_owned();
        (max < UNLIMITED).then_some((max, Cgroup { folder, names }))
    });
    limited.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_short_until_a_little_less_is_used() {
        let memory = Memory::new(1_000, Path::new("/nowhere")).unwrap();
        let rows = [
            (999, false, false),
            (1_000, false, true),
            (951, true, true),
            (949, true, false),
        ];
        for (used, was_short, is_short) in rows {
            assert_eq!(memory.is_short(used, was_short), is_short, "{used}");
        }
        assert!(memory.used().unwrap() > 1 << 20, "the process's own");
    }

    #[test]
    fn the_tightest_group_counts() {
        let root = std::env::temp_dir().join(format!("ringmq-cgroup-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(Memory::new(0, &root), None, "no groups at all");
        write("proc/self/cgroup", "0::/a/b\n");
        write("sys/fs/cgroup/a/b/memory.max", "max\n");
        assert_eq!(Memory::new(0, &root), None, "nothing is limited");
        write("sys/fs/cgroup/a/memory.max", "1000000\n");
        write("sys/fs/cgroup/a/memory.current", "700000\n");
        let memory = Memory::new(0, &root).unwrap();
        assert_eq!(memory.max, 500_000, "a small group leaves half alone");
        assert_eq!(memory.used(), Some(700_000));
        write(
            "sys/fs/cgroup/a/memory.stat",
            "anon 5\ninactive_file 200000\n",
        );
        assert_eq!(memory.used(), Some(500_000));
        write("proc/self/cgroup", "4:memory:/c\n0::/a/b\n");
        write(
            "sys/fs/cgroup/memory/memory.limit_in_bytes",
            "9223372036854771712\n",
        );
        write("sys/fs/cgroup/memory/c/memory.limit_in_bytes", "500000\n");
        write("sys/fs/cgroup/memory/c/memory.usage_in_bytes", "300000\n");
        write(
            "sys/fs/cgroup/memory/c/memory.stat",
            "total_inactive_file 1000\n",
        );
        let memory = Memory::new(0, &root).unwrap();
        assert_eq!((memory.max, memory.used()), (250_000, Some(299_000)));
        write("proc/meminfo", "MemFree: 1 kB\nMemTotal:      400 kB\n");
        assert_eq!(there_is(&root).map(|(max, _)| max), Some(400 << 10));
        let memory = Memory::new(0, &root).unwrap();
        assert_eq!((memory.max, memory.cgroup), (200 << 10, None), "it is less");
        write("proc/meminfo", "MemTotal: 1000000000 kB\n");
        assert_eq!(there_is(&root).map(|(max, _)| max), Some(500_000));
        write("proc/self/cgroup", "0::/none\n");
        let memory = Memory::new(0, &root).unwrap();
        assert_eq!(
            memory.max,
            1_000_000_000 * 1_024 / 10 * 9,
            "a tenth is left alone"
        );
        fs::remove_dir_all(&root).unwrap();
    }
}
