//! Appends frames of the node's logs to its stream, and notifies the shards of what is there.

use std::collections::VecDeque;
use std::process;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, Instant};

use super::state_stream::StateStream;
use crate::cluster::log_stream::{LogStream, Outcome, Over, Segments};
use crate::cluster::Incarnation;
use crate::ids::ShardId;
use crate::io::commits::EXIT_JOURNAL;
use crate::io::inbox::ShardCommand;
use crate::io::log_copies::{LogFrame, ToCopies};
use crate::io::logging;
use crate::io::shared::SharedState;
use crate::journal::{Lsn, Piece, SegmentNumber};

/// Before what has failed is tried again.
const PAUSE: Duration = Duration::from_millis(250);
/// Items of shards taken before anything else is looked at.
const TAKEN_MAX: usize = 64;
/// A node that appends nothing looks so often whether it was taken over from.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Nothing is acknowledged for so long: the log says so.
const PATIENCE: Duration = Duration::from_secs(10);

/// A message that is to be appended.
pub(super) struct Entry {
    subject: String,
    bytes: Bytes,
}

impl AsRef<[u8]> for Entry {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What has been found out about an append: what it expected, its attempt, and the outcome.
type Done = (u64, u64, Outcome);

/// Where a shard's log is in the stream.
#[derive(Default)]
struct OfLog {
    segments: Segments,
    /// Frames up to this one are in the stream, and up to this one the shard has been notified of it.
    there: Lsn,
    told: Lsn,
}

/// What follows when a message is there.
enum Then {
    Frame(ShardId, Lsn),
    Answer(std::sync::mpsc::Sender<()>),
}

/// See the module. Lives on: the cluster's thread.
pub(super) struct Appends {
    stream: StateStream,
    state: LogStream<Entry>,
    /// Of this process, for the numbers of messages.
    life: Incarnation,
    logs: Vec<OfLog>,
    /// By sequence.
    then: VecDeque<(u64, Then)>,
    under_way: JoinSet<Done>,
    paused_until: Option<Instant>,
    waits_since: Instant,
    has_told: bool,
}

impl Appends {
    /// Of the logs of so many shards, to a stream that ends with this sequence.
    pub(super) fn new(stream: StateStream, last: u64, life: Incarnation, shards: u16) -> Self {
        Self {
            stream,
            state: LogStream::new(last),
            life,
            logs: (0..shards).map(|_| OfLog::default()).collect(),
            then: VecDeque::new(),
            under_way: JoinSet::new(),
            paused_until: None,
            waits_since: Instant::now(),
            has_told: false,
        }
    }

    /// Appends what shards have until the process ends.
    pub(super) async fn run(
        mut self,
        mut items: UnboundedReceiver<ToCopies>,
        shared: Arc<SharedState>,
    ) {
        loop {
            self.go_on().await;
            let is_told = self.tell(&shared);
            let pause = self.paused_until;
            tokio::select! {
                item = items.recv() => {
                    let Some(item) = item else {
                        return;
                    };
                    self.take(item);
                    for _ in 0..TAKEN_MAX {
                        let Ok(item) = items.try_recv() else {
                            break;
                        };
                        self.take(item);
                    }
                }
                Some(done) = self.under_way.join_next(), if !self.under_way.is_empty() => self.done(done),
                () = sleep_until(pause.unwrap_or_else(Instant::now)), if pause.is_some() => {}
                () = sleep(PAUSE), if !is_told => {}
                () = sleep(LOOK_EVERY), if self.state.is_drained() => {
                    if let Ok(last) = self.stream.last().await {
                        self.state.handle_end(last);
                    }
                }
            }
            self.complain();
        }
    }

    /// Waits until all is there that was [given](Self::push) to it.
    pub(super) async fn drain(&mut self) -> Result<(), String> {
        loop {
            self.go_on().await;
            if let Some(over) = self.state.over() {
                return Err(format!("stream {}: {over}", self.stream.name()));
            }
            if self.state.is_drained() {
                return Ok(());
            }
            match self.under_way.join_next().await {
                Some(done) => self.done(done),
                None => sleep(PAUSE).await,
            }
            self.complain();
        }
    }

