//! The HTTP requests of the hooks. What is asked and what an answer means is in `auth`.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::auth::{
    hook_answer, hook_request, Challenge, HookAnswer, HookCache, HookTerms, Question, Request,
    Ruling, Rulings, HOOK_ANSWER_MAX,
};
use crate::time::{Span, Time};

/// After a failure nobody is asked what clients may do for so long: each publication to a new topic would
/// wait for the same time-out.
const REST: Span = Span::from_secs(1);

/// Where requests go.
struct Service {
    terms: HookTerms,
    agent: ureq::Agent,
}

/// The service that judges logins.
pub(super) struct LoginHook {
    service: Service,
    cache: Mutex<HookCache>,
}

/// The service that rules what clients may do.
pub(super) struct AclHook {
    service: Service,
    /// Nobody is asked before.
    rests_until: AtomicU64,
}

impl Service {
    fn new(terms: &HookTerms) -> Self {
        let mut config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_nanos(terms.timeout.0)))
            .http_status_as_error(false)
            .max_redirects(0);
        if !terms.authorities.is_empty() {
            let certificates = terms
                .authorities
                .iter()
                .map(|der| Certificate::from_der(der));
            let certificates: Vec<_> = certificates.map(|one| one.to_owned()).collect();
            let roots = RootCerts::new_with_certs(&certificates);
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        Self {
            terms: terms.clone(),
            agent: config.build().into(),
        }
    }

    /// Status and body of the answer.
    fn post(&self, body: &str) -> Result<(u16, String), String> {
        let request = self
            .agent
            .post(&self.terms.url)
            .header("content-type", "application/json");
        let mut response = request.send(body).map_err(|error| error.to_string())?;
        let mut text = String::new();
        let reader = response.body_mut().as_reader().take(HOOK_ANSWER_MAX);
        let read = std::io::BufReader::new(reader).read_to_string(&mut text);
        read.map_err(|error| error.to_string())?;
        Ok((response.status().as_u16(), text))
    }
}

impl LoginHook {
    pub(super) fn new(terms: &HookTerms, secret: [u8; 32]) -> Self {
        Self {
            service: Service::new(terms),
            cache: Mutex::new(HookCache::new(terms.cache, secret)),
        }
    }

    pub(super) fn allows_when_down(&self) -> bool {
        self.service.terms.allow_when_down
    }

    /// Asks and waits, at most as long as the time-out.
    ///
    /// # Errors
    /// The hook is down, in words.
    pub(super) fn ask(&self, question: &Question, now: Time) -> Result<HookAnswer, String> {
        let body = hook_request(question).ok_or("it judges passwords only")?;
        let cache = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = cache().get(&body, now) {
            return Ok(answer);
        }
        let (status, text) = self.service.post(&body)?;
        let user = match &question.challenge {
            Challenge::Password { user, .. } => user.as_deref(),
            _ => None,
        };
        let answer = hook_answer(status, &text, user)?;
        cache().put(&body, &answer, now);
        Ok(answer)
    }
}

impl AclHook {
    pub(super) fn new(terms: &HookTerms) -> Self {
        Self {
            service: Service::new(terms),
            rests_until: AtomicU64::new(0),
        }
    }

    /// Asks and waits, at most as long as the time-out. `now` tells the time, also afterwards.
    ///
    /// # Errors
    /// The hook is down: in words, if this request has found that out; with what counts instead.
    pub(super) fn ask(
        &self,
        request: Request,
        now: impl Fn() -> Time,
    ) -> Result<Rulings, (Option<String>, Rulings)> {
        if now().0 < self.rests_until.load(Ordering::Relaxed) {
            return Err((None, self.when_down(request)));
        }
        let answer = self.service.post(&request.to_json());
        match answer.and_then(|(status, text)| request.read_answer(status, &text)) {
            Ok(rulings) => Ok(request.ruled_each(rulings, self.service.terms.cache)),
            Err(error) => {
                let until = now() + REST;
                self.rests_until.fetch_max(until.0, Ordering::Relaxed);
                Err((Some(error), self.when_down(request)))
            }
        }
    }

    /// What counts while the service does not answer.
    pub(super) fn when_down(&self, request: Request) -> Rulings {
        let ruling = if self.service.terms.allow_when_down {
            Ruling::Allowed
        } else {
            Ruling::Unavailable
        };
        request.ruled(ruling, REST)
    }
}
