//! Reports: what shards, listeners and the process have counted, as values of one moment.

use crate::bridge::Counts;
use crate::gateway;
use crate::histogram::Histogram;
use crate::shard::{Kept, Snapshot};
use crate::time::Span;
use crate::transport::quic::QuicStats;

/// One shard, with the driver around it.
#[derive(Clone, Debug, Default)]
pub struct ShardReport {
    pub shard: Snapshot,
    pub kept: Kept,
    pub driver: DriverReport,
}

/// The driver of a shard.
#[derive(Clone, Debug, Default)]
pub struct DriverReport {
    /// Connections closed before they reach the shard: their address is banned.
    pub banned: u64,
    /// At connections-max of the broker.
    pub connections_max: u64,
    /// Accepting failed, for lack of descriptors or memory.
    pub accept_failed: u64,
    pub sockets: u64,
    /// Of the gateway for MQTT-SN.
    pub gateway: gateway::Stats,
    /// Its clients by state, as [`gateway::Stats::STATES`] has them.
    pub gateway_states: [u64; 4],
    /// Of its connections of QUIC.
    pub quic: QuicStats,
    /// Turns that had something to do, and how long they took.
    pub busy: Span,
    pub turn_length: Histogram,
    /// Blocks found waiting in a ring of a peer.
    pub ring_depth: Histogram,
    /// From a frame's submission until it is on the disk.
    pub commit: Histogram,
}

/// One listener of clients.
#[derive(Clone, Debug, Default)]
pub struct ListenerReport {
    pub name: String,
    pub open: u64,
    /// By option.
    pub refused: Vec<(&'static str, u64)>,
    /// Completed and failed; `None`: without TLS.
    pub handshakes: Option<[u64; 2]>,
    /// When the first of its certificates in force ends, in seconds since 1970.
    pub certificate_until_s: Option<i64>,
}

/// One hook: a service that is asked about logins or authorization.
#[derive(Clone, Debug, Default)]
pub struct HookReport {
    pub name: &'static str,
    pub answered: u64,
    pub failed: u64,
    /// Answered by what it has answered before.
    pub cached: u64,
    /// Not asked, as it had failed shortly before.
    pub skipped: u64,
    /// From a request to its answer, or its failure.
    pub latency: Histogram,
}

impl HookReport {
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    /// A request has ended.
    pub fn asked(&mut self, is_answered: bool, took: Span) {
        self.answered += u64::from(is_answered);
        self.failed += u64::from(!is_answered);
        self.latency.record_span(took);
    }
}

/// One bridge.
#[derive(Clone, Debug, Default)]
pub struct BridgeReport {
    pub name: String,
    pub is_up: bool,
    pub connects: u64,
    pub failures: u64,
    pub counts: Counts,
    /// Messages and bytes that wait for it.
    pub queue: (usize, usize),
    /// How long the oldest of these has waited.
    pub lag: Span,
}

/// The process and the broker as a whole.
#[derive(Clone, Debug, Default)]
pub struct ProcessReport {
    /// Seconds since 1970.
    pub started_s: u64,
    pub up: Span,
    pub cpu: Span,
    pub resident_bytes: u64,
    pub open_files: u64,
    pub open_files_max: u64,
    /// From which on clients are refused; 0: not limited.
    pub memory_limit_bytes: u64,
    pub connections_max: u64,
    pub is_ready: bool,
}

/// The cluster as this node sees it; without one there is nothing of all.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClusterReport {
    pub nodes: usize,
    pub has_lease: bool,
    pub groups_owned: usize,
    pub groups_without_owner: usize,
    pub groups_kept: usize,
    pub waiting_bytes: u64,
    pub sent: u64,
    pub received: u64,
    pub dropped: u64,
    pub malformed: u64,
}

/// Everything at once.
#[derive(Clone, Debug, Default)]
pub struct BrokerReport {
    pub process: ProcessReport,
    pub listeners: Vec<ListenerReport>,
    pub hooks: Vec<HookReport>,
    pub bridges: Vec<BridgeReport>,
    pub cluster: ClusterReport,
    pub shards: Vec<ShardReport>,
}
