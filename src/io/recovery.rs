//! The journal at the start: the data directory is opened, and each shard gets its log back on its own thread.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Instant;

use super::clock::Clock;
use super::commits::Commits;
use super::data_dir::{look, DataDir, DataError};
use super::inbox::ShardCommand;
use super::log_copies::LogCopies;
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

/// A log that was read, and that nothing was written to since.
pub(super) struct BegunLog(Recovered);

/// Lives on: the start of the process, shared with the threads of the shards.
pub(super) struct Journal {
    data: DataDir,
    files: Arc<SegmentFiles>,
    durability: Durability,
    /// Where logs have to be as well.
    copies: Option<LogCopies>,
    begun: Instant,
    /// Of all shards, for the log.
    records: AtomicU64,
    sessions: AtomicU64,
}

impl Journal {
    /// `None`: there is no data directory. `lock`: of the process before, which does not write any more.
    pub(super) fn open(
        options: &RunOptions,
        shards: u16,
        shared: &Arc<SharedState>,
        lock: Option<OwnedFd>,
    ) -> Result<Option<Self>, DataError> {
        let Some(path) = options.data_dir.as_deref().map(Path::new) else {
            tracing::info!(
                "no data-dir: sessions, queues and retained messages are in memory and end with the process"
            );
            return Ok(None);
        };
        let segment_bytes = options.journal_segment_bytes;
        let data = match lock {
            Some(lock) => DataDir::open_locked(path, shards, segment_bytes, lock.into())?,
            None => DataDir::open(path, shards, segment_bytes)?,
        };
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
            copies: None,
            begun: Instant::now(),
            records: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
        }))
    }

    /// Logs go there as well. What is in them now is there.
    pub(super) fn with_copies(self, copies: Option<LogCopies>) -> Self {
        Self { copies, ..self }
    }

    pub(super) fn data(&self) -> &DataDir {
        &self.data
    }

    pub(super) fn placement_seed(&self) -> PlacementSeed {
        self.data.placement_seed()
    }

    /// The lock of the data directory.
    pub(super) fn lock(&self) -> BorrowedFd<'_> {
        self.data.lock()
    }

    /// The process that had the lock before has left.
    pub(super) fn take_over(&self) -> Result<(), DataError> {
        let named = self.data.name_owner();
        named.map_err(DataError::of("cannot write the lock of", self.data.path()))
    }

    /// Reads a shard's log, and has the shard go on with it. What is returned may be written from then on.
    pub(super) fn begin(
        &self,
        id: ShardId,
        shard: &mut Shard,
        rules: &Arc<Rules>,
        clock: Clock,
    ) -> Result<BegunLog, DataError> {
        let (recovered, state) = self.read(id, shard)?;
        let segment_bytes = self.data.segment_bytes();
        let mut log = Log::new(self.data.id(), id.0, segment_bytes, &recovered);
        if self.copies.is_some() {
            log.await_copies();
        }
        shard.begin_journal(log, self.acknowledged());
        // A wall clock that was set back meanwhile prolongs nothing.
        shard.handle_clocks(clock.both().reading_since(recovered.wall));
        shard.handle_rules(Arc::clone(rules));
        shard.restore(state, clock.now());
        let sessions = shard.sessions() as u64;
        self.sessions.fetch_add(sessions, Ordering::Relaxed);
        Ok(BegunLog(recovered))
    }

    /// Makes a log ready to be written.
    pub(super) fn make_ready(
        &self,
        id: ShardId,
        shard: &mut Shard,
        BegunLog(recovered): BegunLog,
    ) -> Result<Commits, DataError> {
        let ready = self.data.make_ready(id, &recovered)?;
        let segment_bytes = self.data.segment_bytes();
        if let Some(ready) = ready.last() {
            shard.handle_segment_ready(ready.number);
        }
        let commits = Commits::new(
            (id, self.data.folder(id)),
            (&recovered, ready),
            (Arc::clone(&self.files), segment_bytes),
            (self.durability, self.data.folders_of_others()),
        );
        Ok(commits.with_copies(self.copies.clone()))
    }

    /// What the shard owns of the log there is, or of the logs of another number of shards.
    fn read(&self, id: ShardId, shard: &Shard) -> Result<(Recovered, KeptState), DataError> {
        let count = |recovered: &Recovered| {
            self.records.fetch_add(recovered.records, Ordering::Relaxed);
        };
        let Some(others) = self.data.others() else {
            let mut fold = shard.begin_fold();
            let mut take = |position, record: Record<'_>| fold.record(position, record);
            let recovered = self.data.read(id, &mut take)?;
            count(&recovered);
            let mut state = fold.finish();
            drop_missing(&mut state, &recovered);
            return Ok((recovered, state));
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
        let mut recovered = self.data.read(id, &mut |_, _| Ok(()))?; // an empty folder
        recovered.wall = recovered.wall.max(wall);
        Ok((recovered, KeptState::of_several(states)))
    }

    /// Every shard has begun, and committed what it has taken over from others.
    pub(super) fn all_have_begun(&self) -> Result<(), DataError> {
        if let Some(others) = self.data.others() {
            if let Some(copies) = &self.copies {
                copies.manifest(self.data.known_next().text);
            }
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
