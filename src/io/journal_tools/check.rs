//! State of a log, in a few lines.

use std::fmt;
use std::io::Write;
use std::rc::Rc;

use super::{draw_seed, Finding, ToolError};
use crate::ids::ShardId;
use crate::io::data_dir::{AtRest, DataError, Part};
use crate::journal::Recovered;
use crate::shard::{KeptSummary, StateFold};

/// The state at the end of a log that is whole.
pub(super) struct LogState {
    pub(super) recovered: Recovered,
    pub(super) sessions: Vec<KeptSummary>,
    pub(super) retained: Vec<String>,
    /// Client ids, and how many messages of each the log names and does not have, since a repair gave up its beginning.
    pub(super) missing: Vec<(Rc<str>, usize)>,
}

impl LogState {
    /// Reads these parts of a log, as the broker would at its start.
    pub(super) fn read(data: &AtRest, shard: ShardId, parts: &[Part]) -> Result<Self, DataError> {
        let mut state = StateFold::of_all_lanes(draw_seed());
        let mut take =
            |position, record: crate::journal::Record<'_>| state.record(position, record);
        let recovered = data.fold(shard, parts, &mut take)?;
        let mut state = state.finish();
        let first = recovered.used.first();
        let missing = first.map(|first| state.drop_before(*first));
        Ok(Self {
            missing: missing.unwrap_or_default(),
            recovered,
            sessions: state.summaries(),
            retained: state.retained_topics(),
        })
    }
}

pub(super) fn check(data: &AtRest, out: &mut dyn Write) -> Result<Finding, ToolError> {
    let mut finding = Finding::Whole;
    for shard in data.shards() {
        let name = name_of(data, shard);
        let parts = data.parts(shard);
        let read = parts.and_then(|parts| {
            let state = LogState::read(data, shard, &parts)?;
            data.check_extent(shard)?;
            Ok((parts.len(), state))
        });
        match read {
            Ok((files, state)) => {
                let unused = files - state.recovered.used.len();
                writeln!(
                    out,
                    "{name}: whole: {state}; {unused} files without records"
                )?;
                for (client_id, count) in &state.missing {
                    writeln!(
                        out,
                        "{name}: session {client_id:?}: {count} messages are lost by a repair, and the next start \
                         forgets them"
                    )?;
                }
                if state.recovered.is_torn {
                    let Recovered { end, last, .. } = state.recovered;
                    let torn = last.next().0;
                    writeln!(
                        out,
                        "{name}: at its end ({end}) frame {torn} was not written whole: nothing of it was \
                         acknowledged, and the next start forgets it"
                    )?;
                }
            }
            Err(error) => {
                finding = Finding::Damaged;
                writeln!(out, "{name}: {error}")?;
            }
        }
    }
    Ok(finding)
}

/// Of a shard's folder.
pub(super) fn name_of(data: &AtRest, shard: ShardId) -> String {
    let folder = data.folder(shard);
    let name = folder.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

impl fmt::Display for LogState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Recovered {
            used,
            frames,
            records,
            last,
            end,
            ..
        } = &self.recovered;
        let messages: usize = self.sessions.iter().map(|session| session.messages).sum();
        match (used.first(), used.last()) {
            (Some(first), Some(_)) if used.len() == 1 => write!(out, "segment {}", first.0)?,
            (Some(first), Some(last)) => write!(out, "segments {} to {}", first.0, last.0)?,
            _ => out.write_str("no segment")?,
        }
        write!(out, ", {frames} frames with {records} records")?;
        if *frames > 0 {
            write!(out, " up to frame {} ({end})", last.0)?;
        }
        write!(
            out,
            "; {} sessions with {messages} messages, {} retained messages",
            self.sessions.len(),
            self.retained.len()
        )
    }
}
