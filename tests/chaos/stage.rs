//! What the test's threads have in common: when the storm is on, when it is calm, what moves.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;

/// Acts are numbered: odd ones are storms, even ones calm.
pub(super) struct Stage {
    act: AtomicU64,
    is_over: AtomicBool,
    is_stuck: AtomicBool,
    packets: AtomicU64,
    pub(super) seed: u64,
    pub(super) port: u16,
}

/// One thread's part.
pub(super) trait Actor {
    /// Begins to disturb; `seed` is that of the act.
    fn storm(&mut self, seed: u64);
    /// Stops disturbing and lets everything owed arrive.
    fn calm(&mut self);
    /// Waits for events, not long, and handles them.
    fn turn(&mut self);
    /// Calm, and nothing is owed any more.
    fn is_settled(&self) -> bool;
    /// Packets or connections handled so far: a measure of progress.
    fn handled(&self) -> u64;
    /// Connections open.
    fn connections(&self) -> usize;
    /// For a failure's report.
    fn state(&self) -> String;
}

/// An actor's word that it is settled.
pub(super) struct Settled {
    pub(super) act: u64,
    pub(super) connections: usize,
}

impl Stage {
    pub(super) fn new(port: u16, seed: u64) -> Self {
        Self {
            act: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            is_stuck: AtomicBool::new(false),
            packets: AtomicU64::new(0),
            seed,
            port,
        }
    }

    pub(super) fn set_act(&self, act: u64) {
        self.act.store(act, Ordering::SeqCst);
    }

    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// Every actor tells its state and ends.
    pub(super) fn give_up(&self) {
        self.is_stuck.store(true, Ordering::SeqCst);
    }

    /// Grows as long as anything moves.
    pub(super) fn progress(&self) -> u64 {
        self.packets.load(Ordering::SeqCst)
    }

    pub(super) fn add_progress(&self, packets: u64) {
        self.packets.fetch_add(packets, Ordering::SeqCst);
    }

    /// Plays one part to the end.
    pub(super) fn play(&self, mut actor: impl Actor, settled: &Sender<Settled>) {
        let mut act = 0;
        let mut is_told = false;
        let mut handled = 0;
        while !self.is_over.load(Ordering::SeqCst) {
            let current = self.act.load(Ordering::SeqCst);
            if current != act {
                (act, is_told) = (current, false);
                if act % 2 == 1 {
                    actor.storm(self.seed.wrapping_add(act));
                } else {
                    actor.calm();
                }
            }
            actor.turn();
            let before = std::mem::replace(&mut handled, actor.handled());
            self.add_progress(handled - before);
            if act % 2 == 0 && !is_told && actor.is_settled() {
                is_told = true;
                let connections = actor.connections();
                let _ = settled.send(Settled { act, connections });
            }
            if self.is_stuck.load(Ordering::SeqCst) {
                if !is_told {
                    eprintln!("not settled: {}", actor.state());
                }
                return;
            }
        }
    }
}
