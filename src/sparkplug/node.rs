//! One edge node and its devices, as their messages say.

use std::collections::BTreeMap;

use super::finding::Finding;
use super::payload::Outline;
use super::topic::Kind;
use crate::time::WallTime;

/// `seq` is one octet: 0 follows 255.
const SEQS: u64 = 256;

/// The state of an edge node. What it counts begins when the broker first hears of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) online: bool,
    /// From its certificate: neither a birth nor a death has come since this process began.
    pub(super) is_recalled: bool,
    /// Counted up by each birth and each death: a device is online in the life in which it was born.
    life: u64,
    pub(super) births: u64,
    /// Births that repeat the bdSeq of the session at hand: a host has asked for them.
    pub(super) rebirths: u64,
    pub(super) deaths: u64,
    pub(super) messages: u64,
    pub(super) born_at: Option<WallTime>,
    pub(super) died_at: Option<WallTime>,
    pub(super) seen_at: WallTime,
    /// Of the last birth.
    pub(super) birth: Outline,
    pub(super) next_seq: Option<u64>,
    /// Breaks in the sequence, and how many messages are missing in them.
    pub(super) gaps: u64,
    pub(super) missing: u64,
    pub(super) births_without_death: u64,
    /// Deaths of another session than the one at hand.
    pub(super) stale_deaths: u64,
    /// Messages of a node or device that was not online.
    pub(super) before_birth: u64,
    pub(super) rebirth_requests: u64,
    pub(super) devices: BTreeMap<Box<str>, Device>,
    pub(super) devices_online: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Device {
    /// Of its node, in which it was born; 0: it is dead.
    life: u64,
    pub(super) births: u64,
    pub(super) deaths: u64,
    pub(super) messages: u64,
    pub(super) born_at: Option<WallTime>,
    pub(super) died_at: Option<WallTime>,
    pub(super) seen_at: WallTime,
    pub(super) metrics: u32,
}

impl Device {
    /// Of a certificate that was there when the process began.
    pub(super) fn recalled(outline: &Outline) -> Self {
        Self {
            metrics: outline.metrics,
            ..Self::default()
        }
    }
}

impl Node {
    /// A message of the node itself.
    pub(super) fn take(&mut self, kind: Kind, outline: &Outline, at: WallTime) -> Option<Finding> {
        match kind {
            Kind::Birth => self.be_born(outline, at),
            Kind::Death => self.die(outline, at),
            Kind::Data => self.follow(outline, at),
            Kind::Command => {
                self.rebirth_requests += u64::from(outline.asks_rebirth);
                None
            }
        }
    }

    fn be_born(&mut self, outline: &Outline, at: WallTime) -> Option<Finding> {
        self.hear(at);
        let mut finding = None;
        if self.online {
            match (self.birth.bd_seq, outline.bd_seq) {
                (Some(before), Some(now)) if before != now => {
                    self.births_without_death += 1;
                    finding = Some(Finding::BirthWithoutDeath { before, now });
                }
                _ => self.rebirths += 1,
            }
        }
        self.begin_life(true);
        self.is_recalled = false;
        self.births += 1;
        self.born_at = Some(at);
        self.birth = *outline;
        self.next_seq = outline.seq.map(|seq| (seq % SEQS + 1) % SEQS);
        finding
    }

    fn die(&mut self, outline: &Outline, at: WallTime) -> Option<Finding> {
        if let (Some(now), Some(of)) = (self.birth.bd_seq, outline.bd_seq) {
            if of != now {
                self.stale_deaths += 1;
                return Some(Finding::StaleDeath { of, now });
            }
        }
        if self.online || self.is_recalled {
            self.hear(at);
            self.begin_life(false);
            self.is_recalled = false;
            self.deaths += 1;
            self.died_at = Some(at);
            self.next_seq = None;
        }
        None // a node that leaves publishes its death, and its will may say it again
    }

    /// Of a certificate that was there when the process began.
    pub(super) fn recalled(outline: &Outline) -> Self {
        Self {
            is_recalled: true,
            birth: *outline,
            ..Self::default()
        }
    }

    /// Devices are online only after their own births.
    fn begin_life(&mut self, online: bool) {
        self.online = online;
        self.life += 1;
        self.devices_online = 0;
    }

    fn hear(&mut self, at: WallTime) {
        self.messages += 1;
        self.seen_at = at;
    }

    /// Any message but births and deaths of the node: its place in the sequence.
    fn follow(&mut self, outline: &Outline, at: WallTime) -> Option<Finding> {
        self.hear(at);
        if !self.online {
            self.before_birth += 1;
            return Some(Finding::BeforeBirth);
        }
        let seq = outline.seq.map(|seq| seq % SEQS)?;
        let expected = self.next_seq.replace((seq + 1) % SEQS)?;
        if seq == expected {
            return None;
        }
        self.gaps += 1;
        self.missing += (seq + SEQS - expected) % SEQS;
        Some(Finding::Gap { expected, seq })
    }

    /// A message of a device that is known.
    pub(super) fn take_of_device(
        &mut self,
        name: &str,
        kind: Kind,
        outline: &Outline,
        at: WallTime,
    ) -> Option<Finding> {
        if kind == Kind::Command {
            return None;
        }
        let finding = self.follow(outline, at);
        let Some(device) = self.devices.get_mut(name).filter(|_| self.online) else {
            return finding;
        };
        device.messages += 1;
        device.seen_at = at;
        let was_online = device.life == self.life;
        match kind {
            Kind::Birth => {
                self.devices_online += u32::from(!was_online);
                device.life = self.life;
                device.births += 1;
                device.born_at = Some(at);
                device.metrics = outline.metrics;
            }
            Kind::Death if was_online => {
                self.devices_online -= 1;
                device.life = 0;
                device.deaths += 1;
                device.died_at = Some(at);
            }
            _ if !was_online => {
                self.before_birth += 1;
                return finding.or(Some(Finding::BeforeBirth));
            }
            _ => {}
        }
        finding
    }

    pub(super) fn is_online(&self, device: &Device) -> bool {
        self.online && device.life == self.life
    }
}
