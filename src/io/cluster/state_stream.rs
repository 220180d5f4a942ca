//! The stream that has copies of a node's logs: made and checked, and read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, InfoError, RetentionPolicy, StorageType, Stream,
};
use async_nats::jetstream::{self, Context};
use async_nats::{header, Client};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::retry;
use crate::cluster::NodeName;
use crate::ids::ShardId;
use crate::journal::Piece;

/// Servers that must have a key or a message before it counts.
pub(super) const REPLICAS: usize = 3;
/// A message that is larger is none of a node's.
const MESSAGE_MAX: i32 = 1 << 20;

/// Between two messages that are read.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module. Lives on: the cluster's thread.
#[derive(Clone)]
pub(super) struct StateStream {
    pub(super) context: Context,
    stream: Stream,
    /// Of its subjects.
    prefix: String,
    /// The last message of which this process has an acknowledgement.
    acknowledged: Arc<AtomicU64>,
}

/// What a message says.
pub(super) enum Content<'a> {
    /// A process continues with these logs, by this manifest.
    Life,
    /// Another node has what was before.
    Takeover,
    /// Of a shard's log, among so many.
    Frame((ShardId, u16), Piece<'a>),
}

/// A message that says where in the stream something was.
pub(super) struct Mark {
    pub(super) sequence: u64,
    pub(super) text: String,
}

impl StateStream {
    /// Makes it where there is none; and what is doubtful about it.
    pub(super) async fn open(
        client: &Client,
        (cluster, node): (&str, &NodeName),
        is_unsafe: bool,
    ) -> Result<(Self, Option<String>), String> {
        let context = jetstream::new(client.clone());
        let made =
            retry::ask(|| context.get_or_create_stream(config(cluster, node, REPLICAS))).await;
        let error = match made {
            Ok(stream) => return Self::checked(context, stream, (cluster, node)),
            Err(error) => error,
        };
        let doubt =
            format!("the NATS servers cannot keep copies of logs on {REPLICAS} of them: {error}");
        if !is_unsafe {
            return Err(format!(
                "{doubt}; cluster-unsafe makes do with one, for tests; cluster-durability = \"node\" makes none"
            ));
        }
        let made = retry::ask(|| context.get_or_create_stream(config(cluster, node, 1))).await;
        let stream = made.map_err(|error| format!("stream {}: {error}", name_of(cluster, node)))?;
        let (it, _) = Self::checked(context, stream, (cluster, node))?;
        Ok((it, Some(doubt)))
    }

    /// The one of another node, if it has any.
    pub(super) async fn find(
        client: &Client,
        (cluster, node): (&str, &NodeName),
    ) -> Result<Option<Self>, String> {
        let context = jetstream::new(client.clone());
        let found = retry::ask(|| async {
            match context.get_stream(name_of(cluster, node)).await {
                Ok(stream) => Ok(Some(stream)),
                Err(error) if error.to_string().contains("not found") => Ok(None),
                Err(error) => Err(error.to_string()),
            }
        });
        Ok(found.await?.map(|stream| Self {
            context: context.clone(),
            stream,
            prefix: prefix_of(cluster, node),
            acknowledged: Arc::default(),
        }))
    }

    fn checked(
        context: Context,
        stream: Stream,
        (cluster, node): (&str, &NodeName),
    ) -> Result<(Self, Option<String>), String> {
        let config = &stream.cached_info().config;
        let name = name_of(cluster, node);
        let doubt = |text: &str| Some(format!("stream {name} {text}"));
        let doubt = match config {
            it if it.num_replicas < REPLICAS => doubt("has fewer than three replicas"),
            it if it.storage != StorageType::File => doubt("is not in files"),
            it if !it.max_age.is_zero() => doubt("lets messages expire"),
            it if it.max_bytes > 0 || it.max_messages > 0 || it.max_messages_per_subject > 0 => {
                doubt("has a limit, beyond which it forgets")
            }
            it if it.retention != RetentionPolicy::Limits => doubt("forgets what was read"),
            _ => None,
        };
        let prefix = prefix_of(cluster, node);
        let it = Self {
            context,
            stream,
            prefix,
            acknowledged: Arc::default(),
        };
        Ok((it, doubt))
    }

    /// Everything up to this message is there, for as long as the servers keep what they have acknowledged.
    pub(super) fn acknowledge(&self, sequence: u64) {
        self.acknowledged.store(sequence, Ordering::Relaxed);
    }

