//! Sets of packet identifiers.

/// A bit for each of 65,536.
pub(super) struct IdSet(Box<[u64]>);

impl Default for IdSet {
    fn default() -> Self {
        Self(vec![0; 1_024].into())
    }
}

impl IdSet {
    /// True when it was not there.
    pub(super) fn insert(&mut self, id: u16) -> bool {
        let (word, bit) = place(id);
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }

    /// True when it was there.
    pub(super) fn remove(&mut self, id: u16) -> bool {
        let (word, bit) = place(id);
        let was_there = self.0[word] & bit != 0;
        self.0[word] &= !bit;
        was_there
    }
}

fn place(id: u16) -> (usize, u64) {
    (usize::from(id / 64), 1 << (id % 64))
}
