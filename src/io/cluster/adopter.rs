//! Adopts what a node has kept that is lost: its stream is read and taken over, and the shards adopt its sessions.
//!
//! Of all nodes that take it for dead one wins a compare-and-set on the key `adopt.NODE`, which stays until all is on
//! its own disk and in its own stream. It reads the stream to its end and appends a mark that it has taken over,
//! behind which the other node can append nothing: if the stream has grown meanwhile that is refused, and it reads on.
//!
//! A stream that is damaged, or ends before what its node has announced by its key, is not used: its client ids are refused
//! until the node is back, which has the rest on its disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv::{Entry, Operation, Store};
use async_nats::Client;
use futures_util::StreamExt;
use tokio::sync::mpsc::{unbounded_channel, UnboundedSender};
use tokio::time::{sleep, timeout, Instant};

use super::adopt_claim::{Claim, CLAIM};
use super::appends::{life_of, Appends};
use super::engine::Engine;
use super::state_stream::{Content, StateStream};
use crate::cluster::membership::Beat;
use crate::cluster::{Incarnation, Node, NodeName};
use crate::ids::ShardId;
use crate::io::adopting::NodeLogs;
use crate::io::data_dir::copies::{check_logs, Known, Rebuild};
use crate::io::inbox::ShardCommand;
use crate::io::shared::SharedState;

/// Before what has failed is tried again, and between two looks at another node's attempt.
const PAUSE: Duration = Duration::from_millis(500);
/// A question that was not answered for so long is asked again.
const PATIENCE: Duration = Duration::from_secs(5);
/// A key that was not put for so long is of a node that has ended.
const SILENCE: Duration = Duration::from_secs(6);

/// See the module. Lives on: the cluster's thread.
pub(super) struct Adopter {
    client: Client,
    cluster: String,
    own: Node,
    nodes: Store,
    path: PathBuf,
    segment_bytes: u32,
    shared: Arc<SharedState>,
    /// For who owns the client ids of the lost node.
    events: UnboundedSender<Adoption>,
}

/// What becomes of the client ids of a lost node.
pub(super) enum Adoption {
    /// This node adopts its sessions.
    Begins(NodeName),
    /// It has them, or there was nothing.
    Ended(NodeName),
}

/// What the stream of a lost node says.
struct Lost {
    stream: StateStream,
    known: Known,
    /// Where its last process has begun, and which that is.
    life: u64,
    by: Incarnation,
    /// What it begins and ends with.
    first: u64,
    last: u64,
    /// Another node has begun to take over, and not ended.
    was_taken: bool,
}

impl Adopter {
    /// `folder`: where logs are kept, and bytes of their segments.
    pub(super) fn new(
        engine: &Engine,
        own: &Node,
        (path, segment_bytes): (PathBuf, u32),
        (shared, events): (Arc<SharedState>, UnboundedSender<Adoption>),
    ) -> Self {
        Self {
            client: engine.client.clone(),
            cluster: engine.cluster.clone(),
            own: own.clone(),
            nodes: engine.nodes.clone(),
            path,
            segment_bytes,
            shared,
            events,
        }
    }

    /// Sees to it that the sessions of a lost node are adopted, by this node or another one; and those that it had begun to
    /// adopt.
    pub(super) async fn adopt_all(&self, node: Node) {
        let begun = self.begun_by(&node.name).await;
        self.adopt(&node).await;
        for node in begun {
            self.adopt(&node).await;
        }
    }

    /// What a process of this name before this one had begun.
    pub(super) async fn resume(&self) {
        for node in self.begun_by(&self.own.name).await {
            self.adopt(&node).await;
        }
    }

    /// Nodes whose sessions that one had begun to adopt, when NATS says it.
    async fn begun_by(&self, name: &NodeName) -> Vec<Node> {
        let mut logged = false;
        loop {
            match self.claims_in_time(name).await {
                Ok(begun) => return begun,
                Err(text) if !std::mem::replace(&mut logged, true) => {
                    let name = name.as_str();
                    tracing::warn!(
                        "cluster: whose sessions node {name} had begun to adopt is not known yet: {text}"
                    );
                }
                Err(_) => {}
            }
            sleep(PAUSE).await;
        }
    }

