//! Why no further file can be made for a log: what is to be done about it, and whether it may end by itself.

use std::fmt;
use std::io;
use std::path::Path;

use rustix::io::Errno;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoFile {
    /// The file system was detached, takes no writes, or fails.
    Device,
    /// Files that are open are all there is: the next process would find nothing.
    FolderGone,
    /// All others wait, and are tried again.
    Full,
    Descriptors,
    DescriptorsOfAll,
    Forbidden,
    TooLarge,
    Other,
}

impl NoFile {
    pub(super) fn of(error: &io::Error, folder: &Path) -> Self {
        if error.kind() == io::ErrorKind::StorageFull {
            return Self::Full;
        }
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        match errno {
            Some(Errno::IO | Errno::ROFS | Errno::NXIO | Errno::NODEV | Errno::SHUTDOWN) => {
                Self::Device
            }
            Some(Errno::NOSPC | Errno::DQUOT) => Self::Full,
            Some(Errno::MFILE) => Self::Descriptors,
            Some(Errno::NFILE) => Self::DescriptorsOfAll,
            Some(Errno::ACCESS | Errno::PERM) => Self::Forbidden,
            Some(Errno::FBIG) => Self::TooLarge,
            _ if is_gone(folder) => Self::FolderGone,
            _ => Self::Other,
        }
    }

    /// It will not end by itself, and nothing more may be acknowledged.
    pub(super) fn is_final(self) -> bool {
        matches!(self, Self::Device | Self::FolderGone)
    }
}

fn is_gone(folder: &Path) -> bool {
    let found = std::fs::metadata(folder);
    found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// What to do, as a sentence.
impl fmt::Display for NoFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Device => "the file system takes no writes: look at the disk",
            Self::FolderGone => {
                "the folder was removed or renamed while the broker ran: bring it back as it was"
            }
            Self::Full => "make room there, or let subscribers take what waits for them",
            Self::Descriptors => {
                "the process has no file descriptor left: raise its limit (LimitNOFILE= in a systemd unit, prlimit \
                 while it runs), or lower connections-max"
            }
            Self::DescriptorsOfAll => {
                "the machine has no file descriptor left: raise fs.file-max (sysctl), or end what has so many"
            }
            Self::Forbidden => {
                "the user that the broker runs as may not write there: give the folder back to it"
            }
            Self::TooLarge => {
                "files may not be so large: raise the limit (LimitFSIZE= in a systemd unit, ulimit -f), or lower \
                 journal-segment-bytes"
            }
            Self::Other => "mend what the reason says",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::data_dir::DataError;

    /// Also where the folder's own files are what could not be opened.
    #[test]
    fn a_reason_is_kept_on_its_way() {
        let here = std::env::temp_dir();
        for (errno, expected) in [
            (Errno::MFILE, NoFile::Descriptors),
            (Errno::ACCESS, NoFile::Forbidden),
            (Errno::ROFS, NoFile::Device),
            (Errno::IO, NoFile::Device),
            (Errno::NOSPC, NoFile::Full),
        ] {
            let error = DataError::of("cannot read", &here)(errno.into());
            assert_eq!(NoFile::of(&error.into(), &here), expected);
        }
    }

    #[test]
    fn each_reason_is_told_from_the_others() {
        let here = std::env::temp_dir();
        let gone = here.join(format!("ringmq-{}-gone", std::process::id()));
        let of = |errno: Errno| NoFile::of(&errno.into(), &here);
        for (errno, expected) in [
            (Errno::NOSPC, NoFile::Full),
            (Errno::DQUOT, NoFile::Full),
            (Errno::MFILE, NoFile::Descriptors),
            (Errno::NFILE, NoFile::DescriptorsOfAll),
            (Errno::ACCESS, NoFile::Forbidden),
            (Errno::PERM, NoFile::Forbidden),
            (Errno::FBIG, NoFile::TooLarge),
            (Errno::NOMEM, NoFile::Other),
            (Errno::NOENT, NoFile::Other), // of something in the folder
        ] {
            assert_eq!(of(errno), expected);
            assert!(!of(errno).is_final(), "{errno}");
        }
        for errno in [Errno::IO, Errno::ROFS, Errno::NODEV, Errno::SHUTDOWN] {
            assert!(of(errno).is_final(), "{errno}");
        }
        let removed = NoFile::of(&Errno::NOENT.into(), &gone);
        assert_eq!((removed, removed.is_final()), (NoFile::FolderGone, true));
        let full = io::Error::new(io::ErrorKind::StorageFull, "journal-bytes-max");
        assert_eq!(NoFile::of(&full, &gone), NoFile::Full);
    }
}
