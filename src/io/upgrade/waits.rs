//! Clients of a shard that another process has handed over, until each of them was read.

use std::sync::mpsc::Sender;

use crate::io::clock::machine_ns;

/// Lives on: a driver.
#[derive(Debug, Default)]
pub(in crate::io) struct Waits {
    /// On the clock of the machine.
    since_ns: u64,
    over_us: Vec<u32>,
    /// Clients that have sent something which is not read yet.
    waiting: usize,
    tell: Option<Sender<Vec<u32>>>,
}

impl Waits {
    /// The shard begins to serve; so many clients have sent something, and the others have waited until now.
    pub(super) fn begin(
        since_ns: u64,
        tell: Sender<Vec<u32>>,
        (waiting, others): (usize, usize),
    ) -> Self {
        let mut waits = Self {
            since_ns,
            over_us: Vec::new(),
            waiting,
            tell: Some(tell),
        };
        waits.over_us = vec![waits.us(); others];
        if waiting == 0 {
            waits.tell();
        }
        waits
    }

    fn us(&self) -> u32 {
        let us = machine_ns().saturating_sub(self.since_ns) / 1_000;
        u32::try_from(us).unwrap_or(u32::MAX)
    }

    /// One of those that wait was read for the first time.
    #[cold]
    pub(in crate::io) fn has_read(&mut self) {
        self.over_us.push(self.us());
        self.waiting = self.waiting.saturating_sub(1);
        if self.waiting == 0 {
            self.tell();
        }
    }

    /// Those that are not read yet have waited until now.
    pub(super) fn tell(&mut self) {
        if let Some(tell) = self.tell.take() {
            let own = self.us();
            self.over_us.extend(std::iter::repeat_n(own, self.waiting));
            let _ = tell.send(std::mem::take(&mut self.over_us)); // fails when the process ends
        }
    }
}
