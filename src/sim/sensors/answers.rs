//! Answers to a sensor, and messages for it.

use super::network::Network;
use super::sensor::{Sensor, Stage};
use crate::mqtt::Qos;
use crate::mqtt_sn::{decode, Message, Publish, ReturnCode, TopicRef};

impl Sensor {
    /// The answer to what it has asked.
    pub(super) fn answered(&mut self, network: &mut Network, message: &Message<'_>, turns: &[u64]) {
        let asked = self.request.as_ref().map(|request| request.msg_id);
        match *message {
            Message::RegAck {
                topic_id,
                msg_id,
                code: ReturnCode::Accepted,
            } if asked == Some(msg_id) && self.next < self.plan.len() => {
                let topic = self.plan[self.next].topic;
                self.ids.insert(topic_id, topic.into());
                self.own_ids.insert(topic, topic_id);
                self.request = None;
            }
            Message::SubAck {
                topic_id,
                msg_id,
                code: ReturnCode::Accepted,
                ..
            } if asked == Some(msg_id) && self.subscribed < self.filters.len() => {
                let filter = self.filters[self.subscribed];
                if topic_id != 0 {
                    self.ids.insert(topic_id, filter.into());
                    self.own_ids.insert(filter, topic_id);
                }
                self.subscribed += 1;
                self.request = None;
            }
            Message::PubAck { msg_id, code, .. } if asked == Some(msg_id) => {
                let planned = &self.plan[self.next];
                if code == ReturnCode::InvalidTopicId {
                    let topic = planned.topic;
                    self.fail(format!("was refused its own topic id of {topic}"));
                } else if code == ReturnCode::Accepted && planned.qos == Qos::AtLeastOnce {
                    self.published(network, turns);
                }
            }
            Message::PubRec(msg_id) if self.msg_id == msg_id && self.stage != Stage::Unsent => {
                self.stage = Stage::Released;
                self.is_answered(msg_id);
                self.forget_copies(network);
            }
            Message::PubComp(msg_id) if self.msg_id == msg_id && self.stage == Stage::Released => {
                self.published(network, turns);
            }
            _ => {}
        }
    }

    fn published(&mut self, network: &mut Network, turns: &[u64]) {
        self.plan[self.next].acknowledged = Some(turns.to_vec());
        self.next += 1;
        self.stage = Stage::Unsent;
        self.is_answered(self.msg_id);
        self.forget_copies(network);
    }

    /// It may wait for something else by now.
    fn is_answered(&mut self, msg_id: u16) {
        self.request.take_if(|request| request.msg_id == msg_id);
    }

    /// A topic id stands for a topic: what it has asked for stays what it was, over a crash, too.
    pub(super) fn is_named(&mut self, id: u16, name: &str) {
        let own = self.own_ids.iter().find(|(_, own)| **own == id);
        if let Some((topic, _)) = own.filter(|(topic, _)| **topic != name) {
            self.fail(format!("was given its own topic id of {topic} for {name}"));
        }
    }

    /// A copy of what it has published that outlives the exchange would be a new message for any gateway.
    fn forget_copies(&self, network: &mut Network) {
        let (address, own) = (self.address, self.msg_id);
        network.forget(|one, message| {
            let is_copy = matches!(message, Message::Publish(p) if p.msg_id == own);
            one.is_up && one.sensor == address && is_copy
        });
    }

    pub(super) fn take(&mut self, network: &mut Network, publish: &Publish<'_>) {
        let topic_id = publish.topic.field();
        let topic = match publish.topic {
            TopicRef::Short(name) => String::from_utf8_lossy(&name).into_owned(),
            TopicRef::Normal(id) => match self.ids.get(&id) {
                Some(name) => name.clone(),
                None => {
                    self.refuse_unknown(network, publish);
                    return;
                }
            },
            TopicRef::Predefined(id) => {
                self.fail(format!(
                    "was sent the predefined id {id}, which there is not"
                ));
                return;
            }
        };
        let payload = String::from_utf8_lossy(publish.payload).into_owned();
        if payload.split(' ').next() != Some(&topic) {
            self.fail(format!("was sent {payload:?} under the name {topic}"));
            return;
        }
        let msg_id = publish.msg_id;
        match publish.qos {
            Some(Qos::ExactlyOnce) => {
                if self.open.insert(msg_id) {
                    self.got.push(payload);
                }
                self.send(network, &Message::PubRec(msg_id));
            }
            _ => {
                self.got.push(payload);
                let answer = Message::PubAck {
                    topic_id,
                    msg_id,
                    code: ReturnCode::Accepted,
                };
                self.send(network, &answer);
            }
        }
    }

    /// It may have been named in an answer that was lost, and then it is registered once more.
    fn refuse_unknown(&mut self, network: &mut Network, publish: &Publish<'_>) {
        let topic_id = publish.topic.field();
        let asks_for_an_id = self.request.as_ref().is_some_and(|request| {
            matches!(
                decode(&request.bytes),
                Ok(Message::Register { .. } | Message::Subscribe(_))
            )
        });
        if !asks_for_an_id {
            self.fail(format!(
                "was sent the topic id {topic_id}, which it cannot know"
            ));
            return;
        }
        let answer = Message::PubAck {
            topic_id,
            msg_id: publish.msg_id,
            code: ReturnCode::InvalidTopicId,
        };
        self.send(network, &answer);
    }
}
