//! All rules of a broker as one value, and the authentication of a login by them.

use std::fmt;
use std::sync::Arc;

use super::acl::Acl;
use super::hook::HookTerms;
use super::jwt::Tokens;
use super::login::{Challenge, Identity, Question, Refusal, Verdict};
use super::password::Passwords;
use super::scram::{self, Exchange, ScramFile};

/// Authentication and authorization as configured. Built when the broker starts and when its files are
/// reloaded; shared by all shards and never changed.
#[derive(Debug, Default)]
pub struct Rules {
    pub passwords: Option<Passwords>,
    pub tokens: Option<Tokens>,
    pub scram: Option<ScramFile>,
    pub hook: Option<HookTerms>,
    pub acl: Option<Arc<Acl>>,
    /// A service that is asked about each topic that `acl` does not refuse, except for clients whose
    /// proof has brought rules.
    pub acl_hook: Option<HookTerms>,
    /// Clients without credentials may connect although others have accounts.
    pub allow_anonymous: bool,
    /// A publication or subscription that is refused ends the connection.
    pub acl_disconnect: bool,
    /// Each delivery is checked; a subscription needs only to reach something that may be read.
    pub acl_check_delivery: bool,
}

/// Inputs of authentication from outside.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Seconds since 1970.
    pub unix_s: u64,
    /// Fresh random bytes.
    pub nonce: [u8; 18],
}

/// Result of [`Rules::answer`], which asks no service.
#[derive(Debug)]
pub enum Answer {
    Now(Verdict),
    AskHook,
}

impl Rules {
    /// Whether any authentication is configured.
    #[must_use]
    pub fn has_logins(&self) -> bool {
        self.takes_passwords() || self.scram.is_some()
    }

    /// Whether user name and password of CONNECT are looked at.
    #[must_use]
    pub fn takes_passwords(&self) -> bool {
        self.passwords.is_some() || self.tokens.is_some() || self.hook.is_some()
    }

    /// Whether this Authentication Method is offered.
    #[must_use]
    pub fn takes_method(&self, method: &str) -> bool {
        self.scram.is_some() && method == scram::METHOD
    }

    /// Whether clients without credentials may connect; `listener` is the setting of their listener, if it
    /// has its own.
    #[must_use]
    pub fn takes_anonymous(&self, listener: Option<bool>) -> bool {
        listener.unwrap_or(self.allow_anonymous) || !self.has_logins()
    }

    /// Authenticates a login. Takes up to some hundred milliseconds of a core: not for a shard.
    #[must_use]
    pub fn answer(&self, question: &Question, facts: &Facts) -> Answer {
        match &question.challenge {
            Challenge::Password { user, password } => {
                self.answer_password(user.as_deref(), password.as_deref(), facts)
            }
            Challenge::ScramFirst(message) => self.answer_first(message, facts),
            Challenge::ScramFinal(exchange, message) => match exchange.finish(message) {
                Ok((user, last)) => Answer::Now(Verdict::Accepted(Identity::of(&user), last)),
                Err(error) => wrong(error),
            },
        }
    }

    fn answer_password(
        &self,
        user: Option<&str>,
        password: Option<&[u8]>,
        facts: &Facts,
    ) -> Answer {
        let token = password.filter(|password| Tokens::looks_like_token(password));
        if let (Some(tokens), Some(token)) = (&self.tokens, token) {
            return match tokens.verify(token, facts.unix_s) {
                Ok(claims) => {
                    let identity = Identity {
                        user: Some(claims.user.into()),
                        acl: claims.acl.map(Arc::new),
                        valid_for: Some(claims.valid_for),
                    };
                    Answer::Now(Verdict::Accepted(identity, Vec::new()))
                }
                Err(error) => wrong(error),
            };
        }
        let user_name = user.unwrap_or_default();
        if let Some(passwords) = &self.passwords {
            let is_here = passwords.contains(user_name);
            // With a hook, an unknown user is authenticated by the hook: its time shows that anyway.
            if is_here || self.hook.is_none() {
                let right = passwords.verify(user_name, password.unwrap_or_default());
                return if right && password.is_some() {
                    let identity = Identity::of(user_name);
                    Answer::Now(Verdict::Accepted(identity, Vec::new()))
                } else {
                    wrong("user name or password is wrong")
                };
            }
        }
        match self.hook {
            Some(_) => Answer::AskHook,
            None => wrong("user name or password is wrong"),
        }
    }

    fn answer_first(&self, message: &[u8], facts: &Facts) -> Answer {
        let Some(scram) = &self.scram else {
            return wrong("SCRAM is not offered any more");
        };
        match Exchange::start(scram, message, facts.nonce) {
            Ok((exchange, first)) => Answer::Now(Verdict::Continue(Box::new(exchange), first)),
            Err(error) => wrong(error),
        }
    }
}

fn wrong(error: impl fmt::Display) -> Answer {
    Answer::Now(Verdict::Refused(Refusal::Wrong, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Hash, HashKind};

    const FACTS: Facts = Facts {
        unix_s: 1_700_000_000,
        nonce: [1; 18],
    };

    fn accounts() -> Passwords {
        let hash = Hash::create(HashKind::Pbkdf2 { rounds: 2 }, b"uno", [1; 16]).unwrap();
        Passwords::parse("pw", &format!("ann:{hash}"), 1).unwrap()
    }

    fn ask(rules: &Rules, user: &str, password: Option<&str>) -> Answer {
        let question = Question {
            client_id: "c".into(),
            address: None,
            challenge: Challenge::Password {
                user: Some(user.into()),
                password: password.map(|text| text.as_bytes().into()),
            },
        };
        assert!(
            !format!("{question:?}").contains("uno"),
            "no password in logs"
        );
        rules.answer(&question, &FACTS)
    }

    #[test]
    fn accounts_decide() {
        let rules = Rules {
            passwords: Some(accounts()),
            ..Rules::default()
        };
        assert!(rules.has_logins() && !rules.takes_anonymous(None));
        assert!(rules.takes_anonymous(Some(true)));
        let right = ask(&rules, "ann", Some("uno"));
        assert!(matches!(right, Answer::Now(Verdict::Accepted(who, _))
            if who.user.as_deref() == Some("ann")));
        let mut texts = Vec::new();
        for (user, password) in [
            ("ann", Some("two")),
            ("ann", None),
            ("eve", Some("uno")),
            ("", Some("")),
            ("", None),
            // Without keys a token is a password like any other.
            ("ann", Some("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.")),
        ] {
            let Answer::Now(Verdict::Refused(Refusal::Wrong, text)) = ask(&rules, user, password)
            else {
                panic!("{user} {password:?}");
            };
            texts.push(text);
        }
        texts.dedup();
        assert_eq!(texts.len(), 1, "all refusals are the same: {texts:?}");
    }

    #[test]
    fn nothing_configured_takes_everybody() {
        let rules = Rules::default();
        assert!(
            rules.takes_anonymous(None)
                && !rules.has_logins()
                && !rules.takes_method("SCRAM-SHA-256")
        );
    }

    #[test]
    fn a_hook_judges_whom_the_file_does_not_have() {
        let rules = Rules {
            passwords: Some(accounts()),
            hook: Some(HookTerms::default()),
            ..Rules::default()
        };
        assert!(matches!(ask(&rules, "eve", Some("x")), Answer::AskHook));
        let known = ask(&rules, "ann", Some("two"));
        assert!(matches!(
            known,
            Answer::Now(Verdict::Refused(Refusal::Wrong, _))
        ));
    }
}
