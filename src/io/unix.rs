//! Listening on a Unix socket: its file, owner and permissions.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{chown, Gid, Uid};
use rustix::io::Errno;
use rustix::net::{
    bind, connect, listen, socket_with, AddressFamily, SocketAddrUnix, SocketFlags, SocketType,
};

use super::listener::{BACKLOG, PORT_PATIENCE};

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);
/// How often a start that waits looks: each look is a connection to the process that listens.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The file of a socket that this process has made.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SocketFile {
    path: PathBuf,
    made: Made,
}

/// Identity of a file among others of the same name. Inode numbers are reused at once, so the time at
/// which it was made belongs to it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Made {
    device: u64,
    inode: u64,
    at: (i64, i64),
}

impl SocketFile {
    /// Call when the socket has just been opened.
    pub(super) fn of(path: &Path) -> Option<Self> {
        Some(Self {
            path: path.into(),
            made: Made::of(path)?,
        })
    }

    pub(super) fn is_at(&self, path: &Path) -> bool {
        self.path == path
    }

    /// Removes it, unless another process has put its own in its place: one that is started while this one
    /// still stops.
    pub(super) fn remove(&self) {
        if Made::of(&self.path) == Some(self.made) {
            let _ = fs::remove_file(&self.path); // the next start removes what is left
        }
    }
}

impl Made {
    fn of(path: &Path) -> Option<Self> {
        let found = fs::symlink_metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            at: (found.mtime(), found.mtime_nsec()),
        })
    }
}

/// Opens a listening socket. A file that an earlier process has left is replaced, one on which a process
/// listens is not, and is waited for as a port is (see `listener::open_patiently`). The error is a
/// sentence with what to change.
pub(super) fn open_patiently(
    path: &Path,
    owner: Option<&str>,
    mode: Option<u16>,
) -> Result<OwnedFd, String> {
    open_within(path, owner, mode, PORT_PATIENCE)
}

fn open_within(
    path: &Path,
    owner: Option<&str>,
    mode: Option<u16>,
    login_timeout: Duration,
) -> Result<OwnedFd, String> {
    let address = SocketAddrUnix::new(path).map_err(|error| error.to_string())?;
    let give_up_at = Instant::now() + login_timeout;
    while let Ok(found) = fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(
                "there is a file of that name that is no socket; remove it or choose \
                        another path"
                    .into(),
            );
        }
        match connect(&new_socket()?, &address) {
            // No process listens on it any more.
            Err(Errno::CONNREFUSED) => {
                fs::remove_file(path)
                    .map_err(|error| format!("the old socket is in the way: {error}"))?;
            }
            Err(Errno::NOENT) => {} // removed meanwhile
            // AGAIN: the listening process has no room for another connection.
            Ok(()) | Err(Errno::AGAIN | Errno::INTR) if Instant::now() < give_up_at => {
                thread::sleep(LOOK_EVERY);
            }
            Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {
                return Err("another program listens there; stop it or choose another path".into());
            }
            Err(error) => {
                return Err(format!(
                    "there is a socket of that name, and who listens there cannot be found out \
                     ({error}); remove it or choose another path"
                ));
            }
        }
    }
    let owner = owner.map(find_owner).transpose()?;
    let socket = new_socket()?;
    bind(&socket, &address).map_err(|error| {
        format!("{error}; its folder must exist and be writable for the broker")
    })?;
    // No client can connect before `listen`, so none connects before the permissions are right.
    if let Some(mode) = mode {
        let permissions = fs::Permissions::from_mode(mode.into());
        fs::set_permissions(path, permissions)
            .map_err(|error| format!("its mode cannot be set: {error}"))?;
    }
    if let Some((user, group)) = owner {
        chown(path, Some(user), group).map_err(|error| {
            format!("it cannot be given to its owner: {error}; start the broker as root for that")
        })?;
    }
    listen(&socket, BACKLOG).map_err(|error| error.to_string())?;
    Ok(socket)
}

