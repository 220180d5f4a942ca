//! HTTP requests of the hooks. Content of requests and meaning of answers are in `auth`.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::awake::Awake;
use super::clock::Clock;
use crate::auth::{HookCache, HookTerms, Inquiry, HOOK_ANSWER_MAX};
use crate::metrics::HookReport;
use crate::time::Span;

/// A service that is asked one kind of question.
pub(super) struct Hook<Q: Inquiry> {
    terms: HookTerms,
    agent: ureq::Agent,
    cache: Mutex<HookCache<Q::Answer>>,
    /// It is not asked before.
    rests_until: AtomicU64,
    measures: Arc<HookMeasures>,
}

/// What a hook was asked. Shared by the threads that ask it and those who report.
#[derive(Default)]
struct HookMeasures(Mutex<HookReport>);

impl HookMeasures {
    fn count(&self, count: impl FnOnce(&mut HookReport)) {
        count(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn report(&self) -> HookReport {
        let report = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        report.clone()
    }
}

/// The service in force. What was asked before it was removed is still asked.
pub(super) struct HookSlot<Q: Inquiry> {
    hook: Mutex<Option<Arc<Hook<Q>>>>,
    secret: [u8; 32],
    /// Of all services that there were.
    measures: Arc<HookMeasures>,
}

impl<Q: Inquiry> HookSlot<Q> {
    /// `secret` is random.
    pub(super) fn new(secret: [u8; 32]) -> Self {
        Self {
            hook: Mutex::default(),
            secret,
            measures: Arc::new(HookMeasures(Mutex::new(HookReport::new(Q::NAME)))),
        }
    }

    /// Another service, or other terms, from now on; its answers are kept while they stay the same. True: there is one.
    pub(super) fn set(&self, terms: Option<&HookTerms>) -> bool {
        let Some(terms) = terms else {
            return false;
        };
        let mut hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner);
        if !hook.as_ref().is_some_and(|own| own.terms == *terms) {
            let mut fresh = Hook::new(terms, self.secret);
            fresh.measures = Arc::clone(&self.measures);
            *hook = Some(Arc::new(fresh));
        }
        true
    }

    /// What it was asked; `None`: there was none yet.
    pub(super) fn report(&self) -> Option<HookReport> {
        self.get().map(|_| self.measures.report())
    }

    /// `None`: there was none yet.
    pub(super) fn get(&self) -> Option<Arc<Hook<Q>>> {
        let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner);
        hook.clone()
    }
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
            measures: Arc::new(HookMeasures(Mutex::new(HookReport::new(Q::NAME)))),
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

    /// A request counts its time-out while the process is stopped, too, and its answer may have come in time:
    /// so it is made anew until the hook had its time-out while the process was running.
    fn post_awake(&self, body: &str, awake: &Awake) -> Result<(u16, String), String> {
        let began = awake.now();
        loop {
            let late = awake.late();
            let answer = self.post(body);
            let had_its_time = awake.now().since(began) >= self.terms.timeout;
            if answer.is_ok() || had_its_time || !awake.was_late_since(late) {
                return answer;
            }
        }
    }

    /// Asks and waits, at most as long as the time-out while the process runs, or twice as long when it was
    /// stopped meanwhile, however often.
    ///
    /// # Errors
    /// The hook is down.
    pub(super) fn ask(&self, question: &Q, clock: Clock, awake: &Awake) -> Result<Q::Answer, Down> {
        let asked_at = clock.now();
        if asked_at.0 < self.rests_until.load(Ordering::Relaxed) {
            self.measures.count(|report| report.skipped += 1);
            return Err(Down(None));
        }
        let cache = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let body = question.body();
        let body = body.ok_or_else(|| Down(Some("it judges passwords only".into())))?;
        if let Some(answer) = cache().get(&body, asked_at) {
            self.measures.count(|report| report.cached += 1);
            return Ok(answer);
        }
        let answer = self.post_awake(&body, awake);
        let answer = answer.and_then(|(status, text)| question.answer(status, &text));
        self.measures.count(|report| {
            let took = clock.now().since(asked_at);
            report.asked(answer.is_ok(), took);
        });
        match answer {
            Ok(answer) => {
                cache().put(&body, &answer, asked_at);
                Ok(answer)
            }
            Err(error) => {
                if Q::REST > Span::ZERO {
                    let until = clock.now() + Q::REST;
                    self.rests_until.fetch_max(until.0, Ordering::Relaxed);
                }
                Err(Down(Some(error)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::thread;

    use super::*;
    use crate::auth::Question;

    /// Reads the headers of a request.
    fn receive(stream: &mut TcpStream) {
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
            request.push(byte[0]);
        }
    }

    /// A service that answers this request only. `asked` is called for each.
    fn answers_the(nth: usize, asked: impl Fn() + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        thread::spawn(move || {
            let mut open = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().unwrap();
                receive(&mut stream);
                asked();
                if open.len() + 1 == nth {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                    stream.write_all(answer).unwrap();
                }
                open.push(stream);
            }
        });
        url
    }

    fn hook(url: String, timeout_ms: u64) -> Hook<Question> {
        let timeout = Span::from_millis(timeout_ms);
        let terms = HookTerms {
            url,
            timeout,
            ..HookTerms::default()
        };
        Hook::new(&terms, [1; 32])
    }

    #[test]
    fn it_is_asked_again_as_often_as_the_process_was_stopped() {
        let stopped = Awake::without_ticks(Clock::start());
        let hook = hook(answers_the(3, || ()), 600);
        assert_eq!(hook.post_awake("{}", &stopped), Ok((200, "{}".into())));
    }

    /// A hook that never answers within 600 ms, of which the process runs so many in each request. Returns how
    /// often it was asked.
    fn asked_when_running(parts: &'static [u64]) -> u64 {
        let awake = Arc::new(Awake::without_ticks(Clock::start()));
        let asked = Arc::new(AtomicU64::new(0));
        let (ticks, counts) = (Arc::clone(&awake), Arc::clone(&asked));
        let service = answers_the(9, move || {
            counts.fetch_add(1, Ordering::Relaxed);
            for ms in parts {
                ticks.ticked(Span::from_millis(*ms));
            }
        });
        assert!(hook(service, 600).post_awake("{}", &awake).is_err());
        asked.load(Ordering::Relaxed)
    }

    #[test]
    fn it_is_not_asked_again_when_it_had_its_time() {
        assert_eq!(asked_when_running(&[200, 100]), 2);
        assert_eq!(asked_when_running(&[250, 250, 90]), 1, "it was not late");
    }
}
