//! Start-up errors, each with what to change.

use glommio::{BuilderErrorKind, GlommioError, ReactorErrorKind};
use rustix::io::Errno;

use super::data_dir::DataError;
use crate::auth::FileProblem;
use crate::listener::Address;
use crate::transport::tls::Problem;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {0}: the port is in use; stop the other program or choose another port with {1}")]
    PortInUse(String, &'static str),
    #[error("cannot listen on {0}: ports below 1024 need the capability CAP_NET_BIND_SERVICE; give it (AmbientCapabilities= in a systemd unit) or choose a higher port with {1}")]
    PortForbidden(String, &'static str),
    #[error("cannot listen on {0}: this machine does not have that address; choose one of its own with {1}")]
    NoSuchAddress(String, &'static str),
    #[error("cannot listen on {0}: {1}")]
    Listen(String, Errno),
    #[error("cannot listen on {0}: {1}")]
    Unavailable(String, String),
    #[error("socket \"{0}\" of the service manager: {1}")]
    Inherited(String, String),
    #[error("TLS of the listener on {0}: {1}")]
    Tls(String, Problem),
    #[error("io_uring is not available ({0}); ringmq needs Linux 5.13 or later with kernel.io_uring_disabled = 0 (sysctl), and a container's seccomp profile must allow io_uring_setup, io_uring_enter and io_uring_register: deploy/seccomp.json of ringmq does (docker run --security-opt seccomp=FILE; in Kubernetes a localhostProfile)")]
    NoIoUring(String),
    #[error("io_uring cannot lock its memory ({0}); raise the limit with: ulimit -l 65536 (or LimitMEMLOCK=64M in a systemd unit), or start fewer shards")]
    LockedMemory(String),
    #[error("no file descriptor is left ({0}); raise the limit with: ulimit -n 65536 (or LimitNOFILE= in a systemd unit), or start fewer shards")]
    Descriptors(String),
    #[error("{0}")]
    Files(String),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("cluster: {0}")]
    Cluster(String),
    #[error("cannot start shard {0}: {1}")]
    Shard(u16, String),
    #[error("upgrade: {0}")]
    Upgrade(String),
    #[error("cannot prepare to start: {0}")]
    System(std::io::Error),
}

impl From<std::io::Error> for StartError {
    fn from(error: std::io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE) => Self::Descriptors(error.to_string()),
            _ => Self::System(error),
        }
    }
}

impl From<Errno> for StartError {
    fn from(errno: Errno) -> Self {
        std::io::Error::from(errno).into()
    }
}

impl StartError {
    /// `option` gives the address.
    pub(super) fn of_listener(address: &Address, option: &'static str, error: Errno) -> Self {
        let address = address.to_string();
        match error {
            Errno::ADDRINUSE => Self::PortInUse(address, option),
            Errno::ACCESS | Errno::PERM => Self::PortForbidden(address, option),
            Errno::ADDRNOTAVAIL => Self::NoSuchAddress(address, option),
            Errno::MFILE | Errno::NFILE => error.into(),
            other => Self::Listen(address, other),
        }
    }

    pub(super) fn of_files(problems: Vec<FileProblem>) -> Self {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Self::Files(lines.join("\n"))
    }

    pub(super) fn of_ring(error: &std::io::Error) -> Self {
        let text = error.to_string();
        match Errno::from_io_error(error) {
            Some(Errno::NOMEM) => Self::LockedMemory(text),
            Some(Errno::MFILE | Errno::NFILE) => Self::Descriptors(text),
            _ => Self::NoIoUring(text),
        }
    }

