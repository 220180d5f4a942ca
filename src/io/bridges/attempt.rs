//! One attempt: the addresses in their order, and the connection of the one that accepts until its end.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::{shutdown, Shutdown};

use super::dial::dial;
use super::files;
use super::keeper::{Keeper, Outcome};
use super::layer::{BridgeLayer, Dialled};
use super::status::Condition;
use super::wake::{Report, Wake};
use crate::bridge::{Event, Link, Order, Relay, Start};
use crate::mqtt::{ReasonCode, Version};
use crate::shard::RemoteEnd;
use crate::transport::tls::TlsClient;
use crate::transport::tunnel::Tunnel;
use crate::transport::websocket::{Client, Target};
use crate::transport::{Layer, Stack};

/// The main address is looked at more and more rarely while it takes connections and does not keep them.
const RETURN_DOUBLINGS_MAX: u32 = 6;

/// A connection while it is followed.
struct Course {
    /// Of the address, among those of the bridge.
    at: usize,
    /// The socket, to end the connection by. The shards have the other handle of it.
    socket: OwnedFd,
    accepted: Option<Instant>,
    /// When the main address is looked at next.
    look_at: Option<Instant>,
    /// Messages passed on when it was last looked, and when there was one more than before.
    messages: u64,
    moved: Instant,
    /// Why it was ended here.
    own_end: Option<String>,
}