    pub(super) fn stream(&self) -> &StateStream {
        &self.stream
    }

    /// The next message; its sequence.
    pub(super) fn push(&mut self, subject: String, bytes: Bytes) -> u64 {
        if self.state.is_drained() {
            self.waits_since = Instant::now();
        }
        self.state.push(Entry { subject, bytes })
    }

    /// The next frame of a log among so many.
    pub(super) fn push_frame(&mut self, frame: &LogFrame, of: u16) {
        let place = (frame.lsn, frame.segment, frame.offset);
        let mut last = 0;
        for piece in Piece::all_of(place, &frame.bytes) {
            let subject = self.stream.frames(frame.shard, of);
            last = self.push(subject, piece.encode().into());
            let log = self.logs.get_mut(frame.shard.index());
            if let Some(log) = log.filter(|_| piece.at == 0 && frame.offset == 0) {
                log.segments.begin(frame.segment.0, last);
            }
        }
        self.then
            .push_back((last, Then::Frame(frame.shard, frame.lsn)));
    }

    fn take(&mut self, item: ToCopies) {
        match item {
            ToCopies::Frame(frame) => self.push_frame(&frame, self.logs.len() as u16),
            ToCopies::Needed(shard, from) => self.retire(shard, from),
            ToCopies::Manifest(text, done) => {
                let sequence = self.push(self.stream.life(), text.into());
                self.then.push_back((sequence, Then::Answer(done)));
            }
        }
    }

    /// A log is not needed before a segment, as its later frames are in the stream.
    fn retire(&mut self, shard: ShardId, from: SegmentNumber) {
        let Some(log) = self.logs.get_mut(shard.index()) else {
            return;
        };
        let Some(sequence) = log.segments.retire(from.0) else {
            return;
        };
        let subject = self.stream.frames(shard, self.logs.len() as u16);
        let stream = self.stream.clone();
        // When it fails, the next one removes as much.
        tokio::spawn(async move { stream.purge(subject, sequence).await });
    }

    /// Sends what may be sent, and looks at the stream if that is wanted.
    async fn go_on(&mut self) {
        if self
            .paused_until
            .is_some_and(|until| until > Instant::now())
        {
            return;
        }
        self.paused_until = None;
        if self.state.wants_look() {
            self.look().await;
        }
        while let Some(append) = self.state.poll_append() {
            let (expected, attempt) = (append.expected, append.attempt);
            let message = PublishMessage::build()
                .payload(append.entry.bytes.clone())
                .message_id(id_of(self.life, expected + 1))
                .expected_last_sequence(expected);
            let message = match append.follows {
                true => message.expected_last_message_id(id_of(self.life, expected)),
                false => message,
            };
            let subject = append.entry.subject.clone();
            let sent = self.stream.context.send_publish(subject, message).await;
            match sent {
                Ok(answer) => {
                    let outcome = outcome_of(answer);
                    (self.under_way).spawn(async move { (expected, attempt, outcome.await) });
                }
                Err(_) => self.handle((expected, attempt, Outcome::Unknown)),
            }
        }
    }

    async fn look(&mut self) {
        if let Ok((last, ours)) = self.found().await {
            let first = self.state.acknowledged() + 1;
            let is_ours = |sequence: u64| {
                let index = usize::try_from(sequence - first).ok();
                index.and_then(|index| ours.get(index)) == Some(&true)
            };
            self.state.handle_look(last, is_ours);
        }
        if self.state.wants_look() {
            self.paused_until = Some(Instant::now() + PAUSE);
        }
    }

