//! Another process takes over, as `io::upgrade` does it: the shards come to rest, give everything, and others take it.

use std::collections::HashSet;
use std::rc::Rc;

use super::journals::Journal;
use super::restart::recover;
use super::rings::Rings;
use super::{shards_of, Disk, Environment, Setup, World};
use crate::ids::ConnectionId;
use crate::mutant::{is_on, Mutant};
use crate::shard::{Durability, NotTaken, Origin, Shard, Stats, TurnStep, TURN};

/// Turns in which what is on its way is done, and what is restored becomes known.
const TURNS_MAX: usize = 100_000;

/// Turns in which old shards come to rest; on a full disk they do not.
const REST_TURNS_MAX: usize = 2_000;

/// What happens to the new process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Serves,
    /// It ends when it has taken this part of what it is given, in hundredths.
    Dies(usize),
}

/// Which link is which connection of which shard.
type Taken = Vec<(usize, usize, ConnectionId)>;

/// What one process gives to another.
#[derive(Default)]
struct Gift {
    retained: Vec<(Rc<str>, Vec<u8>)>,
    sessions: Vec<Vec<u8>>,
    /// With their links.
    clients: Vec<(usize, Vec<u8>, Vec<u8>)>,
    openings: Vec<(usize, Vec<u8>, Vec<u8>)>,
}

impl<E: Environment> World<E> {
    /// Hands everything to shards made anew; with journals those read the logs, and continue them. What the old ones have
    /// counted; `None`: they have not come to rest, or the new ones have ended, and the old ones continue.
    ///
    /// With journals of another number of shards the logs there were count until they are [given up](Self::adopt).
    ///
    /// # Errors
    /// What was given is not what is taken.
    pub fn upgrade(&mut self, setup: &Setup, fate: Fate) -> Result<Option<Vec<Stats>>, String> {
        if !self.comes_to_rest() {
            return Ok(None);
        }
        let gift = self.gift();
        let (mut shards, disks) = (shards_of(setup), self.disks_at_rest());
        let journals = self.logs_taken(&mut shards, &disks)?;
        let links = self.taken(&mut shards, &gift, fate)?;
        if fate != Fate::Serves {
            let again = self.gift();
            let is_same = again.sessions == gift.sessions && again.clients == gift.clients;
            return match is_same {
                true => Ok(None),
                false => Err("giving has changed what was given".into()),
            };
        }
        // Who has no image is cut; the session loses its connection in the new process.
        for link in &mut self.links {
            link.is_closed_by_broker |= link.at.is_some();
            link.at = None;
            link.is_blocked = false;
        }
        let old = std::mem::replace(&mut self.shards, shards);
        self.attached = vec![Vec::new(); self.shards.len()];
        self.rings = Rings::new(setup.shards);
        self.journals = journals;
        if !disks.is_empty() && disks.len() != self.shards.len() {
            self.former_disks = disks;
        }
        for (link, shard, id) in links {
            self.attach(link, shard, Some(id));
        }
        self.become_known()?;
        Ok(Some(old.iter().map(|shard| *shard.stats()).collect()))
    }

    /// All logs there are.
    fn disks_at_rest(&self) -> Vec<Disk> {
        let journals = self.journals.iter().flatten();
        let mut disks: Vec<Disk> = journals.map(|it| it.disk.clone()).collect();
        if is_on(Mutant::UpgradeCutsLogs) {
            disks.iter_mut().for_each(Disk::remove_last);
        }
        disks
    }

    /// What the shards of the next process read when the old ones are at rest: nothing is written to it.
    fn logs_taken(
        &self,
        shards: &mut [Shard],
        disks: &[Disk],
    ) -> Result<Vec<Option<Journal>>, String> {
        for shard in &mut *shards {
            shard.handle_clocks(self.clocks());
        }
        if disks.is_empty() {
            return Ok(Vec::new());
        }
        let nothing = vec![Disk::default(); disks.len()];
        let disks = match is_on(Mutant::UpgradeSkipsLogs) {
            true => &nothing,
            false => disks,
        };
        let durability = Durability::Commit;
        let terms = (durability, self.segment_bytes, self.clocks(), self.now);
        recover(shards, disks, terms)
    }

