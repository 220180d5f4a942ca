//! Retained topics that publishers of several shards write at the same time.
//!
//! Every shard delivers publications in the order in which they arrive there, and so does the home of
//! their topic, which keeps the last as the retained message. Two of different shards may arrive here
//! in one order and there in the other: what subscribers here were sent last is then not what is
//! retained, and stays so until a client publishes again.
//!
//! So a shard that has delivered publications of two shards on one retained topic, one after the
//! other, asks what its home has kept, by the steps of a walk (see `walk`): a barrier, a request that
//! is answered once everything sent before the barrier is applied, another barrier, and whatever was
//! sent here before that one is delivered first. If the last value delivered is another one, the
//! subscribers here are sent the one that is retained. If a newer one came meanwhile, it begins anew.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::mqtt::Publication;
use crate::mutant::{is_on, Mutant};
use crate::shard::delivery::message::Message;
use crate::shard::mesh::barrier::{data_needed, DataSent};
use crate::shard::mesh::block::{Control, RetainedPiece, RetainedWalk};
use crate::shard::mesh::publications::{BlockItem, Position};
use crate::shard::retained::live_topics::PublicationSource;
use crate::shard::turn::budget::DELIVERY;
use crate::shard::Shard;
use crate::time::Time;

/// Topics whose last writer is remembered. Two writers count as a race when nothing else has taken the
/// place of the first between them: those that are apart by no more than the transit between two shards do.
const SEEN_MAX: usize = 1_024;
/// Races that are resolved at the same time. A race beyond them is not detected before its topic is
/// written again.
const OPEN_MAX: usize = 1_024;
/// Requests to other shards that are not answered yet: bounds the memory of the answers.
const ASKED_MAX: usize = 32;

/// The last retained publication of a topic that was delivered here.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    topic_hash: u64,
    /// Of the shard that accepted it, one more than its number; 0: of this one.
    origin: u32,
    value_hash: u64,
}

#[derive(Debug)]
enum Stage {
    /// Until this barrier is reached everywhere; then the home is asked.
    Before(u64),
    /// To be asked, when there is room for an answer.
    Ready(Rc<DataSent>),
    Asked(u64),
    /// The answer; until this barrier is reached everywhere.
    Answered(u64, Rc<Publication>),
    /// Until what was sent here by then is applied.
    Behind(Rc<DataSent>, Rc<Publication>),
}

#[derive(Debug)]
struct Race {
    topic: Rc<str>,
    stage: Stage,
    /// The value that was delivered last.
    value_hash: u64,
    /// It was delivered after this began.
    is_newer: bool,
}

impl Race {
    #[cfg(any(test, feature = "testing"))]
    fn is_asked(&self) -> bool {
        !matches!(self.stage, Stage::Before(_) | Stage::Ready(_))
    }
}

/// Lives on: each shard its own. Bounded by [`SEEN_MAX`] and [`OPEN_MAX`].
#[derive(Debug)]
pub(in crate::shard) struct Races {
    /// By the low bits of the topic's hash; empty before the first.
    seen: Vec<Seen>,
    /// By the topic's hash.
    open: BTreeMap<u64, Race>,
    /// How many of them wait for an answer or hold one.
    asked: usize,
    hasher: ahash::RandomState,
}

impl Races {
    pub(in crate::shard) fn new(hash_seed: u64) -> Self {
        Self {
            seen: Vec::new(),
            open: BTreeMap::new(),
            asked: 0,
            hasher: ahash::RandomState::with_seeds(hash_seed, 23, 24, 25),
        }
    }

    #[cfg(any(test, feature = "testing"))]
    pub(in crate::shard) fn audit(&self) -> Result<(), String> {
        let asked = self.open.values().filter(|race| race.is_asked()).count();
        if self.open.len() > OPEN_MAX || self.asked > ASKED_MAX || self.asked != asked {
            let open = self.open.len();
            return Err(format!(
                "{open} races, {} count as asked, {asked} are",
                self.asked
            ));
        }
        Ok(())
    }

    fn value_hash(&self, payload: &[u8], properties: &[u8]) -> u64 {
        self.hasher.hash_one((payload, properties))
    }
}

