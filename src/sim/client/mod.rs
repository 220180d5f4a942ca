//! A simulated client: keeps its side of the protocol to the letter, acknowledges late, stops
//! reading, loses its connection at any time and reconnects.

mod connect;
mod crash;
mod policy;
mod receive;
mod send;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::history::{Arrival, At, Planned, Subscribed};
use super::parameters::{Focus, RunParameters};
use super::random::Random;
use super::rules::USERS;
use super::world::World;
use crate::limits::QueuePolicy;
use crate::mqtt::{AckKind, SubscriptionOptions, Version};
use crate::time::Time;

/// The configuration of a client, drawn once.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    pub(super) version: Version,
    receive_maximum: u16,
    /// Seconds a session is kept after its connection; 0: a clean session.
    pub(super) lifetime_s: u32,
    /// Now and then it asks for a session that ends with its connection.
    gives_up_sessions: bool,
    /// Sometimes starts clean (v5).
    starts_clean: bool,
    keep_alive_s: u16,
    pub(super) packet_size_max: Option<u32>,
    /// Topic Alias Maximum announced.
    aliases: u16,
    /// Uses topic aliases towards the broker.
    sends_aliases: bool,
    has_will: bool,
    will_delay_s: u32,
    /// Now and then does not read for a while.
    stalls: bool,
    /// Disconnected when its queue is full.
    may_overflow: bool,
    /// Keeps its session and its subscriptions.
    is_steady: bool,
    /// It logs in, and is authorized by rules.
    has_account: bool,
    pub(super) user: usize,
    /// Most messages per second it is to be sent.
    messages_per_s: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Publish,
    Release,
}

/// The one SUBSCRIBE or UNSUBSCRIBE that waits for its answer: indexes of subscriptions.
#[derive(Clone, Debug)]
enum Request {
    Subscribe(Vec<usize>),
    Unsubscribe(usize),
}

/// How the connection before this one ended, for its will.
#[derive(Clone, Debug)]
struct Ended {
    socket: usize,
    will: Option<usize>,
    /// When the client knew, or did it.
    at: At,
    /// By DISCONNECT, and the broker closed.
    was_told: bool,
    /// Its will cannot have been sent before.
    will_since: At,
    /// The client's connects so far.
    connects: usize,
    /// The client itself ended it, and no older connection can have taken over.
    was_alone: bool,
    /// How long the session was to outlive it.
    lifetime_s: u32,
    /// The broker crashed since, and may have forgotten its end.
    is_doubted: bool,
}

pub(super) struct Client {
    pub(super) name: String,
    pub(super) index: usize,
    pub(super) profile: Profile,
    /// The current connection.
    socket: Option<usize>,
    /// All connections so far that may still live at the broker.
    ghosts: Vec<usize>,
    /// When the last of the ghosts that have ended did.
    ghosts_gone_at: Time,
    /// When the broker's process last ended.
    crashed_at: Time,
    inbox: Vec<u8>,
    pub(super) is_connected: bool,
    /// DISCONNECT was sent; the broker is to close.
    is_leaving: bool,
    is_clean_start: bool,
    /// How long the session is to outlive this connection.
    lifetime_s: u32,
    /// The last connection whose session was to end with it.
    gave_up_by: Option<usize>,
    /// It came with a wrong password.
    is_impostor: bool,
    /// Which rules did not allow its will, counted from 1.
    will_refused_by: Option<usize>,
    /// The broker may close for reasons of its own.
    may_be_dropped: bool,
    connect_sent: At,
    /// Until when all timers had fired when CONNECT was sent.
    connect_timed_until: Time,
    /// A CONNACK has confirmed a session.
    has_session: bool,
    /// The last connection that had its CONNACK.
    ended: Option<Ended>,
    pub(super) connects: usize,
    pub(super) cuts: usize,
    pub(super) wanted: Vec<(String, SubscriptionOptions, Option<u32>)>,
    pub(super) subscribed: Vec<Subscribed>,
    request: Option<Request>,
    pub(super) to_publish: VecDeque<usize>,
    /// By order of sending: identifier, publication, stage.
    outstanding: Vec<(u16, usize, Stage)>,
    next_id: u16,
    /// QoS 0 publications that the broker may not have read yet.
    unread: Vec<usize>,
    will: Option<usize>,
    /// QoS 2 identifiers received and not released.
    held: BTreeSet<u16>,
    unsent_acks: VecDeque<(AckKind, u16)>,
    unacknowledged: BTreeSet<u16>,
    aliases_in: BTreeMap<u16, String>,
    aliases_out: BTreeMap<String, u16>,
    /// Acts for which it does not read.
    stalled: usize,
    pub(super) arrivals: Vec<Arrival>,
    /// Publications that arrived on this connection for the first time.
    arrived_here: u64,
    /// Packets read.
    pub(super) packets: usize,
    /// Newest publication seen by retained topic and QoS.
    newest: BTreeMap<(String, u8), usize>,
    pub(super) is_shutdown: bool,
    pub(super) failures: Vec<String>,
}

