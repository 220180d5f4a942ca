//! The options of the process around the shards: one value, which goes whole from the table of options to `io`.

use crate::auth::BanTerms;
use crate::time::Span;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Memory in bytes from which on clients are refused; 0: by the cgroup.
    pub memory_max: u64,
    /// How long a turn of a shard may take.
    pub turn_max_ms: Option<u16>,
    pub bans: BanTerms,
    /// Logins that may wait for authentication.
    pub login_queue_max: u32,
    /// Files of TLS, accounts and rules are read again when they change, not only at SIGHUP.
    pub watch_files: bool,
    /// From the first signal to the end of the process: what is left then is cut.
    pub shutdown_timeout: Span,
    /// After an upgrade, connections whose layers the process before has are sent away within this time; `None`: they
    /// are not.
    pub upgrade_drain: Option<Span>,
    /// Folder of the journal; `None`: nothing outlives the process.
    pub data_dir: Option<String>,
    pub durability: Durability,
    /// Bytes of a file of the journal.
    pub journal_segment_bytes: u32,
    /// Of all files of the journal; `None`: as many as the disk takes.
    pub journal_bytes_max: Option<u64>,
    /// Between publications below `$SYS`; zero: there are none.
    pub sys_interval: Span,
    /// Lines of the log are published, too.
    pub sys_log: bool,
    pub log_format: LogFormat,
    pub cluster: ClusterOptions,
}

/// The cluster that this broker is a node of; without servers it is of none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterOptions {
    /// URLs of NATS servers.
    pub servers: Vec<String>,
    pub node: Option<String>,
    pub name: Option<String>,
    /// Files.
    pub credentials: Option<String>,
    pub ca: Option<String>,
    pub certificate: Option<String>,
    pub key: Option<String>,
    /// Where other nodes pass on their clients, and as what they reach it.
    pub listen: Option<String>,
    pub address: Option<String>,
    /// Clients of MQTT 5.0 are sent to the node that serves them.
    pub redirects: bool,
    /// As what clients reach this node.
    pub client_address: Option<String>,
    /// What could forget who is alive is accepted.
    pub is_unsafe: bool,
    /// What is durable is on the node's own disk alone.
    pub is_own_disk: bool,
}

impl ClusterOptions {
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.servers.is_empty()
    }
}

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people, and for journald with its priorities.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// When what is to outlive the process is brought to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// At once, and before it is acknowledged.
    Commit,
    /// So often. Acknowledgements do not wait for it.
    Interval(Span),
}

impl RunOptions {
    /// Logs are copied to the servers of the cluster, and what is durable is there as well.
    #[must_use]
    pub fn copies_logs(&self) -> bool {
        self.cluster.is_on() && self.data_dir.is_some() && !self.cluster.is_own_disk
    }

    /// How long a turn of a shard may take.
    #[must_use]
    pub fn turn_max(&self) -> Option<Span> {
        self.turn_max_ms.map(|ms| Span::from_millis(ms.into()))
    }
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            memory_max: 0,
            turn_max_ms: None,
            bans: BanTerms {
                failures: 10,
                within: Span::from_secs(60),
                span: Span::from_secs(300),
            },
            login_queue_max: 1_000,
            watch_files: false,
            shutdown_timeout: Span::from_secs(5),
            upgrade_drain: Some(Span::from_secs(60)),
            data_dir: None,
            durability: Durability::Commit,
            journal_segment_bytes: 64 << 20,
            journal_bytes_max: None,
            sys_interval: Span::from_secs(10),
            sys_log: false,
            log_format: LogFormat::default(),
            cluster: ClusterOptions::default(),
        }
    }
}
