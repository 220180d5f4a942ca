//! The driver's part in the journal: frames of the shard to the disk, segments ahead of need, and the end of the
//! process when a write fails.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;

use super::data_dir::{path_of, Ready};
use super::frame_writer::FrameWriter;
use super::log_copies::LogCopies;
use super::logging;
use super::no_file::NoFile;
use super::operations::Completion;
use super::poller::Poller;
use super::read_backs::ReadBacks;
use super::segment_files::{Request, SegmentFiles};
use crate::histogram::Histogram;
use crate::ids::ShardId;
use crate::journal::{Recovered, SegmentNumber};
use crate::run_options::Durability;
use crate::shard::{NotWritten, Shard};
use crate::time::{Span, Time};

/// Exit code when the journal cannot be written. A new process finds out what is on the disk.
pub(super) const EXIT_JOURNAL: i32 = 3;
/// A file that could not be made is asked for again after so long: room may have been made.
const RETRY_AFTER: Span = Span::from_secs(1);
/// From one commit to the next while no further file can be made: each takes a block at least, and what is left
/// has to last.
const SHORT_INTERVAL: Span = Span::from_millis(50);
/// A log that rests so long says that its last records are durable.
const MARK_AFTER: Span = Span::from_secs(1);
/// Files that are not needed and kept to be used again.
const SPARES: usize = 2;

/// Lives on: the shard's driver, if there is a data directory.
pub(super) struct Commits {
    takes_over: bool,
    shard: ShardId,
    folder: PathBuf,
    segment_bytes: u64,
    writer: FrameWriter,
    reads: ReadBacks,
    /// Where frames have to be as well.
    copies: Option<LogCopies>,
    files: Arc<SegmentFiles>,
    /// Files there are, in order.
    segments: VecDeque<SegmentNumber>,
    /// The log is not needed before this one.
    needed: SegmentNumber,
    /// The last segment that is ready.
    ready: SegmentNumber,
    /// The one behind it is being made.
    is_asked: bool,
    /// From this file.
    recycled: Option<SegmentNumber>,
    /// There was no room for a file or a frame, and the log says so; since when.
    short_since: Option<Time>,
    /// The next attempt then.
    retry_at: Option<Time>,
    /// From one commit to the next; none: at once.
    interval: Option<Span>,
    due: Time,
    is_stopping: bool,
    /// Since when no frame is on its way.
    rests_since: Time,
    /// When the frame on its way was taken, and how long frames take.
    taken_at: Time,
    pub(super) latency: Histogram,
}

impl Commits {
    /// `formers`: folders of the logs of another number of shards, if what the shard has restored is in those; they are
    /// removed when all of it is committed. `ready`: the segments behind the recovered log that exist and hold nothing.
    pub(super) fn new(
        (shard, folder): (ShardId, PathBuf),
        (recovered, ready): (&Recovered, Vec<Ready>),
        (files, segment_bytes): (Arc<SegmentFiles>, u32),
        (durability, formers): (Durability, Vec<PathBuf>),
    ) -> Self {
        let last = recovered.last_segment;
        let unwritten = ready.iter().map(|ready| ready.number);
        let segments = recovered.used.iter().copied().chain(unwritten);
        Self {
            segments: segments.collect(),
            needed: SegmentNumber(0),
            takes_over: !formers.is_empty(),
            shard,
            reads: ReadBacks::new(folder.clone(), formers),
            folder,
            copies: None,
            segment_bytes: segment_bytes.into(),
            ready: ready.last().map_or(last, |ready| ready.number),
            writer: FrameWriter::new(ready, segment_bytes.into()),
            files,
            is_asked: false,
            recycled: None,
            short_since: None,
            is_stopping: false,
            rests_since: Time::ZERO,
            retry_at: None,
            interval: match durability {
                Durability::Commit => None,
                Durability::Interval(span) => Some(span),
            },
            due: Time::ZERO,
            taken_at: Time::ZERO,
            latency: Histogram::default(),
        }
    }

    /// Frames go there as well.
    pub(super) fn with_copies(self, copies: Option<LogCopies>) -> Self {
        Self { copies, ..self }
    }

    /// Reports to the shard what is on the disk.
    pub(super) fn complete(&mut self, shard: &mut Shard, poller: &mut Poller, now: Time) {
        while let Some(completion) = poller.take_completion() {
            if !matches!(completion, Completion::Written { .. }) {
                let handled = self.reads.complete(completion, (shard, poller), now);
                if let Err((wrong, error)) = handled {
                    self.cannot_read(&wrong, error);
                }
                continue;
            }
            if let Err(error) = self.writer.complete(completion) {
                self.fail(&error.to_string());
            }
            if self.writer.is_idle() {
                self.latency.record_span(now.since(self.taken_at));
                self.rests_since = now;
            }
            shard.handle_committed(now);
        }
    }