impl Keeper {
    /// Tries the addresses until one has accepted the bridge, and waits for the end of that connection.
    pub(super) fn attempt(&mut self) -> Outcome {
        let count = self.bridge.addresses.len();
        let first = match self.bridge.order {
            Order::Priority => 0,
            Order::RoundRobin => self.next_address,
        };
        let mut outcome = Outcome::failed("there is no address".into());
        for at in (0..count).map(|step| (first + step) % count) {
            self.next_address = (at + 1) % count;
            let address = self.bridge.addresses[at].clone();
            self.status.uses(&address);
            outcome = match self.connect(&address) {
                Ok(socket) => self.follow(at, &address, socket),
                Err(text) => Outcome::failed(text),
            };
            outcome.text = format!("{address}: {}", outcome.text);
            if outcome.is_own || outcome.lasted.is_some() || !self.runs() {
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

    /// Gives a connection to the shards, and keeps a handle of its socket.
    fn connect(&mut self, address: &str) -> Result<OwnedFd, String> {
        let bridge = &self.bridge;
        let password = files::password(bridge)?;
        let host = address.rsplit_once(':').map_or("", |(host, _)| host);
        let mut layers: Vec<Box<dyn Layer>> = Vec::new();
        let through = bridge.proxy.as_deref().filter(|_| !is_unix(address));
        if through.is_some() {
            let login = files::proxy_login(bridge)?;
            layers.push(Box::new(Tunnel::new(address, login.as_deref())));
        }
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
        let (socket, remote) = match through {
            Some(proxy) => self
                .dial(proxy)
                .map_err(|text| format!("the proxy {proxy}: {text}"))?,
            None => self.dial(address)?,
        };
        let handle = socket.try_clone().map_err(|error| error.to_string())?;
        let relay = Relay::new(Link {
            bridge: Arc::clone(bridge),
            version: self.version,
            mark: self.mark,
            password,
            broker: self.number.0,
            limits: self.limits,
            has_subscribed: self.has_subscribed,
            given_up: self.given_up.clone(),
        });
        self.connection += 1;
        let user = self.bridge.user_here();
        let (keep_alive_s, status) = (self.bridge.keep_alive_s, &self.status);
        let report = (self.connection, self.wake.clone());
        let layer = BridgeLayer::new(relay, &user, keep_alive_s, status, report);
        layers.push(Box::new(layer));
        self.give(Dialled {
            socket,
            remote,
            stack: Some(Stack::connecting(layers)),
            identity: user.into(),
        });
        Ok(handle)
    }

    pub(super) fn dial(&self, address: &str) -> Result<(OwnedFd, RemoteEnd), String> {
        let patience = Duration::from_secs(self.bridge.connect_timeout_s.into());
        dial(address, self.bridge.bind_address, patience)
    }

    /// Until the connection is closed.
    fn follow(&mut self, at: usize, address: &str, socket: OwnedFd) -> Outcome {
        let mut course = Course {
            at,
            socket,
            accepted: None,
            look_at: None,
            messages: self.status.messages(),
            moved: Instant::now(),
            own_end: None,
        };
        let (text, refused) = loop {
            match self.next_wake(&course) {
                Ok(Wake::Report(number, report)) if number == self.connection => match report {
                    Report::Event(event) => self.on_event(event, address, &mut course),
                    Report::Closed(text, refused) => break (text, refused),
                },
                Ok(Wake::Report(..)) => {} // of the one before
                Ok(Wake::Order(order)) => {
                    if let Some(why) = self.take_order(order) {
                        course.end(why.into());
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.look(&mut course),
                // The keeper has a sender of its own.
                Err(RecvTimeoutError::Disconnected) => break ("the broker stops".into(), None),
            }
            if !self.runs() {
                break ("the broker stops".into(), None);
            }
        };
        if course.accepted.is_some() {
            self.status.set_condition(Condition::Pausing);
            self.publish_state(false);
        }
        Outcome {
            is_own: course.own_end.is_some(),
            text: course.own_end.unwrap_or(text),
            refused,
            lasted: course.accepted.map(|since| since.elapsed()),
        }
    }

    fn next_wake(&self, course: &Course) -> Result<Wake, RecvTimeoutError> {
        let idle_at = match self.bridge.start {
            Start::Lazy if course.accepted.is_some() => Some(course.moved + self.idle_timeout()),
            _ => None,
        };
        let due = course.look_at.into_iter().chain(idle_at).min();
        match due.filter(|_| course.own_end.is_none()) {
            Some(due) => {
                let left = due.saturating_duration_since(Instant::now());
                self.wakes.recv_timeout(left)
            }
            None => self
                .wakes
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.bridge.idle_timeout_s.into())
    }

    /// Something is due: the bridge may have nothing to do, or the main address may be back.
    fn look(&mut self, course: &mut Course) {
        let messages = self.status.messages();
        if messages != course.messages {
            course.messages = messages;
            course.moved = Instant::now();
        }
        let is_idle = course.moved.elapsed() >= self.idle_timeout();
        if self.bridge.start == Start::Lazy && is_idle {
            course.end("nothing has come for idle-timeout: it waits for messages".into());
            return;
        }
        if course.look_at.is_some_and(|at| at <= Instant::now()) {
            if self.reaches_main() {
                self.returns_failed += 1; // until it has accepted the bridge
                course.end(format!(
                    "the main address {} takes connections again: back to it",
                    self.bridge.addresses[0]
                ));
            } else {
                course.look_at = self.next_look();
            }
        }
    }

    /// When the main address is looked at, for a bridge that is connected to another.
    fn next_look(&self) -> Option<Instant> {
        let every = self.bridge.primary_check_s?;
        let doublings = self.returns_failed.min(RETURN_DOUBLINGS_MAX);
        Some(Instant::now() + Duration::from_secs(u64::from(every) << doublings))
    }

    fn on_event(&mut self, event: Event, address: &str, course: &mut Course) {
        match event {
            Event::Connected { session_present } => {
                course.accepted = Some(Instant::now());
                course.moved = Instant::now();
                if course.at == 0 {
                    self.returns_failed = 0;
                } else if self.bridge.order == Order::Priority {
                    course.look_at = self.next_look();
                }
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
            Event::Up => {
                self.has_subscribed = true;
                self.given_up.clear();
                self.status.set_condition(Condition::Up);
                self.publish_state(true);
                tracing::info!("bridge {}: up", self.bridge.name);
            }
            Event::Notice(_, text) => self.warn(&text),
        }
    }
}

impl Course {
    /// The shard that has the connection sees the end of its stream.
    fn end(&mut self, why: String) {
        let _ = shutdown(&self.socket, Shutdown::Both); // fails when it has ended already
        self.own_end.get_or_insert(why);
    }
}

fn is_unix(address: &str) -> bool {
    address.starts_with("unix:")
}
