//! Overload detection: memory of the process, length of a shard's turns.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use libmimalloc_sys as _; // to be linked, also where another allocator is in use

use super::inbox::ShardCommand;
use super::shared::SharedState;
use crate::limits::{READ_BUFFER, TURN_BYTES};
use crate::time::{Span, Time};

/// Between two looks at memory: in that time a machine can take in some ten thousand clients.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The same when three quarters of the limit are used: a shard may take in a megabyte in that time.
const LOOK_CLOSELY_EVERY: Duration = Duration::from_millis(5);
/// Of what the cgroup or the machine has, what is left alone: at all of it the kernel kills.
const RESERVE_PART: u64 = 10;
/// It is at least so much: what shards read and sends on the way between two looks.
const RESERVE_MIN: u64 = 16 << 20;
/// What was freed is given back to the kernel so often. It takes this thread some milliseconds, and the
/// shards none.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(10);
/// Below so much there is little to give back.
const GIVE_BACK_FROM: u64 = 64 << 20;
/// Percent of the limit below which clients are admitted again.
const RELAX_PERCENT: u64 = 95;
/// So long turns must have been too long before clients are refused.
const PATIENCE: Span = Span::from_secs(1);
/// Least bytes read in a turn, however long turns are.
const TURN_BYTES_MIN: usize = READ_BUFFER / 4;
/// A short turn lets the next one read so much more.
const TURN_BYTES_STEP: usize = TURN_BYTES / 16;

/// What memory is measured against, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Memory {
    max: u64,
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

/// Watches memory on a thread of its own and notifies the shards by their inboxes. `memory_max` is in
/// bytes; 0: what the cgroup allows, or the machine has.
pub(super) fn watch_memory(memory_max: u64, shared: Arc<SharedState>) -> std::io::Result<()> {
    let Some(memory) = Memory::new(memory_max, Path::new("/")) else {
        return Ok(());
    };
    let mib = memory.max >> 20;
    let whose = memory.whose;
    tracing::info!("clients are refused from {mib} MiB of memory on{whose}");
    let look = move || {
        let mut is_short = false;
        let mut given_back = Instant::now();
        loop {
            let is_due = given_back.elapsed() >= GIVE_BACK_EVERY;
            if is_short || (is_due && memory.used().is_some_and(|used| used > GIVE_BACK_FROM)) {
                give_back();
                if is_due {
                    shared.broadcast(|| ShardCommand::GiveBack);
                    given_back = Instant::now();
                }
            }
            let used = memory.used();
            let now_short = used.is_some_and(|used| memory.is_short(used, is_short));
            if now_short != is_short {
                is_short = now_short;
                shared.broadcast(|| ShardCommand::MemoryShort(is_short));
                let mib = used.unwrap_or_default() >> 20;
                if is_short {
                    tracing::warn!("{mib} MiB of memory are used: clients, subscriptions and messages to be retained are refused");
                } else {
                    tracing::info!("{mib} MiB of memory are used: new clients are let in again");
                }
            }
            let is_near = used.is_some_and(|used| used > memory.max / 4 * 3);
            thread::sleep(if is_near && !is_short {
                LOOK_CLOSELY_EVERY
            } else {
                LOOK_EVERY
            });
        }
    };
    thread::Builder::new().name("memory".into()).spawn(look)?;
    Ok(())
}

extern "C" {
    /// The allocator gives what is free back to the kernel.
    fn mi_collect(force: bool);
}

/// Freed memory counts as used until the kernel has it, and the allocator keeps it for a while, which
/// on a broker that admits no client, or that is idle after a storm, can be without end.
///
/// Each thread has a heap of its own, so each shard is asked, too.
pub(super) fn give_back() {
    // SAFETY: it takes no pointers, and any thread may call it at any time: it collects the caller's heap.
    unsafe { mi_collect(true) }
}

/// Whether a shard returns memory when it next has nothing to do. Walking a heap takes milliseconds, so it is
/// done when much less is held than was.
#[derive(Debug, Default)]
pub(super) struct GivesBack {
    /// Most connections and sessions since memory was last returned.
    most_held: usize,
    is_wanted: bool,
}

impl GivesBack {
    /// `held`: connections and sessions now.
    pub(super) fn asked(&mut self, held: usize, is_short: bool) {
        self.most_held = self.most_held.max(held);
        if is_short || 4 * held < 3 * self.most_held {
            self.most_held = held;
            self.is_wanted = true;
        }
    }

    pub(super) fn take(&mut self) -> bool {
        std::mem::take(&mut self.is_wanted)
    }
}

