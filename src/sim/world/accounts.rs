//! Rules that reach each shard in its own time, and logins that are authenticated later than they arrive.

use std::collections::VecDeque;
use std::sync::Arc;

use super::World;
use crate::auth::{Challenge, Identity, Question, Refusal, Rules, Verdict};
use crate::ids::ConnectionId;
use crate::shard::Shard;
use crate::sim::random::Random;
use crate::sim::rules::{RuleSet, Timeline};
use crate::testing::Command;

/// The password of every account.
pub(in crate::sim) const PASSWORD: &str = "right";
/// A shard takes new rules in one of so many turns: others have them long before.
const RULES_LAG: usize = 6;
/// One of so many logins finds the authenticator's queue full.
const BUSY_ONCE_IN: usize = 40;

/// A login that waits to be authenticated.
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
    /// Those for the shard whose turn it is.
    commands: VecDeque<(usize, Command)>,
    /// The newest rules hold everywhere, and the clients have not been notified.
    has_settled: bool,
}

impl Accounts {
    pub(super) fn ask_who(
        &mut self,
        shard: usize,
        connection: ConnectionId,
        question: Box<Question>,
    ) {
        self.logins.push(Login {
            shard,
            connection,
            question,
        });
    }

    pub(super) fn take_command(&mut self, shard: usize) -> Option<Command> {
        let at = self.commands.iter().position(|(of, _)| *of == shard)?;
        self.commands.remove(at).map(|(_, letter)| letter)
    }

    pub(super) fn stop(&mut self, shard: usize) {
        self.commands.push_back((shard, Command::Stop));
    }

    pub(super) fn is_at_rest(&self) -> bool {
        self.logins.is_empty() && self.commands.is_empty() && self.timeline.is_settled()
    }

    /// Posts the verdict on one login of a shard, in any order; returns the connection.
    fn post_verdict(
        &mut self,
        shard: usize,
        login_lag: usize,
        random: &mut Random,
    ) -> Option<(ConnectionId, String)> {
        let of_shard = |login: &Login| login.shard == shard;
        let waiting = self.logins.iter().filter(|one| of_shard(one)).count();
        if waiting == 0 || !random.once_in(login_lag) {
            return None;
        }
        let nth = random.below(waiting);
        let mut logins = self.logins.iter().enumerate();
        let (at, _) = logins.by_ref().filter(|(_, one)| of_shard(one)).nth(nth)?;
        let login = self.logins.swap_remove(at);
        let verdict = if random.once_in(BUSY_ONCE_IN) {
            Verdict::Refused(Refusal::Busy, "too many logins wait".into())
        } else {
            judge(&login.question)
        };
        let id = login.connection;
        let text = format!("shard {shard} hears of {id:?}: {verdict:?}");
        self.commands
            .push_back((shard, Command::Verdict(id, verdict)));
        Some((id, text))
    }

    /// A process begins with so many shards, all with the newest rules.
    pub(super) fn begin(&mut self, shards: usize) {
        self.logins.clear();
        self.commands.clear();
        self.new_rules = vec![None; shards];
    }

    /// A shard may get its new rules.
    fn post_rules(&mut self, shard: usize, random: &mut Random) {
        let waiting = self.new_rules.get_mut(shard);
        if let Some(place) = waiting.filter(|place| place.is_some()) {
            if random.once_in(RULES_LAG) {
                let rules = place.take().map(|rules| (shard, Command::Rules(rules)));
                self.commands.extend(rules);
            }
        }
    }
}

impl World {
    /// Rules that hold from the start.
    pub(in crate::sim) fn start_rules(&mut self, rules: RuleSet) {
        for shard in &mut self.core.shards {
            shard.handle_rules(rules.rules());
        }
        let shards = self.core.shards.len();
        let accounts = &mut self.core.environment.accounts;
        accounts.new_rules.resize(shards, None);
        accounts.timeline.begin(rules, 0);
        accounts.timeline.settle(0);
    }

    /// Other rules, as files that were read again.
    pub(in crate::sim) fn change_rules(&mut self, rules: RuleSet) {
        self.note(|| format!("the rules change: {rules:?}"));
        let new_rules = rules.rules();
        let tick = self.tick().tick;
        let accounts = &mut self.core.environment.accounts;
        for place in &mut accounts.new_rules {
            *place = Some(Arc::clone(&new_rules));
        }
        accounts.timeline.begin(rules, tick);
    }

    /// The rules with which the next process begins: others, if there are some.
    pub(super) fn rules_of_next(&mut self, rules: Option<RuleSet>) -> Option<Arc<Rules>> {
        let tick = self.tick().tick;
        let accounts = &mut self.core.environment.accounts;
        if let Some(rules) = rules {
            accounts.timeline.begin(rules, tick);
        }
        accounts.timeline.newest_rules().map(RuleSet::rules)
    }

    pub(in crate::sim) fn timeline(&self) -> &Timeline {
        &self.core.environment.accounts.timeline
    }

    /// True once when the newest rules have come to hold everywhere.
    pub(in crate::sim) fn take_settled(&mut self) -> bool {
        std::mem::take(&mut self.core.environment.accounts.has_settled)
    }

    /// A shard may find its new rules in its inbox, and the verdict on one of its logins.
    pub(super) fn post_commands(&mut self, shard: usize) {
        let accounts = &mut self.core.environment.accounts;
        accounts.post_rules(shard, &mut self.logins);
        let posted = accounts.post_verdict(shard, self.parameters.login_lag, &mut self.logins);
        if let Some((id, text)) = posted {
            self.note(|| text);
            if let Some(link) = self.core.link_at((shard, id)) {
                // Its silence so far was ours.
                self.core.environment.seen[link].read_at = self.core.now;
            }
        }
    }

    /// Notes that the newest rules hold everywhere, and have ended what they do not allow.
    pub(super) fn note_settled(&mut self) {
        let accounts = &self.core.environment.accounts;
        if accounts.timeline.is_settled() {
            return;
        }
        let all_have = accounts.new_rules.iter().all(Option::is_none);
        if all_have && !self.core.shards.iter().any(Shard::is_rechecking) {
            let tick = self.tick().tick;
            self.note(|| "the new rules hold everywhere".into());
            let accounts = &mut self.core.environment.accounts;
            accounts.timeline.settle(tick);
            accounts.has_settled = true;
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
