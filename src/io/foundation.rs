//! A data directory that begins with a state from elsewhere.
//!
//! It is made in a folder of its own within, and what makes it a data directory, the manifest, is moved last: one that
//! was cut short is refused by a broker and by the next attempt.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::clock::Clock;
use super::data_dir::{path_of, DataDir};
use crate::auth::Rules;
use crate::ids::ShardId;
use crate::journal::{Log, SegmentNumber};
use crate::limits::Limits;
use crate::listener::ListenerPolicy;
use crate::shard::{Durability, KeptState, Shard, ShardConfig};
use crate::time::Time;

/// Where it is made.
const UNFINISHED: &str = "import";
/// Its log is that of one shard; a broker with more shards takes it over as any other's.
const SHARD: ShardId = ShardId(0);

/// Makes a data directory of a folder that is not there or empty. A state may come in parts, so that not all of it is in
/// memory at once.
///
/// # Errors
/// A sentence; the folder is as it was.
pub fn found_data_dir(
    path: &Path,
    segment_bytes: u32,
    parts: impl IntoIterator<Item = KeptState>,
) -> Result<(), String> {
    let said = |error: std::io::Error| format!("{}: {error}", path.display());
    let was_there = path.exists();
    if was_there && fs::read_dir(path).map_err(said)?.next().is_some() {
        return Err(format!(
            "{} is not empty: what is carried over begins a data directory",
            path.display()
        ));
    }
    if !was_there {
        fs::create_dir(path).map_err(said)?;
    }
    let unfinished = path.join(UNFINISHED);
    let made = fill(&unfinished, segment_bytes, parts);
    let made = made.and_then(|()| move_up(&unfinished, path).map_err(said));
    if made.is_err() {
        // Nothing of it was moved before the last step that can fail; what cannot be removed is refused later.
        let _ = fs::remove_dir_all(if was_there { &unfinished } else { path });
    }
    made
}

/// The manifest last: with it the folder is a data directory.
fn move_up(from: &Path, to: &Path) -> std::io::Result<()> {
    let log = fs::read_dir(from)?.filter_map(|entry| entry.ok());
    let log = log
        .map(|entry| entry.file_name())
        .filter(|name| name != "manifest" && name != "lock");
    for name in log.collect::<Vec<_>>() {
        fs::rename(from.join(&name), to.join(&name))?;
    }
    fs::rename(from.join("manifest"), to.join("manifest"))?;
    fs::remove_dir_all(from)?;
    fs::File::open(to)?.sync_all()
}

/// Has a shard without clients take the state, and writes its log.
fn fill(
    path: &Path,
    segment_bytes: u32,
    parts: impl IntoIterator<Item = KeptState>,
) -> Result<(), String> {
    let data = DataDir::open(path, 1, segment_bytes).map_err(|error| error.to_string())?;
    let (recovered, _) = data
        .recover(SHARD, &mut |_, _| Ok(()))
        .map_err(|error| error.to_string())?;
    let log = Log::new(data.id(), SHARD.0, segment_bytes, &recovered);
    let config = Arc::new(ShardConfig {
        shards: 1,
        limits: all_that_was_kept(),
        listeners: Arc::new([ListenerPolicy::default()]),
        placement_seed: data.placement_seed(),
        hash_seed: 1,
        own_terms: Arc::default(),
    });
    let clock = Clock::start();
    let mut shard = Shard::new(SHARD, &config, 1, clock.now());
    shard.begin_journal(log, Durability::Interval);
    shard.handle_clocks(clock.both());
    shard.handle_rules(Arc::new(Rules::default()));
    let mut writer = LogWriter {
        folder: data.folder(SHARD),
        segment_bytes,
        open: None,
    };
    for state in parts {
        shard.restore(state, clock.now());
        let written = writer.write(&mut shard, clock);
        written.map_err(|error| format!("{}: {error}", writer.folder.display()))?;
    }
    Ok(())
}

/// What was kept elsewhere is kept; the limits of a broker count from its start on.
fn all_that_was_kept() -> Limits {
    const BYTES: u64 = 1 << 50;
    Limits {
        queue_messages_max: u32::MAX,
        queue_bytes_max: BYTES,
        subscriptions_max: u32::MAX,
        subscription_bytes_max: BYTES,
        sessions_max: u32::MAX,
        retained_messages_max: u32::MAX,
        retained_bytes_max: BYTES,
        session_expiry_max_s: u32::MAX,
        ..Limits::default()
    }
}

/// Writes a shard's log without a driver.
struct LogWriter {
    folder: PathBuf,
    segment_bytes: u32,
    open: Option<(SegmentNumber, fs::File)>,
}

impl LogWriter {
    /// All that the shard has to write.
    fn write(&mut self, shard: &mut Shard, clock: Clock) -> std::io::Result<()> {
        loop {
            let now = clock.now();
            shard.end_turn(now);
            if let Some(wanted) = shard.segment_wanted() {
                shard.handle_segment_ready(wanted); // made when it is written
            }
            while let Some(frame) = shard.poll_journal() {
                let mut bytes = vec![0; frame.bytes()];
                frame.copy_to(&mut bytes);
                let (number, offset) = (frame.segment(), u64::from(frame.offset()));
                let current = self.open.as_ref().map(|(current, _)| *current);
                if current != Some(number) {
                    let file = fs::File::create_new(path_of(&self.folder, number))?;
                    file.set_len(self.segment_bytes.into())?;
                    self.open = Some((number, file));
                }
                if let Some((_, file)) = &self.open {
                    file.write_all_at(&bytes, offset)?;
                    file.sync_data()?;
                }
                shard.handle_committed(now);
            }
            while shard.poll_action().is_some() {} // there is no client
            if shard.is_committed() && shard.poll_timeout() != Some(Time::ZERO) {
                return fs::File::open(&self.folder)?.sync_all();
            }
        }
    }
}
