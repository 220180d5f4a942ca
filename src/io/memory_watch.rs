//! Looks at memory: a thread for all shards, and each shard for itself when it has taken in much.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use libmimalloc_sys as _; // to be linked, also where another allocator is in use

use super::huge_pages::HugePages;
use super::inbox::ShardCommand;
use super::memory::Memory;
use super::shared::SharedState;
use crate::limits::READ_BUFFER;
use crate::time::{Span, Time};

/// Between two looks at memory: in that time a machine can take in some ten thousand clients.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The same when three quarters of the limit are used: a shard may take in a megabyte in that time.
const LOOK_CLOSELY_EVERY: Duration = Duration::from_millis(5);
/// So long after it found memory short a shard looks again.
const LOOK_AGAIN_AFTER: Span = Span::from_millis(LOOK_EVERY.as_millis() as u64);
/// What was freed is given back to the kernel so often. It takes this thread some milliseconds, and the
/// shards none.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(10);
/// Below so much there is little to give back.
const GIVE_BACK_FROM: u64 = 64 << 20;

/// Bytes that a byte that was read may become: a small message that is kept, with its topic and its place.
const GROWTH: u64 = 4;

/// Watches memory on a thread of its own and notifies the shards by their inboxes.
pub(super) fn watch_memory(shared: Arc<SharedState>, shards: u16) -> std::io::Result<()> {
    if let Some(memory) = shared.memory() {
        tracing::info!("clients are refused from {memory} on");
    }
    let look = move || {
        let mut is_short = false;
        let mut given_back = Instant::now();
        let mut huge_pages = HugePages::new(shards);
        loop {
            // Looked up anew: a reload may set another limit.
            let memory = shared.memory();
            huge_pages.look(memory.as_ref());
            let Some(memory) = memory else {
                thread::sleep(LOOK_EVERY);
                continue;
            };
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
            let is_near = used.is_some_and(|used| memory.left(used) < memory.max / 4);
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

/// Memory as one shard sees it: what it has read since it was looked at, and what it returns.
///
/// The thread that watches may be late, since it shares the cores with the shards, and meanwhile shards
/// could take in more than there is. So a shard that has read its part of what was left looks for itself:
/// some microseconds, seldom where there is much memory.
#[derive(Debug)]
pub(super) struct ShardMemory {
    memory: Option<Memory>,
    shards: u64,
    /// Bytes read since the last look, and how many may be.
    read: u64,
    may_read: u64,
    looked: Time,
    /// As far as this shard has seen, and as the thread that watches says.
    seen_short: bool,
    told_short: bool,
    gives_back: GivesBack,
}

impl ShardMemory {
    pub(super) fn new(memory: Option<Memory>, shards: u16) -> Self {
        Self {
            memory,
            shards: u64::from(shards),
            read: 0,
            may_read: 0, // to begin with a look
            looked: Time::ZERO,
            seen_short: false,
            told_short: false,
            gives_back: GivesBack::default(),
        }
    }

    /// Memory is measured against something else from now on.
    pub(super) fn set(&mut self, memory: Option<Memory>) {
        if self.memory != memory {
            self.memory = memory;
            self.may_read = 0; // it looks at once
            self.looked = Time::ZERO;
        }
    }

    /// What the thread that watches says.
    pub(super) fn told(&mut self, is_short: bool) {
        self.told_short = is_short;
        if !is_short {
            self.seen_short = false; // it has just looked
        }
    }

    /// Free memory is to be returned. `held`: connections and sessions now.
    pub(super) fn asked_back(&mut self, held: usize) {
        self.gives_back.asked(held, self.told_short);
    }

    /// The shard has nothing to do.
    pub(super) fn rests(&mut self) {
        if self.gives_back.take() {
            give_back();
        }
    }

    /// Bytes were read of sockets.
    #[inline]
    pub(super) fn has_read(&mut self, count: usize) {
        self.read += count as u64;
    }

    /// Clients and what they add are refused.
    #[inline]
    pub(super) fn is_short(&mut self, now: Time) -> bool {
        let is_due = match self.seen_short {
            // What grows memory is refused until the next look.
            true => now.since(self.looked) >= LOOK_AGAIN_AFTER,
            false => self.read > self.may_read,
        };
        if is_due {
            self.look(now);
        }
        self.seen_short || self.told_short
    }

    #[cold]
    fn look(&mut self, now: Time) {
        let memory = self.memory.as_ref();
        let Some((memory, used)) = memory.and_then(|memory| Some((memory, memory.used()?))) else {
            self.may_read = u64::MAX; // not known: nothing is looked at again
            return;
        };
        self.seen_short = memory.is_short(used, self.seen_short);
        self.may_read = (memory.left(used) / GROWTH / self.shards).max(READ_BUFFER as u64);
        self.read = 0;
        self.looked = now;
    }
}

/// Whether a shard returns memory when it next has nothing to do. Walking a heap takes milliseconds, so it is
/// done when much less is held than was.
#[derive(Debug, Default)]
struct GivesBack {
    /// Most connections and sessions since memory was last returned.
    most_held: usize,
    is_wanted: bool,
}

impl GivesBack {
    /// `held`: connections and sessions now.
    fn asked(&mut self, held: usize, is_short: bool) {
        self.most_held = self.most_held.max(held);
        if is_short || 4 * held < 3 * self.most_held {
            self.most_held = held;
            self.is_wanted = true;
        }
    }

    fn take(&mut self) -> bool {
        std::mem::take(&mut self.is_wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_has_read_its_part_looks_for_itself() {
        let folder = std::env::temp_dir().join(format!("ringmq-growth-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let uses = |mib: u64| {
            std::fs::write(folder.join("memory.current"), (mib << 20).to_string()).unwrap();
        };
        let memory = Memory::of_group(100 << 20, folder.clone());
        let mut growth = ShardMemory::new(Some(memory), 2);
        let now = Time(1);
        uses(20);
        growth.has_read(1);
        assert!(
            !growth.is_short(now),
            "80 MiB are left, 10 of them for what is read here"
        );
        uses(100);
        growth.has_read(10 << 20);
        assert!(!growth.is_short(now), "not more than its part");
        growth.has_read(1);
        assert!(growth.is_short(now));
        uses(50);
        growth.has_read(20 << 20);
        assert!(growth.is_short(now), "it does not look all the time");
        assert!(!growth.is_short(now + LOOK_AGAIN_AFTER));
        uses(99);
        growth.has_read(7 << 20);
        assert!(!growth.is_short(now));
        uses(101);
        growth.has_read((128 << 10) + 1);
        assert!(growth.is_short(now), "near the limit it looks often");
        growth.told(false);
        uses(96); // above where it would relax by itself
        assert!(!growth.is_short(now), "the thread has looked later");
        std::fs::remove_dir_all(&folder).unwrap();
        let mut unknown = ShardMemory::new(None, 1);
        unknown.has_read(usize::MAX);
        assert!(!unknown.is_short(now));
    }

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
}
