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
}

/// Aliases the client has set towards us.
#[derive(Debug, Default)]
pub struct AliasesIn {
    topics: Vec<Option<Rc<str>>>,
}

impl AliasesIn {
    /// Sets an alias to `topic` [MQTT-3.3.2-12].
    pub fn set(
        &mut self,
        alias: NonZeroU16,
        topic: &str,
        maximum: u16,
    ) -> Result<(), AliasInError> {
        if alias.get() > maximum {
            return Err(AliasInError::AboveMaximum);
        }
        let index = usize::from(alias.get()) - 1;
        if self.topics.len() <= index {
            self.topics.resize(index + 1, None);
        }
        let slot = &mut self.topics[index];
        if slot.as_deref() != Some(topic) {
            *slot = Some(Rc::from(topic));
        }
        Ok(())
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
    maximum: u16,
    aliases: HashMap<Box<str>, NonZeroU16, ahash::RandomState>,
}

impl AliasesOut {
    /// `maximum` is within the client's Topic Alias Maximum [MQTT-3.1.2-26].
    #[must_use]
    pub fn new(maximum: u16, hash_seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(hash_seed, 1, 2, 3);
        Self {
            maximum,
            aliases: HashMap::with_hasher(hasher),
        }
    }

    /// Call only for a packet that is certainly sent: the client learns the alias from it.
    pub fn assign(&mut self, topic: &str) -> OutgoingTopic {
        if let Some(alias) = self.aliases.get(topic) {
            return OutgoingTopic::Alias(*alias);
        }
        let next = u16::try_from(self.aliases.len() + 1).unwrap_or(u16::MAX);
        match NonZeroU16::new(next) {
            Some(alias) if next <= self.maximum => {
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
        assert_eq!(
            aliases.set(alias(3), "a", 2),
            Err(AliasInError::AboveMaximum)
        );
        assert_eq!(aliases.get(alias(2), 2), Err(AliasInError::Unknown));
        aliases.set(alias(2), "a", 2).unwrap();
        aliases.set(alias(2), "b", 2).unwrap();
        assert_eq!(&*aliases.get(alias(2), 2).unwrap(), "b");
        assert_eq!(aliases.get(alias(1), 2), Err(AliasInError::Unknown));
    }

    #[test]
    fn outgoing_aliases_stop_at_the_clients_maximum() {
        let mut aliases = AliasesOut::new(1, 7);
        assert_eq!(aliases.assign("a"), OutgoingTopic::Introduce(alias(1)));
        assert_eq!(aliases.assign("a"), OutgoingTopic::Alias(alias(1)));
        assert_eq!(aliases.assign("b"), OutgoingTopic::Full);
    }
}
