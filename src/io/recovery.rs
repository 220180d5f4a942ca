//! The journal at the start: the data directory is opened, and each shard gets its log back on its own thread.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Instant;

use super::clock::Clock;
use super::commits::Commits;
use super::data_dir::{look, DataDir, DataError, Ready};
use super::inbox::ShardCommand;
use super::segment_files::SegmentFiles;
use super::shared::SharedState;
use crate::auth::Rules;
use crate::ids::ShardId;
use crate::journal::{Log, Record, Recovered};
use crate::run_options::{Durability, RunOptions};
use crate::shard::{self, KeptState, PlacementSeed, Shard};
use crate::time::WallTime;

/// What a start would find in the data directory, if there is one, for `--check-config`.
///
/// # Errors
/// A start would be refused.
pub fn look_at_data_dir(
    options: &RunOptions,
    shards: u16,
) -> Result<Option<String>, super::StartError> {
    let Some(path) = options.data_dir.as_deref() else {
        return Ok(None);
    };
    let found = look(Path::new(path), shards, options.journal_segment_bytes)?;
    Ok(Some(found))
}

/// Lives on: the start of the process, shared with the threads of the shards.
pub(super) struct Journal {
    data: DataDir,
    files: Arc<SegmentFiles>,
    durability: Durability,
    begun: Instant,
    /// Of all shards, for the log.
    records: AtomicU64,
    sessions: AtomicU64,
}

impl Journal {
    /// `None`: there is no data directory.
    pub(super) fn open(
        options: &RunOptions,
        shards: u16,
        shared: &Arc<SharedState>,
    ) -> Result<Option<Self>, DataError> {
        let Some(path) = options.data_dir.as_deref().map(Path::new) else {
            tracing::info!(
                "no data-dir: sessions, queues and retained messages are in memory and end with the process"
            );
            return Ok(None);
        };
        let data = DataDir::open(path, shards, options.journal_segment_bytes)?;
        data.check_bytes_max(options.journal_bytes_max)?;
        let shared = Arc::clone(shared);
        let files = SegmentFiles::start(options.journal_bytes_max, move |request, made| {
            let command = ShardCommand::Segment(request.number, made);
            shared.send(request.shard, command);
        });
        let files = files.map_err(DataError::of("cannot make files in", path))?;
        Ok(Some(Self {
            data,
            files: Arc::new(files),
            durability: options.durability,
            begun: Instant::now(),
            records: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
        }))
    }

    pub(super) fn placement_seed(&self) -> PlacementSeed {
        self.data.placement_seed()
    }

    /// Reads a shard's log, and has the shard go on with it.
    pub(super) fn begin(
        &self,
        id: ShardId,
        shard: &mut Shard,
        rules: &Arc<Rules>,
        clock: Clock,
    ) -> Result<Commits, DataError> {
        let (recovered, ready, state) = self.read(id, shard)?;
        let segment_bytes = self.data.segment_bytes();
        let log = Log::new(self.data.id(), id.0, segment_bytes, &recovered);
        shard.begin_journal(log, self.acknowledged());
        if let Some(ready) = ready.last() {
            shard.handle_segment_ready(ready.number);
        }
        // A wall clock that was set back meanwhile prolongs nothing.
        shard.handle_clocks(clock.both().reading_since(recovered.wall));
        shard.handle_rules(Arc::clone(rules));
        shard.restore(state, clock.now());
        let sessions = shard.sessions() as u64;
        self.sessions.fetch_add(sessions, Ordering::Relaxed);
        Ok(Commits::new(
            (id, self.data.folder(id)),
            (&recovered, ready),
            (Arc::clone(&self.files), segment_bytes),
            (self.durability, self.data.folders_of_others()),
        ))
    }

    /// What the shard owns of the log there is, or of the logs of another number of shards.
    fn read(
        &self,
        id: ShardId,
        shard: &Shard,
    ) -> Result<(Recovered, Vec<Ready>, KeptState), DataError> {
        let count = |recovered: &Recovered| {
            self.records.fetch_add(recovered.records, Ordering::Relaxed);
        };
        let Some(others) = self.data.others() else {
            let mut fold = shard.begin_fold();
            let mut take = |position, record: Record<'_>| fold.record(position, record);
            let (recovered, ready) = self.data.recover(id, &mut take)?;
            count(&recovered);
            let mut state = fold.finish();
            drop_missing(&mut state, &recovered);
            return Ok((recovered, ready, state));
        };
        let (mut states, mut wall) = (Vec::new(), WallTime::default());
        for other in (0..others).map(ShardId) {
            let mut fold = shard.begin_fold_of_former(other);
            let mut take = |position, record: Record<'_>| fold.record(position, record);
            let recovered = self.data.read_other(other, &mut take)?;
            wall = wall.max(recovered.wall);
            if id == ShardId(0) {
                count(&recovered); // every shard reads all of them
            }
            let mut state = fold.finish();
            drop_missing(&mut state, &recovered);
            states.push(state);
        }
        let (mut recovered, ready) = self.data.recover(id, &mut |_, _| Ok(()))?; // an empty folder
        recovered.wall = recovered.wall.max(wall);
        Ok((recovered, ready, KeptState::of_several(states)))
    }

    /// Every shard has begun, and committed what it has taken over from others.
    pub(super) fn all_have_begun(&self) -> Result<(), DataError> {
        if let Some(others) = self.data.others() {
            self.data.adopt()?;
            tracing::info!("the logs of {others} shards are now the logs of this number of shards");
        }
        self.describe();
        Ok(())
    }

    fn acknowledged(&self) -> shard::Durability {
        match self.durability {
            Durability::Commit => shard::Durability::Commit,
            Durability::Interval(_) => shard::Durability::Interval,
        }
    }

    /// The line about what was found, when all shards have begun.
    fn describe(&self) {
        tracing::info!(
            "data directory {}: {} records were read in {} ms, {} sessions are there",
            self.data.path().display(),
            self.records.load(Ordering::Relaxed),
            self.begun.elapsed().as_millis(),
            self.sessions.load(Ordering::Relaxed),
        );
    }
}

/// A log without its beginning has been repaired: nothing else may be missing.
fn drop_missing(state: &mut KeptState, recovered: &Recovered) {
    let Some(first) = recovered.used.first() else {
        return;
    };
    for (client_id, count) in state.drop_before(*first) {
        tracing::warn!(
            "{count} messages for {client_id:?} are lost: they were in the part of the journal that a repair has given up"
        );
    }
}
