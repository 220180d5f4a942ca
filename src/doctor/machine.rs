//! The machine as files below a root: /proc and /sys of this one, or of one that was made up.

use std::fs;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(super) struct Machine {
    root: PathBuf,
}

impl Machine {
    pub(super) fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// It is the one that this process runs on.
    pub(super) fn is_this_one(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Text of a file, without the space around it; `path` begins with `/`.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        let path = self.root.join(path.trim_start_matches('/'));
        fs::read_to_string(path)
            .ok()
            .map(|text| text.trim().to_owned())
    }

    pub(super) fn number(&self, path: &str) -> Option<u64> {
        self.read(path)?.parse().ok()
    }

    /// Numbers of a file with several.
    pub(super) fn numbers(&self, path: &str) -> Vec<u64> {
        let text = self.read(path).unwrap_or_default();
        text.split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect()
    }

    /// Names in a folder, in order.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root.join(path.trim_start_matches('/'))) else {
            return Vec::new();
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// The hard limit of a resource of this process, as /proc/self/limits calls it; `None`: not limited.
    pub(super) fn limit(&self, name: &str) -> Option<u64> {
        let limits = self.read("/proc/self/limits")?;
        let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// A file of the cgroup of this process (version 2), or of the nearest one above it that has it.
    pub(super) fn cgroup(&self, file: &str) -> Option<String> {
        let own = self.read("/proc/self/cgroup").unwrap_or_default();
        let own = own.lines().find_map(|line| line.strip_prefix("0::"));
        let mut path = own.unwrap_or("/").trim_end_matches('/').to_owned();
        loop {
            if let Some(text) = self.read(&format!("/sys/fs/cgroup{path}/{file}")) {
                return Some(text);
            }
            path.truncate(path.rfind('/')?);
        }
    }
}

/// How many cores a list such as `0-3,8` names.
pub(super) fn count_of_list(list: &str) -> usize {
    let ranges = list.trim().split(',').filter(|range| !range.is_empty());
    let counts = ranges.map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let first: usize = first.parse().unwrap_or(0);
        last.parse()
            .map_or(1, |last: usize| last.saturating_sub(first) + 1)
    });
    counts.sum()
}
