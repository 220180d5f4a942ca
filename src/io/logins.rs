//! Authentication off the shards: verdicts for logins, decisions of hooks, and rules for all shards.
//!
//! ```text
//! shard ─ Action::Authenticate ─► bounded queue ─► hashing threads ─┬─► inbox of the shard
//!                                                                   └─► bounded queue ─► hook threads ─►
//! ```
//!
//! Hashing a password takes milliseconds, asking a service may take seconds. A login that finds a queue
//! full is refused at once (0x97), so a storm of logins costs the clients that are connected nothing.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam::channel::{bounded, unbounded, Receiver, Sender};

use super::awake::Awake;
use super::clock::{wall, Clock};
use super::hook::{Down, Hook, HookSlot};
use super::inbox::ShardCommand;
use super::logging::Repeated;
use super::shared::SharedState;
use crate::auth::{
    Answer, BanTable, BanTerms, Facts, Inquiry, Question, Refusal, Request, Rules, Verdict,
};
use crate::ids::{ConnectionId, ShardId};
use crate::metrics::HookReport;
use crate::time::{Span, Time};

/// Threads that hash. They yield to the shards, see [`Logins::hash`].
const HASH_THREADS_MAX: usize = 4;
/// Threads that wait for the hook.
const HOOK_THREADS: usize = 16;
/// How much less than a shard a hashing thread may have of a core that both want.
const NICE: i32 = 10;

/// A question of a shard on its way.
struct Job<Q> {
    shard: ShardId,
    connection: ConnectionId,
    question: Q,
    /// What a failure of a login counts against.
    source: Option<IpAddr>,
    /// No client waits for the answer after this time of [`Awake`].
    until: Time,
}

/// A login on its way.
type LoginJob = Job<Box<Question>>;

/// Outcome of asking a hook.
enum Asked<A> {
    Answered(A),
    /// It is down.
    Down,
    /// It was not asked: the question has waited for too long.
    TooLate,
}

/// What to start.
#[derive(Clone, Debug, Default)]
pub(super) struct LoginSetup {
    /// How long a login may wait.
    pub(super) login_timeout: Span,
    /// Cores there are.
    pub(super) available: usize,
    /// Random and secret.
    pub(super) secret: [u8; 32],
}

/// Shared by all shards and the authentication threads.
pub(super) struct Logins {
    shared: Arc<SharedState>,
    clock: Clock,
    awake: Arc<Awake>,
    rules: Mutex<Arc<Rules>>,
    bans: Mutex<BanTable>,
    /// An address was banned at some time: only then accepting looks at the table.
    has_banned: AtomicBool,
    jobs: Sender<LoginJob>,
    /// The other end, for threads that are started when accounts come later.
    asked: Receiver<LoginJob>,
    hashing: usize,
    is_hashing: AtomicBool,
    login_hook: Asking<Question, LoginJob>,
    login_timeout_ns: AtomicU64,
    /// As long as there are connections, at most: each asks once at a time.
    acl_hook: Asking<Request, Job<Request>>,
}

/// A hook, what waits for it, and whether its threads run.
struct Asking<Q: Inquiry, J> {
    slot: HookSlot<Q>,
    jobs: Sender<J>,
    asked: Receiver<J>,
    is_running: AtomicBool,
}

impl<Q: Inquiry, J> Asking<Q, J> {
    fn new(secret: [u8; 32], (jobs, asked): (Sender<J>, Receiver<J>)) -> Self {
        Self {
            slot: HookSlot::new(secret),
            jobs,
            asked,
            is_running: AtomicBool::new(false),
        }
    }
}

