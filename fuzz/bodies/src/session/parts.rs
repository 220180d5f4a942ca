//! The small parts of a session, each against the obvious.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use ringmq::mqtt::PacketId;
use ringmq::session::{AliasBounds, AliasInError, AliasesIn, AliasesOut, OutgoingTopic, Received};

use crate::choices::Choices;

/// Identifiers of QoS 2 publications received: a set.
pub(super) fn received(choices: &mut Choices<'_>) {
    let mut received = Received::default();
    let mut model = BTreeSet::new();
    for _ in 0..choices.below(12) {
        let number = u16::from(choices.byte() % 5) + 1;
        let id = PacketId::new(number).expect("not zero");
        match choices.byte() % 3 {
            0 => assert_eq!(
                received.release(id).is_some(),
                model.remove(&number),
                "release"
            ),
            _ => assert_eq!(received.insert(id), model.insert(number), "insert"),
        }
        assert_eq!(received.contains(id), model.contains(&number));
        assert_eq!(received.len(), model.len());
        assert_eq!(received.is_empty(), model.is_empty());
    }
}

/// Aliases both ways: the client learns each alias before it is used, and none is above the maximum.
pub(super) fn aliases(choices: &mut Choices<'_>) {
    const TOPICS: [&str; 6] = ["a", "b", "c/d", "e", "f", "g"];
    let maximum = u16::from(choices.byte() % 5);
    let bounds = AliasBounds {
        maximum,
        bytes_max: u32::from(choices.byte() % 8),
    };
    let mut outgoing = AliasesOut::new(bounds, 7);
    let mut incoming = AliasesIn::default();
    let mut known: BTreeMap<NonZeroU16, &str> = BTreeMap::new();
    for _ in 0..choices.below(10) {
        let topic = choices.one_of(&TOPICS);
        match outgoing.assign(topic) {
            OutgoingTopic::Full => {
                let bytes: usize = known.values().map(|topic| topic.len()).sum();
                let is_full = bytes + topic.len() > bounds.bytes_max as usize;
                assert!(
                    is_full || known.len() >= usize::from(maximum),
                    "no alias given"
                );
            }
            OutgoingTopic::Introduce(alias) => {
                assert!(alias.get() <= maximum, "alias above the maximum");
                assert!(known.insert(alias, topic).is_none(), "alias given twice");
                assert_eq!(incoming.set(alias, topic, bounds), Ok(()));
            }
            OutgoingTopic::Alias(alias) => {
                assert_eq!(
                    known.get(&alias),
                    Some(&topic),
                    "alias the client has not learnt"
                );
                let got = incoming.get(alias, maximum);
                assert_eq!(got.as_deref(), Ok(topic), "incoming alias");
            }
        }
        let alias = NonZeroU16::new(u16::from(choices.byte() % 8) + 1).expect("not zero");
        let expected = if alias.get() > maximum {
            Err(AliasInError::AboveMaximum)
        } else {
            known.get(&alias).copied().ok_or(AliasInError::Unknown)
        };
        assert_eq!(
            incoming.get(alias, maximum).as_deref(),
            expected.as_ref().map(|t| *t)
        );
    }
}
