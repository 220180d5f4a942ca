//! The service manager (systemd, or what stands in for it): it is notified when the broker is ready, reloads, stops,
//! and that every shard ends its turns.
//!
//! Nothing happens without `$NOTIFY_SOCKET`. The watchdog is fed for the shards: each is asked for an answer, which it
//! gives when its next turn begins, and the manager hears of it only when all of them have answered.

use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sd_notify::{notify, NotifyState};

use super::inbox::ShardCommand;
use super::shared::SharedState;

/// How often it is notified of the number of connections, where there is no watchdog.
const STATUS_EVERY: Duration = Duration::from_secs(10);
/// Feeds within the time after which the watchdog bites.
const FEEDS: u32 = 4;
/// While the journal is read the start is given so much more time, again and again.
const EXTENSION: Duration = Duration::from_secs(30);
const EXTEND_EVERY: Duration = Duration::from_secs(5);

/// Something that the manager is notified of, sent by its thread.
enum Event {
    Ready,
}

/// The end of the broker that notifies. Lives on: the start.
pub(super) struct ServiceManager(Option<Sender<Event>>);

impl ServiceManager {
    /// Starts its thread, if there is a manager.
    pub(super) fn start(shared: &Arc<SharedState>) -> std::io::Result<Self> {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(Self(None));
        }
        if let Err(error) = notify(&[NotifyState::Status("starting")]) {
            tracing::warn!(
                "the service manager cannot be reached ({error}): it will not learn that the broker is ready; start \
                 it by systemd, or without NOTIFY_SOCKET in its environment"
            );
            return Ok(Self(None));
        }
        let (events, received) = channel();
        let shared = Arc::clone(shared);
        thread::Builder::new()
            .name("manager".into())
            .spawn(move || notify_of(&received, &shared))?;
        Ok(Self(Some(events)))
    }

    /// The listeners are open, and what the journal holds is back.
    pub(super) fn ready(&self) {
        if let Some(events) = &self.0 {
            let _ = events.send(Event::Ready); // its thread ends with the process
        }
    }
}

/// The configuration is read again, until [`reloaded`].
pub(super) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

pub(super) fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// From now on another process of the service is its main one.
pub(super) fn main_process(process: u32) {
    tell(&[NotifyState::MainPid(process)]);
}

pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// A manager that cannot be reached was reported at the start.
fn tell(states: &[NotifyState<'_>]) {
    let _ = notify(states);
}

/// Main loop of the thread.
fn notify_of(events: &Receiver<Event>, shared: &SharedState) {
    loop {
        match events.recv_timeout(EXTEND_EVERY) {
            Ok(Event::Ready) => break,
            Err(RecvTimeoutError::Timeout) => tell(&[
                NotifyState::ExtendTimeoutUsec(EXTENSION.as_micros() as u32),
                NotifyState::Status("reading the journal"),
            ]),
            Err(RecvTimeoutError::Disconnected) => return, // the start has failed
        }
    }
    let watchdog = sd_notify::watchdog_enabled().filter(|within| !within.is_zero());
    let every = watchdog.map_or(STATUS_EVERY, |within| (within / FEEDS).min(STATUS_EVERY));
    tell(&[NotifyState::Ready, NotifyState::Status(&status(shared))]);
    let mut turns = Turns::default();
    loop {
        turns.ask(shared);
        match events.recv_timeout(every) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => return, // the broker ends
        }
        let status = status(shared);
        if turns.have_ended(shared) && watchdog.is_some() {
            tell(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
        } else {
            tell(&[NotifyState::Status(&status)]);
        }
    }
}

fn status(shared: &SharedState) -> String {
    let (connections, listeners) = (shared.connections(), shared.counters().listeners());
    format!("{connections} connections, {listeners} listeners")
}

/// Whether shards end their turns: each answers at the beginning of one.
#[derive(Debug, Default)]
struct Turns {
    asked: u64,
}

impl Turns {
    /// Asks all shards: something new when all have answered, else the same again, for which there may have been no
    /// room.
    fn ask(&mut self, shared: &SharedState) {
        self.asked += u64::from(self.have_ended(shared));
        let asked = self.asked;
        shared.offer(|| ShardCommand::Answer(asked));
    }

    /// Every shard has begun a turn since it was asked: the one before has ended.
    fn have_ended(&self, shared: &SharedState) -> bool {
        shared.answered() >= self.asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;

    #[test]
    fn one_shard_that_does_not_answer_stops_the_feed() {
        let shared = SharedState::new(2).unwrap();
        let mut turns = Turns::default();
        let answer = |shard: u16| {
            while let Some(command) = shared.inbox(ShardId(shard)).take() {
                match command {
                    ShardCommand::Answer(asked) => shared.answer(ShardId(shard), asked),
                    _ => panic!("only questions are asked"),
                }
            }
        };
        turns.ask(&shared);
        assert!(!turns.have_ended(&shared));
        answer(0);
        assert!(!turns.have_ended(&shared), "shard 1 has not answered");
        turns.ask(&shared); // the same again
        answer(1);
        assert!(turns.have_ended(&shared));
        turns.ask(&shared);
        answer(0);
        answer(0);
        assert!(!turns.have_ended(&shared), "shard 1 has not answered again");
    }
}
