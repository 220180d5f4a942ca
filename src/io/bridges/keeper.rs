//! The life of one bridge: attempts, connections, the pauses between them, and orders of operators.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::local::{begin_session, end_session, session};
use super::log::Lines;
use super::status::{BridgeStatus, Condition};
use super::wake::{Order, Wake};
use crate::bridge::{Backoff, Bridge, Dialect, LocalLimits, Notify, Start};
use crate::ids::ShardId;
use crate::io::broker::Broker;
use crate::io::inbox::ShardCommand;
use crate::io::stage::Stage;
use crate::mqtt::{ReasonCode, Version};
use crate::time::Span;

/// How often a bridge that is started by messages looks how many wait.
const LAZY_LOOK: Duration = Duration::from_millis(500);

/// Lives on: a thread of its own.
pub(super) struct Keeper {
    pub(super) bridge: Arc<Bridge>,
    pub(super) broker: Broker,
    /// Number of this broker, and of the bridge within it.
    pub(super) number: (u32, usize),
    pub(super) limits: LocalLimits,
    pub(super) status: Arc<BridgeStatus>,
    pub(super) wake: Sender<Wake>,
    pub(super) wakes: Receiver<Wake>,
    /// It is to be connected.
    is_wanted: bool,
    /// Its thread ends.
    is_over: bool,
    /// Because it has no table any more.
    is_removed: bool,
    /// Number of its last connection.
    pub(super) connection: u64,
    backoff: Backoff,
    pub(super) seed: u64,
    /// What the remote has been found to take.
    pub(super) version: Version,
    pub(super) mark: bool,
    pub(super) has_subscribed: bool,
    /// Filters of lines of before, that came in; the remote may have them still.
    pub(super) given_up: Vec<String>,
    pub(super) next_address: usize,
    /// Times in succession that the main address took a connection and did not keep it.
    pub(super) returns_failed: u32,
    lines: Lines,
}

/// How an attempt has ended.
pub(super) struct Outcome {
    pub(super) text: String,
    pub(super) refused: Option<ReasonCode>,
    /// How long the remote had accepted the bridge; `None`: it has not.
    pub(super) lasted: Option<Duration>,
    /// It was ended here: there is nothing to wait for, and nothing wrong.
    pub(super) is_own: bool,
}

