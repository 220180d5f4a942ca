//! Authorization by an HTTP service, topic by topic: its request, its answer, and the decisions that a
//! connection keeps. The request itself is sent by `io`.
//!
//! ```text
//! POST url    {"action": "subscribe", "topics": ["a", "b/#"],
//!              "client_id": "..", "user": "..", "address": ".."}
//! 200         {"result": "allow"}       "deny" and statuses 401 and 403 refuse all topics
//! 200         {"result": ["allow", "deny"]}                        each topic by itself
//! ```
//!
//! `action` is `publish` (one topic; wills, too) or `subscribe` (the filters of a packet; of a shared
//! one the filter behind the group). Anything else, and no answer in time, means that the hook is down.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{json, Value};

use super::hook::{is_allowed, HookTerms, Inquiry};
use crate::time::{Span, Time};

/// What a client wants to do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    Publish,
    Subscribe,
}

/// An authorization request to the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Empty: the broker will assign one.
    pub client_id: Box<str>,
    /// `None`: anonymous.
    pub user: Option<Arc<str>>,
    /// Where it comes from; `None`: a Unix socket.
    pub address: Option<IpAddr>,
    pub access: Access,
    /// Without duplicates.
    pub topics: Vec<Box<str>>,
}

/// Its decision about one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthzDecision {
    Allowed,
    Refused,
    /// The service gives no answer, and the configuration does not allow the request then.
    Unavailable,
}

/// Its decisions about the topics of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthzDecisions {
    pub access: Access,
    pub of: Vec<(Box<str>, AuthzDecision)>,
    /// How long it counts.
    pub counts_for: Span,
}

impl Access {
    fn word(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
        }
    }
}

impl Inquiry for Request {
    /// One decision for each topic.
    type Answer = Vec<AuthzDecision>;

    const HOOK: &'static str = "the HTTP hook for rules";
    const NAME: &'static str = "acl";
    /// Each publication to a new topic would wait for the same time-out.
    const REST: Span = Span::from_secs(1);
    /// Each session remembers its own, see [`KnownDecisions`].
    const IS_SHARED: bool = false;

    fn body(&self) -> Option<String> {
        let body = json!({
            "action": self.access.word(),
            "topics": self.topics,
            "client_id": self.client_id,
            "user": self.user.as_deref(),
            "address": self.address.map(|address| address.to_string()),
        });
        Some(body.to_string())
    }

    fn read(&self, answer: Option<&Value>) -> Result<Vec<AuthzDecision>, String> {
        const WRONG: &str = "`result` is neither \"allow\" nor \"deny\", nor a list of them";
        let count = self.topics.len();
        let Some(answer) = answer else {
            return Ok(vec![AuthzDecision::Refused; count]);
        };
        match answer.get("result") {
            Some(Value::Array(each)) if each.len() != count => Err(format!(
                "`result` has {} items for {count} topics",
                each.len()
            )),
            Some(Value::Array(each)) => {
                let each = each.iter().map(|word| read_word(word).ok_or(WRONG.into()));
                each.collect()
            }
            Some(word) => Ok(vec![read_word(word).ok_or(WRONG)?; count]),
            None => Err(WRONG.into()),
        }
    }
}

impl Request {
    /// What counts while the service does not answer.
    #[must_use]
    pub fn when_down(self, terms: &HookTerms) -> AuthzDecisions {
        let decision = if terms.allow_when_down {
            AuthzDecision::Allowed
        } else {
            AuthzDecision::Unavailable
        };
        self.decided(decision, Self::REST)
    }

    /// The same decision for all topics.
    #[must_use]
    pub fn decided(self, decision: AuthzDecision, counts_for: Span) -> AuthzDecisions {
        let count = self.topics.len();
        self.ruled_each(vec![decision; count], counts_for)
    }

    /// `decisions` are in the order of the topics.
    #[must_use]
    pub fn ruled_each(self, decisions: Vec<AuthzDecision>, counts_for: Span) -> AuthzDecisions {
        AuthzDecisions {
            access: self.access,
            of: self.topics.into_iter().zip(decisions).collect(),
            counts_for,
        }
    }
}

fn read_word(word: &Value) -> Option<AuthzDecision> {
    Some(match is_allowed(word)? {
        true => AuthzDecision::Allowed,
        false => AuthzDecision::Refused,
    })
}

/// Decisions kept of one connection for each access; with more, all are dropped and asked for again.
pub const DECISIONS_KEPT_MAX: usize = 256;
/// Decisions about longer topics are not kept, in bytes.
pub const DECIDED_TOPIC_BYTES_MAX: usize = 256;

type Topics<T> = HashMap<Box<str>, T, ahash::RandomState>;

/// Decisions of the service for one connection. Lives on: its session, until rules change.
#[derive(Debug)]
pub struct KnownDecisions {
    /// By access.
    kept: [Topics<(Time, AuthzDecision)>; 2],
    /// Answers to the packet that waits for them, whether they may be kept or not.
    latest: Topics<AuthzDecision>,
    latest_access: Access,
}

