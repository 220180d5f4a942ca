//! A small world: a writer, another node that takes over from it, and a model of the engine with unknown outcomes,
//! elections, delays and stale reads, over seeds; and the faults that it notices.

use std::cell::Cell;
use std::collections::HashMap;

use super::*;
use crate::prng::Prng;

thread_local! {
    static ACTIVE: Cell<Option<Fault>> = const { Cell::new(None) };
}

pub(super) fn is_on(fault: Fault) -> bool {
    ACTIVE.get() == Some(fault)
}

/// What the world does wrong by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Wrong {
    #[default]
    Nothing,
    /// Appends do not say with which sequence the stream must end.
    NoExpectation,
    /// Nor with which message.
    AnyBefore,
    /// The other node serves what it has read without having taken over.
    ServeBeforeTakeover,
}

/// By writer and number; the writer is 0, who takes over is 1.
type Message = (u8, u64);

/// The engine: one stream, replicated somehow.
#[derive(Default)]
struct Engine {
    stream: Vec<Message>,
    numbers: HashMap<Message, u64>,
    wrong: Wrong,
}

impl Engine {
    fn append(&mut self, message: Message, (expected, follows): (u64, bool)) -> Outcome {
        let known = self.numbers.get(&message).copied();
        if let Some(sequence) = known {
            return Outcome::Acknowledged(sequence);
        }
        if self.stream.len() as u64 != expected && self.wrong != Wrong::NoExpectation {
            return Outcome::Refused;
        }
        let is_behind = self.stream.last() == Some(&(message.0, expected));
        if follows && !is_behind && !matches!(self.wrong, Wrong::AnyBefore | Wrong::NoExpectation) {
            return Outcome::Refused;
        }
        self.stream.push(message);
        let sequence = self.stream.len() as u64;
        self.numbers.insert(message, sequence);
        Outcome::Acknowledged(sequence)
    }
}

/// An append on its way to the engine, or its outcome on its way back.
struct UnderWay {
    expected: u64,
    follows: bool,
    attempt: u64,
    at: u32,
    outcome: Option<Outcome>,
}

struct World {
    engine: Engine,
    writer: LogStream<Vec<u8>>,
    under_way: Vec<UnderWay>,
    /// Given to the writer, and what its clients have been promised.
    given: u64,
    promised: u64,
    random: Prng,
    now: u32,
    /// Until then nothing is answered.
    election: u32,
    /// The writer does nothing.
    stopped: u32,
}

impl World {
    fn new(seed: u64, wrong: Wrong) -> Self {
        Self {
            engine: Engine {
                wrong,
                ..Engine::default()
            },
            writer: LogStream::new(0),
            under_way: Vec::new(),
            given: 0,
            promised: 0,
            random: Prng::new(seed),
            now: 0,
            election: 0,
            stopped: 0,
        }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random.draw() % below
    }

    fn step(&mut self, has_faults: bool) {
        self.now += 1;
        if has_faults && self.draw(40) == 0 {
            self.election = self.now + self.draw(12) as u32;
        }
        if has_faults && self.draw(60) == 0 {
            self.stopped = self.now + self.draw(30) as u32;
        }
        if self.now >= self.stopped {
            self.write(has_faults);
        }
        self.carry(has_faults);
    }

    fn write(&mut self, has_faults: bool) {
        if has_faults && self.draw(2) == 0 {
            self.given += 1;
            self.writer.push(vec![0]);
        }
        while let Some(append) = self.writer.poll_append() {
            let (expected, follows, attempt) = (append.expected, append.follows, append.attempt);
            let delay = match has_faults {
                true => self.random.draw() % 6,
                false => 0,
            };
            let last = self.under_way.iter().filter(|it| it.outcome.is_none());
            // One connection keeps order; another one, after a loss, does not.
            let keeps_order = !self.random.draw().is_multiple_of(20);
            let after = last.map(|it| it.at).max().filter(|_| keeps_order);
            self.under_way.push(UnderWay {
                expected,
                follows,
                attempt,
                at: (self.now + delay as u32).max(after.unwrap_or(0)),
                outcome: None,
            });
        }
        if self.writer.wants_look() && self.now >= self.election {
            // A server that was cut off answers with what it had.
            let stale = match has_faults && self.draw(3) == 0 {
                true => self.draw(4),
                false => 0,
            };
            let last = (self.engine.stream.len() as u64).saturating_sub(stale);
            let stream = &self.engine.stream;
            self.writer
                .handle_look(last, |sequence| stream[sequence as usize - 1].0 == 0);
        }
        self.promised = self
            .promised
            .max(self.writer.acknowledged().min(self.given));
    }

    fn carry(&mut self, has_faults: bool) {
        let due: Vec<usize> = (0..self.under_way.len())
            .filter(|index| self.under_way[*index].at <= self.now)
            .collect();
        for index in due.into_iter().rev() {
            let one = self.under_way.swap_remove(index);
            match one.outcome {
                Some(outcome) => self.writer.handle(one.expected, one.attempt, outcome),
                None => self.arrive(one, has_faults),
            }
        }
    }

