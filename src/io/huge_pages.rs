//! Transparent huge pages: none before the process is so large that they pay.
//!
//! Each thread has a heap, and the first bytes that it uses of a huge page take 2 MiB. A process of some ten threads
//! would begin with 15 MiB of unused memory; what tables of one of 256 MiB save of the processor's time is
//! worth that.

use super::memory::{resident, Memory};

/// Resident memory from which the process has huge pages.
const FROM: u64 = 256 << 20;
/// With less memory for each shard it never has any.
const BYTES_PER_SHARD_MIN: u64 = 256 << 20;

/// Refuses huge pages, which the allocator has asked for, until [`HugePages::look`] allows them. Other threads begin
/// afterwards. A process that was started by another one has that one's setting before.
pub(super) fn refuse() {
    set(false);
}

fn set(are_wanted: bool) -> bool {
    match rustix::thread::disable_transparent_huge_pages(!are_wanted) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!("huge pages cannot be switched on or off: {error}");
            false
        }
    }
}

/// State of them in a thread that looks at memory.
pub(super) struct HugePages {
    shards: u16,
    is_decided: bool,
}

impl HugePages {
    pub(super) fn new(shards: u16) -> Self {
        Self {
            shards,
            is_decided: false,
        }
    }

    /// Allows them once the process is large, where there is memory enough.
    pub(super) fn look(&mut self, memory: Option<&Memory>) {
        let max = memory.map(|memory| memory.max);
        if !self.is_decided && resident().is_some_and(|used| pays(used, max, self.shards)) {
            self.is_decided = true;
            if set(true) {
                tracing::debug!("the process is large: it has huge pages from now on");
            }
        }
    }
}

/// `max`: bytes of memory for all shards, if that is known.
fn pays(used: u64, max: Option<u64>, shards: u16) -> bool {
    let is_small = |max: u64| max / u64::from(shards) < BYTES_PER_SHARD_MIN;
    used >= FROM && !max.is_some_and(is_small)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_are_for_large_processes_with_memory_to_spare() {
        assert!(!pays(255 << 20, None, 1));
        assert!(pays(256 << 20, None, 1));
        assert!(pays(256 << 20, Some(1 << 30), 4));
        assert!(!pays(300 << 20, Some(1_023 << 20), 4));
    }
}
