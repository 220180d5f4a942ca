//! The start of a node whose logs are copied: what its disk has and what the stream has are made the same.
//!
//! A disk that lacks frames is completed from the stream, an empty one filled with all of them; a stream that lacks frames
//! gets them from the disk. When another node has taken over, what the disk has is moved aside, and the node begins empty.

use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::kv::Store;
use tokio::time::{sleep, Instant};

use super::appends::Appends;
use super::retry;
use super::state_stream::{Content, Mark, StateStream};
use crate::cluster::{Incarnation, NodeName};
use crate::ids::ShardId;
use crate::io::data_dir::copies::{frames_from, last_frame, set_aside, Known, Rebuild};
use crate::io::log_copies::LogFrame;
use crate::journal::{Lsn, Piece};

/// A key that was not put for so long is of a node that has ended.
const SILENCE: Duration = Duration::from_secs(6);
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Bytes that are appended before they are waited for.
const BATCH_BYTES: usize = 8 << 20;

/// What the stream says before anything is changed.
struct There {
    /// The manifest that counts.
    life: Option<(Known, u64)>,
    /// Everything up to here is another node's.
    takeover: Option<Mark>,
    last: u64,
}

impl There {
    async fn find(stream: &StateStream) -> Result<Self, String> {
        let last = stream.last().await?;
        let takeover = stream.mark_of(stream.takeover()).await?;
        let taken = takeover.as_ref().map_or(0, |mark| mark.sequence);
        let life = match stream.mark_of(stream.life()).await? {
            Some(mark) if mark.sequence > taken => {
                let known = Known::decode(&mark.text);
                let known = known.ok_or_else(|| {
                    format!(
                        "stream {}: the manifest in it is of no known format",
                        stream.name()
                    )
                })?;
                Some((known, mark.sequence))
            }
            _ => None,
        };
        Ok(Self {
            life,
            takeover,
            last,
        })
    }

    /// The sequence behind which everything is this node's.
    fn begin(&self) -> u64 {
        self.takeover.as_ref().map_or(0, |mark| mark.sequence)
    }
}

/// Before the data directory is opened, which this process has locked: completes it.
pub(super) async fn prepare(
    stream: &StateStream,
    (path, segment_bytes): (&Path, u32),
    (nodes, name): (&Store, &NodeName),
) -> Result<(), String> {
    let said = |error: crate::io::data_dir::DataError| error.to_string();
    await_adoption(stream).await?;
    let there = There::find(stream).await?;
    let own = Known::read(path).map_err(said)?;
    match (own, &there.life) {
        (None, None) => Ok(()),
        (Some(_), None) => match &there.takeover {
            Some(mark) => {
                let aside = set_aside(path).map_err(said)?;
                tracing::warn!(
                    "cluster: node {} has taken over the sessions of this one while it was away; what the data directory \
                     had is in {} now, and the node begins empty",
                    mark.text.split(' ').nth(1).unwrap_or("?"),
                    aside.display()
                );
                Ok(())
            }
            None => Ok(()), // it was no node before, or one with cluster-durability = "node"
        },
        (None, Some((known, _))) => {
            await_silence(nodes, name).await?;
            let there = There::find(stream).await?; // it may have written until then
            tracing::warn!(
                "cluster: the data directory {} is empty: it is brought back from the NATS servers",
                path.display()
            );
            rebuild(stream, &there, known, (path, segment_bytes), &|_| Lsn(0)).await?;
            known.write(path).map_err(said)
        }
        (Some(own), Some((known, _))) if own.id == known.id => {
            complete(stream, &there, &own, (path, segment_bytes)).await
        }
        (Some(_), Some(_)) => Err(format!(
            "the data directory {} is another one than that of which stream {} has copies: use that one, or an empty \
             folder, which is filled from the stream, or remove the stream if nothing in it is needed",
            path.display(),
            stream.name()
        )),
    }
}

