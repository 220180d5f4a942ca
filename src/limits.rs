//! Every bound of the broker, named, with its default and its reason.
//!
//! [`Limits`] is what an operator may set (see `config`); the constants below it are internal and
//! related to each other by compile-time assertions.
//!
//! What one client can make the broker keep, and by what each is bounded, in number and in bytes:
//!
//! | what | number | bytes |
//! | --- | --- | --- |
//! | packet that has not fully arrived | 1 | `packet_size_max` |
//! | bytes to send | | `outgoing_bytes_max` + `packet_size_max` |
//! | SUBACKs waiting for a barrier | 64 | 64 KiB + `packet_size_max` |
//! | topic aliases, each way | `topic_alias_maximum`, `topic_alias_outgoing_max` | `topic_alias_bytes_max` |
//! | filters, their share names and places in the index | `subscriptions_max` | `subscription_bytes_max` |
//! | client identifier | 1 | `client_id_bytes_max` |
//! | will with its properties | 1 | `packet_size_max` |
//! | messages queued and in flight, with properties, identifiers, share names | `queue_messages_max`, `outgoing_window_max` | `queue_bytes_max` |
//! | identifiers of received QoS 2 messages | 65,535 | 8 each |
//! | retained messages | `retained_messages_max` (of all clients) | `retained_bytes_max` (of all clients) |
//! | states of Sparkplug | `sparkplug_states_max` (of all clients) | 512 each in the mean |
//! | rights decided lately | 32 | 320 each |
//! | records on their way to the disk | | [`LOG_HIGH_WATER`] (of all clients) and one turn |
//! | publications held for other shards | | [`HELD_HIGH_WATER`] (of all clients), one turn, and what one session hands on |
//! | turns whose replies wait for the disk | [`TICKETS_MAX`] (of all clients) | |
//! | changes on their way to another shard | [`CONTROL_HIGH_WATER`] (of all clients) | [`CONTROL_BYTES_HIGH_WATER`] (of all clients) |

/// What happens to a QoS 1 or 2 message when a session's queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueuePolicy {
    /// The oldest queued message makes room: a client that returns sees the latest state.
    #[default]
    DropOldest,
    /// The new message is dropped.
    DropNewest,
    /// The client is disconnected with 0x97 and the session is kept; while it is away the new
    /// message is dropped.
    Disconnect,
    /// Publishers wait; what is under way is taken beyond the bounds. QoS 0 is dropped. Of bridges only.
    Block,
}

impl QueuePolicy {
    const WORDS: [(&'static str, Self); 4] = [
        ("drop-oldest", Self::DropOldest),
        ("drop-newest", Self::DropNewest),
        ("disconnect", Self::Disconnect),
        ("block", Self::Block),
    ];

    /// In the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        let row = Self::WORDS.iter().find(|(_, policy)| *policy == self);
        row.map_or("", |(word, _)| word)
    }

    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        let row = Self::WORDS.iter().find(|(own, _)| *own == word);
        row.map(|(_, policy)| *policy)
    }
}

/// Terms that the session of one client id has of its own, as that of a bridge; `None`: the broker's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnTerms {
    pub queue_messages_max: Option<u32>,
    pub queue_bytes_max: Option<u64>,
    pub queue_policy: Option<QueuePolicy>,
    /// Messages sent to it.
    pub messages_per_s: Option<u32>,
    /// How long its oldest message waits is known.
    pub has_lag: bool,
}

impl OwnTerms {
    /// The bounds of its queue: messages, bytes, policy.
    #[must_use]
    pub fn queue(self, limits: &Limits) -> (u32, u64, QueuePolicy) {
        (
            self.queue_messages_max.unwrap_or(limits.queue_messages_max),
            self.queue_bytes_max.unwrap_or(limits.queue_bytes_max),
            self.queue_policy.unwrap_or(limits.queue_policy),
        )
    }
}

/// Messages and bytes per second; `None`: as many as come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    pub messages_per_s: Option<u32>,
    pub bytes_per_s: Option<u32>,
}

/// Rates of both directions, as the broker sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// PUBLISH packets, and bytes of all packets. Above it a client is not read.
    pub incoming: Rate,
    /// PUBLISH packets. Above it QoS 0 is dropped, QoS 1 and 2 wait in the queue.
    pub outgoing: Rate,
}

/// What a listener has of its own; `None`: the broker's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnRate {
    pub messages_per_s: Option<Option<u32>>,
    pub bytes_per_s: Option<Option<u32>>,
}

