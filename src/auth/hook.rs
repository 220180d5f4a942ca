//! HTTP hooks: services that answer a POST with allow or deny. The part that all of them have in common,
//! and the one for logins; [`super::decision`] is the one for topics. The requests themselves are `io`'s.
//!
//! ```text
//! POST url    {"client_id": "..", "user": "..", "password": "..", "address": ".."}
//! 200         {"result": "allow", "user": "..", "acl": {"publish": [..], "subscribe": [..]}}
//! 200         {"result": "deny"}        401 and 403 mean the same
//! ```
//!
//! `user` (otherwise the name of the request) and `acl` (otherwise the ACL file's rules) may be left
//! out. A password that is not UTF-8 is sent as `password_base64`. Anything else, and no answer in
//! time, means that the hook is down.

use std::collections::HashMap;
use std::sync::Arc;

use base64::engine::general_purpose::STANDARD as BASE64;
use base64::Engine;
use hmac::{Hmac, Mac};
use serde_json::{json, Value};
use sha2::Sha256;

use super::jwt::acl_of;
use super::login::{Challenge, Identity, Question, Refusal, Verdict};
use crate::time::{Span, Time};

/// How a hook is asked and what counts when it does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookTerms {
    pub url: String,
    pub timeout: Span,
    /// An answer counts for so long; zero: it is asked each time.
    pub cache: Span,
    /// While the hook is down: let clients in with the user name they give, and do what they ask to.
    pub allow_when_down: bool,
    /// Authorities that sign the certificate of an https hook, in DER; empty: those that browsers know.
    pub authorities: Vec<Vec<u8>>,
}

impl Default for HookTerms {
    fn default() -> Self {
        Self {
            url: String::new(),
            timeout: Span::from_secs(5),
            cache: Span::from_secs(60),
            allow_when_down: false,
            authorities: Vec::new(),
        }
    }
}

/// One question to a hook.
pub trait Inquiry {
    type Answer: Clone;

    /// Name of the hook, for the log.
    const HOOK: &'static str;
    /// In metrics.
    const NAME: &'static str;
    /// After a failure the hook is not asked again for so long.
    const REST: Span;
    /// Whether equal questions of all clients share an answer for [`HookTerms::cache`].
    const IS_SHARED: bool;

    /// The body of the request; `None`: this hook cannot be asked that.
    fn body(&self) -> Option<String>;

    /// Reads the body of an answer with status 200, as JSON; `None`: it refuses altogether.
    ///
    /// # Errors
    /// It is none: in words.
    fn read(&self, answer: Option<&Value>) -> Result<Self::Answer, String>;

    /// Reads an answer.
    ///
    /// # Errors
    /// It is none: in words.
    fn answer(&self, status: u16, body: &str) -> Result<Self::Answer, String> {
        match status {
            200 => {
                let json = serde_json::from_str(body).map_err(|error| {
                    let (line, column) = (error.line(), error.column());
                    format!("its answer is not JSON, from line {line}, column {column} on")
                })?;
                self.read(Some(&json))
            }
            401 | 403 => self.read(None),
            other => Err(format!("it answers with status {other}")),
        }
    }
}

/// `"allow"` or `"deny"`.
pub(super) fn is_allowed(word: &Value) -> Option<bool> {
    match word.as_str()? {
        "allow" => Some(true),
        "deny" => Some(false),
        _ => None,
    }
}

/// The hook's decision about a login; `None`: denied.
pub type HookAnswer = Option<Identity>;

/// Longest answer read, in bytes.
pub const HOOK_ANSWER_MAX: u64 = 1 << 20;

impl Inquiry for Question {
    type Answer = HookAnswer;

    const HOOK: &'static str = "the HTTP hook";
    const NAME: &'static str = "login";
    const REST: Span = Span::ZERO;
    const IS_SHARED: bool = true;

    fn body(&self) -> Option<String> {
        let Challenge::Password { user, password } = &self.challenge else {
            return None;
        };
        let mut body = json!({
            "client_id": self.client_id,
            "user": user,
            "address": self.address.map(|address| address.to_string()),
        });
        match password
            .as_deref()
            .map(|bytes| (std::str::from_utf8(bytes), bytes))
        {
            None => {}
            Some((Ok(text), _)) => body["password"] = text.into(),
            Some((Err(_), bytes)) => body["password_base64"] = BASE64.encode(bytes).into(),
        }
        Some(body.to_string())
    }

    fn read(&self, answer: Option<&Value>) -> Result<HookAnswer, String> {
        let Some(answer) = answer else {
            return Ok(None);
        };
        match answer.get("result").and_then(is_allowed) {
            Some(true) => {}
            Some(false) => return Ok(None),
            None => return Err("`result` is neither \"allow\" nor \"deny\"".into()),
        }
        let user = match answer.get("user") {
            None => self.user_name(),
            Some(name) => Some(name.as_str().ok_or("`user` is not a string")?),
        };
        let acl = match answer.get("acl") {
            None => None,
            Some(value) => Some(acl_of(value).ok_or("`acl` is not lists of filters")?),
        };
        Ok(Some(Identity {
            user: user.map(Into::into),
            acl: acl.map(Arc::new),
            ..Identity::default()
        }))
    }
}

impl Question {
    fn user_name(&self) -> Option<&str> {
        match &self.challenge {
            Challenge::Password { user, .. } => user.as_deref(),
            _ => None,
        }
    }

