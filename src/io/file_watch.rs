//! Watch of the files that are read again at SIGHUP: requests a reload when one has changed.
//!
//! Names are looked up anew each time: files that are replaced, and links that are pointed elsewhere,
//! are changes as well. A kernel's watch would follow the old ones.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use crate::auth::Files;
use crate::listener::Listener;

/// How often it looks. What has changed must rest for so long: a certificate and its key are two files.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Identity of a file's state; `None`: it cannot be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp(Option<(u64, u64, i64, i64)>);

impl Stamp {
    fn of(path: &Path) -> Self {
        let seen = fs::metadata(path).ok();
        Self(seen.map(|seen| (seen.ino(), seen.size(), seen.mtime(), seen.mtime_nsec())))
    }
}

/// Changes that have not been reported yet.
#[derive(Debug)]
struct Changes {
    last: Vec<Stamp>,
    has_changed: bool,
}

impl Changes {
    /// True when something has changed and has rested since the look before.
    fn look(&mut self, now: Vec<Stamp>) -> bool {
        if now != self.last {
            self.last = now;
            self.has_changed = true;
            return false;
        }
        std::mem::take(&mut self.has_changed)
    }
}

/// Watches on a thread of its own, until the process ends.
pub(super) fn watch(files: Vec<PathBuf>, reload: Sender<()>) -> std::io::Result<()> {
    let stamps = move || -> Vec<Stamp> { files.iter().map(|file| Stamp::of(file)).collect() };
    let mut changes = Changes {
        last: stamps(),
        has_changed: false,
    };
    let look = move || loop {
        thread::sleep(LOOK_EVERY);
        if changes.look(stamps()) {
            tracing::info!("a file has changed: files are read again");
            if reload.send(()).is_err() {
                return; // there is no reload thread
            }
        }
    };
    thread::Builder::new().name("files".into()).spawn(look)?;
    Ok(())
}

/// The files of all listeners and of accounts and rules.
pub(super) fn files_of(listeners: &[Listener], auth: &Files) -> Vec<PathBuf> {
    let tls = listeners.iter().map(|listener| &listener.tls);
    let lists = tls.flat_map(|tls| {
        [
            &tls.certificates,
            &tls.keys,
            &tls.client_ca,
            &tls.revocation_lists,
        ]
    });
    let of_listeners = lists.flatten().cloned();
    let of_auth = auth.names().map(PathBuf::from);
    of_listeners.chain(of_auth).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_when_it_rests() {
        let state = |n: u64| vec![Stamp(Some((n, 0, 0, 0))), Stamp(None)];
        let mut changes = Changes {
            last: state(0),
            has_changed: false,
        };
        let told = [0, 1, 2, 2, 2, 3, 3].map(|n| changes.look(state(n)));
        assert_eq!(told, [false, false, false, true, false, false, true]);
    }

    #[test]
    fn all_files_that_are_read_again() {
        let mut listener = Listener::default();
        listener.tls.certificates = vec!["c".into()];
        listener.tls.keys = vec!["k".into()];
        listener.tls.client_ca = vec!["a".into()];
        listener.tls.revocation_lists = vec!["r".into()];
        let auth = Files {
            password_file: Some("p".into()),
            acl_file: Some("l".into()),
            scram_file: Some("s".into()),
            jwt_key_file: Some("j".into()),
            jwt_secret_file: Some("h".into()),
            ..Files::default()
        };
        let found = files_of(&[Listener::default(), listener], &auth);
        let expected = ["c", "k", "a", "r", "p", "l", "s", "j", "h"].map(PathBuf::from);
        assert_eq!(found, expected);
    }
}
