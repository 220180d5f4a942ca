//! All rules of a broker as one value, and the authentication of a login by them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::acl::Acl;
use super::hook::HookTerms;
use super::jwt::Tokens;
use super::login::{Challenge, Identity, Question, Refusal, Verdict};
use super::password::Passwords;
use super::scram::{self, Exchange, ScramFile};
use crate::own_files::OwnFiles;

/// Authentication and authorization as configured. Built when the broker starts and when its files are
/// reloaded; shared by all shards and never changed.
#[derive(Debug, Default)]
pub struct Rules {
    pub passwords: Option<Passwords>,
    pub tokens: Option<Tokens>,
    pub scram: Option<ScramFile>,
    pub hook: Option<HookTerms>,
    pub acl: Option<Arc<Acl>>,
    /// Those of listeners that have their own, by file.
    pub own_passwords: BTreeMap<Arc<str>, Passwords>,
    pub own_acls: BTreeMap<Arc<str>, Arc<Acl>>,
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
    /// Whether any authentication is configured for the clients of a listener with these files.
    #[must_use]
    pub fn has_logins(&self, own: &OwnFiles) -> bool {
        self.takes_passwords(own) || self.scram.is_some()
    }

    /// The same for those of any listener.
    #[must_use]
    pub fn has_any_logins(&self) -> bool {
        self.has_logins(&OwnFiles::default()) || !self.own_passwords.is_empty()
    }

    /// Whether user name and password of CONNECT are looked at.
    #[must_use]
    pub fn takes_passwords(&self, own: &OwnFiles) -> bool {
        let file = own.password_file.as_deref();
        self.passwords_of(file).is_some() || self.tokens.is_some() || self.hook.is_some()
    }

    /// The accounts of this file of a listener; without one, or when it is not there any more, the broker's.
    fn passwords_of(&self, file: Option<&str>) -> Option<&Passwords> {
        let own = file.and_then(|file| self.own_passwords.get(file));
        own.or(self.passwords.as_ref())
    }

    /// The rules of this file of a listener; without one, or when it is not there any more, the broker's.
    #[must_use]
    pub fn acl_of(&self, file: Option<&str>) -> Option<&Arc<Acl>> {
        let own = file.and_then(|file| self.own_acls.get(file));
        own.or(self.acl.as_ref())
    }

    /// Whether there is a file of rules, the broker's or a listener's.
    #[must_use]
    pub fn has_acl(&self) -> bool {
        self.acl.is_some() || !self.own_acls.is_empty()
    }

    /// Whether this Authentication Method is offered.
    #[must_use]
    pub fn takes_method(&self, method: &str) -> bool {
        self.scram.is_some() && method == scram::METHOD
    }

    /// Whether clients without credentials may connect; `listener` is the setting of their listener, if it
    /// has its own, and `own` its files.
    #[must_use]
    pub fn takes_anonymous(&self, listener: Option<bool>, own: &OwnFiles) -> bool {
        listener.unwrap_or(self.allow_anonymous) || !self.has_logins(own)
    }

    /// Authenticates a login. Takes up to some hundred milliseconds of a core: not for a shard.
    #[must_use]
    pub fn answer(&self, question: &Question, facts: &Facts) -> Answer {
        match &question.challenge {
            Challenge::Password { user, password } => {
                let passwords = self.passwords_of(question.password_file.as_deref());
                self.answer_password(user.as_deref(), password.as_deref(), (passwords, facts))
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
        (passwords, facts): (Option<&Passwords>, &Facts),
    ) -> Answer {
        let token = password.filter(|password| Tokens::looks_like_token(password));
        if let (Some(tokens), Some(token)) = (&self.tokens, token) {
            return match tokens.verify(token, facts.unix_s) {
                Ok(claims) => {
                    let identity = Identity {
                        user: Some(claims.user.into()),
                        acl: claims.acl.map(Arc::new),
                        acl_file: None,
                        valid_for: Some(claims.valid_for),
                    };
                    Answer::Now(Verdict::Accepted(identity, Vec::new()))
                }
                Err(error) => wrong(error),
            };
        }
        let user_name = user.unwrap_or_default();
        if let Some(passwords) = passwords {
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

    fn question(user: &str, password: Option<&str>) -> Question {
        Question {
            client_id: "c".into(),
            address: None,
            password_file: None,
            challenge: Challenge::Password {
                user: Some(user.into()),
                password: password.map(|text| text.as_bytes().into()),
            },
        }
    }

    fn ask(rules: &Rules, user: &str, password: Option<&str>) -> Answer {
        let question = question(user, password);
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
        let own = OwnFiles::default();
        assert!(rules.has_logins(&own) && !rules.takes_anonymous(None, &own));
        assert!(rules.takes_anonymous(Some(true), &own));
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
        let own = OwnFiles::default();
        assert!(
            rules.takes_anonymous(None, &own)
                && !rules.has_any_logins()
                && !rules.takes_method("SCRAM-SHA-256")
        );
    }

    /// Not those of the broker, which count where the file is no longer there.
    #[test]
    fn a_listener_with_its_own_accounts_asks_them() {
        let file: Arc<str> = "own".into();
        let rules = Rules {
            own_passwords: [(Arc::clone(&file), accounts())].into(),
            ..Rules::default()
        };
        let of = |file: &str| OwnFiles {
            password_file: Some(file.into()),
            acl_file: None,
        };
        assert!(rules.takes_passwords(&of("own")) && !rules.takes_anonymous(None, &of("own")));
        for other in [of("gone"), OwnFiles::default()] {
            assert!(!rules.takes_passwords(&other) && rules.takes_anonymous(None, &other));
        }
        let mut question = question("ann", Some("uno"));
        for (name, is_right) in [
            (Some(file), true),
            (None, false),
            (Some("gone".into()), false),
        ] {
            question.password_file = name;
            let answer = rules.answer(&question, &FACTS);
            assert_eq!(
                matches!(answer, Answer::Now(Verdict::Accepted(..))),
                is_right
            );
        }
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