fn new_socket() -> Result<OwnedFd, String> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None);
    socket.map_err(|error| error.to_string())
}

/// `user` or `user:group`, each a name or a number.
fn find_owner(owner: &str) -> Result<(Uid, Option<Gid>), String> {
    let (user, group) = match owner.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (owner, None),
    };
    let user = find_id("/etc/passwd", user).ok_or_else(|| {
        format!("owner: there is no user \"{user}\" in /etc/passwd; give its number")
    })?;
    let group = group.map(|group| {
        find_id("/etc/group", group).ok_or_else(|| {
            format!("owner: there is no group \"{group}\" in /etc/group; give its number")
        })
    });
    Ok((Uid::from_raw(user), group.transpose()?.map(Gid::from_raw)))
}

/// A number, or the third field of the line that begins with the name.
fn find_id(file: &str, name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let text = fs::read_to_string(file).ok()?;
    let mut lines = text.lines().map(|line| line.split(':'));
    let mut fields = lines.find(|fields| fields.clone().next() == Some(name))?;
    fields.nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn temporary(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("ringmq-{name}-{}", std::process::id()))
    }

    fn open(path: &Path, owner: Option<&str>, mode: Option<u16>) -> Result<OwnedFd, String> {
        open_within(path, owner, mode, Duration::ZERO)
    }

    #[test]
    fn a_socket_that_becomes_free_is_waited_for() {
        let path = temporary("unix-patient");
        let first = open(&path, None, None).unwrap();
        let next = {
            let path = path.clone();
            thread::spawn(move || open_patiently(&path, None, None))
        };
        // It has looked, and found a listening process.
        while super::super::listener::accept(&first).unwrap().is_none() {
            thread::yield_now();
        }
        drop(first);
        let _next = next.join().unwrap().unwrap();
        UnixStream::connect(&path).unwrap();
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_socket_without_room_for_a_connection_is_in_use() {
        let path = temporary("unix-full");
        let busy = new_socket().unwrap();
        bind(&busy, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&busy, 0).unwrap();
        let _only = UnixStream::connect(&path).unwrap();
        let taken = open(&path, None, None).unwrap_err();
        assert!(taken.contains("another program"), "{taken}");
        assert!(path.exists(), "it is not ours");
        fs::remove_file(&path).unwrap();
    }

    /// Two files made within one tick of the kernel's clock have the same time.
    fn make_older(path: &Path) {
        let old = rustix::fs::Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        let times = rustix::fs::Timestamps {
            last_access: old,
            last_modification: old,
        };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, path, &times, flags).unwrap();
    }

    #[test]
    fn only_the_own_file_is_removed_at_the_end() {
        let path = temporary("unix-own");
        let first = open(&path, None, None).unwrap();
        let file = SocketFile::of(&path).unwrap();
        drop(first);
        let _second = open(&path, None, None).unwrap();
        make_older(&path);
        file.remove();
        UnixStream::connect(&path).expect("the second's is still there");
        SocketFile::of(&path).unwrap().remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_has_its_mode_and_replaces_what_was_left() {
        let path = temporary("unix");
        let first = open(&path, None, Some(0o600)).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let taken = open(&path, None, None).unwrap_err();
        assert!(taken.contains("another program"), "{taken}");
        drop(first);
        let _second = open(&path, None, None).unwrap();
        UnixStream::connect(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        assert!(open(&path, None, None).unwrap_err().contains("no socket"));
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn owners_are_names_or_numbers() {
        let root = find_owner("root:0").unwrap();
        assert_eq!((root.0.as_raw(), root.1.map(Gid::as_raw)), (0, Some(0)));
        assert_eq!(find_owner("7").unwrap().0.as_raw(), 7);
        assert!(find_owner("no such user")
            .unwrap_err()
            .contains("/etc/passwd"));
        assert!(find_owner("root:no such")
            .unwrap_err()
            .contains("/etc/group"));
    }
}
