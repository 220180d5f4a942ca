//! A file of `user:...` lines that is changed as a whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{fchown, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Only the owner reads hashes.
const MODE: u32 = 0o600;
/// Of the mode of a file that exists: what others may is taken away.
const MODE_KEPT: u32 = 0o660;

pub(super) struct Entries {
    path: PathBuf,
    /// Comments and blank ones included.
    lines: Vec<String>,
}

impl Entries {
    /// An empty file, not yet written.
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.into(),
            lines: Vec::new(),
        }
    }

    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = fs::read_to_string(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => format!("{shown} does not exist; -c begins a new file"),
            _ => format!("{shown} cannot be read: {error}"),
        })?;
        // What is written replaces the file itself, not a link to it.
        let path = path.canonicalize().unwrap_or_else(|_| path.into());
        Ok(Self {
            path,
            lines: text
                .trim_start_matches('\u{feff}')
                .lines()
                .map(str::to_owned)
                .collect(),
        })
    }

    /// Users and what stands behind them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().filter_map(|line| split(line))
    }

    pub(super) fn get(&self, user: &str) -> Option<&str> {
        self.iter()
            .find(|(name, _)| *name == user)
            .map(|(_, text)| text)
    }

    pub(super) fn set(&mut self, user: &str, text: &str) {
        let line = format!("{user}:{text}");
        let known = self
            .lines
            .iter()
            .position(|line| split(line).is_some_and(|(name, _)| name == user));
        match known {
            Some(index) => self.lines[index] = line,
            None => self.lines.push(line),
        }
    }

    /// False: there is no such user.
    pub(super) fn remove(&mut self, user: &str) -> bool {
        let before = self.lines.len();
        self.lines
            .retain(|line| split(line).is_none_or(|(name, _)| name != user));
        self.lines.len() < before
    }

    /// Replaces the file atomically: a reader sees all of the old or all of the new one, also if the
    /// machine stops in between. Owner and group stay.
    pub(super) fn write(&self) -> Result<(), String> {
        let cannot =
            |error: std::io::Error| format!("{} cannot be written: {error}", self.path.display());
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".new-{}", std::process::id()));
        let new = PathBuf::from(name);
        let written = self
            .write_to(&new)
            .and_then(|()| fs::rename(&new, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written.map_err(cannot)?;
        let directory = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(cannot)
    }

    fn write_to(&self, new: &Path) -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(new)?;
        if let Ok(old) = fs::metadata(&self.path) {
            // A broker that runs as another user still reads its file.
            let _ = fchown(&file, Some(old.uid()), Some(old.gid()));
            file.set_permissions(fs::Permissions::from_mode(old.mode() & MODE_KEPT | MODE))?;
        }
        let mut text = self.lines.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }
}

/// As the broker reads it: white space around a line and its parts means nothing.
fn split(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let (name, text) = line.split_once(':').filter(|_| !line.starts_with('#'))?;
    Some((name.trim_end(), text.trim_start()))
}