    /// Gives the next frame to the kernel, when there is one and none is on its way.
    pub(super) fn commit(&mut self, shard: &mut Shard, poller: &mut Poller, now: Time) {
        self.ask_ahead(shard, now);
        self.retire(shard);
        self.reads.begin(shard, poller);
        if !shard.copies_former() {
            self.reads.forget_formers();
        }
        let is_waiting = self.writer.is_waiting();
        if self.mark_at(shard).is_some_and(|at| at <= now) {
            shard.mark_journal();
        }
        let is_due = self.due <= now || shard.waits_for_commit();
        if self.writer.is_idle() && is_due {
            self.due = Time::ZERO; // a frame that waits for its file is not due
            if let Some(frame) = shard.poll_journal() {
                self.writer.take(&frame);
                if let Some(copies) = &self.copies {
                    copies.frame(self.shard, &frame);
                }
                self.taken_at = now;
                let interval = self.commit_interval();
                self.due = interval.map_or(Time::ZERO, |interval| now + interval);
            }
        }
        if is_waiting && self.retry_at.is_some_and(|at| at > now) {
            return;
        }
        match self.writer.submit(poller) {
            Err(error) => self.no_room(shard, &error, now),
            Ok(()) if is_waiting => self.has_room(shard, now),
            Ok(()) => {}
        }
    }

    /// What the shard begins with does not depend on other logs.
    pub(super) fn has_begun(&self, shard: &Shard) -> bool {
        !self.takes_over || shard.is_committed()
    }

    /// What is not on the disk is brought there without waiting for the interval.
    pub(super) fn begin_stop(&mut self) {
        self.is_stopping = true;
        self.due = Time::ZERO;
    }

    /// The same until the process continues after all.
    pub(super) fn hasten(&mut self, is_hastened: bool) {
        self.is_stopping = is_hastened;
        if is_hastened {
            self.due = Time::ZERO;
        }
    }

    /// Nothing is on its way to the log or from it, and no file is being made.
    pub(super) fn is_at_rest(&self) -> bool {
        self.writer.is_idle()
            && self.reads.under_way() == 0
            && !self.is_asked
            && self.files.is_idle()
    }

    /// Another process may read the log. It is not written before [`take_back`](Self::take_back).
    pub(super) fn let_be_read(&self) {
        if let Err(error) = self.writer.share(true) {
            tracing::warn!("upgrade: a segment stays locked: {error}");
        }
    }

    /// The other process has ended.
    pub(super) fn take_back(&self) {
        if let Err(error) = self.writer.share(false) {
            self.fail(&format!("it cannot be locked again: {error}"));
        }
    }

    fn commit_interval(&self) -> Option<Span> {
        let short = self.short_since.map(|_| SHORT_INTERVAL);
        self.interval.max(short).filter(|_| !self.is_stopping)
    }

    /// When the log says that its last records are durable; on a full disk it does not.
    fn mark_at(&self, shard: &Shard) -> Option<Time> {
        let is_wanted = self.writer.is_idle() && self.short_since.is_none() && shard.wants_mark();
        is_wanted.then(|| match self.is_stopping {
            true => Time::ZERO,
            false => self.rests_since + MARK_AFTER,
        })
    }

    /// The last segment that should be ready. When there was none to be had, one more has to be before all is well
    /// again.
    fn wanted(&self, shard: &Shard) -> Option<SegmentNumber> {
        let wanted = shard.segment_wanted()?;
        Some(match self.short_since {
            None => wanted,
            Some(_) => wanted.next(),
        })
    }

    /// One segment after the other, so that they are ready in order.
    fn ask_ahead(&mut self, shard: &Shard, now: Time) {
        let is_wanted = self.wanted(shard) > Some(self.ready);
        if self.is_asked || !is_wanted || self.retry_at.is_some_and(|at| at > now) {
            return;
        }
        let number = self.ready.next();
        let recycled = self
            .segments
            .front()
            .filter(|oldest| **oldest < self.needed);
        let recycled = recycled.copied();
        self.is_asked = self.files.prepare(Request {
            shard: self.shard,
            number,
            path: path_of(&self.folder, number),
            bytes: self.segment_bytes,
            oldest: self.oldest_behind(recycled.is_some()),
            free_min: self.segment_bytes * [1, 2][usize::from(self.short_since.is_some())],
            recycled: recycled.map(|oldest| path_of(&self.folder, oldest)),
        });
        if self.is_asked {
            self.retry_at = None;
            self.recycled = recycled;
            if recycled.is_some() {
                self.segments.pop_front();
            }
        }
    }