impl KnownDecisions {
    /// `seed` is random: clients choose the topics.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let hasher = || ahash::RandomState::with_seeds(seed, 11, 12, 13);
        Self {
            kept: [0, 1].map(|_| HashMap::with_hasher(hasher())),
            latest: HashMap::with_hasher(hasher()),
            latest_access: Access::Publish,
        }
    }

    /// The decision for this topic, if it has not expired or is the answer that was waited for.
    #[must_use]
    pub fn get(&self, access: Access, topic: &str, now: Time) -> Option<AuthzDecision> {
        let latest = self.latest.get(topic);
        if let Some(decision) = latest.filter(|_| self.latest_access == access) {
            return Some(*decision);
        }
        let (until, decision) = self.kept[access as usize].get(topic)?;
        (now < *until).then_some(*decision)
    }

    /// Takes the answers that the next packet waits for.
    pub fn put(&mut self, decisions: AuthzDecisions, now: Time) {
        let AuthzDecisions {
            access,
            of,
            counts_for,
        } = decisions;
        if counts_for > Span::ZERO {
            let until = now + counts_for;
            for (topic, decision) in &of {
                self.keep(access, topic, (until, *decision), now);
            }
        }
        self.latest_access = access;
        self.latest.clear();
        self.latest.extend(of);
    }

    /// At the bound, expired decisions are dropped first, then all.
    fn keep(&mut self, access: Access, topic: &str, known: (Time, AuthzDecision), now: Time) {
        let kept = &mut self.kept[access as usize];
        if topic.len() > DECIDED_TOPIC_BYTES_MAX {
            return;
        }
        if kept.len() >= DECISIONS_KEPT_MAX {
            kept.retain(|_, (until, _)| now < *until);
        }
        if kept.len() >= DECISIONS_KEPT_MAX {
            kept.clear();
        }
        kept.insert(topic.into(), known);
    }

    /// The packet that waited for the latest answers is done with.
    pub fn forget_latest(&mut self) {
        if self.latest.capacity() > 0 {
            let hasher = self.latest.hasher().clone();
            self.latest = HashMap::with_hasher(hasher);
        }
    }
}

/// Without those that are there twice, in their order.
#[must_use]
pub fn without_repeats<'a>(topics: impl Iterator<Item = &'a str>) -> Vec<Box<str>> {
    let mut seen = HashSet::new();
    let first = topics.filter(|topic| seen.insert(*topic));
    first.map(Box::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(topics: &[&str]) -> Request {
        Request {
            client_id: "c\"1".into(),
            user: None,
            address: Some("192.0.2.1".parse().unwrap()),
            access: Access::Subscribe,
            topics: topics.iter().map(|topic| Box::from(*topic)).collect(),
        }
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    #[test]
    fn requests() {
        let body: Value = serde_json::from_str(&request(&["a", "b/#"]).body().unwrap()).unwrap();
        let expected = json!({"action": "subscribe", "topics": ["a", "b/#"], "client_id": "c\"1",
                              "user": null, "address": "192.0.2.1"});
        assert_eq!(body, expected);
    }

    #[test]
    fn answers() {
        use AuthzDecision::{Allowed, Refused};
        let two = request(&["a", "b"]);
        for (status, body, expected) in [
            (200, r#"{"result":"allow"}"#, [Allowed, Allowed]),
            (200, r#"{"result":"deny","x":1}"#, [Refused, Refused]),
            (200, r#"{"result":["allow","deny"]}"#, [Allowed, Refused]),
            (401, "", [Refused, Refused]),
            (403, "no", [Refused, Refused]),
        ] {
            assert_eq!(two.answer(status, body).unwrap(), expected, "{body}");
        }
        for (status, body) in [
            (500, ""),
            (204, ""),
            (302, ""),
            (200, ""),
            (200, "allow"),
            (200, "{}"),
            (200, r#"{"result":true}"#),
            (200, r#"{"result":"Allow"}"#),
            (200, r#"{"result":["allow"]}"#),
            (200, r#"{"result":["allow","allow","allow"]}"#),
            (200, r#"{"result":["allow",1]}"#),
        ] {
            assert!(two.answer(status, body).is_err(), "{status} {body}");
        }
    }

    #[test]
    fn rulings_count_for_a_while_and_are_bounded() {
        let mut known = KnownDecisions::new(1);
        let decisions = |topic: &str, seconds| {
            request(&[topic]).decided(AuthzDecision::Allowed, Span::from_secs(seconds))
        };
        known.put(decisions("a", 10), at(0));
        known.forget_latest();
        assert_eq!(
            known.get(Access::Subscribe, "a", at(9)),
            Some(AuthzDecision::Allowed)
        );
        assert_eq!(known.get(Access::Subscribe, "a", at(10)), None);
        assert_eq!(known.get(Access::Publish, "a", at(9)), None);
        for n in 0..3 * DECISIONS_KEPT_MAX {
            known.put(decisions(&n.to_string(), 10), at(1));
            assert!(known.kept[1].len() <= DECISIONS_KEPT_MAX);
        }
        known.put(decisions("old", 1), at(1));
        let long = "x".repeat(DECIDED_TOPIC_BYTES_MAX + 1);
        known.put(decisions(&long, 10), at(3));
        assert_eq!(
            known.get(Access::Subscribe, &long, at(3)),
            Some(AuthzDecision::Allowed)
        );
        known.forget_latest();
        assert_eq!(known.get(Access::Subscribe, &long, at(3)), None, "not kept");
    }

    /// An answer that does not count beyond its packet is there for its packet.
    #[test]
    fn the_latest_answer_is_for_one_packet() {
        let mut known = KnownDecisions::new(1);
        known.put(
            request(&["a"]).decided(AuthzDecision::Refused, Span::ZERO),
            at(0),
        );
        assert_eq!(
            known.get(Access::Subscribe, "a", at(99)),
            Some(AuthzDecision::Refused)
        );
        assert_eq!(known.get(Access::Publish, "a", at(0)), None);
        known.forget_latest();
        assert_eq!(known.get(Access::Subscribe, "a", at(0)), None);
    }

    #[test]
    fn repeats_are_left_out() {
        let topics = without_repeats(["b", "a", "b", "c", "a"].into_iter());
        assert_eq!(topics, ["b", "a", "c"].map(Box::from));
    }
}
