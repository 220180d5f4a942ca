//! A run as data: groups of clients and the steps they go through. Scenarios make plans, workers
//! carry them out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringmq::mqtt::property::Property;
use ringmq::mqtt::{Qos, Version};

use crate::feed::Feed;
use crate::payload::Sample;
pub use crate::payload_size::PayloadSize;
use crate::payload_template::PayloadTemplate;

/// Everything a worker must know; the same for all workers.
#[derive(Clone, Debug)]
pub struct Plan {
    pub scenario: String,
    pub groups: Vec<Group>,
    pub steps: Vec<Step>,
    pub connection: Connection,
    pub seed: u64,
    /// From the run's clock to the time since 1970.
    pub unix_ahead_ns: u64,
    /// The clients that this process carries.
    pub share: Share,
}

/// Which of a plan's clients one of several generators carries: every `count`th, by the client's number
/// over all groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub index: u32,
    /// At least 1.
    pub count: u32,
}

impl Share {
    /// All clients.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    #[must_use]
    pub fn holds(self, client: u32) -> bool {
        client % self.count == self.index
    }

    /// Place of one of its clients among them.
    #[must_use]
    pub fn place(self, client: u32) -> u32 {
        client / self.count
    }

    /// How many of `clients` it holds.
    #[must_use]
    pub fn clients(self, clients: u32) -> u32 {
        (clients + self.count - 1 - self.index) / self.count
    }

    /// The generators' workers numbered through: those of this share, `workers` each, take turns with
    /// the others'.
    #[must_use]
    pub fn worker(self, worker: usize, workers: usize) -> (usize, usize) {
        let count = self.count as usize;
        (worker * count + self.index as usize, workers * count)
    }
}

impl Plan {
    /// All clients speak this version.
    #[must_use]
    pub fn is_all(&self, version: Version) -> bool {
        self.versions().iter().all(|own| *own == version)
    }

    /// What one of a group's clients speaks. Neighbouring groups begin with different versions, so that both
    /// ends of a flow differ.
    #[must_use]
    pub fn version(&self, group: usize, index: u32) -> Version {
        match &self.groups[group].versions[..] {
            [] => self.connection.version,
            versions => versions[(group + index as usize) % versions.len()],
        }
    }

    /// Each version that is spoken.
    #[must_use]
    pub fn versions(&self) -> Vec<Version> {
        let mut all = Vec::new();
        for (at, group) in self.groups.iter().enumerate() {
            let count = group.clients.min(group.versions.len().max(1) as u32);
            all.extend((0..count).map(|index| self.version(at, index)));
        }
        all.sort_by_key(|version| *version as u8);
        all.dedup();
        all
    }

    /// Clients of all groups.
    #[must_use]
    pub fn clients(&self) -> u32 {
        self.groups.iter().map(|group| group.clients).sum()
    }

    /// Group and number in it of a client; `None` when there are not so many.
    #[must_use]
    #[inline]
    pub fn place_of(&self, client: u32) -> Option<(usize, u32)> {
        let mut left = client;
        for (at, group) in self.groups.iter().enumerate() {
            if left < group.clients {
                return Some((at, left));
            }
            left -= group.clients;
        }
        None
    }

    /// Messages are published, other than wills.
    #[must_use]
    pub fn has_load(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Load(_)))
    }

    /// Some of its load waits for acknowledgements or room before it sends more.
    #[must_use]
    pub fn has_closed_loop(&self) -> bool {
        let loads = self.steps.iter().filter_map(|step| match step {
            Step::Load(load) => Some(&load.groups),
            _ => None,
        });
        let is_closed = |load: &Load| !matches!(load, Load::Open { .. });
        loads.flatten().any(|(_, load)| is_closed(load))
    }

    /// Number of the first client of a group, counted over all groups.
    #[must_use]
    pub fn first_client(&self, group: usize) -> u32 {
        self.groups[..group].iter().map(|group| group.clients).sum()
    }
}