    /// What the stream ends with, and which messages behind the acknowledged are ours.
    async fn found(&self) -> Result<(u64, Vec<bool>), String> {
        let last = self.stream.last().await?;
        let mut ours = Vec::new();
        for sequence in self.state.acknowledged() + 1..=last {
            let id = self.stream.id_at(sequence).await?;
            ours.push(id.as_deref() == Some(&id_of(self.life, sequence)));
            if ours.last() == Some(&false) {
                break;
            }
        }
        Ok((last, ours))
    }

    fn done(&mut self, done: Result<Done, tokio::task::JoinError>) {
        if let Ok(done) = done {
            self.handle(done);
        }
    }

    fn handle(&mut self, (expected, attempt, outcome): Done) {
        let before = self.state.acknowledged();
        self.state.handle(expected, attempt, outcome);
        if outcome != Outcome::Acknowledged(expected + 1) {
            self.paused_until = Some(Instant::now() + PAUSE);
        }
        if self.state.acknowledged() > before {
            self.stream.acknowledge(self.state.acknowledged());
            self.waits_since = Instant::now();
        }
    }

    /// Notifies shards of what is there. False: an inbox is full.
    fn tell(&mut self, shared: &SharedState) -> bool {
        if let Some(over) = self.state.over() {
            self.end(over);
        }
        let through = self.state.acknowledged();
        while self
            .then
            .front()
            .is_some_and(|(sequence, _)| *sequence <= through)
        {
            match self.then.pop_front() {
                Some((_, Then::Frame(shard, lsn))) => {
                    if let Some(log) = self.logs.get_mut(shard.index()) {
                        log.there = lsn;
                    }
                }
                Some((_, Then::Answer(done))) => {
                    let _ = done.send(()); // the start waits for it
                }
                None => {}
            }
        }
        let mut is_told = true;
        for (shard, log) in (0..).map(ShardId).zip(&mut self.logs) {
            if log.told < log.there {
                if shared.try_send(shard, ShardCommand::Copied(log.there)) {
                    log.told = log.there;
                }
                is_told &= log.told == log.there;
            }
        }
        is_told
    }

    /// Logs once that the stream takes nothing, and that it does again.
    fn complain(&mut self) {
        let name = self.stream.name();
        let is_stuck = !self.state.is_drained() && self.waits_since.elapsed() >= PATIENCE;
        if is_stuck && !self.has_told {
            tracing::warn!(
                "cluster: stream {name} takes nothing for {} s: what has to be durable waits for it",
                PATIENCE.as_secs()
            );
        } else if self.has_told && !is_stuck {
            tracing::info!("cluster: stream {name} takes what is given to it again");
        }
        self.has_told = is_stuck;
    }

    /// What this process acknowledges from here on would not outlive it.
    fn end(&self, over: Over) -> ! {
        let what = match over {
            Over::Fenced(_) => {
                "another node has taken over the sessions of this one; the process ends, and the next one begins without \
                 them"
            }
            Over::Shorter { .. } => {
                "the NATS servers have lost a part of it; the process ends, and the next one brings it back from its own \
                 disk"
            }
        };
        tracing::error!("cluster: stream {}: {over}: {what}", self.stream.name());
        logging::flush();
        process::exit(EXIT_JOURNAL)
    }
}

/// By it the server recognizes a message that is sent again.
fn id_of(life: Incarnation, sequence: u64) -> String {
    format!("{:016x}-{sequence}", life.0)
}

/// The process that has given a message its number.
pub(super) fn life_of(id: &str) -> Option<Incarnation> {
    let (life, _) = id.split_once('-')?;
    u64::from_str_radix(life, 16).ok().map(Incarnation)
}

async fn outcome_of(answer: PublishAckFuture) -> Outcome {
    match answer.await {
        Ok(ack) => Outcome::Acknowledged(ack.sequence),
        Err(error) => match error.kind() {
            PublishErrorKind::WrongLastSequence | PublishErrorKind::WrongLastMessageId => {
                Outcome::Refused
            }
            _ => Outcome::Unknown,
        },
    }
}
