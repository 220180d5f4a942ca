//! State that a client of MQTT-SN has left with its session, beside that of any client: the topic ids that it was given for
//! its own topics, the predefined ones that it has used, and its will, which is part of the session (section 6.3).
//!
//! The gateway has these, too, with what is known of the connection; here they outlive the process.

use std::rc::Rc;

use super::changes::{record, Change};
use super::{Session, StoredWill};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SensorState {
    /// In the order of ids.
    ids: Vec<(u16, Rc<str>)>,
    /// In order.
    predefined: Vec<u16>,
    /// It is kept when it was published, and when its client has left: the session's own is not.
    will: Option<Rc<StoredWill>>,
}

impl SensorState {
    /// `None`: ids are not in order, or there is nothing.
    #[must_use]
    pub fn of(
        ids: Vec<(u16, Rc<str>)>,
        predefined: Vec<u16>,
        will: Option<Rc<StoredWill>>,
    ) -> Option<Self> {
        let state = Self {
            ids,
            predefined,
            will,
        };
        let is_in_order = state.ids.windows(2).all(|pair| pair[0].0 < pair[1].0)
            && state.predefined.windows(2).all(|pair| pair[0] < pair[1]);
        (is_in_order && !state.is_empty()).then_some(state)
    }

    #[must_use]
    pub fn ids(&self) -> &[(u16, Rc<str>)] {
        &self.ids
    }

    #[must_use]
    pub fn predefined(&self) -> &[u16] {
        &self.predefined
    }

    #[must_use]
    pub fn will(&self) -> Option<&Rc<StoredWill>> {
        self.will.as_ref()
    }

    fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.predefined.is_empty() && self.will.is_none()
    }

    /// About what it takes in the log.
    #[must_use]
    pub fn cost(&self) -> usize {
        let names: usize = self.ids.iter().map(|(_, name)| 3 + name.len()).sum();
        let will = self.will.as_ref();
        let will = will.map_or(0, |will| will.payload.len() + will.topic.len());
        names + 2 * self.predefined.len() + will
    }
}

impl Session {
    /// A topic id stands for this name from now on.
    pub fn give_topic_id(&mut self, id: u16, name: &Rc<str>) {
        let ids = &mut self.sensor.get_or_insert_default().ids;
        match ids.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(at) if ids[at].1 == *name => return,
            Ok(at) => ids[at].1 = Rc::clone(name),
            Err(at) => {
                ids.reserve_exact(1); // most have a few
                ids.insert(at, (id, Rc::clone(name)));
            }
        }
        record(&self.window.recorder, || {
            Change::TopicId(id, Rc::clone(name))
        });
    }

    /// The client has used a predefined id.
    pub fn use_predefined_id(&mut self, id: u16) {
        let predefined = &mut self.sensor.get_or_insert_default().predefined;
        if let Err(at) = predefined.binary_search(&id) {
            predefined.insert(at, id);
            record(&self.window.recorder, || Change::PredefinedId(id));
        }
    }

    /// This is the will that the session keeps, whatever becomes of that of the connection.
    pub fn keep_will(&mut self, will: Option<StoredWill>) {
        let kept = self.sensor.as_ref().and_then(|sensor| sensor.will());
        if kept.map(|kept| &**kept) == will.as_ref() {
            return;
        }
        let will = will.map(Rc::new);
        self.sensor.get_or_insert_default().will = will.clone();
        self.sensor.take_if(|sensor| sensor.is_empty());
        record(&self.window.recorder, || Change::KeptWill(will));
    }
}