/// How to run, beside the plan.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub threads: usize,
    /// Cores to pin to; empty: not pinned.
    pub cores: Vec<usize>,
    pub backend: crate::poller::Backend,
    /// Without a live line.
    pub quiet: bool,
    pub label: Option<String>,
    /// The broker's name and version, for results.
    pub broker_name: Option<String>,
    pub command: String,
    pub broker_pid: Option<u32>,
    /// Of a scenario file, for agents.
    pub file_text: Option<String>,
    /// Readers of the run's figures during it.
    pub live: Option<Arc<crate::metrics::Live>>,
}

/// What all clients share.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Each group's clients take these in turn, so that pairs meet at the same one. Of one with several addresses
    /// the next is tried when one fails.
    pub targets: Vec<Vec<SocketAddr>>,
    /// After those of its own target a client tries the next targets'.
    pub fails_over: bool,
    pub transport: crate::transport::Transport,
    /// Clients take these addresses in turn; empty: the system's choice.
    pub sources: Vec<crate::sources::Source>,
    pub version: Version,
    /// 0 turns keep alive off.
    pub keep_alive_s: u16,
    pub user: Option<String>,
    pub password: Option<String>,
    /// A client that has not got its answer after this time has failed.
    pub timeout: Duration,
    /// Connections opened again per second after they were lost; `None`: they stay lost.
    pub reconnect_per_s: Option<f64>,
    /// PUBLISH packets of QoS 1 and 2 a client keeps unacknowledged at most, unless its load says.
    pub in_flight_max: u16,
    /// Messages of which payload, topic name and properties are compared.
    pub sample: Sample,
}

/// Clients that do the same.
#[derive(Clone, Debug)]
pub struct Group {
    pub name: String,
    pub clients: u32,
    pub client_id: Template,
    /// Its clients take these in turn; empty: they speak the connection's.
    pub versions: Vec<Version>,
    /// The table of its clients, for `{csv:NAME}`.
    pub feed: Option<Arc<Feed>>,
    /// User names, passwords and certificates are those of the table.
    pub is_fed: bool,
    pub session: Session,
    pub subscriptions: Vec<Subscription>,
    pub publishing: Option<Publishing>,
    pub will: Option<Will>,
    /// Publishes each request's payload to its counterpart in another group.
    pub answers_to: Option<Template>,
    /// Reads no faster than this.
    pub read_bytes_per_s: Option<u64>,
    /// Its receivers' delays are their own doing and are not timed.
    pub untimed: bool,
    /// Loses its connections to others of the same name, which is no error.
    pub is_taken_over: bool,
    /// Subscribes when the messages have been retained.
    pub gets_retained: bool,
    /// Its messages wait for it in the broker: they are timed from its asking for them.
    pub gets_stored: bool,
    /// Its clients come and go while messages are published: what they miss is not lost.
    pub comes_and_goes: bool,
    /// The wills of its clients are due however their connections are lost.
    pub wills_are_kept: bool,
}

impl Group {
    #[must_use]
    pub fn new(name: &str, clients: u32, client_id: Template) -> Self {
        Self {
            name: name.to_string(),
            clients,
            client_id,
            versions: Vec::new(),
            feed: None,
            is_fed: false,
            session: Session::default(),
            subscriptions: Vec::new(),
            publishing: None,
            will: None,
            answers_to: None,
            read_bytes_per_s: None,
            untimed: false,
            is_taken_over: false,
            gets_retained: false,
            gets_stored: false,
            comes_and_goes: false,
            wills_are_kept: false,
        }
    }

    /// A template of the group for one of its clients.
    #[must_use]
    pub fn fill(&self, template: &Template, index: u32, topic: u32, run: u64) -> String {
        let filled = template.fill(index, topic, run);
        match &self.feed {
            Some(feed) if filled.contains(FED) => fed(&filled, feed, index),
            _ => filled,
        }
    }

    /// Bytes of the property that proves each of its messages.
    #[must_use]
    pub fn proof_bytes(&self) -> usize {
        let own = self
            .publishing
            .as_ref()
            .and_then(|own| own.own_payload.as_ref());
        match own.filter(|own| own.wants_proof_beside()) {
            Some(_) => crate::proof::PROPERTY_BYTES,
            None => 0,
        }
    }

