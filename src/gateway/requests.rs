//! Requests of a client that the shard has not answered yet, and the last answer to a SUBSCRIBE or UNSUBSCRIBE.

use std::collections::VecDeque;

use crate::mqtt::Qos;
use crate::mqtt_sn::{Message, ReturnCode};
use crate::time::Time;

/// Requests of one client under way. The specification allows one of each kind; many clients send more.
const REQUESTS_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// PUBLISH at QoS 1 or 2.
    Publish,
    Subscribe,
    Unsubscribe,
    /// These are answered when what they have changed is kept: the link says so by a PINGRESP.
    Register,
    WillTopic,
    WillMessage,
    /// Asked by the gateway itself, for the keep alive of the link.
    Ping,
}

impl Kind {
    fn awaits_ping(self) -> bool {
        matches!(
            self,
            Self::Register | Self::WillTopic | Self::WillMessage | Self::Ping
        )
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) msg_id: u16,
    /// To be repeated in the answer.
    pub(super) topic_id: u16,
    /// Of what it says, so that a repeat is recognised.
    pub(super) hash: u64,
}

/// What was answered last.
#[derive(Clone, Debug)]
struct Answered {
    request: Request,
    /// Of SUBACK; UNSUBACK has none.
    granted: Option<(Qos, ReturnCode)>,
    at: Time,
}

#[derive(Debug)]
pub(super) struct Requests {
    open: VecDeque<Request>,
}

impl Requests {
    pub(super) const NONE: Self = Self {
        open: VecDeque::new(),
    };

    /// False: there are too many.
    pub(super) fn add(&mut self, request: Request) -> bool {
        let is_same = |one: &&mut Request| (one.kind, one.msg_id) == (request.kind, request.msg_id);
        if let Some(same) = self.open.iter_mut().find(is_same) {
            *same = request;
            return true;
        }
        if self.open.len() >= REQUESTS_MAX {
            return false;
        }
        self.open.push_back(request);
        true
    }

    pub(super) fn take(&mut self, kind: Kind, msg_id: u16) -> Option<Request> {
        let mut open = self.open.iter();
        let at = open.position(|one| (one.kind, one.msg_id) == (kind, msg_id))?;
        let taken = self.open.remove(at);
        if self.open.is_empty() {
            self.open = VecDeque::new();
        }
        taken
    }

    /// The same for one that a PINGREQ follows: each has its own.
    pub(super) fn add_pinged(&mut self, request: Request) -> bool {
        let has_room = self.open.len() < REQUESTS_MAX;
        if has_room {
            self.open.push_back(request);
        }
        has_room
    }

    /// The last one was not asked for after all.
    pub(super) fn take_last(&mut self) {
        self.open.pop_back();
    }

    /// The one that a PINGRESP answers.
    pub(super) fn take_pinged(&mut self) -> Option<Request> {
        let at = self.open.iter().position(|one| one.kind.awaits_ping())?;
        let taken = self.open.remove(at);
        if self.open.is_empty() {
            self.open = VecDeque::new();
        }
        taken
    }

    /// The same request is under way.
    pub(super) fn has(&self, request: &Request) -> bool {
        let is_same = |one: &Request| {
            (one.kind, one.msg_id, one.hash) == (request.kind, request.msg_id, request.hash)
        };
        self.open.iter().any(is_same)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

/// The last answer to a SUBSCRIBE or UNSUBSCRIBE, while its client may repeat that.
#[derive(Debug, Default)]
pub(super) struct LastAnswer(Option<Box<Answered>>);

impl LastAnswer {
    /// `granted`: of SUBACK; UNSUBACK has none.
    pub(super) fn set(&mut self, request: Request, granted: Option<(Qos, ReturnCode)>, at: Time) {
        self.0 = Some(Box::new(Answered {
            request,
            granted,
            at,
        }));
    }

    /// Its client has had it, as it does something else.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    /// The answer to a request that is a repeat of one answered since a time.
    pub(super) fn repeated(&self, request: &Request, since: Time) -> Option<Message<'static>> {
        let last = self.0.as_ref().filter(|last| last.at >= since)?;
        let one = &last.request;
        let is_same =
            (one.kind, one.msg_id, one.hash) == (request.kind, request.msg_id, request.hash);
        is_same.then(|| answer(one, last.granted))
    }
}

/// SUBACK, or UNSUBACK, which grants nothing.
pub(super) fn answer(request: &Request, granted: Option<(Qos, ReturnCode)>) -> Message<'static> {
    let Some((qos, code)) = granted else {
        return Message::UnsubAck(request.msg_id);
    };
    let is_accepted = code == ReturnCode::Accepted;
    Message::SubAck {
        qos,
        topic_id: if is_accepted { request.topic_id } else { 0 },
        msg_id: request.msg_id,
        code,
    }
}