    /// What an answer of the hook means.
    #[must_use]
    pub fn judged(answer: HookAnswer) -> Verdict {
        match answer {
            Some(identity) => Verdict::Accepted(identity, Vec::new()),
            None => Verdict::Refused(Refusal::Wrong, "the HTTP hook says no".into()),
        }
    }

    /// What counts while the hook is down.
    #[must_use]
    pub fn when_down(&self, terms: &HookTerms) -> Verdict {
        match &self.challenge {
            Challenge::Password { user, .. } if terms.allow_when_down => {
                let identity = Identity {
                    user: user.as_deref().map(Into::into),
                    ..Identity::default()
                };
                Verdict::Accepted(identity, Vec::new())
            }
            _ => Verdict::Refused(Refusal::Unavailable, "the HTTP hook is down".into()),
        }
    }
}

/// Answers kept; with more, all are dropped and asked for again.
const KEPT_MAX: usize = 10_000;

/// Answers of a hook for a while, by a keyed digest of the question: passwords are not kept.
#[derive(Debug)]
pub struct HookCache<A> {
    span: Span,
    secret: [u8; 32],
    kept: HashMap<[u8; 32], (Time, A)>,
}

impl<A: Clone> HookCache<A> {
    /// `secret` is random.
    #[must_use]
    pub fn new(span: Span, secret: [u8; 32]) -> Self {
        Self {
            span,
            secret,
            kept: HashMap::new(),
        }
    }

    /// The answer to this request body, if it still counts.
    #[must_use]
    pub fn get(&self, body: &str, now: Time) -> Option<A> {
        if self.span == Span::ZERO {
            return None;
        }
        let (until, answer) = self.kept.get(&self.digest(body))?;
        (now < *until).then(|| answer.clone())
    }

    /// At the bound, expired answers are dropped first, then all.
    pub fn put(&mut self, body: &str, answer: &A, now: Time) {
        if self.span == Span::ZERO {
            return;
        }
        if self.kept.len() >= KEPT_MAX {
            self.kept.retain(|_, (until, _)| now < *until);
        }
        if self.kept.len() >= KEPT_MAX {
            self.kept.clear();
        }
        let until = now + self.span;
        self.kept.insert(self.digest(body), (until, answer.clone()));
    }

    fn digest(&self, body: &str) -> [u8; 32] {
        let mac = Hmac::<Sha256>::new_from_slice(&self.secret);
        let mut mac = mac.expect("HMAC takes keys of any length");
        mac.update(body.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Names;

    fn question(password: &[u8]) -> Question {
        Question {
            client_id: "c\"1".into(),
            address: Some("192.0.2.1".parse().unwrap()),
            password_file: None,
            challenge: Challenge::Password {
                user: Some("ann".into()),
                password: Some(password.into()),
            },
        }
    }

    #[test]
    fn requests() {
        let body: Value = serde_json::from_str(&question(b"one").body().unwrap()).unwrap();
        let expected = json!({"client_id": "c\"1", "user": "ann", "password": "one",
                              "address": "192.0.2.1"});
        assert_eq!(body, expected);
        let body = question(b"\xff").body().unwrap();
        assert!(body.contains("\"password_base64\":\"/w==\"") && !body.contains("\"password\""));
    }

    #[test]
    fn answers() {
        let login = question(b"one");
        let allow = |body: &str| login.answer(200, body).unwrap().unwrap();
        assert_eq!(allow(r#"{"result":"allow"}"#).user.as_deref(), Some("ann"));
        let other = allow(r#"{"result":"allow","user":"bob","acl":{"publish":["p/%u/#"]}}"#);
        assert_eq!(other.user.as_deref(), Some("bob"));
        let names = Names {
            client: "c",
            user: Some("bob"),
        };
        let acl = other.acl.unwrap();
        assert!(acl.may_publish(names, "p/bob/x") && !acl.may_publish(names, "p/ann/x"));
        assert!(!acl.may_subscribe(names, "p/bob/x"));
        for (status, body) in [(200, r#"{"result":"deny"}"#), (401, ""), (403, "no")] {
            assert!(login.answer(status, body).unwrap().is_none(), "{status}");
        }
        for (status, body) in [
            (500, ""),
            (204, ""),
            (302, ""),
            (200, ""),
            (200, "allow"),
            (200, "{}"),
            (200, r#"{"result":true}"#),
            (200, r#"{"result":"allow","user":1}"#),
            (200, r##"{"result":"allow","acl":["#"]}"##),
            (200, r##"{"result":"allow","acl":{"publish":"#"}}"##),
            (200, r##"{"result":"allow","acl":{"pub":["#"]}}"##),
            (200, r##"{"result":"allow","acl":{"publish":["a#"]}}"##),
        ] {
            assert!(login.answer(status, body).is_err(), "{status} {body}");
        }
    }

    #[test]
    fn answers_count_for_a_while() {
        let mut cache = HookCache::<HookAnswer>::new(Span::from_secs(10), [3; 32]);
        let at = |seconds| Time::ZERO + Span::from_secs(seconds);
        cache.put("login", &None, at(0));
        assert!(matches!(cache.get("login", at(9)), Some(None)));
        assert!(cache.get("login", at(10)).is_none());
        assert!(cache.get("other", at(0)).is_none());
        for n in 0..3 * KEPT_MAX {
            cache.put(&n.to_string(), &None, at(1));
            assert!(cache.kept.len() <= KEPT_MAX);
        }
    }
}