    /// A value of a client's own, when its group has it from a table.
    #[must_use]
    pub fn own_value(&self, column: &str, index: u32) -> Option<&str> {
        let feed = self.feed.as_ref().filter(|_| self.is_fed);
        feed.and_then(|feed| feed.value(column, index))
    }
}

/// Begins a place that a table fills.
pub const FED: &str = "{csv:";

/// With the places of a table filled.
fn fed(text: &str, feed: &Feed, index: u32) -> String {
    let mut parts = text.split(FED);
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let (name, rest) = part.split_once('}').unwrap_or((part, ""));
        out.push_str(feed.value(name, index).unwrap_or_default());
        out.push_str(rest);
    }
    out
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub clean_start: bool,
    /// MQTT 5 only.
    pub expiry_interval_s: Option<u32>,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            clean_start: true,
            expiry_interval_s: None,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Subscription {
    pub filter: Template,
    pub qos: Qos,
}

#[derive(Clone, Debug)]
pub struct Will {
    pub topic: Template,
    pub qos: Qos,
}

#[derive(Clone, Debug)]
pub struct Publishing {
    pub topic: Template,
    /// Topics a client takes in turn: the values of `{t}`.
    pub topics: u32,
    pub qos: Qos,
    pub retain: bool,
    pub payload: PayloadSize,
    /// The user's own payload, instead.
    pub own_payload: Option<Arc<PayloadTemplate>>,
    /// MQTT 5: each topic is sent once and then named by its alias.
    pub topic_alias: bool,
    pub properties: MessageProperties,
    /// MQTT 5: where answers to its messages are wanted. Correlation data go with it.
    pub response_topic: Option<Template>,
    /// PUBLISH packets of QoS 1 and 2 unacknowledged at most; the connection's maximum unless given.
    pub window: Option<u16>,
}

impl Publishing {
    /// Bytes of the longest payload of the group that publishes it.
    #[must_use]
    pub fn payload_max(&self, group: &Group) -> usize {
        match &self.own_payload {
            Some(own) => own.bytes_max(group.feed.as_deref()),
            None => self.payload.max(),
        }
    }

    /// Bytes that each payload has at least.
    #[must_use]
    pub fn payload_min(&self) -> usize {
        let own = self.own_payload.as_ref();
        own.map_or_else(|| self.payload.min(), |own| own.bytes_min())
    }

    /// Its payloads do not tell which message they are.
    #[must_use]
    pub fn is_unproven(&self) -> bool {
        match &self.own_payload {
            Some(own) => own.is_unverified,
            None => self.payload.min() < crate::payload::HEADER_BYTES,
        }
    }
}

/// MQTT 5 properties of messages; other versions send none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageProperties {
    pub message_expiry_interval_s: Option<u32>,
    pub content_type: Option<String>,
    pub user: Vec<(String, String)>,
}

impl MessageProperties {
    /// Those that a broker passes on unchanged, encoded without their length.
    #[must_use]
    pub fn encoded(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(content_type) = &self.content_type {
            Property::ContentType(content_type).put(&mut bytes);
        }
        for (name, value) in &self.user {
            Property::UserProperty(name, value).put(&mut bytes);
        }
        bytes
    }
}

/// When messages are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// At times that do not depend on the broker; the rate is of the whole group.
    Open {
        from_per_s: f64,
        /// Rate at the end of the step; the same as `from_per_s` unless it ramps.
        to_per_s: f64,
        arrivals: Arrivals,
    },
    /// Each client keeps this many PUBLISH packets unacknowledged (QoS 1 and 2).
    Closed { window: u16 },
    /// As fast as the connection takes it, in writes of up to `batch` messages (QoS 0).
    Unlimited { batch: u32 },
    /// Each client sends a message, awaits its acknowledgement (QoS 1 and 2), and pauses for a time
    /// between these two.
    Think { least: Duration, most: Duration },
    /// Each client connects, publishes so many messages with a pause before each and one at the end,
    /// disconnects, sleeps, and begins anew. Times are from the first to the second.
    Life {
        messages: u64,
        pause: (Duration, Duration),
        sleep: (Duration, Duration),
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// Evenly spaced.
    Constant,
    /// Independent, as from many users.
    Poisson,
}

