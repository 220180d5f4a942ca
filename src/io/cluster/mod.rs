//! The link of a cluster: one thread with a connection to NATS, tied to the shards by the rings that tie them to each
//! other.
//!
//! What it decides is in values: the exchange (`shard`) and the membership (`cluster`). Here is what they need of the
//! world: the connection ([`engine`]), the keys of the nodes ([`keys`]) and of the lanes ([`lane_keys`]), and a loop
//! ([`link`]) that waits for whichever has something. Beside it a thread passes on clients of other nodes ([`relays`]).

mod adopt_claim;
mod adopter;
mod appends;
mod at_start;
mod engine;
mod keys;
mod lane_keys;
mod link;
mod ownership;
mod relays;
mod retry;
mod state_stream;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use super::clock::Clock;
use super::data_dir::copies::Known;
use super::data_dir::{lock_folder, DataDir};
use super::errors::StartError;
use super::log_copies::{LogCopies, ToCopies};
use super::mesh::Mesh;
use super::shared::SharedState;
use crate::cluster::{Incarnation, Node, NodeName};
use crate::run_options::{ClusterOptions, Durability, RunOptions};
use crate::shard::{Block, ShardConfig};
use engine::Engine;
use link::Link;
use state_stream::StateStream;

/// At the end other nodes are notified; the process waits no longer than that.
const FAREWELL_PATIENCE: Duration = Duration::from_millis(1_500);

/// What the link's thread needs to begin.
struct Begin {
    mesh: Mesh<Block>,
    config: Arc<ShardConfig>,
    /// Shards have answers wait for their disks.
    awaits_commits: bool,
    own: Node,
    clock: Clock,
    /// With the bytes of a segment.
    data_dir: Option<(PathBuf, u32)>,
    end: oneshot::Receiver<()>,
    options: ClusterOptions,
}

/// What the start has for the link's thread.
enum Order {
    /// The data directory is locked, and not open.
    Prepare(PathBuf, u32, Answer),
    /// It is open: its logs are copied from here on.
    Copy(Copy, Answer),
    Begin(Box<Begin>),
}

type Answer = mpsc::Sender<Result<(), String>>;

/// Logs that are to be copied.
struct Copy {
    path: PathBuf,
    known: Known,
    shards: u16,
    items: UnboundedReceiver<ToCopies>,
    shared: Arc<SharedState>,
}

/// A connection to NATS that was checked; its thread waits to begin.
pub(super) struct Cluster {
    own: Node,
    options: ClusterOptions,
    awaits_commits: bool,
    data_dir: Option<(PathBuf, u32)>,
    orders: UnboundedSender<Order>,
    thread: JoinHandle<()>,
}