/// Rates of both directions that a listener has of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnRates {
    pub incoming: OwnRate,
    pub outgoing: OwnRate,
}

/// Quotas that a listener has of its own; `None`: the broker's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnQuotas {
    /// Of each of its clients.
    pub client: OwnRates,
    /// Of all of them together.
    pub listener: OwnRates,
    pub burst_s: Option<u16>,
}

impl OwnQuotas {
    /// No rate at all, the broker's neither.
    pub const UNLIMITED: Self = {
        let rate = OwnRate {
            messages_per_s: Some(None),
            bytes_per_s: Some(None),
        };
        let rates = OwnRates {
            incoming: rate,
            outgoing: rate,
        };
        Self {
            client: rates,
            listener: rates,
            burst_s: None,
        }
    };
}

impl OwnRates {
    /// With the broker's where there is none of its own.
    #[must_use]
    pub fn over(self, broker: Rates) -> Rates {
        let over = |own: OwnRate, broker: Rate| Rate {
            messages_per_s: own.messages_per_s.unwrap_or(broker.messages_per_s),
            bytes_per_s: own.bytes_per_s.unwrap_or(broker.bytes_per_s),
        };
        Rates {
            incoming: over(self.incoming, broker.incoming),
            outgoing: over(self.outgoing, broker.outgoing),
        }
    }
}

/// Bounds an operator may set. `None` means unlimited where the type allows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest control packet accepted, in bytes of the whole packet.
    pub packet_size_max: u32,
    /// A connection that has not sent its CONNECT by then is closed.
    pub connect_timeout_s: u16,
    /// Longest keep alive: a v5 client asking for more, or for none, gets it as Server Keep Alive;
    /// a v3 client is timed by it. `None` leaves the client's own value, 0 (no timeout) included.
    pub keep_alive_max_s: Option<u16>,
    /// QoS 1 and 2 messages in flight to one client; never above its Receive Maximum.
    pub outgoing_window_max: u16,
    /// Receive Maximum announced: QoS 1 and 2 messages a client may have in flight to us.
    pub receive_maximum: u16,
    /// Messages waiting in one session's queue.
    pub queue_messages_max: u32,
    /// Bytes waiting in one session's queue and in flight to its client.
    pub queue_bytes_max: u64,
    pub queue_policy: QueuePolicy,
    /// Bytes of the whole broker that waiting messages may take in memory where a journal has them on disk, too.
    pub queue_memory: u64,
    /// Queue QoS 0 messages, too, for clients that are away.
    pub queue_qos0: bool,
    /// Levels of a topic name or filter.
    pub topic_levels_max: u16,
    /// Topic aliases a client may use towards us.
    pub topic_alias_maximum: u16,
    /// Topic aliases we use towards a client, at most what it announces.
    pub topic_alias_outgoing_max: u16,
    /// Bytes of topic names kept for the aliases of one connection, each way.
    pub topic_alias_bytes_max: u32,
    /// Subscriptions of one session.
    pub subscriptions_max: u32,
    /// Bytes the subscriptions of one session may take, as `session::subscription_cost` counts them.
    pub subscription_bytes_max: u64,
    /// Bytes of a client identifier.
    pub client_id_bytes_max: u16,
    /// Longest session expiry granted; also how long a v3 persistent session is kept.
    pub session_expiry_max_s: u32,
    /// Network connections of the whole broker.
    pub connections_max: u32,
    /// Sessions of the whole broker, connected or not.
    pub sessions_max: u32,
    /// Retained messages of the whole broker.
    pub retained_messages_max: u32,
    /// Bytes of retained messages of the whole broker.
    pub retained_bytes_max: u64,
    /// Bytes waiting to be sent on one connection; above it QoS 0 messages for it are dropped,
    /// QoS 1 and 2 messages stay in the queue, and nothing more is read from it.
    pub outgoing_bytes_max: u32,
    /// Of each client, while it is connected.
    pub client_rates: Rates,
    /// Of all clients of a listener together; each shard has its part.
    pub listener_rates: Rates,
    /// So many seconds' worth of a rate may come at once.
    pub rate_burst_s: u16,
    /// A client of 3.1.1 whose publication has waited so long for room on the disk is disconnected.
    pub disk_full_timeout_s: u16,
    /// Connections of the whole broker that have not sent their CONNECT.
    pub half_open_max: Option<u32>,
    /// Births of Sparkplug are kept, and the state of its edge nodes.
    pub sparkplug: bool,
    /// The death of an edge node has the time of its delivery.
    pub sparkplug_ndeath_timestamp: bool,
    /// Edge nodes, devices and hosts of the whole broker whose state is kept.
    pub sparkplug_states_max: u32,
}

