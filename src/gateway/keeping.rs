//! State that a client leaves with its session: topic ids, and its will. With a log it is answered when that has it,
//! so that the next process has it, too.

use super::kept::Will;
use super::link;
use super::peer::Peer;
use super::requests::{Kind, Request};
use super::Gateway;
use crate::mqtt::topic;
use crate::mqtt_sn::{Message, ReturnCode, Settings, TopicName, WillTopic};
use crate::mutant::{is_on, Mutant};
use crate::shard::{Left, Shard};
use crate::time::Time;

impl Gateway {
    /// REGISTER.
    pub(super) fn register(
        &mut self,
        shard: &mut Shard,
        index: u32,
        (msg_id, name): (u16, &str),
        now: Time,
    ) {
        let max = self
            .settings_of(self.peers.get(index).key.listener)
            .topics_max;
        let peer = self.peers.get_mut(index);
        let given = topic::is_valid_name(name)
            .then(|| peer.kept.topics.register(name, max))
            .flatten();
        let request = |topic_id| Request {
            kind: Kind::Register,
            msg_id,
            topic_id,
            hash: 0,
        };
        let left = match (&given, peer.link) {
            (Some((topic_id, _)), _) if peer.busy.requests.has(&request(*topic_id)) => return,
            (Some((topic_id, name)), Some(link)) => shard.handle_topic_id(link, *topic_id, name),
            _ => Left::Refused,
        };
        let request = request(given.map_or(0, |(topic_id, _)| topic_id));
        self.answer_when_kept(shard, index, request, left, now);
    }

    /// WILLTOPICUPD, which overwrites the topic alone, or deletes both parts.
    pub(super) fn update_will_topic(
        &mut self,
        shard: &mut Shard,
        index: u32,
        update: Option<WillTopic<'_>>,
        now: Time,
    ) {
        let peer = self.peers.get(index);
        let will = update.map(|update| {
            let before = peer.kept.will();
            Will {
                topic: update.topic.into(),
                qos: update.qos,
                retain: update.retain,
                payload: before.map_or_else(Box::default, |will| will.payload.clone()),
            }
        });
        let is_topic = update.is_none_or(|update| topic::is_valid_name(update.topic));
        let left = match is_topic {
            true => self.change_will(shard, index, will),
            false => Left::Refused,
        };
        self.answer_when_kept(shard, index, of_will(Kind::WillTopic), left, now);
    }

    /// WILLMSGUPD.
    pub(super) fn update_will_message(
        &mut self,
        shard: &mut Shard,
        index: u32,
        payload: &[u8],
        now: Time,
    ) {
        let will = self.peers.get(index).kept.will().cloned();
        let left = match will {
            Some(mut will) => {
                will.payload = payload.into();
                self.change_will(shard, index, Some(will))
            }
            None => Left::Refused, // without a topic there is no will
        };
        self.answer_when_kept(shard, index, of_will(Kind::WillMessage), left, now);
    }

    fn change_will(&mut self, shard: &mut Shard, index: u32, will: Option<Will>) -> Left {
        let peer = self.peers.get_mut(index);
        let left = match peer.link {
            Some(link) => shard.handle_will(link, will.as_ref().map(link::will_of)),
            None => Left::Refused,
        };
        if left != Left::Refused {
            peer.kept.set_will(will);
        }
        left
    }

    /// Answers a request now, or when what it has changed is kept.
    fn answer_when_kept(
        &mut self,
        shard: &mut Shard,
        index: u32,
        request: Request,
        left: Left,
        now: Time,
    ) {
        let code = match left {
            Left::Pending if !is_on(Mutant::AnswerRegisterEarly) => {
                if !self.ask_link(shard, index, request, now) {
                    self.stats.out_of_order += 1;
                }
                return;
            }
            Left::Kept | Left::Pending => ReturnCode::Accepted,
            Left::Refused => ReturnCode::NotSupported,
            Left::NoRoom => ReturnCode::Congestion,
        };
        self.answer_kept(index, request, code);
    }

    /// PINGRESP of a link: what was changed before it was asked for is kept.
    pub(super) fn pinged(&mut self, index: u32) {
        let request = self.peers.get_mut(index).busy.requests.take_pinged();
        if let Some(request) = request {
            self.answer_kept(index, request, ReturnCode::Accepted);
        }
    }

    fn answer_kept(&mut self, index: u32, request: Request, code: ReturnCode) {
        let is_accepted = code == ReturnCode::Accepted;
        let answer = match request.kind {
            Kind::Register => Message::RegAck {
                topic_id: if is_accepted { request.topic_id } else { 0 },
                msg_id: request.msg_id,
                code,
            },
            Kind::WillTopic => Message::WillTopicResp(code),
            Kind::WillMessage => Message::WillMsgResp(code),
            Kind::Ping | Kind::Publish | Kind::Subscribe | Kind::Unsubscribe => return,
        };
        self.outbox.send(&self.peers.get(index).key, &answer);
    }
}

/// A client has used a predefined topic id.
pub(super) fn uses_predefined(shard: &mut Shard, peer: &mut Peer, id: u16) {
    let is_first = peer.kept.uses_predefined(id);
    if let Some(link) = peer.link.filter(|_| is_first) {
        shard.handle_predefined_id(link, id);
    }
}

/// The topic id that SUBACK names: 0 where there is none, `None` where there could not be one.
pub(super) fn id_of(
    shard: &mut Shard,
    peer: &mut Peer,
    topic: TopicName<'_>,
    filter: &str,
    settings: &Settings,
) -> Option<u16> {
    match topic {
        TopicName::Predefined(id) => {
            uses_predefined(shard, peer, id);
            return Some(id);
        }
        TopicName::Short(_) => return Some(0),
        TopicName::Full(_) => {}
    }
    let name = match topic::share(filter) {
        Ok(Some(share)) => share.filter,
        _ => filter,
    };
    if !topic::is_valid_name(name) {
        return Some(0); // wildcards: ids follow by REGISTER
    }
    let (id, name) = peer.kept.topics.register(name, settings.topics_max)?;
    if let Some(link) = peer.link {
        // SUBACK waits for the same commit. On a full disk the id lives as long as the process.
        let _ = shard.handle_topic_id(link, id, &name);
    }
    Some(id)
}

fn of_will(kind: Kind) -> Request {
    Request {
        kind,
        msg_id: 0,
        topic_id: 0,
        hash: 0,
    }
}
