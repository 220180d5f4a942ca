//! Rules that reach each shard in its own time, and logins that are judged later than they arrive.

use std::sync::Arc;

use super::World;
use crate::auth::{Challenge, Identity, Question, Refusal, Rules, Verdict};
use crate::ids::ConnectionId;
use crate::sim::random::Random;
use crate::sim::rules::{RuleSet, Timeline};

/// The password of every account.
pub(in crate::sim) const PASSWORD: &str = "right";
/// A shard takes new rules in one of so many turns: others have them long before.
const RULES_LAG: usize = 6;
/// One of so many logins finds the queue of those who judge full.
const BUSY_ONCE_IN: usize = 40;

/// A login that waits to be judged.
struct Login {
    shard: usize,
    connection: ConnectionId,
    question: Box<Question>,
}

#[derive(Default)]
pub(super) struct Accounts {
    timeline: Timeline,
    /// By shard: rules it has not taken yet. Newer ones take their place.
    new_rules: Vec<Option<Arc<Rules>>>,
    logins: Vec<Login>,
    /// The newest rules hold everywhere, and nobody has been told.
    has_settled: bool,
}

impl World {
    /// Rules that hold from the start.
    pub(in crate::sim) fn start_rules(&mut self, rules: RuleSet) {
        for shard in &mut self.shards {
            shard.handle_rules(rules.rules());
        }
        self.accounts.new_rules.resize(self.shards.len(), None);
        self.accounts.timeline.begin(rules, 0);
        self.accounts.timeline.settle(0);
    }

    /// Other rules, as files that were read again.
    pub(in crate::sim) fn change_rules(&mut self, rules: RuleSet) {
        self.note(|| format!("the rules change: {rules:?}"));
        let new_rules = rules.rules();
        for place in &mut self.accounts.new_rules {
            *place = Some(Arc::clone(&new_rules));
        }
        let tick = self.tick().tick;
        self.accounts.timeline.begin(rules, tick);
    }

    pub(in crate::sim) fn timeline(&self) -> &Timeline {
        &self.accounts.timeline
    }

    /// True once when the newest rules have come to hold everywhere.
    pub(in crate::sim) fn take_settled(&mut self) -> bool {
        std::mem::take(&mut self.accounts.has_settled)
    }

    pub(super) fn has_accounts_at_rest(&self) -> bool {
        self.accounts.logins.is_empty() && self.accounts.timeline.is_settled()
    }

    pub(super) fn ask_who(&mut self, shard: usize, connection: ConnectionId, question: Question) {
        let question = Box::new(question);
        self.accounts.logins.push(Login {
            shard,
            connection,
            question,
        });
    }

    /// A shard may take its new rules, and the judgement on one of its logins, in any order.
    pub(super) fn judge_logins(&mut self, shard: usize, random: &mut Random) {
        let of_shard = |login: &Login| login.shard == shard;
        let waiting = self.accounts.logins.iter().filter(|one| of_shard(one));
        let waiting = waiting.count();
        if waiting == 0 || !random.once_in(self.parameters.login_lag) {
            return;
        }
        let nth = random.below(waiting);
        let mut logins = self.accounts.logins.iter().enumerate();
        let chosen = logins.by_ref().filter(|(_, one)| of_shard(one)).nth(nth);
        let Some((at, _)) = chosen else { return };
        let login = self.accounts.logins.swap_remove(at);
        let verdict = if random.once_in(BUSY_ONCE_IN) {
            Verdict::Refused(Refusal::Busy, "too many logins wait".into())
        } else {
            judge(&login.question)
        };
        let id = login.connection;
        self.note(|| format!("shard {shard} hears of {id:?}: {verdict:?}"));
        if let Some(socket) = self.socket_at(shard, id) {
            self.sockets[socket].read_at = self.now; // its silence so far was ours
        }
        self.shards[shard].handle_authenticated(id, verdict, self.now);
        self.act(shard);
    }

    pub(super) fn take_rules(&mut self, shard: usize, random: &mut Random) {
        let waiting = self.accounts.new_rules.get_mut(shard);
        let Some(place) = waiting.filter(|place| place.is_some()) else {
            return;
        };
        if random.once_in(RULES_LAG) {
            if let Some(rules) = place.take() {
                self.note(|| format!("shard {shard} takes new rules"));
                self.shards[shard].handle_rules(rules);
            }
        }
    }

    /// Notes that the newest rules hold everywhere, and have ended what they do not allow.
    pub(super) fn note_settled(&mut self) {
        if self.accounts.timeline.is_settled() {
            return;
        }
        let all_have = self.accounts.new_rules.iter().all(Option::is_none);
        if all_have && !self.shards.iter().any(crate::shard::Shard::is_rechecking) {
            let tick = self.tick().tick;
            self.note(|| "the new rules hold everywhere".into());
            self.accounts.timeline.settle(tick);
            self.accounts.has_settled = true;
        }
    }
}

fn judge(question: &Question) -> Verdict {
    match &question.challenge {
        Challenge::Password {
            user: Some(user),
            password: Some(password),
        } if **password == *PASSWORD.as_bytes() => {
            Verdict::Accepted(Identity::of(user), Vec::new())
        }
        _ => Verdict::Refused(Refusal::Wrong, "the password is wrong".into()),
    }
}