impl Profile {
    fn draw(drawn: &RunParameters, index: usize, random: &mut Random) -> Self {
        // A group promises something only while it has a member that stays.
        let is_steady = drawn.focus == Focus::Groups && index == 0;
        let loses_sessions = drawn.loses_sessions && !is_steady;
        let version = loop {
            let version = [Version::V31, Version::V311, Version::V5][random.below(3)];
            // A v3 client cannot make sure that it meets no session but its own.
            if version == Version::V5 || drawn.session_expiry_max_s > 1_000 {
                break version;
            }
        };
        let is_v5 = version.is_v5();
        let is_clean = loses_sessions && random.once_in(4);
        let asked_s = match version {
            _ if is_clean => 0,
            Version::V5 if loses_sessions => [2, 5, 3_600][random.below(3)],
            Version::V5 => 50_000,
            _ => u32::MAX,
        };
        Self {
            version,
            receive_maximum: 1 + random.below(12) as u16,
            lifetime_s: asked_s.min(drawn.session_expiry_max_s),
            gives_up_sessions: is_v5 && loses_sessions && asked_s > 0,
            starts_clean: is_v5 && loses_sessions && random.once_in(2),
            keep_alive_s: if drawn.has_keep_alives && random.once_in(2) {
                1
            } else {
                0
            },
            packet_size_max: (is_v5 && drawn.has_large && random.once_in(2)).then_some(120),
            aliases: if is_v5 && random.once_in(2) {
                1 + random.below(12) as u16
            } else {
                0
            },
            sends_aliases: is_v5 && random.once_in(2),
            has_will: drawn.has_wills && random.once_in(2),
            will_delay_s: if is_v5 && random.once_in(2) {
                1 + random.below(4) as u32
            } else {
                0
            },
            stalls: random.once_in(3),
            may_overflow: drawn.is_tight && drawn.queue_policy == QueuePolicy::Disconnect,
            is_steady,
            has_account: drawn.has_accounts,
            user: index % USERS,
            messages_per_s: drawn.messages_per_s[1],
        }
    }
}

impl Client {
    pub(super) fn new(
        name: String,
        index: usize,
        drawn: &RunParameters,
        random: &mut Random,
    ) -> Self {
        let start = At {
            tick: 0,
            now: Time::ZERO,
        };
        Self {
            name,
            index,
            profile: Profile::draw(drawn, index, random),
            socket: None,
            ghosts: Vec::new(),
            ghosts_gone_at: Time::ZERO,
            crashed_at: Time::ZERO,
            inbox: Vec::new(),
            is_connected: false,
            is_leaving: false,
            is_clean_start: false,
            lifetime_s: 0,
            gave_up_by: None,
            is_impostor: false,
            will_refused_by: None,
            may_be_dropped: false,
            connect_sent: start,
            connect_timed_until: Time::ZERO,
            has_session: false,
            ended: None,
            connects: 0,
            cuts: 0,
            wanted: Vec::new(),
            subscribed: Vec::new(),
            request: None,
            to_publish: VecDeque::new(),
            outstanding: Vec::new(),
            next_id: 0,
            unread: Vec::new(),
            will: None,
            held: BTreeSet::new(),
            unsent_acks: VecDeque::new(),
            unacknowledged: BTreeSet::new(),
            aliases_in: BTreeMap::new(),
            aliases_out: BTreeMap::new(),
            stalled: 0,
            arrivals: Vec::new(),
            arrived_here: 0,
            packets: 0,
            newest: BTreeMap::new(),
            is_shutdown: false,
            failures: Vec::new(),
        }
    }

