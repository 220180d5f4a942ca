//! The keys of the nodes: watched by a task that begins anew whenever a watch ends or is silent, and put one at a time.

use std::time::Duration;

use async_nats::jetstream::kv::{Entry, Operation, Store};
use futures_util::StreamExt;
use tokio::sync::mpsc::Sender;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::cluster::membership::{Beat, Put};
use crate::cluster::NodeName;

/// Before a watch that has failed begins anew.
const PAUSE: Duration = Duration::from_millis(250);
/// Each node puts its key every second: a watch that shows nothing for so long has ended with its server, which the client
/// notices some 10 s later.
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
    /// Nothing that the watch has is left to be shown.
    SeenAll,
    /// The put of this number has this revision.
    PutTaken(u64, u64),
    /// The put of this number was refused, or its outcome is unknown.
    PutFailed(u64),
}

/// Sends every change of a key, in order, for as long as they are taken. `begun`: counts the watches that were begun.
pub(super) async fn watch(nodes: Store, events: Sender<KeyEvent>, begun: watch::Sender<u64>) {
    while !events.is_closed() {
        if let Ok(Ok(mut entries)) = timeout(SILENCE, nodes.watch_with_history(">")).await {
            while let Ok(Some(Ok(entry))) = timeout(SILENCE, entries.next()).await {
                if pass_on(&entry, &events).await.is_none() {
                    return; // the link has ended
                }
            }
        }
        sleep(PAUSE).await;
        begun.send_modify(|count| *count += 1);
    }
}

async fn pass_on(entry: &Entry, events: &Sender<KeyEvent>) -> Option<()> {
    // Others are other programs' keys.
    if let Some(name) = NodeName::new(&entry.key) {
        let text = std::str::from_utf8(&entry.value).unwrap_or_default();
        let is_put = entry.operation == Operation::Put;
        let seen = KeyEvent::Seen {
            name,
            revision: entry.revision,
            beat: is_put.then(|| Beat::decode(text)).flatten(),
        };
        events.send(seen).await.ok()?;
    }
    match entry.delta {
        0 => events.send(KeyEvent::SeenAll).await.ok(),
        _ => Some(()),
    }
}

/// Puts this node's key; it comes back by the watch.
pub(super) async fn put(nodes: Store, name: NodeName, put: Put, events: Sender<KeyEvent>) {
    let value = put.beat.encode().into();
    let putting = nodes.update(name.as_str(), value, put.revision);
    let number = put.beat.number;
    let outcome = match timeout(PUT_PATIENCE, putting).await {
        Ok(Ok(revision)) => KeyEvent::PutTaken(number, revision),
        _ => KeyEvent::PutFailed(number),
    };
    let _ = events.send(outcome).await; // or the link has ended
}

/// Deletes the key of this node, if its key is still its own.
pub(super) async fn take_leave(nodes: &Store, name: &NodeName, revision: u64) {
    let deleting = nodes.delete_expect_revision(name.as_str(), Some(revision));
    let _ = timeout(FAREWELL_PATIENCE, deleting).await; // others notice its silence
}
