//! The HTTP request of a login hook. What is asked and what an answer means is in `auth`.

use std::io::Read;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::auth::{
    hook_answer, hook_request, Challenge, HookAnswer, HookCache, HookTerms, Question,
    HOOK_ANSWER_MAX,
};
use crate::time::Time;

pub(super) struct Hook {
    terms: HookTerms,
    agent: ureq::Agent,
    cache: Mutex<HookCache>,
}

impl Hook {
    pub(super) fn new(terms: &HookTerms, secret: [u8; 32]) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_nanos(terms.timeout.0)))
            .http_status_as_error(false)
            .max_redirects(0)
            .build();
        Self {
            terms: terms.clone(),
            agent: config.into(),
            cache: Mutex::new(HookCache::new(terms.cache, secret)),
        }
    }

    pub(super) fn allows_when_down(&self) -> bool {
        self.terms.allow_when_down
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
        let request = self
            .agent
            .post(&self.terms.url)
            .header("content-type", "application/json");
        let mut response = request.send(&body).map_err(|error| error.to_string())?;
        let mut text = String::new();
        let reader = response.body_mut().as_reader().take(HOOK_ANSWER_MAX);
        let read = std::io::BufReader::new(reader).read_to_string(&mut text);
        read.map_err(|error| error.to_string())?;
        let user = match &question.challenge {
            Challenge::Password { user, .. } => user.as_deref(),
            _ => None,
        };
        let answer = hook_answer(response.status().as_u16(), &text, user)?;
        cache().put(&body, &answer, now);
        Ok(answer)
    }
}
