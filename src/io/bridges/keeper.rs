//! The life of one bridge: attempts, connections and the pauses between them.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::dial::dial;
use super::files;
use super::layer::{BridgeLayer, Dialled, Report};
use super::status::BridgeStatus;
use crate::bridge::{
    waiting, Backoff, Bridge, Dialect, Event, Link, LocalLimits, Notify, Order, Relay, Start,
};
use crate::ids::ShardId;
use crate::io::broker::Broker;
use crate::io::inbox::ShardCommand;
use crate::io::stage::Stage;
use crate::mqtt::{ReasonCode, Version};
use crate::shard::RemoteEnd;
use crate::time::Span;
use crate::transport::tls::TlsClient;
use crate::transport::websocket::{Client, Target};
use crate::transport::{Layer, Stack};

/// So often a thread that waits looks whether the broker stops.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A sentence that is like the last one is written again after this time only.
const SAME_AGAIN: Duration = Duration::from_secs(60);
/// How long our own broker may take to begin the session that waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts all bridges; none of them is waited for.
pub(in crate::io) fn start(
    broker: &Broker,
    bridges: &[Bridge],
    limits: LocalLimits,
) -> std::io::Result<Vec<Arc<BridgeStatus>>> {
    let mut number = [0; 4];
    getrandom::fill(&mut number).map_err(std::io::Error::from)?;
    let mut all = Vec::new();
    for (at, bridge) in bridges.iter().enumerate() {
        let keeper = Keeper::new(broker, bridge, (u32::from_ne_bytes(number), at), limits)?;
        all.push(Arc::clone(&keeper.status));
        let name = format!("bridge-{at}");
        thread::Builder::new()
            .name(name)
            .spawn(move || keeper.run())?;
    }
    Ok(all)
}

/// Lives on: a thread of its own.
struct Keeper {
    bridge: Arc<Bridge>,
    broker: Broker,
    /// Number of this broker, and of the bridge within it.
    number: (u32, usize),
    limits: LocalLimits,
    status: Arc<BridgeStatus>,
    backoff: Backoff,
    seed: u64,
    /// What the remote has been found to take.
    version: Version,
    mark: bool,
    has_subscribed: bool,
    next_address: usize,
    last_line: Option<(String, Instant, u64)>,
}

/// How an attempt at one address has ended.
struct Outcome {
    text: String,
    refused: Option<ReasonCode>,
    /// How long the remote had accepted the bridge; `None`: it has not.
    lasted: Option<Duration>,
}