/// The end of the broker that takes leave.
pub(super) struct Farewell {
    end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Cluster {
    /// Connects and checks the servers. `None`: this broker is a node of no cluster.
    ///
    /// # Errors
    /// A server cannot be reached, or is not one that a cluster may rely on.
    pub(super) fn connect(run: &RunOptions) -> Result<Option<Self>, StartError> {
        let options = &run.cluster;
        let awaits_commits = run.data_dir.is_some() && run.durability == Durability::Commit;
        let Some(name) = options.node.as_deref().filter(|_| options.is_on()) else {
            return Ok(None);
        };
        let name = NodeName::new(name);
        let name = name.ok_or_else(|| StartError::Cluster("node is no name".into()))?;
        let mut incarnation = [0; 8];
        getrandom::fill(&mut incarnation).map_err(std::io::Error::from)?;
        let incarnation = Incarnation(u64::from_ne_bytes(incarnation));
        let own = Node { name, incarnation };
        let (orders, given) = unbounded_channel();
        let (report, reported) = mpsc::sync_channel(1);
        let (begun_with, node) = (run.clone(), own.clone());
        let thread = thread::Builder::new()
            .name("cluster".into())
            .spawn(move || serve(&begun_with, &node, &report, given))?;
        let ended = || Err("its thread has ended".to_owned());
        let connected = reported.recv().unwrap_or_else(|_| ended());
        connected.map_err(StartError::Cluster)?;
        Ok(Some(Self {
            own,
            options: options.clone(),
            awaits_commits,
            data_dir: (run.data_dir.as_deref())
                .map(|path| (PathBuf::from(path), run.journal_segment_bytes)),
            orders,
            thread,
        }))
    }

    /// Before a data directory is opened: makes it what the cluster has of it. Its lock.
    ///
    /// # Errors
    /// It cannot be, or NATS does not answer.
    pub(super) fn prepare(&self, run: &RunOptions) -> Result<Option<OwnedFd>, StartError> {
        let Some(path) = run.data_dir.as_deref().filter(|_| run.copies_logs()) else {
            return Ok(None);
        };
        let path = PathBuf::from(path);
        let lock = lock_folder(&path)?;
        self.ask(|answer| Order::Prepare(path, run.journal_segment_bytes, answer))?;
        Ok(Some(lock.into()))
    }

    /// The logs of an open data directory are copied from here on. What they have is there when this returns.
    ///
    /// # Errors
    /// NATS does not answer, or another process writes.
    pub(super) fn copy(
        &self,
        run: &RunOptions,
        data: &DataDir,
        shared: &Arc<SharedState>,
    ) -> Result<Option<LogCopies>, StartError> {
        if !run.copies_logs() {
            return Ok(None);
        }
        let (copies, items) = unbounded_channel();
        let copy = Copy {
            path: data.path().to_owned(),
            known: data.known(),
            shards: shared.shards(),
            items,
            shared: Arc::clone(shared),
        };
        self.ask(|answer| Order::Copy(copy, answer))?;
        Ok(Some(LogCopies(copies)))
    }

    fn ask(&self, order: impl FnOnce(Answer) -> Order) -> Result<(), StartError> {
        let (answer, answered) = mpsc::channel();
        let _ = self.orders.send(order(answer)); // then there is no answer either
        let ended = || Err("its thread has ended".to_owned());
        let done = answered.recv().unwrap_or_else(|_| ended());
        done.map_err(StartError::Cluster)
    }

    /// Ties the link to the shards: the last of `meshes` is its own.
    pub(super) fn begin(
        self,
        meshes: &mut Vec<Mesh<Block>>,
        config: &Arc<ShardConfig>,
        clock: Clock,
    ) -> Result<Farewell, StartError> {
        let ended = || StartError::Cluster("its thread has ended".into());
        let mesh = meshes.pop().ok_or_else(ended)?;
        let (end, ending) = oneshot::channel();
        let begin = Begin {
            mesh,
            config: Arc::clone(config),
            awaits_commits: self.awaits_commits,
            own: self.own,
            clock,
            data_dir: self.data_dir,
            end: ending,
            options: self.options,
        };
        let begin = Order::Begin(Box::new(begin));
        self.orders.send(begin).map_err(|_| ended())?;
        Ok(Farewell {
            end,
            thread: self.thread,
        })
    }
}

impl Farewell {
    /// Other nodes learn that this one has ended, if they can be reached soon.
    pub(super) fn say(self) {
        let _ = self.end.send(()); // fails when the thread has ended
        let _ = self.thread.join();
    }
}

fn serve(
    run: &RunOptions,
    own: &Node,
    report: &mpsc::SyncSender<Result<(), String>>,
    orders: UnboundedReceiver<Order>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return drop(report.send(Err(error.to_string()))),
    };
    runtime.block_on(async {
        let engine = match Engine::connect(&run.cluster, own, run.copies_logs()).await {
            Ok(engine) => engine,
            Err(text) => return drop(report.send(Err(text))),
        };
        let listener = match ownership::listen(&run.cluster, &engine) {
            Ok(listener) => listener,
            Err(text) => return drop(report.send(Err(text))),
        };
        let _ = report.send(Ok(())); // the start waits for it
        let Some(begin) = carry_out(&engine, own, orders).await else {
            return; // the start has failed
        };
        match Link::new(engine, listener, begin) {
            Ok(link) => link.run().await,
            Err(error) => tracing::error!("cluster: the link cannot begin: {error}"),
        }
    });
    runtime.shutdown_timeout(FAREWELL_PATIENCE);
}

/// What the start needs before the link begins.
async fn carry_out(
    engine: &Engine,
    own: &Node,
    mut orders: UnboundedReceiver<Order>,
) -> Option<Begin> {
    let none = || Err("there is no stream for copies of logs".to_owned());
    loop {
        match orders.recv().await? {
            Order::Begin(begin) => return Some(*begin),
            Order::Prepare(path, segment_bytes, answer) => {
                let done = match &engine.copies {
                    None => none(),
                    Some(stream) => {
                        let key = (&engine.nodes, &own.name);
                        at_start::prepare(stream, (&path, segment_bytes), key).await
                    }
                };
                let _ = answer.send(done); // the start waits for it
            }
            Order::Copy(copy, answer) => {
                let done = match &engine.copies {
                    None => none(),
                    Some(stream) => begin_copies(stream.clone(), own, copy).await,
                };
                let _ = answer.send(done); // the start waits for it
            }
        }
    }
}

async fn begin_copies(stream: StateStream, own: &Node, copy: Copy) -> Result<(), String> {
    let logs = (copy.path.as_path(), &copy.known);
    let appends = at_start::go_on(stream, logs, (own.incarnation, copy.shards)).await?;
    tokio::spawn(appends.run(copy.items, copy.shared));
    Ok(())
}
