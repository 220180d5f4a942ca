//! State that is kept with a session, beside the shard's part of it: topic ids, and what few clients have.

use super::topics::Topics;
use crate::mqtt::Qos;
use crate::shard::SensorState;

/// The will of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Will {
    pub(super) topic: Box<str>,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) payload: Box<[u8]>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    pub(super) topics: Topics,
    /// Behind one pointer: many clients sleep, and most have none of it.
    seldom: Option<Box<Seldom>>,
}

#[derive(Clone, Debug, Default)]
struct Seldom {
    /// Predefined ids that the client has used, in order.
    predefined: Vec<u16>,
    will: Option<Will>,
}

impl Kept {
    /// What the log has of it.
    pub(super) fn of(state: Option<&SensorState>) -> Self {
        let ids = state.map_or(&[][..], SensorState::ids);
        let mut kept = Self {
            topics: Topics::second(ids),
            seldom: None,
        };
        let predefined = state.map_or(&[][..], SensorState::predefined);
        if !predefined.is_empty() {
            kept.seldom.get_or_insert_default().predefined = predefined.into();
        }
        let will = state.and_then(SensorState::will);
        kept.set_will(will.map(|will| Will {
            topic: (&*will.topic).into(),
            qos: will.qos,
            retain: will.retain,
            payload: (&*will.payload).into(),
        }));
        kept
    }

    /// True when it is used for the first time.
    pub(super) fn uses_predefined(&mut self, id: u16) -> bool {
        let place = self.predefined().binary_search(&id);
        if let Err(at) = place {
            let seldom = self.seldom.get_or_insert_default();
            seldom.predefined.insert(at, id);
        }
        place.is_err()
    }

    /// Predefined ids that the client has used.
    pub(super) fn predefined(&self) -> &[u16] {
        self.seldom.as_deref().map_or(&[], |kept| &kept.predefined)
    }

    pub(super) fn will(&self) -> Option<&Will> {
        self.seldom.as_deref()?.will.as_ref()
    }

    pub(super) fn set_will(&mut self, will: Option<Will>) {
        if will.is_some() || self.seldom.is_some() {
            self.seldom.get_or_insert_default().will = will;
        }
    }

    /// The message of a will whose topic is known already.
    pub(super) fn set_will_message(&mut self, payload: &[u8]) {
        let will = self
            .seldom
            .as_deref_mut()
            .and_then(|kept| kept.will.as_mut());
        if let Some(will) = will {
            will.payload = payload.into();
        }
    }
}