    /// What this process has [acknowledged](Self::acknowledge) of it.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    pub(super) fn name(&self) -> &str {
        &self.stream.cached_info().config.name
    }

    pub(super) fn life(&self) -> String {
        format!("{}.life", self.prefix)
    }

    pub(super) fn takeover(&self) -> String {
        format!("{}.takeover", self.prefix)
    }

    /// Of a shard's log, among so many.
    pub(super) fn frames(&self, shard: ShardId, of: u16) -> String {
        format!("{}.frames.{of}.{}", self.prefix, shard.0)
    }

    /// Of all logs of so many shards.
    pub(super) fn all_frames(&self, of: u16) -> String {
        format!("{}.frames.{of}.*", self.prefix)
    }

    /// The sequences that it begins and ends with.
    pub(super) async fn ends(&self) -> Result<(u64, u64), String> {
        let asked = retry::ask(|| async {
            let mut stream = self.stream.clone();
            let info = stream.info().await?;
            Ok::<_, InfoError>((info.state.first_sequence, info.state.last_sequence))
        });
        asked.await.map_err(|error| self.said(&error))
    }

    /// The sequence that it ends with. It may be of a moment ago: only an append finds out.
    pub(super) async fn last(&self) -> Result<u64, String> {
        Ok(self.ends().await?.1)
    }

    /// The last message of a subject.
    pub(super) async fn last_of(&self, subject: String) -> Result<Option<(u64, Vec<u8>)>, String> {
        let asked = retry::ask(|| async {
            match self.stream.get_last_raw_message_by_subject(&subject).await {
                Ok(message) => Ok(Some((message.sequence, message.payload.to_vec()))),
                Err(error) if error.to_string().contains("no message found") => Ok(None),
                Err(error) => Err(error),
            }
        });
        asked.await.map_err(|error| self.said(&error))
    }

    pub(super) async fn mark_of(&self, subject: String) -> Result<Option<Mark>, String> {
        let found = self.last_of(subject).await?;
        Ok(found.map(|(sequence, payload)| Mark {
            sequence,
            text: String::from_utf8_lossy(&payload).into_owned(),
        }))
    }

    /// By what its writer has numbered a message.
    pub(super) async fn id_at(&self, sequence: u64) -> Result<Option<String>, String> {
        let message = retry::ask(|| self.stream.get_raw_message(sequence)).await;
        let message = message.map_err(|error| self.said(&error))?;
        let id = message.headers.get(header::NATS_MESSAGE_ID);
        Ok(id.map(|id| id.as_str().to_owned()))
    }

    /// Hands on what lies behind `after`, up to `through`, which is there.
    pub(super) async fn read(
        &self,
        (after, through): (u64, u64),
        visit: &mut (dyn FnMut(u64, Content<'_>) -> Result<(), String> + Send),
    ) -> Result<(), String> {
        if after >= through {
            return Ok(());
        }
        let config = OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: after + 1,
            },
            ..OrderedConfig::default()
        };
        let consumer = retry::ask(|| self.stream.create_consumer(config.clone())).await;
        let consumer = consumer.map_err(|error| self.said(&error))?;
        let messages = consumer.messages().await;
        let mut messages = messages.map_err(|error| self.said(&error))?;
        while let Ok(Some(message)) = timeout(PATIENCE, messages.next()).await {
            let message = message.map_err(|error| self.said(&error))?;
            let info = message.info().map_err(|error| self.said(&error))?;
            let sequence = info.stream_sequence;
            if sequence <= through {
                let content = self.content(&message.subject, &message.payload);
                let unknown = || {
                    format!(
                        "stream {}: message {sequence} is of no known format",
                        self.name()
                    )
                };
                visit(sequence, content.ok_or_else(unknown)?)?;
            }
            if sequence >= through {
                return Ok(());
            }
        }
        Err(format!(
            "stream {} does not give what is before message {through}",
            self.name()
        ))
    }

    fn content<'a>(&self, subject: &str, payload: &'a [u8]) -> Option<Content<'a>> {
        let rest = subject.strip_prefix(&self.prefix)?.strip_prefix('.')?;
        match rest {
            "life" => return Some(Content::Life),
            "takeover" => return Some(Content::Takeover),
            _ => {}
        }
        let (of, shard) = rest.strip_prefix("frames.")?.split_once('.')?;
        let log = (ShardId(shard.parse().ok()?), of.parse().ok()?);
        Some(Content::Frame(log, Piece::decode(payload)?))
    }

    /// Removes what a subject, or several, have before a sequence.
    pub(super) async fn purge(&self, subjects: String, before: u64) -> Result<(), String> {
        let purge = || async { self.stream.purge().sequence(before).filter(&subjects).await };
        let purged = retry::ask(purge).await;
        purged.map(drop).map_err(|error| self.said(&error))
    }

    /// Removes everything before a sequence.
    pub(super) async fn purge_all(&self, before: u64) -> Result<(), String> {
        let purged = retry::ask(|| async { self.stream.purge().sequence(before).await }).await;
        purged.map(drop).map_err(|error| self.said(&error))
    }

    fn said(&self, error: &dyn std::fmt::Display) -> String {
        format!("stream {}: {error}", self.name())
    }
}

fn name_of(cluster: &str, node: &NodeName) -> String {
    format!("ringmq-{cluster}-log-{}", node.as_str())
}

fn prefix_of(cluster: &str, node: &NodeName) -> String {
    format!("ringmq.{cluster}.log.{}", node.as_str())
}

fn config(cluster: &str, node: &NodeName, num_replicas: usize) -> Config {
    Config {
        name: name_of(cluster, node),
        description: Some("copies of the logs of a node of ringmq".into()),
        subjects: vec![format!("{}.>", prefix_of(cluster, node))],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        max_message_size: MESSAGE_MAX,
        deny_delete: true,
        num_replicas,
        ..Config::default()
    }
}