    pub(super) fn of_executor(shard: u16, error: GlommioError<()>) -> Self {
        match error {
            GlommioError::IoError(error) | GlommioError::EnhancedIoError { source: error, .. } => {
                match Errno::from_io_error(&error) {
                    Some(
                        Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::PERM | Errno::NOSYS,
                    ) => Self::of_ring(&error),
                    Some(_) => Self::Shard(shard, error.to_string()),
                    None => Self::of_text(shard, &error.to_string()),
                }
            }
            GlommioError::ReactorError(ReactorErrorKind::MemLockLimit(limit, needed)) => {
                Self::LockedMemory(format!("the limit is {limit} bytes, {needed} are needed"))
            }
            GlommioError::BuilderError(kind) => Self::Shard(shard, of_builder(&kind)),
            other => Self::of_text(shard, &other.to_string()),
        }
    }

    /// From the executor's thread its errors arrive as text inside an error of the system.
    fn of_text(shard: u16, text: &str) -> Self {
        if text.contains("MemLockLimit") || text.contains("memlock") {
            Self::LockedMemory("its limit is too low".into())
        } else {
            Self::Shard(shard, "its executor does not come up".into())
        }
    }
}

fn of_builder(kind: &BuilderErrorKind) -> String {
    match kind {
        BuilderErrorKind::NonExistentCpus { cpu } => format!("there is no core {cpu}"),
        BuilderErrorKind::InsufficientCpus {
            required,
            available,
        } => format!("{required} cores are needed, and there are {available}"),
        BuilderErrorKind::NrShards { minimum, shards } => {
            format!("{shards} shards were asked for, {minimum} are the fewest")
        }
        BuilderErrorKind::ThreadPanic(_) => "its thread has panicked".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_says_what_to_change() {
        let rows: [(Errno, &str); 4] = [
            (Errno::PERM, "kernel.io_uring_disabled"),
            (Errno::NOSYS, "Linux 5.13"),
            (Errno::NOMEM, "ulimit -l"),
            (Errno::MFILE, "ulimit -n"),
        ];
        for (errno, advice) in rows {
            let text = StartError::of_ring(&errno.into()).to_string();
            assert!(text.contains(advice), "{errno:?}: {text}");
            let text = StartError::of_executor(0, GlommioError::IoError(errno.into())).to_string();
            assert!(text.contains(advice), "{errno:?}: {text}");
        }
        let address = Address::Ip(std::net::SocketAddr::from(([127, 0, 0, 1], 80)));
        let any = StartError::from(Errno::MFILE).to_string();
        let listener = StartError::of_listener(&address, "--listen", Errno::NFILE).to_string();
        assert!(any.contains("ulimit -n") && listener.contains("ulimit -n"));
        let limit = ReactorErrorKind::MemLockLimit(65_536, 524_288);
        let text = StartError::of_executor(1, GlommioError::ReactorError(limit)).to_string();
        assert!(text.contains("ulimit -l"), "{text}");
        let wrapped = GlommioError::IoError(std::io::Error::other("MemLockLimit(65536/524288)"));
        let text = StartError::of_executor(1, wrapped).to_string();
        assert!(text.contains("ulimit -l"), "{text}");
        for errno in [Errno::ADDRINUSE, Errno::ACCESS, Errno::ADDRNOTAVAIL] {
            for option in ["--listen", "--admin-listen"] {
                let text = StartError::of_listener(&address, option, errno).to_string();
                assert!(text.ends_with(option), "{errno:?}: {text}");
            }
        }
        // Nothing of the executor's own words, which may hold names of its types.
        let rows: [(GlommioError<()>, &str); 4] = [
            (
                GlommioError::BuilderError(BuilderErrorKind::NonExistentCpus { cpu: 9 }),
                "there is no core 9",
            ),
            (
                GlommioError::BuilderError(BuilderErrorKind::ThreadPanic(Box::new("x"))),
                "its thread has panicked",
            ),
            (
                GlommioError::ReactorError(ReactorErrorKind::IncorrectSourceType("X".into())),
                "does not come up",
            ),
            (
                GlommioError::IoError(std::io::Error::other("Other(Kind)")),
                "does not come up",
            ),
        ];
        for (error, expected) in rows {
            let text = StartError::of_executor(3, error).to_string();
            assert!(
                text.contains(expected) && text.contains("shard 3"),
                "{text}"
            );
        }
    }
}