impl Keeper {
    fn new(
        broker: &Broker,
        bridge: &Bridge,
        number: (u32, usize),
        limits: LocalLimits,
    ) -> std::io::Result<Self> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(std::io::Error::from)?;
        let seed = u64::from_ne_bytes(seed);
        Ok(Self {
            bridge: Arc::new(bridge.clone()),
            broker: broker.clone(),
            number,
            limits,
            status: Arc::new(BridgeStatus::new(&bridge.name)),
            backoff: Backoff::new(bridge.backoff(), seed),
            seed,
            version: match bridge.dialect {
                Dialect::Auto => Version::V5,
                Dialect::Only(version) => version,
            },
            mark: bridge.mark,
            has_subscribed: false,
            next_address: 0,
            last_line: None,
        })
    }

    /// Until the broker stops.
    fn run(mut self) {
        self.broker.yield_to_shards();
        self.publish_state(false);
        if let Err(text) = self.begin_session() {
            self.warn(&format!("nothing is kept for it yet: {text}"));
        }
        while self.runs() {
            let outcome = self.attempt();
            if !self.runs() {
                return;
            }
            let is_over = self.bridge.start == Start::Once && outcome.lasted.is_some();
            let pause = self.pause_after(&outcome);
            let then = match is_over {
                true => "it is not tried again (start = \"once\")".to_owned(),
                false => format!("next attempt in {:.1} s", pause.as_secs_f64()),
            };
            self.warn(&format!("{}; {then}", outcome.text));
            if is_over {
                return;
            }
            self.sleep(pause);
        }
    }

    fn runs(&self) -> bool {
        self.broker.stage() != Stage::Stopping
    }

    fn sleep(&self, pause: Duration) {
        let end = Instant::now() + pause;
        while self.runs() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(LOOK_EVERY));
        }
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

    /// What is published from now on is kept for the bridge, whether or not the remote can be reached.
    fn begin_session(&self) -> Result<(), String> {
        let Some(conversation) = waiting(&self.bridge) else {
            return Ok(());
        };
        let cannot = |error: std::io::Error| error.to_string();
        let (mut own, its) = UnixStream::pair().map_err(cannot)?;
        its.set_nonblocking(true).map_err(cannot)?;
        own.set_read_timeout(Some(PATIENCE)).map_err(cannot)?;
        self.give(Dialled {
            socket: its.into(),
            remote: RemoteEnd::Unix,
            stack: None,
            identity: self.bridge.user_here().into(),
        });
        own.write_all(&conversation).map_err(cannot)?;
        // It is closed when all has been done.
        let mut answers = Vec::new();
        own.read_to_end(&mut answers).map_err(cannot)?;
        Ok(())
    }

    fn give(&self, dialled: Dialled) {
        let shard = ShardId((self.number.1 % usize::from(self.broker.shards())) as u16);
        self.broker
            .send(shard, ShardCommand::Dialled(Box::new(dialled)));
    }

    /// Tries the addresses until one has accepted the bridge, and waits for the end of that connection.
    fn attempt(&mut self) -> Outcome {
        let count = self.bridge.addresses.len();
        let first = match self.bridge.order {
            Order::Priority => 0,
            Order::RoundRobin => self.next_address,
        };
        let mut outcome = Outcome::failed("there is no address".into());
        for at in (0..count).map(|step| (first + step) % count) {
            self.next_address = (at + 1) % count;
            let address = self.bridge.addresses[at].clone();
            outcome = match self.connect(&address) {
                Ok(reports) => self.follow(&address, &reports),
                Err(text) => Outcome::failed(text),
            };
            outcome.text = format!("{address}: {}", outcome.text);
            if outcome.lasted.is_some() || !self.runs() {
                return outcome;
            }
            self.status.failures.fetch_add(1, Ordering::Relaxed);
            let is_dialect = outcome.refused == Some(ReasonCode::UnsupportedProtocolVersion);
            if is_dialect {
                return outcome; // the others are tried in another one
            }
        }
        outcome
    }

    fn connect(&self, address: &str) -> Result<Receiver<Report>, String> {
        let bridge = &self.bridge;
        let password = files::password(bridge)?;
        let host = address.rsplit_once(':').map_or("", |(host, _)| host);
        let mut layers: Vec<Box<dyn Layer>> = Vec::new();
        if bridge.transport.has_tls() {
            let material = files::tls(bridge, host)?;
            layers.push(Box::new(TlsClient::new(&material)?));
        }
        if bridge.transport.has_websocket() {
            let target = Target {
                host: address.to_owned(),
                path: bridge.websocket_path.clone(),
                subprotocol: match self.version {
                    Version::V31 => "mqttv3.1",
                    _ => "mqtt",
                },
            };
            layers.push(Box::new(Client::new(Arc::new(target), self.seed)));
        }
        let patience = Duration::from_secs(bridge.connect_timeout_s.into());
        let (socket, remote) = dial(address, patience)?;
        let relay = Relay::new(Link {
            bridge: Arc::clone(bridge),
            version: self.version,
            mark: self.mark,
            password,
            broker: self.number.0,
            limits: self.limits,
            has_subscribed: self.has_subscribed,
        });
        let (report, reports) = channel();
        let user = bridge.user_here();
        let (keep_alive_s, status) = (bridge.keep_alive_s, &self.status);
        let layer = BridgeLayer::new(relay, &user, keep_alive_s, status, report);
        layers.push(Box::new(layer));
        self.give(Dialled {
            socket,
            remote,
            stack: Some(Stack::connecting(layers)),
            identity: user.into(),
        });
        Ok(reports)
    }

    /// Until the connection is closed.
    fn follow(&mut self, address: &str, reports: &Receiver<Report>) -> Outcome {
        let mut accepted: Option<Instant> = None;
        let (text, refused) = loop {
            match reports.recv_timeout(LOOK_EVERY) {
                Ok(Report::Event(Event::Connected { session_present })) => {
                    accepted = Some(Instant::now());
                    self.status.connects.fetch_add(1, Ordering::Relaxed);
                    let kept = match session_present {
                        true => "the remote has kept the session",
                        false => "the remote begins a session",
                    };
                    tracing::info!(
                        "bridge {}: connected to {address}; {kept}",
                        self.bridge.name
                    );
                }
                Ok(Report::Event(Event::Up)) => {
                    self.has_subscribed = true;
                    self.status.is_up.store(true, Ordering::Relaxed);
                    self.publish_state(true);
                    tracing::info!("bridge {}: up", self.bridge.name);
                }
                Ok(Report::Event(Event::Notice(_, text))) => self.warn(&text),
                Ok(Report::Closed(text, refused)) => break (text, refused),
                Err(RecvTimeoutError::Timeout) if self.runs() => {}
                Err(_) => break ("the broker stops".into(), None),
            }
        };
        if self.status.is_up.swap(false, Ordering::Relaxed) {
            self.publish_state(false);
        }
        Outcome {
            text,
            refused,
            lasted: accepted.map(|since| since.elapsed()),
        }
    }

    fn publish_state(&self, is_up: bool) {
        if self.bridge.notify != Notify::Off && self.runs() {
            let value = if is_up { "1" } else { "0" };
            let values = vec![(self.bridge.state_topic(), value.to_owned())];
            self.broker.send(ShardId(0), ShardCommand::Status(values));
        }
    }

    /// A line of the log, unless it is like the last one.
    fn warn(&mut self, text: &str) {
        let now = Instant::now();
        // Pauses differ.
        let alike = text.split("; next attempt").next().unwrap_or_default();
        let mut left_out = 0;
        if let Some((last, at, suppressed)) = &mut self.last_line {
            if last == alike && now.duration_since(*at) < SAME_AGAIN {
                *suppressed += 1;
                return;
            }
            left_out = *suppressed;
        }
        self.last_line = Some((alike.to_owned(), now, 0));
        let name = &self.bridge.name;
        match left_out {
            0 => tracing::warn!("bridge {name}: {text}"),
            suppressed => tracing::warn!(suppressed, "bridge {name}: {text}"),
        }
    }
}

impl Outcome {
    fn failed(text: String) -> Self {
        Self {
            text,
            refused: None,
            lasted: None,
        }
    }
}