    /// Everything it had to do is done.
    pub(super) fn is_done(&self) -> bool {
        self.to_publish.is_empty()
            && self.outstanding.is_empty()
            && self.unsent_acks.is_empty()
            && self.request.is_none()
            && self.is_connected
            && !self.is_leaving
    }

    pub(super) fn is_steady(&self) -> bool {
        self.profile.is_steady
    }

    pub(super) fn is_online(&self) -> bool {
        self.socket.is_some()
    }

    /// One thing: publishes, acknowledges, subscribes or reads.
    pub(super) fn act(
        &mut self,
        world: &mut World,
        random: &mut Random,
        plan: &mut [Planned],
        drawn: &RunParameters,
    ) {
        if self.stalled > 0 {
            self.stalled -= 1;
            return;
        }
        if self.profile.stalls && random.once_in(300) {
            self.stalled = random.below(600);
        }
        let may_speak = self.is_connected && !self.is_leaving;
        match random.below(16) {
            0..4 if may_speak && random.once_in(drawn.pace) => self.publish(world, plan),
            4..8 if may_speak => self.acknowledge(world),
            8 if may_speak => {
                if self.subscribed.is_empty() || random.once_in(6) {
                    self.subscribe_some(world, random);
                }
            }
            9 if may_speak && drawn.unsubscribe_once_in > 0 && !self.profile.is_steady => {
                if random.once_in(drawn.unsubscribe_once_in) {
                    self.unsubscribe_one(world, random);
                }
            }
            10 if may_speak && self.profile.keep_alive_s > 0 => self.ping(world),
            _ => self.read(world, plan),
        }
    }

    /// One thing of those that bring a run to its end.
    pub(super) fn finish(&mut self, world: &mut World, random: &mut Random, plan: &mut [Planned]) {
        match random.below(5) {
            0 if self.is_connected => self.publish(world, plan),
            1 if self.is_connected => self.acknowledge(world),
            2 if self.is_connected && self.subscribed.is_empty() => {
                self.subscribe_some(world, random);
            }
            3 if self.is_connected && self.profile.keep_alive_s > 0 => {
                if random.once_in(20) {
                    self.ping(world);
                }
            }
            _ => {
                self.read(world, plan);
                while self.socket.is_some_and(|socket| world.has_bytes(socket)) {
                    self.read(world, plan);
                }
            }
        }
    }

    /// Reads again, for the end of the run.
    pub(super) fn awake(&mut self) {
        self.stalled = 0;
    }

    /// For a failure's report.
    pub(super) fn describe(&self) -> String {
        let Profile {
            version,
            receive_maximum,
            lifetime_s,
            ..
        } = &self.profile;
        let filters: Vec<&String> = self.subscribed.iter().map(|s| &s.filter).collect();
        let seen: Vec<(usize, u8)> = self
            .arrivals
            .iter()
            .map(|arrival| (arrival.publication, arrival.qos))
            .collect();
        format!(
            "{} {version:?} clean {} connected {} leaving {} request {:?} to publish {} acks {} receive maximum {receive_maximum} session {lifetime_s} s, {} connects, \
             {} outstanding, {} held, {filters:?}, arrivals {seen:?}",
            self.name,
            self.is_clean_start,
            self.is_connected,
            self.is_leaving,
            self.request,
            self.to_publish.len(),
            self.unsent_acks.len(),
            self.connects,
            self.outstanding.len(),
            self.held.len(),
        )
    }

    fn fail(&mut self, text: &str) {
        self.failures.push(format!("{}: {text}", self.name));
    }
}
