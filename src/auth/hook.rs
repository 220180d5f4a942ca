//! An HTTP service that judges logins: what it is asked, what it may answer, and for how long an
//! answer counts. The request itself is `io`'s.
//!
//! ```text
//! POST url    {"client_id": "..", "user": "..", "password": "..", "address": ".."}
//! 200         {"result": "allow", "user": "..", "acl": {"publish": [..], "subscribe": [..]}}
//! 200         {"result": "deny"}        401 and 403 say the same
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
use super::rules::{Challenge, Identity, Question};
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

/// What the hook says. `None` for a login: no.
pub type HookAnswer = Option<Identity>;

/// Longest answer read, in bytes.
pub const HOOK_ANSWER_MAX: u64 = 1 << 20;

/// The body of the request; `None`: a hook judges passwords only.
#[must_use]
pub fn hook_request(question: &Question) -> Option<String> {
    let Challenge::Password { user, password } = &question.challenge else {
        return None;
    };
    let mut body = json!({
        "client_id": question.client_id,
        "user": user,
        "address": question.address.map(|address| address.to_string()),
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

/// Reads an answer to a login as `user`.
///
/// # Errors
/// It is none: in words.
pub fn hook_answer(status: u16, body: &str, user: Option<&str>) -> Result<HookAnswer, String> {
    match status {
        200 => {}
        401 | 403 => return Ok(None),
        other => return Err(format!("it answers with status {other}")),
    }
    let answer: Value = serde_json::from_str(body).map_err(|error| format!("not JSON: {error}"))?;
    match answer.get("result").and_then(Value::as_str) {
        Some("allow") => {}
        Some("deny") => return Ok(None),
        _ => return Err("`result` is neither \"allow\" nor \"deny\"".into()),
    }
    let user = match answer.get("user") {
        None => user,
        Some(name) => Some(name.as_str().ok_or("`user` is not a string")?),
    };
    let acl = match answer.get("acl") {
        None => None,
        Some(value) => Some(acl_of(value).ok_or("`acl` is not lists of filters")?),
    };
    Ok(Some(Identity {
        user: user.map(Into::into),
        acl: acl.map(Arc::new),
        valid_for: None,
    }))
}

/// Answers kept; with more, all are forgotten and asked for again.
const KEPT_MAX: usize = 10_000;

/// Answers of the hook for a while, by a keyed digest of the login: passwords are not kept.
#[derive(Debug)]
pub struct HookCache {
    span: Span,
    secret: [u8; 32],
    kept: HashMap<[u8; 32], (Time, HookAnswer)>,
}

impl HookCache {
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
    pub fn get(&self, body: &str, now: Time) -> Option<HookAnswer> {
        let (until, answer) = self.kept.get(&self.digest(body))?;
        (now < *until).then(|| answer.clone())
    }

    pub fn put(&mut self, body: &str, answer: &HookAnswer, now: Time) {
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
            challenge: Challenge::Password {
                user: Some("ann".into()),
                password: Some(password.into()),
            },
        }
    }

    #[test]
    fn requests() {
        let body: Value = serde_json::from_str(&hook_request(&question(b"one")).unwrap()).unwrap();
        let expected = json!({"client_id": "c\"1", "user": "ann", "password": "one",
                              "address": "192.0.2.1"});
        assert_eq!(body, expected);
        let body = hook_request(&question(b"\xff")).unwrap();
        assert!(body.contains("\"password_base64\":\"/w==\"") && !body.contains("\"password\""));
    }

    #[test]
    fn answers() {
        let allow = |body: &str| hook_answer(200, body, Some("ann")).unwrap().unwrap();
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
            assert!(
                hook_answer(status, body, None).unwrap().is_none(),
                "{status}"
            );
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
            assert!(hook_answer(status, body, None).is_err(), "{status} {body}");
        }
    }

    #[test]
    fn answers_count_for_a_while() {
        let mut cache = HookCache::new(Span::from_secs(10), [3; 32]);
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
