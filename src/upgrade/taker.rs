//! The new process: what it may do with what it is given.

use super::message::{Counts, Message};

/// What the new process is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Keep this until everything is there.
    Keep(Message),
    /// The state follows.
    Begin,
    /// Everything is there: build the shards, and then say so.
    Build,
    /// Serve.
    Serve {
        /// `None`: the old process has died.
        resting_since: Option<u64>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    AwaitsSockets,
    AwaitsStill,
    AwaitsState,
    /// Everything is there.
    Builds,
    AwaitsCommit,
    Serves,
}

/// See the module above.
#[derive(Clone, Debug)]
pub struct Taker {
    stage: Stage,
    taken: Counts,
}

impl Default for Taker {
    fn default() -> Self {
        Self {
            stage: Stage::AwaitsSockets,
            taken: Counts::default(),
        }
    }
}

impl Taker {
    /// Takes a message of the old process.
    ///
    /// # Errors
    /// Why this process ends.
    pub fn heard(&mut self, message: Message) -> Result<Heard, String> {
        match (self.stage, &message) {
            (Stage::AwaitsSockets, Message::Sockets(_)) => {
                self.stage = Stage::AwaitsStill;
                Ok(Heard::Keep(message))
            }
            (Stage::AwaitsStill, Message::Tickets(_)) => Ok(Heard::Keep(message)),
            (Stage::AwaitsStill, Message::Still) => {
                self.stage = Stage::AwaitsState;
                Ok(Heard::Begin)
            }
            (Stage::AwaitsState, Message::Retained(messages)) => {
                self.taken.retained += messages.len() as u32;
                Ok(Heard::Keep(message))
            }
            (Stage::AwaitsState, Message::Sessions(sessions)) => {
                self.taken.sessions += sessions.len() as u32;
                Ok(Heard::Keep(message))
            }
            (Stage::AwaitsState, Message::Clients(clients)) => {
                self.taken.clients += clients.len() as u32;
                Ok(Heard::Keep(message))
            }
            (Stage::AwaitsState, Message::All(given)) if *given == self.taken => {
                self.stage = Stage::Builds;
                Ok(Heard::Build)
            }
            (Stage::AwaitsState, Message::All(given)) => Err(format!(
                "{given:?} were given, {:?} have arrived",
                self.taken
            )),
            (Stage::AwaitsCommit, Message::Commit { resting_since }) => {
                self.stage = Stage::Serves;
                Ok(Heard::Serve {
                    resting_since: Some(*resting_since),
                })
            }
            _ => Err("the old process says something else than it should".into()),
        }
    }

    /// The shards are whole, and the old process has the message.
    pub fn is_ready(&mut self) {
        self.stage = Stage::AwaitsCommit;
    }

    /// The old process has ended without a commit.
    ///
    /// # Errors
    /// Not everything is here: this process ends, too.
    pub fn ended(&mut self) -> Result<Heard, String> {
        if self.stage != Stage::AwaitsCommit {
            return Err("the old process has ended before it had given everything".into());
        }
        self.stage = Stage::Serves;
        Ok(Heard::Serve {
            resting_since: None,
        })
    }
}
