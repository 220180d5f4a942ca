//! Listening on a Unix socket: its file, owner and permissions.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{chown, Gid, Uid};
use rustix::net::{
    bind, connect, listen, socket_with, AddressFamily, SocketAddrUnix, SocketFlags, SocketType,
};

use super::listener::BACKLOG;

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// Opens a listening socket. A file that an earlier process has left is replaced, one that somebody
/// listens on is not. The error is a sentence that says what to change.
pub(super) fn open(path: &Path, owner: Option<&str>, mode: Option<u16>) -> Result<OwnedFd, String> {
    let address = SocketAddrUnix::new(path).map_err(|error| error.to_string())?;
    let new = || {
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None);
        socket.map_err(|error| error.to_string())
    };
    if let Ok(found) = fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(
                "there is a file of that name that is no socket; remove it or choose \
                        another path"
                    .into(),
            );
        }
        if connect(&new()?, &address).is_ok() {
            return Err("another program listens there; stop it or choose another path".into());
        }
        fs::remove_file(path).map_err(|error| format!("the old socket is in the way: {error}"))?;
    }
    let owner = owner.map(find_owner).transpose()?;
    let socket = new()?;
    bind(&socket, &address).map_err(|error| {
        format!("{error}; its folder must exist and be writable for the broker")
    })?;
    // Nobody can connect before `listen`, so nobody gets in before the permissions are right.
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

    #[test]
    fn a_socket_has_its_mode_and_replaces_what_was_left() {
        let path = std::env::temp_dir().join(format!("ringmq-unix-{}", std::process::id()));
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