impl Memory {
    /// With 0 a reserve is left below the limit, since at the limit itself the kernel kills.
    fn new(memory_max: u64, root: &Path) -> Option<Self> {
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
    fn is_short(&self, used: u64, was_short: bool) -> bool {
        let limit = if was_short {
            self.max / 100 * RELAX_PERCENT
        } else {
            self.max
        };
        used >= limit
    }

    /// Bytes in use; of a cgroup without inactive cached files.
    fn used(&self) -> Option<u64> {
        match &self.cgroup {
            None => {
                let statm = fs::read_to_string("/proc/self/statm").ok()?;
                let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
                Some(pages * rustix::param::page_size() as u64)
            }
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

/// How much a shard reads in a turn, and whether it has too much to do, by the length of its turns.
///
/// Sockets are read in turn, so that a smaller budget slows down all publishers alike: what is not
/// read waits in their sockets.
#[derive(Debug)]
pub(super) struct TurnLength {
    max: Option<Span>,
    budget: usize,
    /// When the turn began that runs.
    began: Option<Time>,
    /// Since when turns take too long.
    long_since: Option<Time>,
}

impl TurnLength {
    /// `max`: how long a turn may take; `None`: as long as it takes.
    pub(super) fn new(max: Option<Span>) -> Self {
        Self {
            max,
            budget: TURN_BYTES,
            began: None,
            long_since: None,
        }
    }

    /// Bytes the next turn may read.
    pub(super) fn budget(&self) -> usize {
        self.budget
    }

    /// A turn begins, and the one before has ended.
    pub(super) fn begins(&mut self, now: Time) {
        let (Some(max), Some(began)) = (self.max, self.began.replace(now)) else {
            return;
        };
        let took = now.since(began);
        if took > max {
            self.budget = (self.budget / 2).max(TURN_BYTES_MIN);
            self.long_since.get_or_insert(began);
        } else if took.0 < max.0 / 2 {
            self.budget = (self.budget + TURN_BYTES_STEP).min(TURN_BYTES);
            self.long_since = None;
        }
    }

    /// The shard had time to sleep: that is no turn, and it has not too much to do.
    pub(super) fn rested(&mut self) {
        self.began = None;
        self.long_since = None;
    }

    /// Turns have been too long for some time, although they read less.
    pub(super) fn is_too_long(&self, now: Time) -> bool {
        self.long_since
            .is_some_and(|since| now.since(since) >= PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_returns_memory_when_much_less_is_held_than_was() {
        let mut gives_back = GivesBack::default();
        for (held, is_short, expected) in [
            (100, false, false),
            (80, false, false),
            (74, false, true),
            (74, false, false),
            (60, false, false),
            (60, true, true),
            (0, false, true),
        ] {
            gives_back.asked(held, is_short);
            assert_eq!(gives_back.take(), expected, "{held} {is_short}");
        }
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn long_turns_read_less_and_refuse_after_a_while() {
        let mut turns = TurnLength::new(Some(Span::from_millis(10)));
        let mut now = Time(5_000 * MS);
        let mut turn = |turns: &mut TurnLength, ms: u64| {
            now = now + Span::from_millis(ms);
            turns.begins(now);
            now
        };
        turn(&mut turns, 0);
        turn(&mut turns, 9);
        assert_eq!(turns.budget(), TURN_BYTES);
        for expected in [
            TURN_BYTES / 2,
            TURN_BYTES / 4,
            TURN_BYTES / 8,
            TURN_BYTES / 16,
        ] {
            turn(&mut turns, 20);
            assert_eq!(turns.budget(), expected);
        }
        for _ in 0..40 {
            turn(&mut turns, 20);
        }
        let now_is = turn(&mut turns, 8);
        assert_eq!(turns.budget(), TURN_BYTES_MIN, "never nothing");
        assert!(!turns.is_too_long(now_is), "for less than a second");
        for _ in 0..15 {
            turn(&mut turns, 20);
        }
        let now_is = turn(&mut turns, 8);
        assert!(turns.is_too_long(now_is));
        turns.rested();
        assert!(!turns.is_too_long(now_is), "no hurry after a sleep");
        turn(&mut turns, 0);
        turn(&mut turns, 1);
        assert_eq!(turns.budget(), TURN_BYTES_MIN + TURN_BYTES_STEP);
        for _ in 0..20 {
            turn(&mut turns, 1);
        }
        assert_eq!(turns.budget(), TURN_BYTES);
        let mut unlimited = TurnLength::new(None);
        let now_is = turn(&mut unlimited, 60_000);
        assert!(unlimited.budget() == TURN_BYTES && !unlimited.is_too_long(now_is));
    }

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
