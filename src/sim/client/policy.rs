//! Checks of authorization and rates: whether the broker keeps to the rules and rates it was given.

use super::super::history::{At, Fate, Planned};
use super::super::rules::Answer;
use super::super::world::World;
use super::{Client, Request};
use crate::mqtt::{Qos, ReasonCode};

const NS_PER_S: u64 = 1_000_000_000;

impl Client {
    /// Its CONNECT is refused.
    pub(super) fn refused(&mut self, world: &World, reason: ReasonCode, plan: &mut [Planned]) {
        let will = self.will.map(|index| &plan[index]);
        let is_right = match reason {
            ReasonCode::BadUserNameOrPassword => self.is_impostor,
            ReasonCode::NotAuthorized if !self.is_impostor => {
                self.will_refused_by = Some(world.timeline().len());
                let ticks = (self.connect_sent.tick, u64::MAX);
                let timeline = world.timeline();
                let may = |will: &Planned| timeline.may_publish(will.user, &will.topic, ticks);
                will.is_some_and(|will| may(will) != Answer::Yes)
            }
            // Too many logins wait, or it was not authenticated in time.
            ReasonCode::QuotaExceeded | ReasonCode::ServerUnavailable => {
                self.profile.has_account || self.may_have_no_room(world)
            }
            _ => false,
        };
        if !is_right {
            self.fail(&format!("CONNECT is refused: {reason:?}"));
        }
        if let Some(will) = self.will {
            plan[will].will = Some(Fate::MustNot);
        }
    }

    /// Its publications are not read before a full disk has room, and its connection ends if that takes too long.
    pub(in super::super) fn may_wait_for_room(&self, world: &World) -> bool {
        world.has_full_disks() && !self.profile.version.is_v5()
    }

    /// The disk may have had no room for the session that it asked for, or for its will.
    fn may_have_no_room(&self, world: &World) -> bool {
        let sent = self.connect_sent.tick;
        if world.may_have_been_used_up(sent) {
            return true; // a session that it has had, too, or the end of it
        }
        let needs_room = self.lifetime_s > 0 || self.will.is_some();
        let is_taken =
            self.has_kept_session(world) && !world.has_waited_for_room(self.connect_sent.now);
        needs_room && world.may_lack_room(sent) && !is_taken
    }

    /// PUBACK or PUBREC: in v5 its reason code is the decision.
    pub(super) fn answered(
        &mut self,
        world: &mut World,
        publication: usize,
        reason: ReasonCode,
        plan: &mut [Planned],
    ) {
        let at = world.tick();
        let planned = &mut plan[publication];
        planned.decided.get_or_insert(at.tick);
        planned.is_refused |= reason.is_error();
        if !reason.is_error() {
            planned.accepted.get_or_insert(at);
        }
        let sent = planned.sent.map_or(0, |at| at.tick);
        let ticks = (sent, at.tick);
        let answer = world
            .timeline()
            .may_publish(planned.user, &planned.topic, ticks);
        let is_v5 = self.profile.version.is_v5();
        let lacks_room = reason == ReasonCode::QuotaExceeded && world.may_lack_room(sent);
        if lacks_room {
            planned.lacked_room.get_or_insert(at.tick);
        }
        let wrong = match (reason, answer) {
            _ if lacks_room => None, // whether it needed some is checked in the end
            (ReasonCode::NotAuthorized, Answer::Yes) => Some("is refused, but allowed"),
            (ReasonCode::NotAuthorized, _) => None,
            (_, Answer::No) if is_v5 => Some("is taken, but not allowed"),
            _ if reason.is_error() => Some("is refused"),
            _ => None,
        };
        let is_first = planned.sends == 1;
        if let Some(wrong) = wrong {
            self.fail(&format!("publication {publication} {wrong}: {reason:?}"));
        }
        if is_first {
            // What was sent before it on the same connection has been read.
            self.unread.retain(|earlier| {
                let is_later = plan[*earlier].sent.is_none_or(|at| at.tick > sent);
                if !is_later {
                    plan[*earlier].decided = Some(at.tick);
                }
                is_later
            });
        }
    }

