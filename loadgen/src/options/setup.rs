//! Options that every run has, whatever its scenario: where it runs, against whom, what it writes.

use std::net::{SocketAddr, ToSocketAddrs};

use clap::Args;

use crate::agents::AgentOptions;
use crate::output::Output;
use crate::plan::Options;
use crate::sources::Source;
use crate::system;
use crate::transport::TransportOptions;

/// Broker of a run that names none.
const TARGET: &str = "127.0.0.1:1883";

/// Against whom, from where, and what is written.
#[derive(Args, Clone, Debug)]
pub struct Setup {
    /// Broker's HOST:PORT, may be repeated: each group's clients take them in turn [default: 127.0.0.1:1883]
    #[arg(long, value_name = "HOST:PORT")]
    pub target: Vec<String>,
    /// Workers, one per core
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Cores to pin the workers to, like 2,3; without it the last ones, when there are enough
    #[arg(long, value_delimiter = ',')]
    pub cores: Vec<usize>,
    /// Leaves the choice of cores to the system
    #[arg(long, conflicts_with = "cores")]
    pub unpinned: bool,
    #[command(flatten)]
    pub transport: TransportOptions,
    #[arg(long)]
    pub user: Option<String>,
    #[arg(long)]
    pub password: Option<String>,
    /// Local addresses to connect from, in turn; ranges like 127.0.0.0/8 too
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS")]
    pub source: Vec<Source>,
    /// Seed of arrivals and sizes; also makes client identifiers of runs differ
    #[arg(long)]
    pub seed: Option<u64>,
    /// Process whose memory and CPU time to watch
    #[arg(long, value_name = "PID")]
    pub broker_pid: Option<u32>,
    /// Name of this run in reports
    #[arg(long)]
    pub label: Option<String>,
    /// No line each second
    #[arg(long)]
    pub quiet: bool,
    #[command(flatten)]
    pub agents: AgentOptions,
    #[command(flatten)]
    pub output: Output,
}

impl Setup {
    /// The targets given here, else `others`, else the usual one.
    #[must_use]
    pub fn targets(&self, others: &[String]) -> Vec<String> {
        let usual = [TARGET.to_string()];
        let chosen = [&self.target[..], others, &usual];
        let chosen = chosen.into_iter().find(|targets| !targets.is_empty());
        chosen.unwrap_or_default().to_vec()
    }

    /// Seed given, or a random one.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(|| fastrand::u64(..) & 0xFFFF_FFFF)
    }

    /// How to run.
    ///
    /// # Errors
    /// A sentence when threads and cores do not fit.
    pub fn options(&self) -> Result<Options, String> {
        if self.threads == 0 {
            return Err("--threads must be at least 1".into());
        }
        let cores_here = if self.agents.agents.is_empty() {
            &self.cores[..]
        } else {
            &[] // they are the agents' cores
        };
        if !self.cores.is_empty() && self.cores.len() != self.threads {
            return Err(format!(
                "--cores names {} cores for {} threads",
                self.cores.len(),
                self.threads
            ));
        }
        let allowed = system::cores();
        if let Some(core) = cores_here.iter().find(|core| !allowed.contains(core)) {
            return Err(format!(
                "--cores: this process may not use core {core}, only {allowed:?}"
            ));
        }
        Ok(Options {
            threads: self.threads,
            cores: match &self.cores[..] {
                _ if self.unpinned => Vec::new(),
                [] => crate::engine::cores_for(self.threads, &allowed),
                cores => cores.to_vec(),
            },
            quiet: self.quiet,
            label: self.label.clone(),
            command: crate::agents::redacted(std::env::args()),
            broker_pid: self.broker_pid,
            file_text: None,
        })
    }
}

/// Addresses of targets, each HOST:PORT.
///
/// # Errors
/// A sentence when a target's name is not known.
pub(crate) fn resolve(targets: &[String]) -> Result<Vec<SocketAddr>, String> {
    let resolve = |target: &String| {
        let mut found = target
            .to_socket_addrs()
            .map_err(|error| format!("--target {target}: {error}; give HOST:PORT"))?;
        found
            .next()
            .ok_or_else(|| format!("--target {target}: no address"))
    };
    targets.iter().map(resolve).collect()
}
