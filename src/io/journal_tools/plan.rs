//! Plan of a repair: of a log is kept as much as is whole, from its beginning or, if that is what is damaged, from the
//! first segment behind it.

use super::check::LogState;
use crate::ids::ShardId;
use crate::io::data_dir::{read_whole, AtRest, DataError, Part};
use crate::journal::{survey, Corrupt, Position};

/// For one log.
pub(super) struct Plan {
    pub(super) shard: ShardId,
    /// What is wrong, the first thing first; nothing: it is whole.
    pub(super) reasons: Vec<DataError>,
    /// All there is.
    pub(super) found: Vec<Part>,
    pub(super) kept: Vec<Part>,
    /// What is kept holds this.
    pub(super) state: LogState,
}

impl Plan {
    /// # Errors
    /// The log cannot be made whole by leaving something out: files that cannot be read, or what another version
    /// has written.
    pub(super) fn of(data: &AtRest, shard: ShardId) -> Result<Self, DataError> {
        let found = data.parts(shard)?;
        let mut kept = found.clone();
        let mut reasons = Vec::new();
        // Each round leaves out something more.
        let state = loop {
            match LogState::read(data, shard, &kept) {
                Ok(state) => break state,
                Err(error) => {
                    let rest = without(data, shard, &kept, &error)?;
                    let Some(rest) = rest.filter(|rest| *rest != kept) else {
                        return Err(error);
                    };
                    reasons.push(error);
                    kept = rest;
                }
            }
        };
        // What was in a file that is missing cannot be known.
        if let Err(error) = data.check_extent(shard) {
            let is_known = matches!(
                error,
                DataError::NoSegment { .. } | DataError::Shorter { .. } | DataError::Manifest(_)
            );
            if !is_known {
                return Err(error);
            }
            reasons.push(error);
        }
        Ok(Self {
            shard,
            reasons,
            found,
            kept,
            state,
        })
    }
}

/// What is left without what an error names. `None`: it is not of that kind.
fn without(
    data: &AtRest,
    shard: ShardId,
    kept: &[Part],
    error: &DataError,
) -> Result<Option<Vec<Part>>, DataError> {
    let only = |keep: &dyn Fn(&Part) -> bool| Some(kept.iter().copied().filter(keep).collect());
    Ok(match error {
        DataError::Corrupt { corrupt, .. } => match *corrupt {
            Corrupt::Frame { at, .. } | Corrupt::Records { at, .. } => Some(cut(kept, at)),
            Corrupt::Gap { segment, .. } => only(&|part| part.number < segment),
            Corrupt::Beginning { segment, .. } => only(&|part| part.number >= segment),
            Corrupt::Foreign(number) => only(&|part| part.number != number),
            Corrupt::Format { .. } => None,
        },
        DataError::Record { error, .. } => {
            let path = data.path_of(shard, error.at.segment);
            let mut bytes = Vec::new();
            read_whole(&path, &mut bytes)?;
            let frames = survey(error.at.segment, &bytes, 0);
            let before = frames.take_while(|frame| frame.at <= error.at);
            before.last().map(|frame| cut(kept, frame.at))
        }
        _ => None,
    })
}

/// What lies before a frame.
fn cut(kept: &[Part], at: Position) -> Vec<Part> {
    let before = kept.iter().copied();
    let before = before.filter(|part| part.number <= at.segment);
    let cut = |part: Part| match part.number == at.segment {
        true => Part {
            cut: Some(at.offset),
            ..part
        },
        false => part,
    };
    // Without a header nothing of a segment counts.
    let is_something = |part: &Part| part.cut != Some(0);
    before.map(cut).filter(is_something).collect()
}
