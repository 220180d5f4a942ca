//! The keys of the lanes: watched as those of the nodes are, and put over the revision that was seen.
//!
//! They may rest for days, so silence says nothing of a watch: what the bucket ends with is compared with what was shown.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv::{Operation, Store};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc::Sender;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::retry;
use crate::cluster::lanes::{Claim, Details, Group, LaneKey, Owner};
use crate::cluster::relay_header::RelaySecret;
use crate::cluster::NodeName;

/// Before a watch that has failed begins anew.
const PAUSE: Duration = Duration::from_millis(250);
/// A watch that has shown nothing for so long is compared with its bucket.
const SILENCE: Duration = Duration::from_millis(2_500);
/// What became of a put that takes longer is unknown.
const PUT_PATIENCE: Duration = Duration::from_millis(2_500);

/// Made once by the node that comes first.
const SECRET: &str = "secret";
const SECRET_BYTES: usize = 16 + 32;
/// What happens to keys.
pub(super) enum LaneEvent {
    Owner {
        group: Group,
        revision: u64,
        /// `None`: it was deleted.
        owner: Option<Owner>,
    },
    Node {
        name: NodeName,
        details: Option<Details>,
    },
    /// The claim of this group was refused, or its outcome is unknown.
    ClaimFailed(Group),
    DetailsFailed,
}

/// What the nodes of a cluster share: who has it hashes client ids as they do, and is believed as a node.
pub(super) struct Secret {
    pub(super) lanes: LaneKey,
    pub(super) relays: Arc<RelaySecret>,
}

/// The secret of the cluster, drawn where there is none.
pub(super) async fn secret(lanes: &Store) -> Result<Secret, String> {
    let mut drawn = [0; SECRET_BYTES];
    getrandom::fill(&mut drawn).map_err(|error| error.to_string())?;
    let text: String = drawn.iter().map(|byte| format!("{byte:02x}")).collect();
    let said =
        |text: &dyn std::fmt::Display| format!("bucket {}: key {SECRET}: {text}", lanes.name);
    // Also when there is one, which a replica that is read may not have yet.
    let text = retry::ask_while(|_| true, || written_or(lanes, &text)).await;
    let text = text.map_err(|error| said(&error))?;
    let bytes = from_hex(&text).ok_or_else(|| said(&"is not one of ringmq's"))?;
    let (lanes, relays) = bytes.split_at(16);
    let is_long = "they were counted";
    Ok(Secret {
        lanes: LaneKey(lanes.try_into().expect(is_long)),
        relays: Arc::new(RelaySecret::new(relays.try_into().expect(is_long))),
    })
}

/// That of the node which came first, or this one's, when there is none. Servers that have just begun may lose what they are given
/// to write: what counts is what is read behind it.
async fn written_or(lanes: &Store, drawn: &str) -> Result<Bytes, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    if let Some(written) = lanes.get(SECRET).await.map_err(|error| said(&error))? {
        return Ok(written);
    }
    let created = lanes.create(SECRET, drawn.to_owned().into()).await;
    let written = lanes.get(SECRET).await.map_err(|error| said(&error))?;
    written.ok_or_else(|| match created {
        Ok(_) => "was written and is not there".into(),
        Err(error) => said(&error),
    })
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let digits: Option<Vec<u8>> = text.chars().map(|c| Some(c.to_digit(16)? as u8)).collect();
    let digits = digits.filter(|digits| digits.len() == 2 * SECRET_BYTES)?;
    Some(digits.chunks(2).map(|two| two[0] << 4 | two[1]).collect())
}

/// Sends every change of a key, in order, for as long as they are taken. `begun`: those of the nodes have a new watch, as
/// theirs has ended, perhaps with the server that this one is of.
pub(super) async fn watch(
    lanes: Store,
    events: Sender<LaneEvent>,
    mut begun: watch::Receiver<u64>,
) {
    while !events.is_closed() {
        if let Ok(Ok(mut entries)) = timeout(SILENCE, lanes.watch_with_history(">")).await {
            let (mut shown, mut lacks) = (0, false);
            loop {
                let next = tokio::select! {
                    next = timeout(SILENCE, entries.next()) => next,
                    Ok(()) = begun.changed() => break,
                };
                let entry = match next {
                    Ok(Some(Ok(entry))) => entry,
                    Ok(_) => break,
                    // What is put just now may be on its way: it is so when that is found twice.
                    Err(_) if is_behind(&lanes, shown).await => match lacks {
                        true => break,
                        false => {
                            lacks = true;
                            continue;
                        }
                    },
                    Err(_) => continue,
                };
                (shown, lacks) = (entry.revision, false);
                let is_put = entry.operation == Operation::Put;
                let text = std::str::from_utf8(&entry.value).unwrap_or_default();
                let Some(event) = event_of(&entry.key, entry.revision, is_put.then_some(text))
                else {
                    continue; // the secret, or another program's
                };
                if events.send(event).await.is_err() {
                    return; // the link has ended
                }
            }
        }
        sleep(PAUSE).await;
    }
}

/// The bucket has more than a watch has shown.
async fn is_behind(lanes: &Store, shown: u64) -> bool {
    let status = timeout(PUT_PATIENCE, lanes.status()).await;
    matches!(status, Ok(Ok(status)) if status.info.state.last_sequence > shown)
}

fn event_of(key: &str, revision: u64, text: Option<&str>) -> Option<LaneEvent> {
    match key.split_once('.')? {
        ("group", number) => Some(LaneEvent::Owner {
            group: Group::new(number.parse().ok()?)?,
            revision,
            owner: text.and_then(Owner::decode),
        }),
        ("node", name) => Some(LaneEvent::Node {
            name: NodeName::new(name)?,
            details: text.and_then(Details::decode),
        }),
        _ => None,
    }
}

/// Puts the owner of a group; it comes back by the watch.
pub(super) async fn claim(lanes: Store, claim: Claim, events: Sender<LaneEvent>) {
    let key = format!("group.{}", claim.group.index());
    let putting = lanes.update(key, claim.owner.encode().into(), claim.revision);
    if !matches!(timeout(PUT_PATIENCE, putting).await, Ok(Ok(_))) {
        let _ = events.send(LaneEvent::ClaimFailed(claim.group)).await; // or the link has ended
    }
}

/// Puts what this node says of itself.
pub(super) async fn describe(
    lanes: Store,
    name: NodeName,
    details: Details,
    events: Sender<LaneEvent>,
) {
    let key = format!("node.{}", name.as_str());
    let putting = lanes.put(key, details.encode().into());
    if !matches!(timeout(PUT_PATIENCE, putting).await, Ok(Ok(_))) {
        let _ = events.send(LaneEvent::DetailsFailed).await; // or the link has ended
    }
}
