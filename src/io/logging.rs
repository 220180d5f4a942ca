//! Log lines on standard error, written by a thread of their own: a terminal or pipe without a reader
//! must not stop a shard.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{reload, EnvFilter, Layer, Registry};

use crate::run_options::LogFormat;

use crate::shard::{Notice, Severity};
use crate::time::{Span, Time};

/// Lines waiting to be written; more are counted and left out.
const LINES_MAX: usize = 1_024;
/// Lines that are kept for operators.
const KEPT_MAX: usize = 1_000;
/// How long the end of the process waits for lines to be written.
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// From one line about something that keeps happening to the next.
const REPEAT_AFTER: Span = Span::from_secs(10);

/// Called with each line on the writing thread; it must not wait.
type Follower = Box<dyn Fn(tracing::Level, String) + Send + Sync>;

enum Job {
    Line(tracing::Level, Vec<u8>),
    /// Answered when every line before it is written.
    Flush(SyncSender<()>),
}

/// Gives lines to the writing thread.
#[derive(Clone)]
struct Lines {
    /// Of the line that is written next.
    level: tracing::Level,
    jobs: SyncSender<Job>,
    left_out: Arc<AtomicU64>,
}

static LINES: OnceLock<Lines> = OnceLock::new();
static SET_LEVEL: OnceLock<Box<dyn Fn(tracing::Level) -> bool + Send + Sync>> = OnceLock::new();
static FOLLOWER: OnceLock<Follower> = OnceLock::new();
static KEPT: Mutex<Kept> = Mutex::new(Kept {
    lines: VecDeque::new(),
    next: 0,
});

impl Write for Lines {
    /// Called once per line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.jobs.try_send(Job::Line(self.level, line.to_vec()))
        {
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

    fn make_writer_for(&'a self, line: &tracing::Metadata<'_>) -> Self {
        Self {
            level: *line.level(),
            ..self.clone()
        }
    }
}

/// Lines of our own from a level on. What libraries write has neither the address of a client nor a limit,
/// and clients can make it grow (TLS writes a line for each name that is an IP address): it is shown
/// with "trace" only.
fn filter(level: tracing::Level) -> EnvFilter {
    let directives = if level == tracing::Level::TRACE {
        "trace".to_owned()
    } else {
        format!("off,ringmq={level}")
    };
    EnvFilter::new(directives)
}

/// Starts logging at a level; call once.
pub fn start(level: tracing::Level, format: LogFormat) {
    let (jobs, waiting) = sync_channel(LINES_MAX);
    let left_out = Arc::new(AtomicU64::new(0));
    let lines = Lines {
        level: tracing::Level::INFO,
        jobs,
        left_out: Arc::clone(&left_out),
    };
    let thread = thread::Builder::new().name("log".into());
    let started = thread.spawn(move || write_lines(&waiting, &left_out));
    let shown = if started.is_ok() {
        let _ = LINES.set(lines.clone());
        layer(format, lines)
    } else {
        layer(format, io::stderr)
    };
    let (reloaded, handle) = reload::Layer::new(filter(level));
    let _ = SET_LEVEL.set(Box::new(move |level| handle.reload(filter(level)).is_ok()));
    tracing_subscriber::registry()
        .with(shown.with_filter(reloaded))
        .init();
}

/// How lines look, and where they go.
fn layer<W>(format: LogFormat, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).with_target(false).boxed(),
        LogFormat::Text if writes_to_journald() => {
            let lines = lines.with_ansi(false).without_time().with_level(false);
            lines.map_event_format(Prioritized).boxed()
        }
        LogFormat::Text => lines.boxed(),
    }
}

/// Standard error is the stream that journald has opened for this service.
fn writes_to_journald() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let Ok(own) = rustix::fs::fstat(io::stderr()) else {
        return false;
    };
    stream == format!("{}:{}", own.st_dev, own.st_ino)
}

/// Lines for journald, which has the time itself: the priority of sd-daemon(3) comes first.
struct Prioritized<F>(F);

