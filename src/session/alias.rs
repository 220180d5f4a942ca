//! Topic aliases, both ways. They belong to the connection [MQTT-3.3.2-7].

use crate::mutant::{is_on, Mutant};
use std::collections::HashMap;
use std::num::NonZeroU16;
use std::rc::Rc;

/// Why an incoming alias cannot be used; each is a protocol error with its own reason code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasInError {
    /// Above the announced maximum (0x94).
    AboveMaximum,
    /// Not set on this connection (0x82).
    Unknown,
    /// The topic names of all aliases would take more bytes than they may (0x97). An alias cannot be
    /// refused alone: the client would use it.
    OverBudget,
}

/// How many aliases there may be, and bytes of their topic names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AliasBounds {
    pub maximum: u16,
    pub bytes_max: u32,
}

/// Aliases the client has set towards us.
#[derive(Debug, Default)]
pub struct AliasesIn {
    topics: Vec<Option<Rc<str>>>,
    bytes: usize,
}

impl AliasesIn {
    /// Sets an alias to `topic` [MQTT-3.3.2-12].
    pub fn set(
        &mut self,
        alias: NonZeroU16,
        topic: &str,
        bounds: AliasBounds,
    ) -> Result<(), AliasInError> {
        if alias.get() > bounds.maximum {
            return Err(AliasInError::AboveMaximum);
        }
        let index = usize::from(alias.get()) - 1;
        if self.topics.len() <= index {
            self.topics.resize(index + 1, None);
        }
        let slot = &mut self.topics[index];
        if slot.as_deref() != Some(topic) {
            let before = slot.as_ref().map_or(0, |topic| topic.len());
            let bytes = self.bytes - before + topic.len();
            if bytes > bounds.bytes_max as usize {
                return Err(AliasInError::OverBudget);
            }
            self.bytes = bytes;
            *slot = Some(Rc::from(topic));
        }
        Ok(())
    }

    /// Bytes of the topic names kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Those that are set, rising.
    pub fn iter(&self) -> impl Iterator<Item = (NonZeroU16, &str)> {
        let numbered = (1..=u16::MAX).filter_map(NonZeroU16::new).zip(&self.topics);
        numbered.filter_map(|(alias, topic)| Some((alias, topic.as_deref()?)))
    }

    /// The topic an alias stands for.
    pub fn get(&self, alias: NonZeroU16, maximum: u16) -> Result<Rc<str>, AliasInError> {
        if alias.get() > maximum {
            return Err(AliasInError::AboveMaximum);
        }
        self.topics
            .get(usize::from(alias.get()) - 1)
            .and_then(Clone::clone)
            .ok_or(AliasInError::Unknown)
    }
}

/// How to write the topic of an outgoing PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutgoingTopic {
    /// The topic in full, no alias left for it.
    Full,
    /// The topic in full together with its new alias.
    Introduce(NonZeroU16),
    /// The alias alone.
    Alias(NonZeroU16),
}

/// Aliases we have set towards the client: the first topics sent get them and keep them.
#[derive(Debug)]
pub struct AliasesOut {
    bounds: AliasBounds,
    bytes: usize,
    aliases: HashMap<Box<str>, NonZeroU16, ahash::RandomState>,
}

impl AliasesOut {
    /// The maximum is within the client's Topic Alias Maximum [MQTT-3.1.2-26].
    #[must_use]
    pub fn new(bounds: AliasBounds, hash_seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(hash_seed, 1, 2, 3);
        Self {
            bounds,
            bytes: 0,
            aliases: HashMap::with_hasher(hasher),
        }
    }

    /// Bytes of the topic names kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many there may be.
    #[must_use]
    pub fn maximum(&self) -> u16 {
        self.bounds.maximum
    }

    /// Topics of aliases 1, 2, and so on.
    #[must_use]
    pub fn topics(&self) -> Vec<Box<str>> {
        let mut given: Vec<_> = self.aliases.iter().collect();
        given.sort_unstable_by_key(|(_, alias)| **alias);
        given.into_iter().map(|(topic, _)| topic.clone()).collect()
    }

