//! Examination of a shard's disk, without a restart: as it is, and with one bit that has flipped.

use super::restart::read;
use super::{Environment, World};

impl<E: Environment> World<E> {
    /// Reads a log twice, which must give the same, and then so many times with one bit of it flipped: that must be
    /// noticed, change nothing, or look like a write that was torn, and only one that nothing behind it proves. `draw` gives a number
    /// below another.
    ///
    /// # Errors
    /// It is otherwise.
    pub fn examine(
        &mut self,
        shard: usize,
        flips: usize,
        mut draw: impl FnMut(usize) -> usize,
    ) -> Result<(), String> {
        let Some(disk) = self.disk_mut(shard).cloned() else {
            return Ok(());
        };
        let it = &self.shards[shard];
        let (recovered, state) = read(it.begin_fold(), &disk, shard)?;
        let state = format!("{state:?}");
        if format!("{:?}", read(it.begin_fold(), &disk, shard)?.1) != state {
            return Err(format!(
                "the log of shard {shard} is another when read again"
            ));
        }
        if recovered.used.is_empty() {
            return Ok(());
        }
        for _ in 0..flips {
            let segment = recovered.used[draw(recovered.used.len())];
            let mut damaged = disk.clone();
            let Some(bytes) = damaged.segment_mut(segment) else {
                continue;
            };
            let (at, bit) = (draw(bytes.len()), draw(8));
            bytes[at] ^= 1 << bit;
            let Ok((found, other)) = read(it.begin_fold(), &damaged, shard) else {
                continue; // noticed
            };
            let is_same = found.last == recovered.last && format!("{other:?}") == state;
            if !is_same && found.last < recovered.proven {
                return Err(format!(
                    "bit {bit} of byte {at} of segment {} of shard {shard} has flipped: frame {} is the last, not {}",
                    segment.0, found.last.0, recovered.last.0
                ));
            }
        }
        Ok(())
    }
}
