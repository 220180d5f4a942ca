//! Options that every run has, whatever its scenario: where it runs, against whom, what it writes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::target::Endpoint;
use crate::agents::AgentOptions;
use crate::metrics::{self, Live};
use crate::output::Output;
use crate::payload::Sample;
use crate::plan::Options;
use crate::poller::Backend;
use crate::secrets::redacted;
use crate::sources::Source;
use crate::system;
use crate::transport::TransportOptions;

/// Broker of a run that names none.
const TARGET: &str = "127.0.0.1";

/// So many workers may always be asked for.
const THREADS_MIN: usize = 16;

/// Against whom, from where, and what is written.
#[derive(Args, Clone, Debug)]
pub struct Setup {
    /// Broker's HOST, HOST:PORT or mqtt://USER@HOST:PORT (mqtts, ws, wss), may be repeated: each group's clients
    /// take them in turn [default: 127.0.0.1:1883]
    #[arg(long, value_name = "TARGET")]
    pub target: Vec<String>,
    /// A client whose target fails goes to the next --target, and with --reconnect so do those that lose their
    /// connections; all addresses of a name are tried in any case
    #[arg(long)]
    pub failover: bool,
    /// Workers, one per core
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Cores to pin the workers to, like 2,3; without it the last ones, when there are enough
    #[arg(long, value_delimiter = ',')]
    pub cores: Vec<usize>,
    /// Leaves the choice of cores to the system
    #[arg(long, conflicts_with = "cores")]
    pub unpinned: bool,
    /// What watches sockets
    #[arg(long, value_enum, default_value_t)]
    pub backend: Backend,
    #[command(flatten)]
    pub transport: TransportOptions,
    #[arg(long)]
    pub user: Option<String>,
    /// Better in the environment or a file: until it is read, all users of the machine can see what is on the
    /// command line
    #[arg(long, env = "MQLOAD_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// File whose first line is the password
    #[arg(long, value_name = "FILE", conflicts_with = "password")]
    pub password_file: Option<PathBuf>,
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
    /// The broker's name and version, for results
    #[arg(long, value_name = "TEXT")]
    pub broker_name: Option<String>,
    /// Serves OpenMetrics and a live page on this address (or port of 127.0.0.1) during the run
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = metrics::parse_address)]
    pub metrics: Option<SocketAddr>,
    /// Compares payload, topic name and properties in one of so many messages, 0 in none. Headers and lengths,
    /// losses, duplicates and order, QoS, RETAIN and DUP are verified of all
    #[arg(long, default_value_t = 1, value_name = "ONE_OF")]
    pub check_content: u32,
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

    /// Where to connect: the targets given here, else `others`, over `transport` unless they are URLs; the
    /// user and password of these come after the options.
    ///
    /// # Errors
    /// A sentence when a target is none, or the file of the password cannot be read.
    pub(crate) fn endpoint(
        &self,
        others: &[String],
        transport: &TransportOptions,
    ) -> Result<Endpoint, String> {
        let mut endpoint = Endpoint::of(&self.targets(others), transport)?;
        if self.user.is_some() {
            endpoint.user.clone_from(&self.user);
        }
        if self.password.is_some() {
            endpoint.password.clone_from(&self.password);
        }
        if let Some(path) = &self.password_file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("--password-file {}: {error}", path.display()))?;
            endpoint.password = Some(text.lines().next().unwrap_or_default().to_string());
        }
        Ok(endpoint)
    }

    /// Messages of which the content is compared.
    pub(crate) fn sample(&self) -> Sample {
        Sample::one_of(self.check_content)
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
        let most = THREADS_MIN.max(4 * allowed.len());
        if self.threads > most && self.agents.agents.is_empty() {
            return Err(format!(
                "--threads {}: this process may use {} cores, and {most} workers at most make sense on them",
                self.threads,
                allowed.len()
            ));
        }
        if let Some(pid) = self.broker_pid {
            if system::process(pid).is_none() {
                return Err(format!("--broker-pid {pid}: there is no such process"));
            }
        }
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
            backend: self.backend,
            quiet: self.quiet,
            label: self.label.clone(),
            broker_name: self.broker_name.clone(),
            command: redacted(std::env::args()),
            broker_pid: self.broker_pid,
            file_text: None,
            live: None,
        })
    }

    /// Serves the run's figures during it, when that is asked for.
    ///
    /// # Errors
    /// A sentence when it cannot listen.
    pub(crate) fn watch(&self) -> Result<Option<Arc<Live>>, String> {
        let Some(address) = self.metrics else {
            return Ok(None);
        };
        let live = Arc::new(Live::default());
        let address = metrics::serve(address, Arc::clone(&live))?;
        eprintln!(
            "mqload: live page on http://{address}/, OpenMetrics on http://{address}/metrics"
        );
        Ok(Some(live))
    }
}
