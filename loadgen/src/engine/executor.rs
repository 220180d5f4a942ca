//! Executor of a worker: glommio's, one each, pinned to a core when one is given. Its one
//! task drives the worker, which sleeps in a ring of its own, so the executor is there for placement.

use std::io;

use glommio::{
    CpuSet, ExecutorJoinHandle, GlommioError, LocalExecutorBuilder, Placement, ReactorErrorKind,
};
use rustix::io::Errno;

/// Memory glommio registers for file I/O, of which a worker does none; the default of 10 MiB would
/// not fit the usual locked-memory limit.
const IO_MEMORY: usize = 64 << 10;
/// Entries of glommio's own rings, which carry nothing.
const RING: usize = 64;

/// A body that runs on an executor of its own.
pub(crate) struct Executor<T: Send + 'static>(ExecutorJoinHandle<T>);

impl<T: Send + 'static> Executor<T> {
    /// Starts `body`, pinned to `core` when there is one and the system shows its cores.
    pub(crate) fn start(
        name: &str,
        core: Option<usize>,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Self, String> {
        let core = core.filter(|_| CpuSet::online().is_ok()); // /sys may be hidden in a container
        LocalExecutorBuilder::new(core.map_or(Placement::Unbound, Placement::Fixed))
            .name(name)
            .io_memory(IO_MEMORY)
            .ring_depth(RING)
            .spawn(move || async move { body() })
            .map(Self)
            .map_err(|error| sentence(&error))
    }

    /// Waits for the end of the body; a sentence when the executor could not be made or failed.
    pub(crate) fn join(self) -> Result<T, String> {
        self.0.join().map_err(|error| sentence(&error))
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

/// Why io_uring is not there, and what to change.
pub(crate) fn ring_sentence(error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::NOMEM) => locked_memory(&error.to_string()),
        Some(Errno::MFILE | Errno::NFILE) => format!(
            "no file descriptor is left for io_uring ({error}); raise the limit with: ulimit -n 65536"
        ),
        _ => format!(
            "io_uring is not available ({error}); mqload needs Linux 5.13 or later with \
             kernel.io_uring_disabled = 0 (sysctl), and a container's seccomp profile must allow \
             io_uring_setup, io_uring_enter and io_uring_register"
        ),
    }
}

fn locked_memory(error: &str) -> String {
    format!(
        "io_uring cannot lock its memory ({error}); raise the limit with: ulimit -l 65536, or give \
         fewer --threads"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_runs_where_it_is_told() {
        let core = crate::system::cores()[0];
        let body = || crate::system::cores();
        assert_eq!(
            Executor::start("pinned", Some(core), body)
                .unwrap()
                .join()
                .unwrap(),
            [core]
        );
        let free = Executor::start("free", None, body).unwrap().join().unwrap();
        assert_eq!(free, crate::system::cores());
    }

    #[test]
    fn workers_take_the_last_cores_or_none() {
        assert_eq!(cores_for(2, &[0, 2, 5]), [2, 5]);
        assert_eq!(cores_for(3, &[0, 2, 5]), [0, 2, 5]);
        assert!(cores_for(4, &[0, 2, 5]).is_empty());
    }

    #[test]
    fn every_failure_says_what_to_change() {
        let rows = [
            (Errno::PERM, "kernel.io_uring_disabled"),
            (Errno::NOSYS, "Linux 5.13"),
            (Errno::NOMEM, "ulimit -l"),
            (Errno::MFILE, "ulimit -n"),
        ];
        for (errno, advice) in rows {
            let text = ring_sentence(&errno.into());
            assert!(text.contains(advice), "{errno:?}: {text}");
            let text = sentence(&GlommioError::IoError(errno.into()));
            assert!(text.contains(advice), "{errno:?}: {text}");
        }
        let limit = ReactorErrorKind::MemLockLimit(65_536, 524_288);
        assert!(sentence(&GlommioError::ReactorError(limit)).contains("ulimit -l"));
        let wrapped = GlommioError::IoError(io::Error::other("MemLockLimit(65536/524288)"));
        assert!(sentence(&wrapped).contains("ulimit -l"));
    }
}