    async fn adopt(&self, node: &Node) {
        let mut logged = String::new();
        loop {
            match self.attempt(node).await {
                Ok(true) => {
                    let ended = Adoption::Ended(node.name.clone());
                    let _ = self.events.send(ended); // or the link has ended
                    return;
                }
                Ok(false) => {}
                Err(text) if text == logged => {}
                Err(text) => {
                    let name = node.name.as_str();
                    tracing::error!(
                        "cluster: the sessions of node {name} are not adopted yet: {text}"
                    );
                    logged = text;
                }
            }
            sleep(PAUSE).await;
        }
    }

    async fn claims_in_time(&self, name: &NodeName) -> Result<Vec<Node>, String> {
        let found = timeout(PATIENCE, self.claims_of(name)).await;
        found.unwrap_or_else(|_| Err("NATS does not answer".into()))
    }

    /// Nodes whose sessions another one has begun to adopt. What a claim says of their lives is the last that it knew.
    async fn claims_of(&self, name: &NodeName) -> Result<Vec<Node>, String> {
        let said = |error: &dyn std::fmt::Display| format!("bucket {}: {error}", self.nodes.name);
        let mut keys = self.nodes.keys().await.map_err(|error| said(&error))?;
        let mut begun = Vec::new();
        while let Some(key) = keys.next().await {
            let key = key.map_err(|error| said(&error))?;
            let Some(node) = key.strip_prefix(CLAIM).and_then(NodeName::new) else {
                continue;
            };
            let entry = self
                .nodes
                .entry(key.as_str())
                .await
                .map_err(|error| said(&error))?;
            let claim = entry.filter(|entry| entry.operation == Operation::Put);
            let claim =
                claim.and_then(|entry| Claim::decode(&String::from_utf8_lossy(&entry.value)));
            if let Some(claim) = claim.filter(|claim| claim.by.name == *name) {
                begun.push(Node {
                    name: node,
                    incarnation: claim.of,
                });
            }
        }
        Ok(begun)
    }

    /// What a node has put last.
    async fn beat_of(&self, name: &NodeName) -> Result<Option<Beat>, String> {
        let entry = self.nodes.entry(name.as_str()).await;
        let entry = entry.map_err(|error| format!("bucket {}: {error}", self.nodes.name))?;
        let beat = entry.filter(|entry| entry.operation == Operation::Put);
        Ok(beat.and_then(|entry| Beat::decode(&String::from_utf8_lossy(&entry.value))))
    }

    /// Another process of the lost node is there.
    async fn is_back(&self, node: &Node) -> Result<bool, String> {
        let beat = self.beat_of(&node.name).await?;
        Ok(beat.is_some_and(|beat| beat.incarnation != node.incarnation))
    }

    /// Refuses a stream that has less than its last process has announced.
    async fn check_end(&self, node: &NodeName, lost: &Lost) -> Result<(), String> {
        let beat = self.beat_of(node).await?;
        let beat = beat.filter(|beat| beat.incarnation == lost.by && beat.copied > lost.last);
        beat.map_or(Ok(()), |beat| {
            Err(format!(
                "stream {} ends with message {}, though {} was acknowledged: the NATS servers have lost its end, which the \
                 node's disk has; nothing of it is used until the node is back. If it is lost for good, deleting its key {} \
                 from bucket {} accepts the loss",
                lost.stream.name(),
                lost.last,
                beat.copied,
                node.as_str(),
                self.nodes.name
            ))
        })
    }

