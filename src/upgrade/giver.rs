//! The old process: what it does next.

use super::message::{Message, PROTOCOL};
use super::pauses::Pauses;
use crate::image::FORMAT;

/// What the old process is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Give the listeners.
    Prepare,
    /// Come to rest and give everything.
    Give,
    /// Send the commit, and touch no client from then on.
    Commit,
    /// Say so to who has asked for all this.
    Tell(Pauses),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    AwaitsHello,
    AwaitsPrepared,
    AwaitsReady,
    /// It may not take anything back.
    Committed,
}

/// See the module above.
#[derive(Clone, Debug)]
pub struct Giver {
    stage: Stage,
    data_dir: Option<String>,
}

impl Giver {
    #[must_use]
    pub fn new(data_dir: Option<String>) -> Self {
        Self {
            stage: Stage::AwaitsHello,
            data_dir,
        }
    }

    /// Takes a message of the new process.
    ///
    /// # Errors
    /// Why it is ended, and this process continues.
    pub fn heard(&mut self, message: Message) -> Result<Next, String> {
        match (self.stage, message) {
            (_, Message::Refused(why)) => Err(format!("the new process refuses: {why}")),
            (Stage::AwaitsHello, Message::Hello(hello)) => {
                let (oldest, newest) = hello.formats;
                if hello.protocol != PROTOCOL || !(oldest..=newest).contains(&FORMAT) {
                    return Err(format!(
                        "version {} reads other images (formats {oldest} to {newest}) than this one writes ({FORMAT}): \
                         restart instead",
                        hello.version
                    ));
                }
                if hello.data_dir != self.data_dir {
                    return Err(
                        "data-dir is another one in the new configuration, which needs a restart"
                            .into(),
                    );
                }
                self.stage = Stage::AwaitsPrepared;
                Ok(Next::Prepare)
            }
            (Stage::AwaitsPrepared, Message::Prepared) => {
                self.stage = Stage::AwaitsReady;
                Ok(Next::Give)
            }
            (Stage::AwaitsReady, Message::Ready { .. }) => {
                self.stage = Stage::Committed;
                Ok(Next::Commit)
            }
            (Stage::Committed, Message::Paused(pauses)) => Ok(Next::Tell(pauses)),
            _ => Err("the new process says something else than it should".into()),
        }
    }

    /// Nothing has changed: this process may go on when the new one has ended.
    #[must_use]
    pub fn may_go_on(&self) -> bool {
        self.stage != Stage::Committed
    }
}