impl<S, N> FormatEvent<S, N> for Prioritized<Format<Full, ()>>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> std::fmt::Result {
        let priority = match *event.metadata().level() {
            tracing::Level::ERROR => 3,
            tracing::Level::WARN => 4,
            tracing::Level::INFO => 6,
            _ => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}

/// The level from which lines are shown.
pub(super) fn level() -> tracing::Level {
    let levels = [
        tracing::Level::TRACE,
        tracing::Level::DEBUG,
        tracing::Level::INFO,
        tracing::Level::WARN,
    ];
    let shown = levels
        .into_iter()
        .find(|level| tracing::level_filters::LevelFilter::current() >= *level);
    shown.unwrap_or(tracing::Level::ERROR)
}

/// Shows lines from another level on; false when that cannot be changed.
pub(super) fn set_level(level: tracing::Level) -> bool {
    SET_LEVEL.get().is_some_and(|set| set(level))
}

/// Calls this with each line from now on; the first caller alone.
pub(super) fn follow(follower: Follower) {
    let _ = FOLLOWER.set(follower);
}

/// Lines that are kept with a number above `after`, and their numbers.
pub(super) fn lines_after(after: u64) -> Vec<(u64, String)> {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = kept.lines.iter().filter(|(number, _)| *number > after);
    lines.cloned().collect()
}

/// The last lines, for operators who look from afar.
struct Kept {
    lines: VecDeque<(u64, String)>,
    next: u64,
}

impl Kept {
    /// Returns it as it is shown.
    fn keep(&mut self, line: &[u8]) -> String {
        let text = String::from_utf8_lossy(line);
        let mut shown = String::new();
        let mut parts = text.trim_end().split("\u{1b}[");
        shown.push_str(parts.next().unwrap_or_default());
        for part in parts {
            // Colours end with an m.
            shown.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
        }
        self.next += 1;
        self.lines.push_back((self.next, shown.clone()));
        if self.lines.len() > KEPT_MAX {
            self.lines.pop_front();
        }
        shown
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
        // A failure of standard error cannot be reported.
        match job {
            Job::Line(level, line) => {
                let shown = KEPT
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .keep(&line);
                let _ = io::stderr().write_all(&line);
                if let Some(follow) = FOLLOWER.get() {
                    follow(level, shown); // what was written is published, not the other way round
                }
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

/// Whether each connection is logged.
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
    fn lines_of_libraries_are_for_trace() {
        use tracing::Level;
        use tracing_subscriber::layer::SubscriberExt;
        #[derive(Clone, Default)]
        struct Sink(Arc<Mutex<Vec<u8>>>);
        impl Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let rows = [
            (Level::WARN, "own warn."),
            (Level::INFO, "own warn.own info."),
            (Level::DEBUG, "own warn.own info.own debug."),
            (Level::TRACE, "own warn.theirs.own info.own debug."),
        ];
        for (level, expected) in rows {
            let sink = Sink::default();
            let writer = sink.clone();
            let lines = tracing_subscriber::fmt::layer()
                .with_writer(move || writer.clone())
                .with_ansi(false)
                .with_target(false);
            let subscriber = tracing_subscriber::registry()
                .with(filter(level))
                .with(lines);
            tracing::subscriber::with_default(subscriber, || {
                tracing::warn!("own warn.");
                tracing::warn!(target: "rustls::msgs::handshake", "theirs.");
                tracing::info!(target: "ringmq", "own info.");
                tracing::debug!("own debug.");
            });
            let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
            let shown = text
                .lines()
                .filter_map(|line| line.get(line.find("  ").or(line.find(" D"))?..));
            let shown: String = shown
                .map(|line| {
                    line.trim_start()
                        .split_once(' ')
                        .map_or("", |(_, text)| text)
                })
                .collect();
            assert_eq!(shown, expected, "{level}: {text}");
        }
    }

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
            level: tracing::Level::INFO,
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
