//! Send buffers that connections give back when all is sent, for those that become busy next.

use crate::shard::clients::outgoing::Outgoing;

/// Buffers kept, and bytes of them all: what a turn's busy connections use.
const BUFFERS_MAX: usize = 1_024;
const BYTES_MAX: usize = 4 << 20;
/// A larger buffer is not kept: a tail is closed before it grows further.
const BUFFER_BYTES_MAX: usize = 128 << 10;

/// Lives on: each shard its own. The buffer given back last is lent first: its bytes are in the cache.
#[derive(Debug, Default)]
pub(in crate::shard) struct Pool {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl Pool {
    /// Gives a connection's outgoing bytes a buffer when they need one and there is one.
    #[inline]
    pub(in crate::shard) fn lend_to(&mut self, outgoing: &mut Outgoing) {
        if outgoing.wants_buffer() {
            if let Some(buffer) = self.buffers.pop() {
                self.bytes -= buffer.capacity();
                outgoing.lend(buffer);
            }
        }
    }

    /// Takes back a buffer that is no longer needed.
    #[inline]
    pub(in crate::shard) fn take_back(&mut self, buffer: Vec<u8>) {
        let bytes = buffer.capacity();
        let has_room = self.buffers.len() < BUFFERS_MAX && self.bytes + bytes <= BYTES_MAX;
        if has_room && bytes <= BUFFER_BYTES_MAX {
            self.bytes += bytes;
            self.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_lent_again_within_its_bounds() {
        let mut pool = Pool::default();
        for _ in 0..2 * BYTES_MAX / BUFFER_BYTES_MAX {
            pool.take_back(Vec::with_capacity(BUFFER_BYTES_MAX));
        }
        assert_eq!(pool.bytes, BYTES_MAX);
        pool.take_back(Vec::with_capacity(2 * BUFFER_BYTES_MAX));
        let mut outgoing = Outgoing::default();
        pool.lend_to(&mut outgoing);
        assert!(!outgoing.wants_buffer());
        assert_eq!(pool.bytes, BYTES_MAX - BUFFER_BYTES_MAX);
        pool.lend_to(&mut outgoing); // has one
        assert_eq!(pool.bytes, BYTES_MAX - BUFFER_BYTES_MAX);
        for _ in 0..2 * BUFFERS_MAX {
            pool.take_back(Vec::with_capacity(16));
        }
        assert_eq!(pool.buffers.len(), BUFFERS_MAX);
    }
}
