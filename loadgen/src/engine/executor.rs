//! Executor of a worker: glommio's, one each, pinned to a core when one is given. Its one
//! task drives the worker, which sleeps in a ring of its own, so the executor is there for placement. Where
//! io_uring is denied a thread does as well.

use std::thread::JoinHandle;

use core_affinity::CoreId;
use glommio::{
    CpuSet, ExecutorJoinHandle, GlommioError, LocalExecutorBuilder, Placement, ReactorErrorKind,
};
use rustix::io::Errno;

use crate::poller::{locked_memory, ring_sentence, Backend};

/// Memory glommio registers for file I/O, of which a worker does none; the default of 10 MiB would
/// not fit the usual locked-memory limit.
const IO_MEMORY: usize = 64 << 10;
/// Entries of glommio's own rings, which carry nothing.
const RING: usize = 64;

/// A body that runs on an executor of its own.
pub(crate) enum Executor<T: Send + 'static> {
    Glommio(ExecutorJoinHandle<T>),
    Thread(JoinHandle<T>),
}

impl<T: Send + 'static> Executor<T> {
    /// Starts `body`, pinned to `core` when there is one and the system shows its cores.
    pub(crate) fn start(
        name: &str,
        core: Option<usize>,
        backend: Backend,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Self, String> {
        if backend == Backend::Epoll {
            let body = move || {
                if let Some(id) = core {
                    core_affinity::set_for_current(CoreId { id });
                }
                body()
            };
            let thread = std::thread::Builder::new()
                .name(name.to_string())
                .spawn(body);
            return thread
                .map(Self::Thread)
                .map_err(|error| format!("cannot start a worker: {error}"));
        }
        let core = core.filter(|_| CpuSet::online().is_ok()); // /sys may be hidden in a container
        LocalExecutorBuilder::new(core.map_or(Placement::Unbound, Placement::Fixed))
            .name(name)
            .io_memory(IO_MEMORY)
            .ring_depth(RING)
            .spawn(move || async move { body() })
            .map(Self::Glommio)
            .map_err(|error| sentence(&error))
    }

    /// Waits for the end of the body; a sentence when the executor could not be made or failed.
    pub(crate) fn join(self) -> Result<T, String> {
        match self {
            Self::Glommio(own) => own.join().map_err(|error| sentence(&error)),
            Self::Thread(own) => own.join().map_err(|_| "a worker failed".to_string()),
        }
    }
}

/// Cores for so many workers, from those this process may use: the last ones, since brokers take the
/// first. Empty, so not pinned, when there are too few.
pub(crate) fn cores_for(workers: usize, allowed: &[usize]) -> Vec<usize> {
    let first = allowed.len().checked_sub(workers);
    first.map_or(Vec::new(), |first| allowed[first..].to_vec())
}

/// Why an executor did not start, and what to change.
fn sentence(error: &GlommioError<()>) -> String {
    match error {
        GlommioError::IoError(error)
            if matches!(
                Errno::from_io_error(error),
                Some(Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::PERM | Errno::NOSYS)
            ) =>
        {
            ring_sentence(error)
        }
        GlommioError::ReactorError(ReactorErrorKind::MemLockLimit(limit, wanted)) => {
            locked_memory(&format!("the limit is {limit} bytes, {wanted} are needed"))
        }
        // From the executor's thread its errors arrive as text inside an error of the system.
        other if other.to_string().contains("MemLockLimit") => locked_memory(&other.to_string()),
        other => format!("cannot start a worker: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_runs_where_it_is_told() {
        let core = crate::system::cores()[0];
        let body = || crate::system::cores();
        for backend in [Backend::IoUring, Backend::Epoll] {
            let start = |core| Executor::start("own", core, backend, body).unwrap();
            assert_eq!(start(Some(core)).join().unwrap(), [core]);
            assert_eq!(start(None).join().unwrap(), crate::system::cores());
        }
    }

    #[test]
    fn workers_take_the_last_cores_or_none() {
        assert_eq!(cores_for(2, &[0, 2, 5]), [2, 5]);
        assert_eq!(cores_for(3, &[0, 2, 5]), [0, 2, 5]);
        assert!(cores_for(4, &[0, 2, 5]).is_empty());
    }

    #[test]
    fn every_failure_says_what_to_change() {
        for (errno, advice) in [
            (Errno::PERM, "kernel.io_uring_disabled"),
            (Errno::NOMEM, "ulimit -l"),
        ] {
            let text = sentence(&GlommioError::IoError(errno.into()));
            assert!(text.contains(advice), "{errno:?}: {text}");
        }
        let limit = ReactorErrorKind::MemLockLimit(65_536, 524_288);
        assert!(sentence(&GlommioError::ReactorError(limit)).contains("ulimit -l"));
        let wrapped = GlommioError::IoError(std::io::Error::other("MemLockLimit(65536/524288)"));
        assert!(sentence(&wrapped).contains("ulimit -l"));
    }
}