    fn arrive(&mut self, one: UnderWay, has_faults: bool) {
        let (is_lost, answer_is_lost) = match has_faults {
            true => (self.draw(15) == 0, self.draw(15) == 0),
            false => (false, false),
        };
        let has_leader = self.now >= self.election;
        let outcome = match is_lost || !has_leader {
            true => Outcome::Unknown,
            false => (self.engine).append((0, one.expected + 1), (one.expected, one.follows)),
        };
        let outcome = match answer_is_lost {
            true => Outcome::Unknown,
            false => outcome,
        };
        // The client gives up after a while; a copy may still arrive.
        if outcome == Outcome::Unknown && has_faults && self.draw(4) == 0 {
            let at = self.now + 10 + self.draw(20) as u32;
            self.under_way.push(UnderWay {
                at,
                outcome: None,
                ..one
            });
        }
        self.under_way.push(UnderWay {
            at: self.now + 1 + u32::from(has_faults) * (self.now % 3),
            outcome: Some(outcome),
            ..one
        });
    }

    /// Another node reads what is there and takes over; what it serves.
    fn take_over(&mut self) -> Vec<Message> {
        loop {
            let stale = self.draw(3);
            let read = (self.engine.stream.len() as u64).saturating_sub(stale);
            let served = self.engine.stream[..read as usize].to_vec();
            if self.engine.wrong == Wrong::ServeBeforeTakeover {
                return served;
            }
            if let Outcome::Acknowledged(_) = self.engine.append((1, read), (read, false)) {
                return served;
            }
            self.step(true);
        }
    }
}

fn check(is_true: bool, what: &str) -> Result<(), String> {
    is_true.then_some(()).ok_or_else(|| what.to_owned())
}

/// Messages are in order, each once.
fn in_order(messages: &[Message]) -> bool {
    let all: Vec<u64> = messages.iter().map(|(_, number)| *number).collect();
    all == (1..=all.len() as u64).collect::<Vec<_>>()
}

/// The writer's log, with or without another node that takes over.
fn run(seed: u64, wrong: Wrong) -> Result<(), String> {
    let mut world = World::new(seed, wrong);
    for _ in 0..200 {
        world.step(true);
    }
    let is_lost = seed.is_multiple_of(2);
    let served = is_lost.then(|| world.take_over());
    for _ in 0..200 {
        world.step(true);
    }
    for _ in 0..600 {
        // A node that has nothing to append looks from time to time, too.
        world.writer.handle_end(world.engine.stream.len() as u64);
        world.step(false);
    }
    match served {
        None => {
            let stream = &world.engine.stream;
            check(
                world.writer.over().is_none(),
                "a writer has ended without need",
            )?;
            check(world.writer.is_drained(), "something is not appended")?;
            check(in_order(stream), "the log is not in order")?;
            check(
                stream.len() as u64 == world.given,
                "something is there twice or not",
            )
        }
        Some(served) => {
            check(in_order(&served), "what is adopted is not in order")?;
            let all = world.promised <= served.len() as u64;
            check(all, "something was acknowledged and is not adopted")?;
            let is_over = matches!(world.writer.over(), Some(Over::Fenced(_)));
            check(
                is_over || world.engine.wrong == Wrong::ServeBeforeTakeover,
                "a zombie has not ended",
            )
        }
    }
}

fn first_notice(wrong: Wrong, seeds: u64) -> Option<(u64, String)> {
    (0..seeds).find_map(|seed| run(seed, wrong).err().map(|text| (seed, text)))
}

#[test]
fn nothing_acknowledged_is_lost_to_a_bad_engine_or_to_who_takes_over() {
    assert_eq!(first_notice(Wrong::Nothing, 300), None);
}

#[test]
fn each_fault_is_noticed() {
    for wrong in [
        Wrong::NoExpectation,
        Wrong::AnyBefore,
        Wrong::ServeBeforeTakeover,
    ] {
        let found = first_notice(wrong, 300);
        assert!(found.is_some(), "{wrong:?}");
    }
    for fault in [
        Fault::ContinueFromUnknown,
        Fault::AcknowledgeAtOnce,
        Fault::RetryRefused,
        Fault::TakeForeign,
        Fault::EndAtFirstLook,
    ] {
        ACTIVE.set(Some(fault));
        let found = first_notice(Wrong::Nothing, 300);
        ACTIVE.set(None);
        assert!(found.is_some(), "{fault:?}");
    }
}

/// A log of segments whose live records are moved on: what is needed is never purged.
fn purge() -> Result<(), String> {
    let mut segments = Segments::default();
    let mut sequence = 0;
    for segment in 4..20 {
        segments.begin(segment, sequence + 1);
        sequence += 3; // messages of three frames each
        let needed = segment.saturating_sub(3);
        if let Some(before) = segments.retire(needed) {
            let first_needed = u64::from(needed - 4) * 3 + 1;
            check(before <= first_needed, "something that is needed is purged")?;
            check(
                before == first_needed,
                "something that is not needed is kept",
            )?;
        } else {
            check(needed < 4, "nothing is ever purged")?;
        }
    }
    Ok(())
}

#[test]
fn what_is_needed_is_not_purged() {
    assert_eq!(purge(), Ok(()));
    ACTIVE.set(Some(Fault::PurgeEarly));
    let found = purge();
    ACTIVE.set(None);
    assert!(found.is_err());
}
