//! The keys of the nodes: watched by a task that begins anew whenever a watch ends, and put one at a time.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv::{Operation, Store};
use futures_util::StreamExt;
use tokio::sync::mpsc::Sender;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::cluster::membership::{Beat, Put};
use crate::cluster::NodeName;

/// Before a watch that has failed begins anew.
const PAUSE: Duration = Duration::from_millis(250);
/// A watch ends with the server that serves it, which the client notices after 10 s. Each node puts its own key every second:
/// nothing for so long is such an end.
const SILENCE: Duration = Duration::from_millis(2_500);
/// What became of a put that takes longer is unknown.
const PUT_PATIENCE: Duration = Duration::from_millis(2_500);
const FAREWELL_PATIENCE: Duration = Duration::from_millis(1_000);

/// What happens to keys.
pub(super) enum KeyEvent {
    Seen {
        name: NodeName,
        revision: u64,
        /// `None`: it was deleted.
        beat: Option<Beat>,
    },
    /// The put of this number was taken.
    PutDone { number: u64, revision: u64 },
    /// The put of this number was refused, or its outcome is unknown.
    PutFailed(u64),
}

/// Sends every change of a key, in order, for as long as they are taken. Silence is told to other watches, too.
pub(super) async fn watch(nodes: Store, events: Sender<KeyEvent>, silence: Arc<Notify>) {
    while !events.is_closed() {
        if let Ok(mut entries) = nodes.watch_with_history(">").await {
            loop {
                let Ok(next) = timeout(SILENCE, entries.next()).await else {
                    silence.notify_one();
                    break;
                };
                let Some(Ok(entry)) = next else {
                    break;
                };
                let Some(name) = NodeName::new(&entry.key) else {
                    continue; // another program's
                };
                let text = std::str::from_utf8(&entry.value).unwrap_or_default();
                let seen = KeyEvent::Seen {
                    name,
                    revision: entry.revision,
                    beat: (entry.operation == Operation::Put)
                        .then(|| Beat::decode(text))
                        .flatten(),
                };
                if events.send(seen).await.is_err() {
                    return; // the link has ended
                }
            }
        }
        sleep(PAUSE).await;
    }
}

/// Puts this node's key; it comes back by the watch, too.
pub(super) async fn put(nodes: Store, name: NodeName, put: Put, events: Sender<KeyEvent>) {
    let value = put.beat.encode().into();
    let putting = nodes.update(name.as_str(), value, put.revision);
    let number = put.beat.number;
    let outcome = match timeout(PUT_PATIENCE, putting).await {
        Ok(Ok(revision)) => KeyEvent::PutDone { number, revision },
        _ => KeyEvent::PutFailed(number),
    };
    let _ = events.send(outcome).await; // or the link has ended
}

/// Deletes the key of this node, if its key is still its own.
pub(super) async fn take_leave(nodes: &Store, name: &NodeName, revision: u64) {
    let deleting = nodes.delete_expect_revision(name.as_str(), Some(revision));
    let _ = timeout(FAREWELL_PATIENCE, deleting).await; // others notice its silence
}
