//! Questions and the rows of their answers: plain data that leaves its shard.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{ListenerId, SessionId};
use crate::mqtt::{Qos, SubscriptionOptions, Version};
use crate::routing::RetainedLevel;
use crate::shard::clients::activity::{Activity, Ending};
use crate::shard::clients::origin::RemoteEnd;
use crate::shard::queries::captures::CaptureRecord;
use crate::shard::queries::orders::Order;
use crate::sparkplug::{DeviceRow, HostRow, NodeRow};
use crate::time::Span;

/// Rows of one piece, at most.
pub const ROWS_MAX: usize = 256;

/// A question. `from` and `after` are `next` of the piece before; 0 and `None`: at
/// the beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Whether its turns go on.
    Ping,
    Order(Order),
    /// With `sort` the first of this piece, which the asker merges.
    Clients {
        from: u32,
        filter: ClientFilter,
        sort: Option<ClientSort>,
        max: usize,
    },
    Client(Box<str>),
    /// What has passed on every connection of a client so far.
    Activity {
        from: u32,
    },
    /// Rows of the sessions at these places, if they are still there.
    Rows(Vec<SessionId>),
    Subscriptions {
        of: SubscriptionsOf,
        from: (u32, u32),
        max: usize,
    },
    Retained {
        filter: Box<str>,
        after: Option<Box<str>>,
        max: usize,
    },
    /// The next level below a topic.
    RetainedLevels {
        below: Option<Box<str>>,
        after: Option<Box<str>>,
        max: usize,
    },
    RetainedMessage(Box<str>),
    /// Edge nodes of Sparkplug.
    Nodes {
        after: Option<Box<str>>,
        max: usize,
    },
    /// Host applications of Sparkplug.
    Hosts {
        after: Option<Box<str>>,
        max: usize,
    },
    /// One edge node, and its devices.
    Node {
        /// `GROUP/NODE`.
        node: Box<str>,
        after: Option<Box<str>>,
        max: usize,
    },
    /// What a capture has taken: each record is given once.
    CaptureRecords(u64),
}

/// Which subscriptions are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionsOf {
    All,
    Client(Box<str>),
    /// That receive this topic.
    Topic(Box<str>),
    /// Whose filter has topics in common with this one.
    Filter(Box<str>),
}

/// What a client must be to be listed; `None`: anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFilter {
    pub prefix: Option<Box<str>>,
    pub user: Option<Box<str>>,
    pub address: Option<IpAddr>,
    pub connected: Option<bool>,
    /// Whether it is a client of MQTT-SN.
    pub sensor: Option<bool>,
    pub queue_min: usize,
}

/// The largest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientSort {
    Queue,
    Dropped,
    Publications,
    Deliveries,
    Bytes,
}

/// One client in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRow {
    pub place: SessionId,
    pub client_id: Box<str>,
    pub user: Option<Arc<str>>,
    /// Of its connection.
    pub peer: Option<RemoteEnd>,
    pub listener: Option<ListenerId>,
    pub version: Option<Version>,
    /// Of MQTT-SN.
    pub sensor: Option<Box<SensorRow>>,
    pub activity: Option<Activity>,
    pub subscriptions: usize,
    pub queue_messages: usize,
    pub queue_bytes: usize,
    pub inflight: usize,
    /// Messages that it was not sent.
    pub dropped: u64,
    /// What it was sorted by.
    pub sorted_by: u64,
}

/// A client of MQTT-SN, as its gateway has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SensorRow {
    /// A word.
    pub state: &'static str,
    /// Behind the forwarder at its address.
    pub node: Option<Box<[u8]>>,
    /// Of a client that sleeps: how long it sleeps at a time.
    pub sleep_s: Option<u16>,
    /// Of a client that sleeps: until it is to be back.
    pub wakes_in: Option<Span>,
    /// Until it is lost when nothing is heard of it.
    pub lost_in: Option<Span>,
    /// Topic ids that it has or had.
    pub topic_ids: usize,
    pub predefined_ids: usize,
    /// Messages taken for it that are not sent, or not answered; of one client alone with those on its link.
    pub unanswered: usize,
}

/// One client with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientDetail {
    pub row: ClientRow,
    /// User name that its certificate gives.
    pub certificate: Option<Box<str>>,
    pub is_bridge: bool,
    pub connected_for: Option<Span>,
    pub silent_for: Option<Span>,
    /// Zero: no timeout.
    pub keep_alive: Option<Span>,
    pub session_expiry_s: u32,
    /// How long the oldest message in its queue has waited; known of bridges.
    pub oldest_waits: Option<Span>,
    pub subscription_bytes: usize,
    pub inflight_bytes: usize,
    /// Incoming QoS 2 exchanges that are open.
    pub received_qos2: usize,
    pub outgoing_bytes: usize,
    pub packet_size_max: Option<u32>,
    pub will_topic: Option<Box<str>>,
    /// How its connection before ended, and how long ago.
    pub last_ending: Option<(Ending, Span)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivityRow {
    pub place: SessionId,
    pub activity: Activity,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionRow {
    pub client_id: Box<str>,
    pub filter: Box<str>,
    pub options: SubscriptionOptions,
    pub identifier: Option<u32>,
    pub connected: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainedRow {
    pub topic: Box<str>,
    pub payload: Bytes,
    pub qos: Qos,
    pub expires_in: Option<Span>,
}

/// A piece of an answer; `next` is where the following one begins, `None`: it was the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Pong,
    /// Whether what the order names is here.
    Done(bool),
    Clients {
        rows: Vec<ClientRow>,
        next: Option<u32>,
    },
    Client(Option<Box<ClientDetail>>),
    Activity {
        rows: Vec<ActivityRow>,
        next: Option<u32>,
    },
    Subscriptions {
        rows: Vec<SubscriptionRow>,
        next: Option<(u32, u32)>,
    },
    Retained {
        rows: Vec<RetainedRow>,
        next: Option<Box<str>>,
    },
    RetainedLevels {
        levels: Vec<RetainedLevel>,
        next: Option<Box<str>>,
    },
    RetainedMessage(Option<RetainedRow>),
    Nodes {
        rows: Vec<NodeRow>,
        next: Option<Box<str>>,
    },
    Hosts {
        rows: Vec<HostRow>,
        next: Option<Box<str>>,
    },
    /// `None`: it is not known here.
    Node(Option<Box<NodePage>>),
    /// Sparkplug is off.
    SparkplugOff,
    /// With how many were left out for lack of room; `None`: there is no such capture, or it is over.
    CaptureRecords(Option<(Vec<CaptureRecord>, u64)>),
}

/// An edge node with a page of its devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePage {
    pub node: NodeRow,
    pub devices: Vec<DeviceRow>,
    /// The last device, if there may be more behind it.
    pub next: Option<Box<str>>,
}

/// Both cross threads.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Query>();
    is_send::<Answer>();
};
