//! Watch of the files that are read again at SIGHUP: requests a reload when one has changed.
//!
//! Names are looked up anew each time: files that are replaced, and links that are pointed elsewhere,
//! are changes as well. A kernel's watch would follow the old ones.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::controls::Ask;
use crate::admin_options::AdminOptions;
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

/// The watched files and changes that have not been reported yet.
#[derive(Debug, Default)]
struct Changes {
    files: Vec<PathBuf>,
    last: Vec<Stamp>,
    has_changed: bool,
}

impl Changes {
    /// Watches these. What has changed of those that were watched already is not forgotten.
    fn watch(&mut self, files: Vec<PathBuf>) {
        let before = |file: &PathBuf| self.files.iter().position(|own| own == file);
        let stamp = |file: &PathBuf| match before(file) {
            Some(place) => self.last[place],
            None => Stamp::of(file),
        };
        self.last = files.iter().map(stamp).collect();
        self.files = files;
    }

    fn stamps(&self) -> Vec<Stamp> {
        self.files.iter().map(|file| Stamp::of(file)).collect()
    }

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

/// The thread that watches, until the process ends.
pub(super) struct FileWatch(Sender<Vec<PathBuf>>);

impl FileWatch {
    pub(super) fn start(reload: Sender<Ask>) -> std::io::Result<Self> {
        let (other, others) = channel();
        let life = move || look(&others, &reload);
        thread::Builder::new().name("files".into()).spawn(life)?;
        Ok(Self(other))
    }

    /// Watches these files from now on; none: it sleeps.
    pub(super) fn watch(&self, files: Vec<PathBuf>) {
        let _ = self.0.send(files); // fails when there is no reload thread
    }
}

fn look(others: &Receiver<Vec<PathBuf>>, reload: &Sender<Ask>) {
    let mut changes = Changes::default();
    loop {
        let other = match changes.files.is_empty() {
            true => others.recv().map_err(RecvTimeoutError::from),
            false => others.recv_timeout(LOOK_EVERY),
        };
        match other {
            Ok(files) => changes.watch(files),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let now = changes.stamps();
                if changes.look(now) {
                    tracing::info!("a file has changed: files are read again");
                    if reload.send(Ask::Reload).is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// The files of all listeners, of accounts and rules, and of the admin listener.
pub(super) fn files_of(listeners: &[Listener], auth: &Files, admin: &AdminOptions) -> Vec<PathBuf> {
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
    let of_admin = admin.files().map(PathBuf::from);
    of_listeners.chain(of_auth).chain(of_admin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_when_it_rests() {
        let state = |n: u64| vec![Stamp(Some((n, 0, 0, 0))), Stamp(None)];
        let mut changes = Changes {
            last: state(0),
            ..Changes::default()
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
        let admin = AdminOptions {
            token_file: Some("t".into()),
            certificate: Some("ac".into()),
            key: Some("ak".into()),
            client_ca: Some("aa".into()),
            ..AdminOptions::default()
        };
        let found = files_of(&[Listener::default(), listener], &auth, &admin);
        let expected = [
            "c", "k", "a", "r", "p", "l", "s", "j", "h", "t", "ac", "ak", "aa",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
    }

    #[test]
    fn what_has_changed_before_other_files_are_watched_is_not_forgotten() {
        let file = std::env::temp_dir().join(format!("ringmq-watched-{}", std::process::id()));
        fs::write(&file, "1").unwrap();
        let mut changes = Changes::default();
        changes.watch(vec![file.clone()]);
        fs::write(&file, "other").unwrap();
        changes.watch(vec!["nowhere".into(), file.clone()]);
        let looks = [0, 1, 2].map(|_| {
            let now = changes.stamps();
            changes.look(now)
        });
        assert_eq!(looks, [false, true, false]);
        fs::remove_file(&file).unwrap();
    }
}
