//! Transparent huge pages: refused where memory is small.

use super::memory::Memory;

/// With less for each shard huge pages cost more than they give: each heap takes some of 2 MiB, hardly touched.
const BYTES_PER_SHARD_MIN: u64 = 256 << 20;

/// The allocator asks the kernel for huge pages; where `memory` is small this process gets none from now on.
pub(super) fn refuse_where_small(memory: Option<&Memory>, shards: u16) {
    if !memory.is_some_and(|memory| is_small(memory.max, shards)) {
        return;
    }
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::warn!(
            "memory is small and huge pages stay in use, some 2 MiB of it for each: {error}"
        );
    }
}

/// `max`: bytes of memory for all shards.
fn is_small(max: u64, shards: u16) -> bool {
    max / u64::from(shards) < BYTES_PER_SHARD_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_small_by_shards() {
        assert!(is_small(44 << 20, 1));
        assert!(!is_small(256 << 20, 1));
        assert!(is_small(1_023 << 20, 4));
        assert!(!is_small(1 << 30, 4));
    }
}