    /// The oldest segment that must be there, with or without the first one.
    fn oldest_behind(&self, without_first: bool) -> SegmentNumber {
        let oldest = self.segments.get(usize::from(without_first)).copied();
        oldest.unwrap_or_else(|| self.ready.next())
    }

    /// Removes segments that are not needed, oldest first, and keeps some to be used again.
    fn retire(&mut self, shard: &mut Shard) {
        if let Some(needed) = shard.poll_retired() {
            self.needed = self.needed.max(needed);
            self.reads.forget_before(self.needed);
            if let Some(copies) = &self.copies {
                copies.needed(self.shard, self.needed);
            }
        }
        while let Some(oldest) = self.segments.front().copied() {
            let is_spare = self
                .segments
                .get(SPARES)
                .is_none_or(|kept| *kept >= self.needed);
            let remaining = self.oldest_behind(true);
            if is_spare || !(self.files).remove(path_of(&self.folder, oldest), remaining) {
                return;
            }
            self.segments.pop_front();
        }
    }

    /// A segment that was asked for exists, or could not be made.
    pub(super) fn segment_made(
        &mut self,
        shard: &mut Shard,
        (number, made): (SegmentNumber, io::Result<OwnedFd>),
        now: Time,
    ) {
        self.is_asked = false;
        let recycled = self.recycled.take();
        match made {
            Err(error) => {
                if let Some(oldest) = recycled {
                    self.segments.push_front(oldest);
                }
                self.no_room(shard, &error, now);
            }
            Ok(file) => {
                let file = Arc::new(file);
                self.ready = number;
                self.segments.push_back(number);
                self.writer.add(Ready { number, file });
                shard.handle_segment_ready(number);
                self.has_room(shard, now);
            }
        }
    }

    /// Nothing has been written, so nothing is lost: publications that need the log are refused, the rest is served.
    fn no_room(&mut self, shard: &mut Shard, error: &io::Error, now: Time) {
        let why = NoFile::of(error, &self.folder);
        if why.is_final() {
            self.fail(&format!("{error}; {why}"));
        }
        self.retry_at = Some(now + RETRY_AFTER);
        if self.short_since.is_some() {
            return;
        }
        self.short_since = Some(now);
        shard.handle_disk_full(true, now);
        tracing::error!(
            "{}: no further file can be made ({error}); {why}. Publications, subscriptions and sessions that have to \
             outlive the process are refused with 0x97 until two files of {} MiB (journal-segment-bytes) can be made, \
             clients of 3.1.1 wait for disk-full-timeout; the rest is served",
            self.folder.display(),
            self.segment_bytes >> 20,
        );
    }

    fn has_room(&mut self, shard: &mut Shard, now: Time) {
        self.retry_at = None;
        let is_ready = self.wanted(shard) <= Some(self.ready) && !self.writer.is_waiting();
        let Some(since) = self.short_since.take_if(|_| is_ready) else {
            return;
        };
        shard.handle_disk_full(false, now);
        tracing::info!(
            "{}: files can be made again, after {} s: nothing is refused any more",
            self.folder.display(),
            now.since(since).as_secs(),
        );
    }

    /// When [`commit`](Self::commit) has to be called though nothing else happens.
    pub(super) fn poll_timeout(&self, shard: &Shard) -> Option<Time> {
        let commits_later = self.writer.is_idle() && self.due > Time::ZERO && !shard.is_committed();
        let goes_on = self.takes_over && shard.goes_on_taking_over();
        [
            goes_on.then_some(Time::ZERO),
            self.retry_at,
            commits_later.then_some(self.due),
            self.mark_at(shard),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Nothing else than the end is right: what the disk holds is not known, and what was acknowledged is there.
    fn fail(&self, error: &str) -> ! {
        tracing::error!(
            "the journal in {} cannot be written: {error}; the process ends, so that nothing is acknowledged \
             that is not there",
            self.folder.display()
        );
        logging::flush();
        process::exit(EXIT_JOURNAL)
    }

    /// A message that was acknowledged cannot be given to its client: no part of the log is to be trusted.
    fn cannot_read(&self, wrong: &NotWritten, error: Option<io::Error>) -> ! {
        let segment = SegmentNumber(wrong.place.segment);
        let path = path_of(self.reads.folder(wrong.former), segment);
        let error = error.map_or(String::new(), |error| format!(" ({error})"));
        tracing::error!(
            "{}: {wrong}{error}: it waits for a client and is nowhere else; the process ends. Look at the disk, and at \
             what the log holds: ringmq journal check",
            path.display()
        );
        logging::flush();
        process::exit(EXIT_JOURNAL)
    }
}
