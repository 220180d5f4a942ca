//! HTTP requests of the hooks. Content of requests and meaning of answers are in `auth`.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::auth::{HookCache, HookTerms, Inquiry, HOOK_ANSWER_MAX};
use crate::time::{Span, Time};

/// A service that is asked one kind of question.
pub(super) struct Hook<Q: Inquiry> {
    terms: HookTerms,
    agent: ureq::Agent,
    cache: Mutex<HookCache<Q::Answer>>,
    /// It is not asked before.
    rests_until: AtomicU64,
}

/// The hook is down: with the error text, if this request has found that out.
pub(super) struct Down(pub(super) Option<String>);

impl<Q: Inquiry> Hook<Q> {
    /// `secret` is random.
    pub(super) fn new(terms: &HookTerms, secret: [u8; 32]) -> Self {
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
        let cache = if Q::IS_SHARED {
            terms.cache
        } else {
            Span::ZERO
        };
        Self {
            terms: terms.clone(),
            agent: config.build().into(),
            cache: Mutex::new(HookCache::new(cache, secret)),
            rests_until: AtomicU64::new(0),
        }
    }

    pub(super) fn terms(&self) -> &HookTerms {
        &self.terms
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

    /// Asks and waits, at most as long as the time-out. `now` reads the clock, also afterwards.
    ///
    /// # Errors
    /// The hook is down.
    pub(super) fn ask(&self, question: &Q, now: impl Fn() -> Time) -> Result<Q::Answer, Down> {
        let asked_at = now();
        if asked_at.0 < self.rests_until.load(Ordering::Relaxed) {
            return Err(Down(None));
        }
        let cache = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let body = question.body();
        let body = body.ok_or_else(|| Down(Some("it judges passwords only".into())))?;
        if let Some(answer) = cache().get(&body, asked_at) {
            return Ok(answer);
        }
        let answer = self.post(&body);
        match answer.and_then(|(status, text)| question.answer(status, &text)) {
            Ok(answer) => {
                cache().put(&body, &answer, asked_at);
                Ok(answer)
            }
            Err(error) => {
                if Q::REST > Span::ZERO {
                    let until = now() + Q::REST;
                    self.rests_until.fetch_max(until.0, Ordering::Relaxed);
                }
                Err(Down(Some(error)))
            }
        }
    }
}