/// A thread that panicked has left a table or a pointer, both of which are whole between two calls.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Logins {
    /// Its threads are started when rules that need them are published. They end with the process.
    pub(super) fn new(setup: &LoginSetup, shared: &Arc<SharedState>, clock: Clock) -> Arc<Self> {
        let options = shared.options();
        let queue_max = options.login_queue_max as usize;
        let (jobs, asked) = bounded(queue_max);
        let seed = u64::from_le_bytes(setup.secret[8..16].try_into().unwrap_or_default());
        Arc::new(Self {
            shared: Arc::clone(shared),
            clock,
            awake: Arc::new(Awake::without_ticks(clock)),
            rules: Mutex::default(),
            bans: Mutex::new(BanTable::new(options.bans, seed)),
            has_banned: AtomicBool::new(false),
            jobs,
            asked,
            hashing: (setup.available / 2).clamp(1, HASH_THREADS_MAX),
            is_hashing: AtomicBool::new(false),
            login_hook: Asking::new(setup.secret, bounded(queue_max)),
            login_timeout_ns: AtomicU64::new(setup.login_timeout.0),
            acl_hook: Asking::new(setup.secret, unbounded()),
        })
    }

    /// Other terms from now on.
    pub(super) fn set_terms(&self, login_timeout: Span, bans: BanTerms) {
        self.login_timeout_ns
            .store(login_timeout.0, Ordering::Relaxed);
        lock(&self.bans).set_terms(bans);
    }

    /// Until when a question that comes now is waited for.
    fn until(&self) -> Time {
        self.awake.now() + Span(self.login_timeout_ns.load(Ordering::Relaxed))
    }

    /// Starts the threads that the rules need and that do not run yet.
    fn start_for(self: &Arc<Self>, rules: &Rules) -> std::io::Result<()> {
        if rules.has_any_logins() || rules.acl_hook.is_some() {
            self.awake.start()?;
        }
        if rules.has_any_logins() {
            self.start_hashing()?;
        }
        let hook = &self.login_hook;
        if hook.slot.set(rules.hook.as_ref()) && !hook.is_running.swap(true, Ordering::Relaxed) {
            for _ in 0..HOOK_THREADS {
                let logins = Arc::clone(self);
                spawn("hook", move || logins.ask_hook())?;
            }
        }
        let hook = &self.acl_hook;
        if hook.slot.set(rules.acl_hook.as_ref()) && !hook.is_running.swap(true, Ordering::Relaxed)
        {
            for _ in 0..HOOK_THREADS {
                let logins = Arc::clone(self);
                spawn("decisions", move || logins.ask_rulings())?;
            }
        }
        Ok(())
    }

    /// Starts the threads that hash passwords, once.
    fn start_hashing(self: &Arc<Self>) -> std::io::Result<()> {
        if self.is_hashing.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        for _ in 0..self.hashing {
            let (logins, asked) = (Arc::clone(self), self.asked.clone());
            spawn("logins", move || logins.hash(&asked))?;
        }
        Ok(())
    }

    /// Takes an authorization request of a shard.
    pub(super) fn authorize(&self, shard: ShardId, connection: ConnectionId, request: Request) {
        let until = self.until();
        // Fails only when no thread takes any more: the process ends.
        let _ = self.acl_hook.jobs.send(Job {
            shard,
            connection,
            question: request,
            source: None,
            until,
        });
    }

    /// Takes a login from a shard, or returns the verdict when too many wait.
    pub(super) fn ask(
        &self,
        shard: ShardId,
        connection: ConnectionId,
        question: Box<Question>,
        source: Option<IpAddr>,
    ) -> Option<Verdict> {
        let job = Job {
            shard,
            connection,
            question,
            source,
            until: self.until(),
        };
        self.jobs.try_send(job).is_err().then(busy)
    }

    /// Whether connections from this address are refused.
    pub(super) fn is_banned(&self, address: IpAddr, now: Time) -> bool {
        self.has_banned.load(Ordering::Relaxed) && lock(&self.bans).is_banned(address, now)
    }

    /// Lets an address in again that failed logins have banned; false: there is none such.
    pub(super) fn lift_ban(&self, address: IpAddr, now: Time) -> bool {
        lock(&self.bans).lift(address, now)
    }

    /// Rules in force.
    pub(super) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&lock(&self.rules))
    }

    pub(super) fn hook_reports(&self) -> Vec<HookReport> {
        let reports = [self.login_hook.slot.report(), self.acl_hook.slot.report()];
        reports.into_iter().flatten().collect()
    }

    /// Counts a failed login, which may ban its address.
    pub(super) fn failed(&self, address: IpAddr, now: Time) {
        if lock(&self.bans).failed(address, now) {
            self.has_banned.store(true, Ordering::Relaxed);
            tracing::warn!("{address} is banned for a while: too many logins failed");
        }
    }

    /// Rules as they were read again: for logins from now on, and for each shard at its next turn.
    pub(super) fn publish(self: &Arc<Self>, rules: &Arc<Rules>) -> std::io::Result<()> {
        self.start_for(rules)?;
        *lock(&self.rules) = Arc::clone(rules);
        self.shared
            .broadcast(|| ShardCommand::Rules(Arc::clone(rules)));
        Ok(())
    }

    fn answer(&self, job: &LoginJob, verdict: Verdict) {
        let command = ShardCommand::Verdict(job.connection, verdict);
        self.shared.send(job.shard, command);
    }

    /// Main loop of a hashing thread.
    fn hash(&self, asked: &Receiver<LoginJob>) {
        be_nice();
        while let Ok(job) = asked.recv() {
            let now = self.clock.now();
            if self.awake.now() > job.until {
                self.answer(&job, busy()); // its connection is closed, most likely
                continue;
            }
            let address = job.source;
            if address.is_some_and(|address| self.is_banned(address, now)) {
                let text = "too many logins from its address have failed";
                self.answer(&job, Verdict::Refused(Refusal::Banned, text.into()));
                continue;
            }
            let rules = self.rules();
            match rules.answer(&job.question, &facts()) {
                Answer::Now(verdict) => self.conclude(&job, verdict, now),
                Answer::AskHook => {
                    if let Err(refused) = self.login_hook.jobs.try_send(job) {
                        self.answer(&refused.into_inner(), busy());
                    }
                }
            }
        }
    }

    /// Main loop of a thread that asks the login hook.
    fn ask_hook(&self) {
        let mut failures = Repeated::default();
        while let Ok(job) = self.login_hook.asked.recv() {
            let Some(hook) = self.login_hook.slot.get() else {
                continue; // a job comes of rules with a hook
            };
            let now = self.clock.now();
            let verdict = match self.ask_in_time(&hook, &job.question, job.until, &mut failures) {
                Asked::Answered(answer) => Question::judged(answer),
                Asked::Down => job.question.when_down(hook.terms()),
                Asked::TooLate => busy(),
            };
            self.conclude(&job, verdict, now);
        }
    }

    /// Main loop of a thread that asks the ACL hook.
    fn ask_rulings(&self) {
        let mut failures = Repeated::default();
        while let Ok(job) = self.acl_hook.asked.recv() {
            let Some(hook) = self.acl_hook.slot.get() else {
                continue; // a job comes of rules with a hook
            };
            let request = job.question;
            let decisions = match self.ask_in_time(&hook, &request, job.until, &mut failures) {
                Asked::Answered(decisions) => request.ruled_each(decisions, hook.terms().cache),
                // Too late: it has waited for others that got no answer.
                Asked::Down | Asked::TooLate => request.when_down(hook.terms()),
            };
            let command = ShardCommand::Decisions(job.connection, decisions);
            self.shared.send(job.shard, command);
        }
    }

    /// Asks a hook, unless no client waits for the answer any more.
    fn ask_in_time<Q: Inquiry>(
        &self,
        hook: &Hook<Q>,
        question: &Q,
        until: Time,
        failures: &mut Repeated,
    ) -> Asked<Q::Answer> {
        if self.awake.now() > until {
            return Asked::TooLate;
        }
        match hook.ask(question, self.clock, &self.awake) {
            Ok(answer) => Asked::Answered(answer),
            Err(Down(error)) => {
                if let Some(error) = error {
                    failures.log(self.clock.now(), |suppressed| {
                        tracing::warn!(suppressed, "{} is down: {error}", Q::HOOK);
                    });
                }
                Asked::Down
            }
        }
    }

    /// Answers, and counts a proof that was wrong.
    fn conclude(&self, job: &LoginJob, verdict: Verdict, now: Time) {
        if let (Verdict::Refused(Refusal::Wrong, _), Some(address)) = (&verdict, job.source) {
            self.failed(address, now);
        }
        self.answer(job, verdict);
    }
}

/// Where shards have all cores, services must not hold them up.
pub(super) fn be_nice() {
    let own = rustix::thread::gettid();
    let _ = rustix::process::setpriority_process(Some(own), NICE);
}

fn spawn(name: &str, life: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name(name.into());
    thread.spawn(life).map(drop)
}

/// The refusal of a login that finds a queue full or has waited for too long.
fn busy() -> Verdict {
    Verdict::Refused(Refusal::Busy, "too many logins are waiting".into())
}

fn facts() -> Facts {
    let mut nonce = [0; 18];
    if getrandom::fill(&mut nonce).is_err() {
        // Without random bytes no login may succeed; a nonce known before is as good as none.
        tracing::error!("the kernel gives no random bytes");
        std::process::abort();
    }
    Facts {
        unix_s: wall().as_secs(),
        nonce,
    }
}