impl Keeper {
    pub(super) fn new(
        broker: &Broker,
        bridge: &Arc<Bridge>,
        number: (u32, usize),
        limits: LocalLimits,
        (wake, wakes): (Sender<Wake>, Receiver<Wake>),
    ) -> std::io::Result<Self> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(std::io::Error::from)?;
        let seed = u64::from_ne_bytes(seed);
        Ok(Self {
            bridge: Arc::clone(bridge),
            broker: broker.clone(),
            number,
            limits,
            status: Arc::default(),
            wake,
            wakes,
            is_wanted: bridge.start != Start::Manual,
            is_over: false,
            is_removed: false,
            connection: 0,
            backoff: Backoff::new(bridge.backoff(), seed),
            seed,
            version: first_version(bridge),
            mark: bridge.mark,
            has_subscribed: false,
            given_up: Vec::new(),
            next_address: 0,
            returns_failed: 0,
            lines: Lines::default(),
        })
    }

    /// Until the broker stops, or the bridge is removed.
    /// `begins` is dropped when its session is there.
    pub(super) fn run(mut self, begins: Sender<()>) {
        self.broker.yield_to_shards();
        self.publish_state(false);
        self.begin_session(None);
        drop(begins);
        while self.runs() {
            if !self.is_wanted {
                self.status.set_condition(Condition::Stopped);
                self.rest(None);
            } else if !self.has_enough() {
                self.status.set_condition(Condition::Idle);
                self.rest(Some(LAZY_LOOK));
            } else {
                let outcome = self.attempt();
                self.after(&outcome);
            }
        }
        if self.is_removed {
            self.clear_state();
        }
    }

    pub(super) fn runs(&self) -> bool {
        !self.is_over && self.broker.stage() != Stage::Stopping
    }

    /// Says how an attempt has ended, and waits until the next one is due.
    fn after(&mut self, outcome: &Outcome) {
        self.status.has_ended(&outcome.text);
        if !self.runs() {
            return;
        }
        if outcome.is_own {
            tracing::info!("bridge {}: {}", self.bridge.name, outcome.text);
            return;
        }
        if self.bridge.start == Start::Once && outcome.lasted.is_some() {
            self.is_wanted = false;
            self.warn(&format!(
                "{}; it is not tried again (start = \"once\")",
                outcome.text
            ));
            return;
        }
        let pause = self.pause_after(outcome);
        let seconds = pause.as_secs_f64();
        self.warn(&format!("{}; next attempt in {seconds:.1} s", outcome.text));
        self.status.set_condition(Condition::Pausing);
        self.rest(Some(pause));
    }

    /// Waits for so long, or for an order that changes something.
    fn rest(&mut self, pause: Option<Duration>) {
        let end = pause.map(|pause| Instant::now() + pause);
        loop {
            let woken = match end {
                Some(end) => {
                    let left = end.saturating_duration_since(Instant::now());
                    self.wakes.recv_timeout(left)
                }
                None => self
                    .wakes
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
            };
            match woken {
                Ok(Wake::Order(order)) => {
                    self.take_order(order);
                    return;
                }
                Ok(Wake::Report(..)) => {} // of a connection that is over
                Err(_) => return,
            }
        }
    }

    /// Returns why a connection that there is ends by it, if it does.
    pub(super) fn take_order(&mut self, order: Order) -> Option<&'static str> {
        match order {
            Order::Start => {
                self.is_wanted = true;
                self.backoff = Backoff::new(self.bridge.backoff(), self.seed);
                None
            }
            Order::Stop => {
                self.is_wanted = false;
                Some("stopped by an operator")
            }
            Order::Renew(bridge) => {
                self.renew(bridge);
                Some("its table has changed")
            }
            Order::Remove => {
                self.is_over = true;
                self.is_removed = true;
                self.publish_state(false);
                self.end_session();
                tracing::info!("bridge {}: removed", self.bridge.name);
                Some("removed")
            }
            Order::Limits(limits) => {
                self.limits = limits;
                None
            }
            Order::End => {
                self.is_over = true;
                None // the shards close it in order
            }
        }
    }

    /// Another table of the same name.
    fn renew(&mut self, bridge: Arc<Bridge>) {
        self.publish_state(false);
        if has_other_state(&self.bridge, &bridge) {
            self.clear_state();
        }
        let before = std::mem::replace(&mut self.bridge, bridge);
        self.publish_state(false);
        let whose = |bridge: &Bridge| (bridge.local_id(), bridge.user_here());
        if whose(&before) != whose(&self.bridge) {
            self.end_session_of(&before);
        }
        self.version = first_version(&self.bridge);
        self.mark = self.bridge.mark;
        self.backoff = Backoff::new(self.bridge.backoff(), self.seed);
        self.next_address = 0;
        self.has_subscribed = false;
        let still: Vec<String> = self.bridge.filters_there().collect();
        self.given_up.extend(before.filters_there());
        self.given_up.retain(|filter| !still.contains(filter));
        if before.start != self.bridge.start {
            self.is_wanted = self.bridge.start != Start::Manual;
        }
        self.begin_session(Some(&before));
    }

    fn own_shard(&self) -> ShardId {
        ShardId((self.number.1 % usize::from(self.broker.shards())) as u16)
    }

    fn begin_session(&mut self, before: Option<&Bridge>) {
        let shard = self.own_shard();
        if let Err(text) = begin_session(&self.broker, shard, &self.bridge, before) {
            self.warn(&format!("nothing is kept for it yet: {text}"));
        }
    }

    fn end_session(&mut self) {
        self.end_session_of(&Arc::clone(&self.bridge));
    }

    fn end_session_of(&mut self, bridge: &Bridge) {
        if let Err(text) = end_session(&self.broker, self.own_shard(), bridge) {
            self.warn(&format!("its session here has not ended: {text}"));
        }
    }

    /// Gives a connection, or a part of one, to the shards.
    pub(super) fn give(&self, dialled: super::layer::Dialled) {
        let command = ShardCommand::Dialled(Box::new(dialled));
        self.broker.send(self.own_shard(), command);
    }

    /// A bridge that waits for messages has enough of them to connect.
    fn has_enough(&self) -> bool {
        if self.bridge.start != Start::Lazy {
            return true;
        }
        let wanted = self.bridge.lazy_messages as usize;
        session(&self.broker, &self.bridge)
            .is_some_and(|it| it.row.queue_messages + it.row.inflight >= wanted)
    }

    /// An operator must mend what was refused for good, so that is not asked again soon; another dialect is tried
    /// at once.
    fn pause_after(&mut self, outcome: &Outcome) -> Duration {
        use ReasonCode as R;
        let pause = match outcome.refused {
            Some(R::UnsupportedProtocolVersion) if self.changes_dialect() => Span::ZERO,
            Some(
                R::BadUserNameOrPassword
                | R::NotAuthorized
                | R::Banned
                | R::ClientIdentifierNotValid
                | R::BadAuthenticationMethod
                | R::UnsupportedProtocolVersion,
            ) => self.backoff.longest(),
            _ => {
                let lasted = outcome.lasted.unwrap_or_default();
                self.backoff.next(Span(lasted.as_nanos() as u64))
            }
        };
        Duration::from_nanos(pause.0)
    }

    /// The next way to speak with a remote that has refused the last one, if there is one.
    fn changes_dialect(&mut self) -> bool {
        match (self.version, self.bridge.dialect) {
            (Version::V5, Dialect::Auto) => self.version = Version::V311,
            (Version::V311 | Version::V31, _) if self.mark => self.mark = false,
            _ => return false,
        }
        true
    }

    pub(super) fn publish_state(&self, is_up: bool) {
        self.put_state(if is_up { "1" } else { "0" });
    }

    /// There is no bridge any more that the state is about, so nothing stays retained.
    fn clear_state(&self) {
        self.put_state("");
    }

    fn put_state(&self, value: &str) {
        if self.bridge.notify != Notify::Off && self.broker.stage() != Stage::Stopping {
            let values = vec![(self.bridge.state_topic(), value.to_owned())];
            self.broker.send(ShardId(0), ShardCommand::Status(values));
        }
    }

    pub(super) fn warn(&mut self, text: &str) {
        self.lines.warn(&self.bridge.name, text);
    }
}

/// Where one has its state, the other has none.
fn has_other_state(one: &Bridge, other: &Bridge) -> bool {
    other.notify == Notify::Off || one.state_topic() != other.state_topic()
}

fn first_version(bridge: &Bridge) -> Version {
    match bridge.dialect {
        Dialect::Auto => Version::V5,
        Dialect::Only(version) => version,
    }
}

impl Outcome {
    pub(super) fn failed(text: String) -> Self {
        Self {
            text,
            refused: None,
            lasted: None,
            is_own: false,
        }
    }
}