/// One thing all workers do together; the next begins when all have done it.
#[derive(Clone, Debug)]
pub enum Step {
    /// Connects a group's clients, evenly spaced at this rate (as fast as they come without).
    Connect {
        group: usize,
        per_s: Option<f64>,
    },
    Subscribe {
        group: usize,
    },
    Unsubscribe {
        group: usize,
    },
    Load(LoadStep),
    /// Waits for outstanding messages and acknowledgements, until nothing comes for this long.
    Drain {
        quiet: Duration,
    },
    /// Each connection sends PINGREQ and awaits the answer: the broker has read all before it.
    Ping,
    /// Waits until the broker has ended a group's connections.
    AwaitTakeover {
        group: usize,
    },
    /// Sends DISCONNECT and closes.
    Disconnect {
        group: usize,
    },
    /// Closes without DISCONNECT.
    Abort {
        group: usize,
    },
    Hold {
        time: Duration,
    },
}

impl Step {
    /// What it is called in lines and results.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Subscribe { .. } => "subscribe",
            Self::Unsubscribe { .. } => "unsubscribe",
            Self::Load(_) => "load",
            Self::Drain { .. } => "drain",
            Self::Ping => "ping",
            Self::AwaitTakeover { .. } => "takeover",
            Self::Disconnect { .. } => "disconnect",
            Self::Abort { .. } => "abort",
            Self::Hold { .. } => "hold",
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct LoadStep {
    /// Its figures have a row of their own under this name.
    pub name: Option<String>,
    pub groups: Vec<(usize, Load)>,
    pub time: Duration,
    /// Messages of each client; the step ends early when they are sent.
    pub messages: Option<u64>,
    /// Clients that come or go meanwhile.
    pub moves: Vec<Move>,
    /// The broker is killed meanwhile.
    pub crashes: Option<Crashes>,
}

/// Kills of the broker's process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crashes {
    /// From the beginning of the step, in order.
    pub times: Vec<Duration>,
    /// Starts it again, as one process.
    pub restart_command: String,
}

/// A group's clients come or go during a load, evenly spaced at a rate (all at once without).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Move {
    pub group: usize,
    pub kind: MoveKind,
    pub per_s: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveKind {
    /// Connect, and subscribe when the group has subscriptions.
    Connect,
    /// Send DISCONNECT and close.
    Disconnect,
    /// Close without DISCONNECT.
    Abort,
    /// Send DISCONNECT and come back at once, client after client, as long as the load lasts.
    Churn,
}

/// Text with places: `{i}` the client's number in its group, `{t}` the topic's number, `{r}` the
/// run's number (so that runs do not meet each other's sessions and retained messages).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(pub String);

impl Template {
    #[must_use]
    pub fn fill(&self, index: u32, topic: u32, run: u64) -> String {
        self.0
            .replace("{i}", &index.to_string())
            .replace("{t}", &topic.to_string())
            .replace("{r}", &format!("{:06x}", run & 0xFF_FFFF))
    }
}

impl std::str::FromStr for Template {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_hold_each_client_once() {
        for (count, clients) in [(1, 5), (2, 5), (3, 7), (4, 2)] {
            let shares: Vec<Share> = (0..count).map(|index| Share { index, count }).collect();
            for client in 0..clients {
                let holders = shares.iter().filter(|share| share.holds(client));
                assert_eq!(holders.count(), 1);
            }
            let held = shares.iter().map(|share| share.clients(clients));
            assert_eq!(held.sum::<u32>(), clients);
        }
        let share = Share { index: 1, count: 3 };
        let places: Vec<u32> = [1, 4, 7].map(|client| share.place(client)).into();
        assert_eq!(places, [0, 1, 2]);
        assert_eq!(share.worker(1, 2), (4, 6));
    }

    #[test]
    fn templates_are_filled() {
        let template = Template("a/{i}/{t}/{r}".into());
        assert_eq!(template.fill(3, 4, 5), "a/3/4/000005");
    }
}