impl Shard {
    /// A retained publication is delivered to subscribers here.
    #[cold]
    pub(in crate::shard) fn saw_retained(&mut self, message: &Message<'_>) {
        if self.mesh.peers.is_alone() {
            return;
        }
        let topic_hash = self.routes.placement.hash(message.topic);
        let value_hash = self
            .replay
            .races
            .value_hash(message.payload, message.properties);
        let origin = match self.mesh.peers.origin() {
            PublicationSource::Local => 0,
            PublicationSource::Peer { shard, .. } | PublicationSource::Held { shard, .. } => {
                u32::from(shard.0) + 1
            }
        };
        if self.replay.races.seen.is_empty() {
            self.replay.races.seen = vec![Seen::default(); SEEN_MAX];
        }
        let seen = &mut self.replay.races.seen[topic_hash as usize % SEEN_MAX];
        let before = std::mem::replace(
            seen,
            Seen {
                topic_hash,
                origin,
                value_hash,
            },
        );
        // The home delivers in the order in which it keeps.
        if self.routes.placement.home(message.topic) == self.id {
            return;
        }
        if let Some(race) = self.replay.races.open.get_mut(&topic_hash) {
            race.value_hash = value_hash;
            race.is_newer = true;
        } else if before.topic_hash == topic_hash && before.origin != origin {
            self.open_race(topic_hash, message.topic, value_hash);
        }
    }

    /// At the home of a topic that came live: the retained message, when subscribers here were sent another
    /// one last. It was accepted by a shard that did not know the subscription yet, and arrived after what
    /// came live.
    pub(in crate::shard) fn missed_at_home(&self, topic: &str) -> Option<Rc<Publication>> {
        if self.mesh.peers.is_alone() || self.routes.placement.home(topic) != self.id {
            return None;
        }
        let races = &self.replay.races;
        let topic_hash = self.routes.placement.hash(topic);
        let seen = races.seen.get(topic_hash as usize % SEEN_MAX)?;
        let kept = self.routes.retained.get(topic)?;
        let is_other = seen.topic_hash == topic_hash
            && seen.value_hash != races.value_hash(&kept.payload, &kept.properties)
            && !is_on(Mutant::ForgetRaces);
        is_other.then(|| Rc::clone(kept))
    }

    /// A walk has left out a topic that came live: what came may be older all the same, when another
    /// shard's publication was accepted before the subscription was known there.
    pub(in crate::shard) fn doubt_retained(&mut self, publication: &Publication) {
        let topic = &*publication.topic;
        if self.mesh.peers.is_alone() || self.routes.placement.home(topic) == self.id {
            return;
        }
        let topic_hash = self.routes.placement.hash(topic);
        let seen = self.replay.races.seen.get(topic_hash as usize % SEEN_MAX);
        let seen = seen.filter(|seen| seen.topic_hash == topic_hash);
        let Some(value_hash) = seen.map(|seen| seen.value_hash) else {
            return;
        };
        let found = self
            .replay
            .races
            .value_hash(&publication.payload, &publication.properties);
        if found != value_hash && !self.replay.races.open.contains_key(&topic_hash) {
            self.open_race(topic_hash, topic, value_hash);
        }
    }

    fn open_race(&mut self, topic_hash: u64, topic: &str, value_hash: u64) {
        if self.replay.races.open.len() >= OPEN_MAX || is_on(Mutant::ForgetRaces) {
            return;
        }
        let race = Race {
            topic: topic.into(),
            stage: Stage::Before(self.mesh.race_after_barrier()),
            value_hash,
            is_newer: false,
        };
        self.replay.races.open.insert(topic_hash, race);
    }

    /// A barrier has been reached everywhere.
    pub(in crate::shard) fn release_races(
        &mut self,
        reached: u64,
        data_sent: &Rc<DataSent>,
        now: Time,
    ) {
        for race in self.replay.races.open.values_mut() {
            match &race.stage {
                Stage::Before(number) if *number <= reached => {
                    race.stage = Stage::Ready(Rc::clone(data_sent));
                }
                Stage::Answered(number, found) if *number <= reached => {
                    race.stage = Stage::Behind(Rc::clone(data_sent), Rc::clone(found));
                }
                _ => {}
            }
        }
        self.ask_races();
        self.advance_races(now);
    }

