//! Sparkplug where publications are accepted, and the states of the nodes whose home this shard is.
//!
//! A publication in the namespace goes its ordinary way; the timestamp of an edge node's death is made that of its
//! delivery before, and of a birth a copy is retained as its certificate. What the message says of its node goes to
//! the node's home, by the control lane: there all messages of a node meet, whichever connection they came by.

mod accept;
#[cfg(test)]
mod certificate_tests;
mod recall;
#[cfg(test)]
mod tests;

use crate::limits::{share_of, Limits};
use crate::mqtt::topic;
use crate::shard::mesh::block::Control;
use crate::shard::notices::About;
use crate::shard::Shard;
use crate::sparkplug::{concerns, is_certificate, Counts, Finding, Installation, Sighting};
use crate::time::Time;
use recall::Recall;

/// Lives on: each shard, when `sparkplug` is on.
#[derive(Debug)]
pub(in crate::shard) struct Sparkplug {
    /// Of the nodes and hosts whose home is here.
    pub(in crate::shard) installation: Installation,
    /// What is retained is being read: it was switched on while the shard ran.
    recall: Option<Recall>,
}

impl Sparkplug {
    /// `None`: it is off.
    pub(in crate::shard) fn new(limits: &Limits, shards: u16) -> Option<Box<Self>> {
        limits.sparkplug.then(|| {
            let installation = Installation::new(own_states_max(limits, shards));
            let recall = None;
            Box::new(Self {
                installation,
                recall,
            })
        })
    }

    /// Under other limits: what is there stays, unless it is off now.
    pub(in crate::shard) fn renewed(
        before: Option<Box<Self>>,
        limits: &Limits,
        shards: u16,
    ) -> Option<Box<Self>> {
        let was_off = before.is_none();
        let mut own = before.or_else(|| Self::new(limits, shards))?;
        if was_off {
            own.recall = Some(Recall::new(own_states_max(limits, shards)));
        }
        own.installation.set_max(own_states_max(limits, shards));
        limits.sparkplug.then_some(own)
    }

    pub(in crate::shard) fn counts(own: Option<&Self>) -> Counts {
        own.map_or(Counts::default(), |own| own.installation.counts())
    }
}

fn own_states_max(limits: &Limits, shards: u16) -> u32 {
    share_of(limits.sparkplug_states_max, shards.into())
}

impl Shard {
    /// Whether a publication is looked at: it is on, and the topic in the namespace.
    #[inline]
    pub(in crate::shard) fn concerns_sparkplug(&self, topic: &str) -> bool {
        self.routes.sparkplug.is_some() && concerns(topic)
    }

    /// Whether a subscription gets certificates with RETAIN while they are live, too
    /// (tck-id-conformance-mqtt-aware-nbirth-mqtt-retain).
    pub(in crate::shard) fn keeps_retain(&self, filter: &str) -> bool {
        let share = topic::share(filter).ok().flatten();
        let own = share.map_or(filter, |share| share.filter);
        self.routes.sparkplug.is_some() && is_certificate(own)
    }

    /// Brings what a message says to the home of its node.
    fn report(&mut self, sighting: Sighting, now: Time) {
        let home = self.routes.placement.home(&sighting.key);
        if home == self.id {
            self.on_sighting(&sighting, now);
        } else {
            let control = Control::Sighting(Box::new(sighting));
            self.mesh.peers.send(home, control);
        }
    }

    /// A message of a node whose home is here.
    pub(in crate::shard) fn on_sighting(&mut self, sighting: &Sighting, now: Time) {
        let Some(sparkplug) = self.routes.sparkplug.as_deref_mut() else {
            return; // it was switched off meanwhile
        };
        let Some(finding) = sparkplug.installation.take(sighting) else {
            return;
        };
        let stats = &mut self.outbox.stats;
        let key = sighting.key.escape_debug();
        let (class, text) = match finding {
            Finding::BeforeBirth => {
                stats.sparkplug_before_birth += 1;
                return; // as every node does after this process has begun
            }
            Finding::Gap { expected, seq } => {
                stats.sparkplug_gaps += 1;
                let text = format!("sequence of {key} has a gap: seq {seq} instead of {expected}");
                ("gap", text)
            }
            Finding::BirthWithoutDeath { before, now } => {
                stats.sparkplug_births_without_death += 1;
                let text = format!(
                    "{key} is born with bdSeq {now}, and no death with bdSeq {before} was seen"
                );
                ("birth", text)
            }
            Finding::StaleDeath { of, now } => {
                stats.sparkplug_stale_deaths += 1;
                let text =
                    format!("death of {key} with bdSeq {of} changes nothing: it has bdSeq {now}");
                ("death", text)
            }
            Finding::NoRoom => {
                stats.sparkplug_states_refused += 1;
                let max = self.config.limits.sparkplug_states_max;
                let text =
                    format!("state of {key} not kept: sparkplug-states-max is reached: {max}");
                ("states", text)
            }
        };
        let class = match finding {
            Finding::NoRoom => "sparkplug states".to_owned(),
            _ => format!("sparkplug {class} {key}"),
        };
        self.notice(&About::loss(&class, None, 1), now, || {
            format!("sparkplug: {text}")
        });
    }
}