    /// Checks the reason code of one filter in SUBACK.
    pub(super) fn judge_suback(&mut self, world: &World, at: At, index: usize, code: u8) {
        let timeline = world.timeline();
        let user = self.profile.user;
        let is_v5 = self.profile.version.is_v5();
        let refusal = match is_v5 {
            true => ReasonCode::NotAuthorized as u8,
            false => ReasonCode::UnspecifiedError as u8,
        };
        let is_durable = self.lifetime_s > 0;
        let s = &mut self.subscribed[index];
        let no_room = match is_v5 {
            true => ReasonCode::QuotaExceeded as u8,
            false => refusal,
        };
        let lacks_room = code == no_room && is_durable && world.may_lack_room(s.requested.tick);
        let said = |since: At| timeline.may_subscribe(user, &s.filter, (since.tick, at.tick));
        let (answer, answer_now) = (said(s.requested), said(at));
        let wrong = match (code, answer) {
            _ if lacks_room => None,
            (code, Answer::No) if code < refusal => Some("is granted, but not allowed"),
            (code, _) if code == s.options.qos as u8 => None,
            (code, Answer::Yes) if code == refusal => Some("is refused, but allowed"),
            (code, _) if code == refusal => None,
            _ => Some("is not granted as it should be"),
        };
        let is_refused = code == refusal || lacks_room;
        // Asked for once, on this connection, it was never made.
        let is_first = self.connect_sent.tick < s.asked.tick;
        s.is_denied = is_refused && said(s.asked) == Answer::No || lacks_room && is_first;
        s.confirmed = (!is_refused).then_some(at);
        s.is_doubted = is_refused || answer != Answer::Yes;
        let is_ended = timeline.is_settled() && answer_now == Answer::No;
        if s.is_denied || (s.is_doubted && is_ended) {
            s.lost.get_or_insert(at);
        }
        if let Some(wrong) = wrong {
            let text = format!("{} {wrong}: {code:#04x}", s.filter);
            self.fail(&text);
        }
    }

    /// The rules have changed: subscriptions that they may not allow may end.
    pub(in super::super) fn rules_changed(&mut self, world: &World, at: At) {
        let timeline = world.timeline();
        for s in self.subscribed.iter_mut().filter(|s| !s.is_over()) {
            let ticks = (at.tick, at.tick);
            if timeline.may_subscribe(self.profile.user, &s.filter, ticks) != Answer::Yes {
                s.is_doubted = true;
            }
        }
    }

    /// The rules hold everywhere: what they do not allow has ended. A SUBSCRIBE under way is checked
    /// when its answer comes.
    pub(in super::super) fn rules_settled(&mut self, world: &World, at: At) {
        let under_way: &[usize] = match &self.request {
            Some(Request::Subscribe(indexes)) => indexes,
            _ => &[],
        };
        let timeline = world.timeline();
        for (index, s) in self.subscribed.iter_mut().enumerate() {
            if s.is_over() || !s.is_doubted || under_way.contains(&index) {
                continue;
            }
            let ticks = (at.tick, at.tick);
            if timeline.may_subscribe(self.profile.user, &s.filter, ticks) == Answer::No {
                s.lost = Some(at);
                s.is_ended_by_rules = true;
            }
        }
    }

    /// No more than its rate since it connected, and what may come at once. What is sent again does
    /// not count.
    pub(super) fn check_rate(&mut self, world: &World, is_repeat: bool) {
        self.arrived_here += u64::from(!is_repeat);
        let Some(per_s) = self.profile.messages_per_s else {
            return;
        };
        let elapsed = world.now().since(self.connect_sent.now).0 + NS_PER_S;
        let most = elapsed.saturating_mul(u64::from(per_s)) / NS_PER_S + 1;
        if self.arrived_here > most {
            let count = self.arrived_here;
            self.fail(&format!("{count} messages, its rate allows {most}"));
        }
    }

    /// A QoS 0 publication is on its way.
    pub(super) fn note_unread(&mut self, publication: usize, qos: Qos) {
        if qos == Qos::AtMostOnce {
            self.unread.push(publication);
        }
    }
}
