//! Routes: the receivers of a topic's publications.

use std::ops::Deref;
use std::rc::Rc;

use smallvec::SmallVec;

use super::destinations::Destinations;
use super::groups::GroupKey;
use crate::ids::SessionId;
use crate::mqtt::{Identifiers, Qos};

/// All receivers of a topic, as one shard sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The topic itself, shared by all publications on it that are kept.
    pub topic: Rc<str>,
    /// Sessions of this shard. Shared between the topics of a filter that many subscribe to.
    pub targets: Rc<Targets>,
    /// Elsewhere: where there is at least one ordinary subscriber.
    pub remote: Destinations,
    /// Of those, and this shard: where a session that outlives its connection is a subscriber. Of groups
    /// it is the member chosen that counts ([`Member::durable`](super::Member)).
    pub durable: Destinations,
    /// Shared groups, members anywhere.
    pub groups: Box<[GroupKey]>,
}

/// The sessions a publication goes to, each once, in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// A single one lies in place: most routes have no more, and building one allocates less.
    list: SmallVec<[Target; 1]>,
    /// What targets are granted: a few kinds, however many targets.
    grants: Rc<[Grant]>,
}

/// One session of a route. Overlapping subscriptions are one target: one copy with the highest QoS
/// and all identifiers [MQTT-3.3.4-2], [MQTT-3.3.4-4].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub session: SessionId,
    grant: u32,
    /// [`NO_GRANT`] when all of its subscriptions have No Local.
    grant_if_own: u32,
}

/// No grant: what the session published itself is not sent to it [MQTT-3.8.3-3].
const NO_GRANT: u32 = u32::MAX;

/// The fan-out loop walks targets in order: four fit a cache line.
const _: () = assert!(size_of::<Target>() == 16);

/// What a subscriber is granted for a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub qos: Qos,
    pub retain_as_published: bool,
    /// Subscription identifiers of all matching subscriptions; usually empty.
    pub identifiers: Identifiers,
}

impl Targets {
    /// What `target`, one of these, is granted. `own`: it is itself the publisher, so its
    /// subscriptions with No Local do not count; `None` when there are no others [MQTT-3.8.3-3].
    #[inline]
    #[must_use]
    pub fn grant(&self, target: &Target, own: bool) -> Option<&Grant> {
        let grant = if own {
            target.grant_if_own
        } else {
            target.grant
        };
        self.grants.get(grant as usize)
    }

    /// Memory, for the cache's bound.
    pub(super) fn bytes(&self) -> usize {
        let grants: usize = self
            .grants
            .iter()
            .map(|grant| size_of::<Grant>() + size_of_val(&*grant.identifiers))
            .sum();
        size_of::<Self>() + self.list.capacity() * size_of::<Target>() + grants
    }
}

impl Deref for Targets {
    type Target = [Target];

    #[inline]
    fn deref(&self) -> &[Target] {
        &self.list
    }
}

/// Puts targets together, one session after the other.
pub(super) struct TargetsBuilder {
    list: SmallVec<[Target; 1]>,
    plain: Rc<[Grant]>,
    /// Grants with identifiers, numbered from the end of `plain`.
    with_identifiers: Vec<Grant>,
}

/// Every grant there can be without identifiers; shared by all routes without any.
pub(super) fn plain_grants() -> Rc<[Grant]> {
    let none = Identifiers::from([]);
    [false, true]
        .into_iter()
        .flat_map(|retain_as_published| {
            [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce].map(|qos| Grant {
                qos,
                retain_as_published,
                identifiers: none.clone(),
            })
        })
        .collect()
}

fn plain_number(qos: Qos, retain_as_published: bool) -> u32 {
    qos as u32 + 3 * u32::from(retain_as_published)
}

impl TargetsBuilder {
    pub(super) fn new(plain: &Rc<[Grant]>, capacity: usize) -> Self {
        Self {
            list: SmallVec::with_capacity(capacity),
            plain: Rc::clone(plain),
            with_identifiers: Vec::new(),
        }
    }

    /// Adds a session. `grant` and `grant_if_own` are what [`TargetsBuilder::grant`] returned.
    #[inline]
    pub(super) fn push(&mut self, session: SessionId, grant: u32, grant_if_own: Option<u32>) {
        self.list.push(Target {
            session,
            grant,
            grant_if_own: grant_if_own.unwrap_or(NO_GRANT),
        });
    }

    /// The number of a grant.
    #[inline]
    pub(super) fn grant(
        &mut self,
        qos: Qos,
        retain_as_published: bool,
        identifiers: &[u32],
    ) -> u32 {
        if identifiers.is_empty() {
            return plain_number(qos, retain_as_published);
        }
        let is_like_last = self.with_identifiers.last().is_some_and(|last| {
            last.qos == qos
                && last.retain_as_published == retain_as_published
                && *last.identifiers == *identifiers
        });
        if !is_like_last {
            self.with_identifiers.push(Grant {
                qos,
                retain_as_published,
                identifiers: identifiers.into(),
            });
        }
        (self.plain.len() + self.with_identifiers.len() - 1) as u32
    }

    pub(super) fn finish(mut self) -> Rc<Targets> {
        let grants = if self.with_identifiers.is_empty() {
            self.plain
        } else {
            let plain = self.plain.iter().cloned();
            plain.chain(self.with_identifiers).collect()
        };
        self.list.shrink_to_fit(); // overlapping filters are fewer targets than subscriptions
        Rc::new(Targets {
            list: self.list,
            grants,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_grants_stand_where_their_number_says() {
        let plain = plain_grants();
        for grant in plain.iter() {
            let number = plain_number(grant.qos, grant.retain_as_published);
            assert_eq!(&plain[number as usize], grant);
        }
    }
}