/// What another node has begun to adopt is not continued before it has ended: then nothing of it is here any more.
async fn await_adoption(stream: &StateStream) -> Result<(), String> {
    let mut has_told = false;
    loop {
        let (first, _) = stream.ends().await?;
        let takeover = stream.mark_of(stream.takeover()).await?;
        let Some(mark) = takeover.filter(|mark| first < mark.sequence) else {
            return Ok(());
        };
        if !std::mem::replace(&mut has_told, true) {
            tracing::info!(
                "cluster: node {} is adopting the sessions of this one, which is waited for",
                mark.text.split(' ').nth(1).unwrap_or("?")
            );
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Writes the frames that the disk lacks.
async fn complete(
    stream: &StateStream,
    there: &There,
    own: &Known,
    (path, segment_bytes): (&Path, u32),
) -> Result<(), String> {
    let mut lasts = Vec::new();
    let mut lacks = 0;
    for shard in (0..own.shards).map(ShardId) {
        let last = last_frame(&own.log(path, shard)).map_err(|error| error.to_string())?;
        let last = last.map_or(Lsn(0), |(lsn, _)| lsn);
        lacks += u64::from(last_copied(stream, there, (shard, own.shards)).await? > Some(last));
        lasts.push(last);
    }
    if lacks == 0 {
        return Ok(());
    }
    tracing::info!("cluster: {lacks} logs are completed from the NATS servers");
    let after = |shard: ShardId| lasts.get(shard.index()).copied().unwrap_or_default();
    rebuild(stream, there, own, (path, segment_bytes), &after).await
}

/// The last frame of a log that is whole in the stream.
async fn last_copied(
    stream: &StateStream,
    there: &There,
    (shard, of): (ShardId, u16),
) -> Result<Option<Lsn>, String> {
    let found = stream.last_of(stream.frames(shard, of)).await?;
    let found = found.filter(|(sequence, _)| *sequence > there.begin());
    let piece = found
        .as_ref()
        .and_then(|(_, message)| Piece::decode(message));
    Ok(piece.map(|piece| match piece.is_last() {
        true => piece.lsn,
        false => Lsn(piece.lsn.0 - 1), // frames count from 1
    }))
}

/// Makes files of what the stream has behind a frame of each log.
async fn rebuild(
    stream: &StateStream,
    there: &There,
    known: &Known,
    (path, segment_bytes): (&Path, u32),
    after: &(dyn Fn(ShardId) -> Lsn + Sync),
) -> Result<(), String> {
    let mut files = Rebuild::new(path, segment_bytes);
    let mut visit = |_, content: Content<'_>| match content {
        Content::Frame((shard, of), piece) if of == known.shards && piece.lsn > after(shard) => {
            files
                .piece((shard, of), &piece)
                .map_err(|error| error.to_string())
        }
        _ => Ok(()),
    };
    stream.read((there.begin(), there.last), &mut visit).await?;
    files.finish().map_err(|error| error.to_string())
}

/// When the data directory is open: appends what the stream lacks, and that this process continues with it.
pub(super) async fn go_on(
    stream: StateStream,
    (path, known): (&Path, &Known),
    (life, shards): (Incarnation, u16),
) -> Result<Appends, String> {
    let there = There::find(&stream).await?;
    let mut appends = Appends::new(stream, there.last, life, shards);
    let subject = appends.stream().life();
    appends.push(subject, known.text.clone().into());
    // From then on nothing of a process before comes.
    appends.drain().await?;
    for shard in (0..known.shards).map(ShardId) {
        let copied = last_copied(appends.stream(), &there, (shard, known.shards)).await?;
        let mut lacking = Vec::new();
        let folder = known.log(path, shard);
        let first = copied.unwrap_or_default().next();
        frames_from(&folder, first, &mut |frame| {
            lacking.push(LogFrame {
                shard,
                lsn: frame.lsn,
                segment: frame.segment,
                offset: frame.offset,
                bytes: frame.bytes.to_vec(),
            });
        })
        .map_err(|error| error.to_string())?;
        let mut bytes = 0;
        for frame in lacking {
            bytes += frame.bytes.len();
            appends.push_frame(&frame, known.shards);
            if bytes > BATCH_BYTES {
                bytes = 0;
                appends.drain().await?;
            }
        }
    }
    appends.drain().await?;
    if known.shards != shards {
        // Of an earlier attempt to go on with this number of shards.
        let stream = appends.stream();
        let last = stream.last().await?;
        stream.purge(stream.all_frames(shards), last + 1).await?;
    }
    Ok(appends)
}

/// Waits until no other process can be this node.
async fn await_silence(nodes: &Store, name: &NodeName) -> Result<(), String> {
    let mut seen = None;
    let mut since = Instant::now();
    loop {
        let entry = retry::ask(|| nodes.entry(name.as_str())).await;
        let entry = entry.map_err(|error| format!("bucket {}: {error}", nodes.name))?;
        let Some(entry) =
            entry.filter(|entry| entry.operation == async_nats::jetstream::kv::Operation::Put)
        else {
            return Ok(());
        };
        if seen.replace(entry.revision) != Some(entry.revision) {
            since = Instant::now();
        }
        if since.elapsed() >= SILENCE {
            return Ok(());
        }
        sleep(LOOK_EVERY).await;
    }
}
