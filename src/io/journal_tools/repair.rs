//! A damaged log is made whole by leaving out what it cannot be read without. The files as they were stay in a folder
//! of their own.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::check::name_of;
use super::loss::Loss;
use super::plan::Plan;
use super::{Finding, ToolError};
use crate::io::data_dir::{flush_folder, AtRest, DataError, Part};

/// Folders of earlier repairs that are looked past at most.
const ASIDE_MAX: u32 = 10_000;

pub(super) fn repair(data: &AtRest, yes: bool, out: &mut dyn Write) -> Result<Finding, ToolError> {
    let mut plans = Vec::new();
    for shard in data.shards() {
        plans.push(Plan::of(data, shard)?);
    }
    plans.retain(|plan| !plan.reasons.is_empty());
    for plan in &plans {
        describe(data, plan, out)?;
    }
    if plans.is_empty() {
        writeln!(out, "every log is whole: there is nothing to repair")?;
        return Ok(Finding::Whole);
    }
    if !yes {
        writeln!(
            out,
            "nothing was changed; to lose this and keep the rest: ringmq journal repair {} --yes",
            data.path().display()
        )?;
        return Ok(Finding::Damaged);
    }
    let aside = make_aside(data.path())?;
    for plan in &plans {
        carry_out(data, plan, &aside)?;
        // What is there now is read once more.
        let again = Plan::of(data, plan.shard)?;
        if let Some(reason) = again.reasons.into_iter().next() {
            return Err(reason.into());
        }
    }
    writeln!(
        out,
        "repaired; the files as they were are in {}: remove them when nobody needs them any more",
        aside.display()
    )?;
    Ok(Finding::Whole)
}

fn describe(data: &AtRest, plan: &Plan, out: &mut dyn Write) -> Result<(), ToolError> {
    let name = name_of(data, plan.shard);
    for reason in &plan.reasons {
        match reason {
            DataError::Corrupt { corrupt, .. } => writeln!(out, "{name}: damaged: {corrupt}")?,
            DataError::Record { error, .. } => writeln!(out, "{name}: damaged: {error}")?,
            other => writeln!(out, "{name}: {other}")?,
        }
    }
    writeln!(out, "  kept: {}", plan.state)?;
    write!(out, "{}", Loss::of(data, plan)?)?;
    for (client_id, count) in &plan.state.missing {
        writeln!(
            out,
            "  lost: session {client_id:?}: {count} messages that wait, which were in what is given up"
        )?;
    }
    Ok(())
}

/// A folder for files as they were.
fn make_aside(path: &Path) -> Result<PathBuf, DataError> {
    for number in 1..=ASIDE_MAX {
        let aside = path.join(format!("aside-{number}"));
        match DirBuilder::new().mode(0o700).create(&aside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(DataError::of("cannot make", &aside)(error)),
            Ok(()) => {
                flush_folder(path)?;
                return Ok(aside);
            }
        }
    }
    let exists = io::ErrorKind::AlreadyExists.into();
    Err(DataError::of("cannot make a further aside folder in", path)(exists))
}

/// Cut short at any step, the log is as damaged as before or as whole as intended: segments behind the damage go the
/// last one first, and those before it the first one first.
fn carry_out(data: &AtRest, plan: &Plan, aside: &Path) -> Result<(), DataError> {
    let aside = aside.join(name_of(data, plan.shard));
    let made = DirBuilder::new().mode(0o700).create(&aside);
    made.map_err(DataError::of("cannot make", &aside))?;
    let folder = data.folder(plan.shard);
    let first_kept = plan.kept.first().map(|part| part.number);
    let kept = |part: &Part| plan.kept.iter().find(|kept| kept.number == part.number);
    let gone = plan.found.iter().filter(|part| kept(part).is_none());
    let (before, mut behind): (Vec<&Part>, Vec<&Part>) =
        gone.partition(|part| first_kept.is_some_and(|first| part.number < first));
    behind.reverse();
    for part in before.into_iter().chain(behind) {
        let path = data.path_of(plan.shard, part.number);
        let to = aside.join(path.file_name().unwrap_or_default());
        fs::rename(&path, &to).map_err(DataError::of("cannot move", &path))?;
        flush_folder(&aside)?;
        flush_folder(&folder)?;
    }
    for part in &plan.kept {
        if let Some(cut) = part.cut {
            let path = data.path_of(plan.shard, part.number);
            let to = aside.join(path.file_name().unwrap_or_default());
            let cut = cut_off(&path, &to, cut as usize);
            cut.map_err(DataError::of("cannot cut", &path))?;
            flush_folder(&aside)?;
            flush_folder(&folder)?;
        }
    }
    data.forget_extent(plan.shard)
}

/// Puts a file of the same length in the place of one, without what was behind a byte; the old one gets another name.
fn cut_off(path: &Path, aside: &Path, at: usize) -> io::Result<()> {
    let mut bytes = fs::read(path)?;
    bytes.get_mut(at..).unwrap_or_default().fill(0);
    let unfinished = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file: File = options.open(&unfinished)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::hard_link(path, aside)?;
    fs::rename(&unfinished, path)
}