    /// Nothing is appended for longer than a process waits before it is a node.
    async fn is_silent(&self, lost: &Lost) -> Result<bool, String> {
        let since = Instant::now();
        while since.elapsed() < 2 * SILENCE {
            sleep(PAUSE).await;
            if lost.stream.ends().await?.1 != lost.last {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// True: there is nothing left to be adopted.
    async fn attempt(&self, lost_node: &Node) -> Result<bool, String> {
        let node = &lost_node.name;
        let Some(lost) = self.look(node).await? else {
            return Ok(true);
        };
        if !lost.was_taken && self.is_back(lost_node).await? {
            return Ok(true); // it continues with its own
        }
        if !lost.was_taken && lost.by != lost_node.incarnation && !self.is_silent(&lost).await? {
            return Ok(false); // another process of it has begun, and is not among the nodes yet
        }
        if !lost.was_taken && self.is_back(lost_node).await? {
            return Ok(true);
        }
        let Some(revision) = self.claim(lost_node).await? else {
            return Ok(false); // another node does it
        };
        let _ = self.events.send(Adoption::Begins(node.clone())); // or the link has ended
        let name = node.as_str();
        let Some(lost) = self.look(node).await? else {
            self.release(node, revision).await?;
            return Ok(true);
        };
        tracing::info!("cluster: the sessions of node {name} are being adopted by this one");
        self.check_end(node, &lost).await?;
        let path = self.path.join(format!("adopting-{name}"));
        let Some((lost, through)) = self.take_over(lost, &path).await? else {
            self.release(node, revision).await?;
            return Ok(true); // it has come back
        };
        let sessions = self.take_sessions(node, &lost, &path).await;
        lost.stream.purge_all(through).await?;
        let _ = fs::remove_dir_all(&path); // what is left is removed by the next one
        self.release(node, revision).await?;
        tracing::info!("cluster: {sessions} sessions of node {name} are adopted by this one");
        Ok(true)
    }

    /// What the node has left; `None`: nothing.
    async fn look(&self, node: &NodeName) -> Result<Option<Lost>, String> {
        let found = StateStream::find(&self.client, (&self.cluster, node)).await?;
        let Some(stream) = found else {
            return Ok(None); // it had nothing that outlives it
        };
        let (first, last) = stream.ends().await?;
        let takeover = stream.mark_of(stream.takeover()).await?;
        let taken = takeover.map_or(0, |mark| mark.sequence);
        let Some(life) = stream.mark_of(stream.life()).await? else {
            return Ok(None); // all of it is adopted
        };
        let known = Known::decode(&life.text).ok_or("its manifest is of no known format")?;
        let id = stream.id_at(life.sequence).await?;
        let by = id.as_deref().and_then(life_of);
        Ok(Some(Lost {
            by: by.ok_or("its last process has no number")?,
            was_taken: taken > life.sequence,
            life: life.sequence,
            stream,
            known,
            first,
            last,
        }))
    }

    /// Reads all of it, checks it, and appends that it is taken over; up to where it may be removed then. `None`: its
    /// node continues with it.
    async fn take_over(&self, mut lost: Lost, path: &Path) -> Result<Option<(Lost, u64)>, String> {
        let _ = fs::remove_dir_all(path); // there mostly is none
        fs::create_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut after = lost.first.saturating_sub(1);
        loop {
            self.read(&lost, after, path).await?;
            // Before it is taken over: what is not whole is not taken from who may still have it.
            check_logs(path, &lost.known).map_err(|error| {
                format!(
                    "stream {} is damaged: {error}; nothing of it is used",
                    lost.stream.name()
                )
            })?;
            let life = self.own.incarnation;
            let mut appends = Appends::new(lost.stream.clone(), lost.last, life, 0);
            let mark = format!("1 {} {:016x}", self.own.name.as_str(), life.0);
            let through = appends.push(lost.stream.takeover(), mark.into());
            if appends.drain().await.is_ok() {
                return Ok(Some((lost, through)));
            }
            let life = lost.stream.mark_of(lost.stream.life()).await?;
            if life.is_none_or(|mark| mark.sequence != lost.life) {
                return Ok(None);
            }
            after = lost.last;
            lost.last = lost.stream.ends().await?.1;
        }
    }

    async fn read(&self, lost: &Lost, after: u64, path: &Path) -> Result<(), String> {
        let mut files = Rebuild::new(path, self.segment_bytes);
        let mut visit = |_, content: Content<'_>| match content {
            Content::Frame((shard, of), piece) if of == lost.known.shards => files
                .piece((shard, of), &piece)
                .map_err(|error| error.to_string()),
            _ => Ok(()),
        };
        lost.stream.read((after, lost.last), &mut visit).await?;
        files.finish().map_err(|error| error.to_string())
    }

    /// Has the shards adopt them, and waits until all of it is as durable as their own.
    async fn take_sessions(&self, node: &NodeName, lost: &Lost, path: &Path) -> usize {
        let logs = Arc::new(NodeLogs {
            node: node.as_str().to_owned(),
            path: path.to_owned(),
            known: lost.known.clone(),
            is_again: lost.was_taken,
        });
        let (done, mut is_done) = unbounded_channel();
        for shard in (0..self.shared.shards()).map(ShardId) {
            let done = done.clone();
            let adopted = Box::new(move |sessions| {
                let _ = done.send(sessions); // it waits for it
            });
            let order = ShardCommand::Adopt(Arc::clone(&logs), adopted);
            self.shared.send(shard, order); // a shard takes what is in its inbox in each turn
        }
        drop(done);
        let mut sessions = 0;
        while let Some(some) = is_done.recv().await {
            sessions += some;
        }
        sessions
    }

    /// Has the key for this node; its revision. `None`: another node has it, and is alive.
    async fn claim(&self, node: &Node) -> Result<Option<u64>, String> {
        let key = format!("{CLAIM}{}", node.name.as_str());
        let claim = Claim {
            by: self.own.clone(),
            of: node.incarnation,
        };
        let held = self.nodes.entry(key.as_str()).await;
        let held = held.map_err(|error| format!("bucket {}: {error}", self.nodes.name))?;
        let revision = match &held {
            None => 0,
            Some(entry) if entry.operation != Operation::Put => entry.revision,
            Some(entry) if self.is_held(entry).await? => return Ok(None),
            Some(entry) => entry.revision,
        };
        // Refused when another node has been faster; and looked at again.
        let put = self
            .nodes
            .update(key.as_str(), claim.encode().into(), revision)
            .await;
        Ok(put.ok())
    }

    /// By another node that is alive. It puts its own key each second.
    async fn is_held(&self, claim: &Entry) -> Result<bool, String> {
        let Some(claim) = Claim::decode(&String::from_utf8_lossy(&claim.value)) else {
            return Ok(false);
        };
        if claim.by.name == self.own.name {
            return Ok(false); // of a process before this one, or of an attempt that has failed
        }
        let mut seen = None;
        let since = Instant::now();
        while since.elapsed() < SILENCE {
            let entry = self.nodes.entry(claim.by.name.as_str()).await;
            let entry = entry.map_err(|error| error.to_string())?;
            let entry = entry.filter(|entry| entry.operation == Operation::Put);
            let beat = (entry.as_ref())
                .and_then(|entry| Beat::decode(&String::from_utf8_lossy(&entry.value)));
            let (Some(entry), Some(beat)) = (entry, beat) else {
                return Ok(false); // it has left
            };
            if beat.incarnation != claim.by.incarnation {
                return Ok(true); // it has begun anew, and continues what it had begun
            }
            if seen.is_some_and(|seen| seen != entry.revision) {
                return Ok(true);
            }
            seen = Some(entry.revision);
            sleep(PAUSE).await;
        }
        Ok(false)
    }

    async fn release(&self, node: &NodeName, revision: u64) -> Result<(), String> {
        let key = format!("{CLAIM}{}", node.as_str());
        let deleting = self
            .nodes
            .delete_expect_revision(&key, Some(revision))
            .await;
        deleting.map_err(|error| format!("bucket {}: {error}", self.nodes.name))
    }
}