    /// With aliases 1, 2, and so on, which the client has learnt; those beyond the bounds are given to other topics.
    #[must_use]
    pub fn restore(bounds: AliasBounds, hash_seed: u64, topics: &[Box<str>]) -> Self {
        let mut aliases = Self::new(bounds, hash_seed);
        for topic in topics {
            if aliases.assign(topic) == OutgoingTopic::Full {
                break;
            }
        }
        aliases
    }

    /// Call only for a packet that is certainly sent: the client learns the alias from it.
    pub fn assign(&mut self, topic: &str) -> OutgoingTopic {
        if let Some(alias) = self.aliases.get(topic) {
            return OutgoingTopic::Alias(*alias);
        }
        let next = u16::try_from(self.aliases.len() + 1).unwrap_or(u16::MAX);
        let bytes = self.bytes + topic.len();
        let fits = bytes <= self.bounds.bytes_max as usize;
        let has_room = next <= self.bounds.maximum && fits;
        match NonZeroU16::new(next) {
            Some(alias) if has_room => {
                self.bytes = bytes;
                self.aliases.insert(topic.into(), alias);
                if is_on(Mutant::AliasNotIntroduced) {
                    return OutgoingTopic::Alias(alias);
                }
                OutgoingTopic::Introduce(alias)
            }
            _ => OutgoingTopic::Full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(n: u16) -> NonZeroU16 {
        NonZeroU16::new(n).unwrap()
    }

    #[test]
    fn incoming_aliases_are_bounded_set_and_replaced() {
        let mut aliases = AliasesIn::default();
        let bounds = bounds(2);
        assert_eq!(
            aliases.set(alias(3), "a", bounds),
            Err(AliasInError::AboveMaximum)
        );
        assert_eq!(aliases.get(alias(2), 2), Err(AliasInError::Unknown));
        aliases.set(alias(2), "a", bounds).unwrap();
        aliases.set(alias(2), "b", bounds).unwrap();
        assert_eq!(&*aliases.get(alias(2), 2).unwrap(), "b");
        assert_eq!(aliases.get(alias(1), 2), Err(AliasInError::Unknown));
    }

    fn bounds(maximum: u16) -> AliasBounds {
        AliasBounds {
            maximum,
            bytes_max: 10,
        }
    }

    #[test]
    fn topic_names_of_aliases_are_bounded_by_bytes_both_ways() {
        let mut incoming = AliasesIn::default();
        incoming.set(alias(1), "123456", bounds(9)).unwrap();
        incoming.set(alias(2), "1234", bounds(9)).unwrap();
        let refused = incoming.set(alias(3), "1", bounds(9));
        assert_eq!(refused, Err(AliasInError::OverBudget));
        let refused = incoming.set(alias(2), "12345", bounds(9));
        assert_eq!(refused, Err(AliasInError::OverBudget));
        // What is replaced makes room.
        incoming.set(alias(1), "12", bounds(9)).unwrap();
        incoming.set(alias(3), "1234", bounds(9)).unwrap();
        assert_eq!(incoming.bytes(), 10);

        let mut outgoing = AliasesOut::new(bounds(9), 7);
        let first = outgoing.assign("12345678");
        assert_eq!(first, OutgoingTopic::Introduce(alias(1)));
        assert_eq!(outgoing.assign("123"), OutgoingTopic::Full);
        assert_eq!(outgoing.assign("12"), OutgoingTopic::Introduce(alias(2)));
        assert_eq!(outgoing.bytes(), 10);
    }

    #[test]
    fn outgoing_aliases_stop_at_the_clients_maximum() {
        let mut aliases = AliasesOut::new(bounds(1), 7);
        assert_eq!(aliases.assign("a"), OutgoingTopic::Introduce(alias(1)));
        assert_eq!(aliases.assign("a"), OutgoingTopic::Alias(alias(1)));
        assert_eq!(aliases.assign("b"), OutgoingTopic::Full);
    }
}
