//! Log lines on standard error, written by a thread of their own: a terminal or pipe that nobody
//! reads must not stop a shard.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::shard::{Notice, Severity};
use crate::time::{Span, Time};

/// Lines waiting to be written; more are counted and left out.
const LINES_MAX: usize = 1_024;
/// How long the end of the process waits for lines to be written.
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// From one line about something that keeps happening to the next.
const REPEAT_AFTER: Span = Span::from_secs(10);

enum Job {
    Line(Vec<u8>),
    /// Answered when every line before it is written.
    Flush(SyncSender<()>),
}

/// Gives lines to the writing thread.
#[derive(Clone)]
struct Lines {
    jobs: SyncSender<Job>,
    left_out: Arc<AtomicU64>,
}

static LINES: OnceLock<Lines> = OnceLock::new();

impl Write for Lines {
    /// Called once per line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.jobs.try_send(Job::Line(line.to_vec())) {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Starts logging at a level; call once.
pub fn start(level: tracing::Level) {
    let (jobs, waiting) = sync_channel(LINES_MAX);
    let left_out = Arc::new(AtomicU64::new(0));
    let lines = Lines {
        jobs,
        left_out: Arc::clone(&left_out),
    };
    let thread = thread::Builder::new().name("log".into());
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from_level(level))
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    if thread
        .spawn(move || write_lines(&waiting, &left_out))
        .is_ok()
    {
        let _ = LINES.set(lines.clone());
        builder.with_writer(lines).init();
    } else {
        builder.with_writer(io::stderr).init();
    }
}

/// Waits until all lines so far are written, for a second at most. Call before the process ends.
pub fn flush() {
    let Some(lines) = LINES.get() else {
        return;
    };
    let (done, written) = sync_channel(1);
    if lines.jobs.try_send(Job::Flush(done)).is_ok() {
        let _: Result<(), RecvTimeoutError> = written.recv_timeout(FLUSH_MAX);
    }
}

fn write_lines(jobs: &Receiver<Job>, left_out: &AtomicU64) {
    for job in jobs {
        // Nobody can be told that standard error failed.
        match job {
            Job::Line(line) => {
                let _ = io::stderr().write_all(&line);
                let count = left_out.swap(0, Ordering::Relaxed);
                if count > 0 {
                    let _ = writeln!(io::stderr(), "... {count} more lines left out");
                }
            }
            Job::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}

/// Whether connections are to be told of one by one.
pub(super) fn tells_connections() -> bool {
    tracing::enabled!(tracing::Level::DEBUG)
}

/// Shows a notice of a shard, which has limited their rate already.
pub(super) fn notice(notice: &Notice) {
    let client_id = notice.client_id.as_deref().unwrap_or("-");
    let address = notice
        .peer
        .map_or_else(|| "-".to_string(), |peer| peer.to_string());
    if notice.severity == Severity::Debug {
        tracing::debug!(client_id, address, "{}", notice.text);
    } else if notice.suppressed > 0 {
        tracing::info!(
            client_id,
            address,
            suppressed = notice.suppressed,
            "{}",
            notice.text
        );
    } else {
        tracing::info!(client_id, address, "{}", notice.text);
    }
}

/// Something that keeps happening is logged at most every ten seconds.
#[derive(Debug, Default)]
pub(super) struct Repeated {
    next: Time,
    suppressed: u64,
}

impl Repeated {
    /// Calls `show` with how many times were left out since it was called last, or counts.
    pub(super) fn log(&mut self, now: Time, show: impl FnOnce(u64)) {
        if now < self.next {
            self.suppressed += 1;
            return;
        }
        self.next = now + REPEAT_AFTER;
        show(std::mem::take(&mut self.suppressed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_lines_are_counted() {
        let mut repeated = Repeated::default();
        let mut shown = Vec::new();
        for second in 0..25 {
            let now = Time::ZERO + Span::from_secs(second);
            repeated.log(now, |suppressed| shown.push((second, suppressed)));
        }
        assert_eq!(shown, [(0, 0), (10, 9), (20, 9)]);
    }

    #[test]
    fn a_writer_that_stalls_costs_lines_and_no_time() {
        let (jobs, waiting) = sync_channel(2);
        let left_out = Arc::new(AtomicU64::new(0));
        let mut lines = Lines {
            jobs,
            left_out: Arc::clone(&left_out),
        };
        for _ in 0..5 {
            lines.write_all(b"line\n").unwrap();
        }
        assert_eq!(left_out.load(Ordering::Relaxed), 3);
        assert_eq!(waiting.try_iter().count(), 2);
    }
}