    /// Asks the homes of topics, as far as there is room for their answers.
    fn ask_races(&mut self) {
        for race in self.replay.races.open.values_mut() {
            if self.replay.races.asked >= ASKED_MAX {
                return;
            }
            let Stage::Ready(data_sent) = &race.stage else {
                continue;
            };
            let home = self.routes.placement.home(&race.topic);
            let request = self.replay.walks.number_request();
            let walk = RetainedWalk {
                request,
                filter: Box::from(&*race.topic),
                after: None,
                data_needed: data_needed(Some(data_sent), home),
            };
            self.mesh
                .peers
                .send(home, Control::RetainedWalk(Box::new(walk)));
            race.stage = Stage::Asked(request);
            self.replay.races.asked += 1;
        }
    }

    /// A home's answer; false when it was not asked for here.
    pub(in crate::shard) fn on_race_piece(&mut self, piece: &RetainedPiece) -> bool {
        let is_answered =
            |race: &Race| matches!(race.stage, Stage::Asked(request) if request == piece.request);
        let mut open = self.replay.races.open.iter();
        let answered = open.find(|(_, race)| is_answered(race));
        let Some(topic_hash) = answered.map(|(topic_hash, _)| *topic_hash) else {
            return false;
        };
        let mut reader = piece.messages.reader(Position::default());
        if let Some(BlockItem::Message(mut message, _)) = reader.next() {
            let found = message.owned();
            let barrier = self.mesh.race_after_barrier();
            if let Some(race) = self.replay.races.open.get_mut(&topic_hash) {
                race.stage = Stage::Answered(barrier, found);
            }
        } else {
            self.close_race(topic_hash); // cleared, or expired: there is nothing to send
        }
        true
    }

    /// Publications of peers were applied, or a barrier was reached: what waited for it may end.
    pub(in crate::shard) fn advance_races(&mut self, now: Time) {
        if self.replay.races.open.is_empty() {
            return;
        }
        let is_behind = |race: &Race| match &race.stage {
            Stage::Behind(data_sent, _) => {
                !self.has_applied(&data_needed(Some(data_sent), self.id))
            }
            _ => true,
        };
        let open = self.replay.races.open.iter();
        let over: Vec<u64> = open
            .filter(|(_, race)| !is_behind(race))
            .map(|(topic_hash, _)| *topic_hash)
            .collect();
        for topic_hash in over {
            let race = self.close_race(topic_hash);
            let Some((Stage::Behind(_, found), value_hash)) = race else {
                continue;
            };
            let kept = self
                .replay
                .races
                .value_hash(&found.payload, &found.properties);
            if kept != value_hash {
                self.send_winner(&found, now);
            }
        }
    }

    /// The end of a race: its stage and the value delivered last. `None`: it begins anew, since a newer
    /// one was delivered meanwhile.
    fn close_race(&mut self, topic_hash: u64) -> Option<(Stage, u64)> {
        let mut race = self.replay.races.open.remove(&topic_hash)?;
        self.replay.races.asked -= 1;
        let ended = if race.is_newer {
            race.is_newer = false;
            race.stage = Stage::Before(self.mesh.race_after_barrier());
            self.replay.races.open.insert(topic_hash, race);
            None
        } else {
            Some((race.stage, race.value_hash))
        };
        self.ask_races();
        ended
    }

    /// Sends subscribers here the retained message of a topic. Not those with No Local: it may be
    /// their own [MQTT-3.8.3-3].
    fn send_winner(&mut self, publication: &Rc<Publication>, now: Time) {
        let mut message = Message::of(publication);
        if message.is_expired(now) {
            return;
        }
        let route = self.routes.route(message.topic, &mut self.turn.budget);
        self.turn.budget.add(DELIVERY * route.targets.len());
        self.outbox.stats.retained_races += 1;
        for target in route.targets.iter() {
            let Some(grant) = route.targets.grant(target, true) else {
                continue;
            };
            if self.may_receive(target.session, message.topic) {
                let retain = grant.retain_as_published;
                self.deliver_granted(&mut message, target.session, grant, retain, now);
            }
        }
    }
}

#[cfg(test)]
#[path = "races_tests.rs"]
mod tests;