impl Limits {
    /// Whether any message is retained.
    #[must_use]
    pub fn retains(&self) -> bool {
        self.retained_messages_max > 0 && self.retained_bytes_max > 0
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            packet_size_max: 1 << 20,
            connect_timeout_s: 10,
            keep_alive_max_s: None,
            outgoing_window_max: 512,
            receive_maximum: 1_024,
            queue_messages_max: 1_000,
            queue_bytes_max: 1 << 20,
            queue_policy: QueuePolicy::DropOldest,
            queue_memory: 256 << 20,
            queue_qos0: false,
            topic_levels_max: 128,
            topic_alias_maximum: 64,
            topic_alias_outgoing_max: 64,
            topic_alias_bytes_max: 64 << 10, // the longest topic name fits
            subscriptions_max: 10_000,
            subscription_bytes_max: 8 << 20, // 10,000 of 40 bytes and five levels take 5 MiB
            client_id_bytes_max: 65_535,
            session_expiry_max_s: 7 * 24 * 3600,
            connections_max: 1_000_000,
            sessions_max: 1_000_000,
            retained_messages_max: 1_000_000,
            retained_bytes_max: 1 << 30,
            outgoing_bytes_max: 1 << 20,
            client_rates: Rates::default(),
            listener_rates: Rates::default(),
            rate_burst_s: 1,
            disk_full_timeout_s: 30,
            half_open_max: None,
            sparkplug: false,
            sparkplug_ndeath_timestamp: true,
            sparkplug_states_max: 100_000, // 50 MB when all are in use
        }
    }
}

/// Bookkeeping of one subscription: entries, options, places in tables.
pub const SUBSCRIPTION_BYTES: usize = 128;
/// Bookkeeping of one level of a topic or filter in an index.
pub const LEVEL_BYTES: usize = 64;

/// One read buffer per shard, in bytes; a packet's tail is kept by its connection.
pub const READ_BUFFER: usize = 64 << 10;
/// Bytes read in one turn. What they fan out to must fit the subscribers' outgoing bytes until the
/// turn's end.
pub const TURN_BYTES: usize = 256 << 10;

/// Deliveries of one turn, about 100 ns each; a shared group's dispatch counts as eight. What a turn has
/// read beyond them waits for the next ones, so that no other client waits for it: many enough that
/// sending once per connection and turn pays for a thousand subscribers.
pub const TURN_WORK: usize = 64 << 10;

/// A data block is closed at this size in bytes: large enough to carry hundreds of small
/// publications, small enough to stay in a core's cache.
pub const BLOCK_BYTES: usize = 32 << 10;
/// Blocks in the data ring from one shard to another.
pub const DATA_BLOCKS: usize = 64;
/// Blocks and sockets in the control ring from one shard to another; one block per turn is usual.
pub const CONTROL_ITEMS: usize = 256;
/// Bytes waiting for one peer shard above which publishers are no longer read.
pub const DATA_HIGH_WATER: usize = 4 << 20;
/// Control messages waiting for one peer shard above which no connection is read.
pub const CONTROL_HIGH_WATER: usize = 100_000;
/// The same for the bytes of their filters.
pub const CONTROL_BYTES_HIGH_WATER: usize = 16 << 20;

/// Bytes of records that are not on the disk above which those whose requests need the log are not read: at
/// 100 MB/s some 80 ms of writing.
pub const LOG_HIGH_WATER: usize = 8 << 20;
/// Bytes of publications that are held for other shards above which those whose requests need the log are not read.
/// A shard confirms what it has with each of its commits, so this is some of their time.
pub const HELD_HIGH_WATER: usize = 8 << 20;
/// Turns whose replies wait for commits each on its own; on a disk so slow that there are more, turns share.
pub const TICKETS_MAX: usize = 1024;

const _: () = assert!(READ_BUFFER <= TURN_BYTES, "a turn reads at least once");
const _: () = assert!(
    DATA_BLOCKS * BLOCK_BYTES <= DATA_HIGH_WATER,
    "an outbox holds what a stalled ring has refused before publishers are stopped"
);

/// One shard's share of a limit of the whole broker: its part and an eighth, because client ids do
/// not spread evenly, and at least 16.
#[must_use]
pub fn share_of(max: u32, shards: u32) -> u32 {
    if shards == 1 {
        return max;
    }
    let part = max.div_ceil(shards);
    part.saturating_add((part / 8).max(16)).min(max)
}