    /// Fills the shards of the next process, and returns the links that they have.
    fn taken(&self, shards: &mut [Shard], gift: &Gift, fate: Fate) -> Result<Taken, String> {
        let homes = shards[0].homes();
        let part = |count: usize| match fate {
            Fate::Serves => count,
            Fate::Dies(hundredths) => count * hundredths / 100,
        };
        let now = self.now;
        let garbled = |error: &dyn std::fmt::Display| format!("what was given: {error}");
        for (topic, bytes) in gift.retained.iter().take(part(gift.retained.len())) {
            let shard = &mut shards[homes.home(topic).index()];
            shard
                .take_retained(bytes, now)
                .map_err(|error| garbled(&error))?;
        }
        for bytes in gift.sessions.iter().take(part(gift.sessions.len())) {
            let home = homes.of_session(bytes).map_err(|error| garbled(&error))?;
            let taken = shards[home.index()].take_other(bytes, now);
            taken.map_err(|error| garbled(&error))?;
        }
        let mut links = Vec::new();
        for (link, session, connection) in gift.clients.iter().take(part(gift.clients.len())) {
            let home = homes.of_session(session).map_err(|error| garbled(&error))?;
            let images = (&**session, &**connection);
            match shards[home.index()].take_client(images, Ok, now) {
                Ok((id, _)) => links.push((*link, home.index(), id)),
                Err(NotTaken::Unfit { .. }) => {} // it is cut
                Err(error) => return Err(garbled(&error)),
            }
        }
        for (link, origin, read) in &gift.openings {
            let home = homes.of_opening(origin).map_err(|error| garbled(&error))?;
            let origin = Origin::given(origin).map_err(|error| garbled(&error))?;
            let shard = &mut shards[home.index()];
            if let Some(id) = shard.handle_opened(origin, now) {
                shard.handle_origin(id, None, None);
                shard.handle_bytes(id, read, now);
                links.push((*link, home.index(), id));
            }
        }
        shards.iter_mut().for_each(|shard| shard.all_taken(now));
        Ok(links)
    }

    /// Nothing is served before all shards know the filters of what was restored.
    fn become_known(&mut self) -> Result<(), String> {
        use TurnStep as S;
        for _ in 0..TURNS_MAX {
            if !self.shards.iter().any(Shard::awaits_peers) {
                return Ok(());
            }
            for shard in 0..self.shards.len() {
                for step in [S::PeerBlocks, S::EndTurn, S::SendBlocks] {
                    self.step(shard, step);
                }
            }
        }
        Err("what was taken does not become known".into())
    }

    /// Nothing is read, and no timer fires.
    fn comes_to_rest(&mut self) -> bool {
        let is_taken = |step: &&TurnStep| {
            use TurnStep as S;
            !matches!(step, S::ReadEstablished | S::ReadOthers | S::Timeouts)
        };
        for _ in 0..REST_TURNS_MAX {
            let mut moved = false;
            for shard in 0..self.shards.len() {
                for step in TURN.iter().filter(is_taken) {
                    moved |= self.step(shard, *step);
                }
            }
            let is_moving = self.links.iter().any(|link| link.is_moving);
            if self.journals.iter().flatten().any(Journal::has_failed) {
                return false;
            }
            if !moved
                && !is_moving
                && self.shards.iter().all(Shard::is_at_rest)
                && self.rings.is_empty()
            {
                return true;
            }
        }
        false
    }

    fn gift(&self) -> Gift {
        let mut gift = Gift::default();
        for (number, shard) in self.shards.iter().enumerate() {
            gift.retained.extend(shard.give_retained());
            let mut carried = HashSet::new();
            for id in shard.connection_ids() {
                let Some(link) = self.link_at((number, id)) else {
                    continue;
                };
                if let Some((origin, read)) = shard.give_opening(id) {
                    gift.openings.push((link, origin, read));
                } else if let Some(client) = shard.give_client(id) {
                    carried.insert(client.client_id);
                    gift.clients.push((link, client.session, client.connection));
                }
            }
            let others = shard.give_others(|id| carried.contains(id));
            gift.sessions.extend(others);
        }
        gift
    }
}
