//! Shards that hand sessions over to themselves: with their connections, through the bytes of images,
//! at any step. No client may see a difference.

use std::rc::Rc;

use super::World;
use crate::session::SessionImage;
use crate::shard::{ConnectionImage, Shard};
use crate::sim::random::Random;
use crate::time::{Span, Time};

/// When it happens.
pub(super) struct HandOvers {
    random: Random,
    /// Once in so many steps; 0: never.
    once_in: usize,
    /// Sessions that were handed over.
    pub(super) count: usize,
}

impl HandOvers {
    pub(super) fn new(mut random: Random) -> Self {
        let once_in = [0, 0, 400, 20][random.below(4)];
        Self {
            random,
            once_in,
            count: 0,
        }
    }
}

impl World {
    /// How many sessions were continued from their images.
    pub(in crate::sim) fn handed_over(&self) -> usize {
        self.hand_overs.count
    }

    /// Now and then, a session of some shard.
    pub(in crate::sim) fn hand_over_some(&mut self) {
        let HandOvers {
            random, once_in, ..
        } = &mut self.hand_overs;
        if *once_in == 0 || !random.once_in(*once_in) {
            return;
        }
        let shard = random.below(self.core.shards.len());
        let drawn = random.draw() as usize;
        let names = self.names(shard);
        if names.is_empty() {
            return;
        }
        let name = Rc::clone(&names[drawn % names.len()]);
        self.hand_over(shard, &name);
    }

    /// Time jumps, and in the middle of it every session that is away is handed over: its time passes as before.
    pub(in crate::sim) fn jump_and_hand_over(&mut self, span: Span) {
        let HandOvers {
            random, once_in, ..
        } = &mut self.hand_overs;
        if *once_in == 0 {
            return self.jump(span);
        }
        let before = Span(random.draw() % span.0.max(1));
        self.jump(before);
        for shard in 0..self.core.shards.len() {
            for name in self.names(shard) {
                if self.core.shards[shard]
                    .connection_of_client(&name)
                    .is_none()
                {
                    self.hand_over(shard, &name);
                }
            }
        }
        self.jump(Span(span.0 - before.0));
    }

    /// The client ids of a shard's sessions.
    pub(super) fn names(&self, shard: usize) -> Vec<Rc<str>> {
        let mut names: Vec<_> = self.core.shards[shard].client_ids().cloned().collect();
        names.sort_unstable();
        names
    }

    /// A session that is away, or a connection with its session.
    fn hand_over(&mut self, shard: usize, name: &str) {
        let (it, now) = (&mut self.core.shards[shard], self.core.now);
        let id = it.connection_of_client(name);
        let saved = match id {
            None => it.save_session(name).map(|image| (image, None)),
            Some(id) => {
                let taken = it.take_connection(id);
                taken.map(|(image, connection)| (image, Some(connection)))
            }
        };
        let Ok((image, connection)) = saved else {
            return; // it is busy
        };
        let mut bytes = Vec::new();
        image.encode(&mut bytes);
        let session = SessionImage::decode(&bytes);
        let mut is_same = session.as_ref() == Ok(&image);
        let length = bytes.len();
        let mut read = None;
        if let Some(connection) = &connection {
            connection.encode(&mut bytes);
            read = ConnectionImage::decode(&bytes[length..]).ok();
            is_same &= read.as_ref() == Some(connection);
        }
        if !is_same {
            return self.fail(format!("{name}: its image is another when it is decoded"));
        }
        let restored = session.map(|session| it.restore_session(session, read, now));
        let Ok(Ok(new_id)) = restored else {
            return self.fail(format!("{name} cannot be handed over: {restored:?}"));
        };
        if !keeps_deadlines(it, &image, now) {
            self.fail(format!(
                "{name}: it ends, or its will is due, at another time"
            ));
        }
        self.hand_overs.count += 1;
        let link = id.and_then(|id| self.core.link_at((shard, id)));
        if let (Some(link), Some(new_id)) = (link, new_id) {
            self.core.renamed(link, new_id);
        }
        // Rules that have changed may have ended it.
        self.may_ask[shard] = true;
        self.core.environment.record.add(("handed over", &bytes));
        self.note(|| format!("shard {shard} hands {name} over to itself ({link:?})"));
    }

    fn fail(&mut self, text: String) {
        self.core.environment.record.fail(text);
    }
}

/// A session that is away and was restored is due when it was, unless that has passed.
fn keeps_deadlines(shard: &Shard, before: &SessionImage, now: Time) -> bool {
    let Ok(after) = shard.save_session(&before.client_id) else {
        return true;
    };
    let now = shard.clocks().to_wall(now); // they were read up to seconds ago
    let deadlines = [
        (before.expires_at, after.expires_at),
        (before.will_due, after.will_due),
    ];
    deadlines.into_iter().all(|(before, after)| {
        let is_to_come = before.is_some_and(|due| due > now);
        !is_to_come || before == after
    })
}
