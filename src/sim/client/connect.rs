//! Begin and end of connections, and what they mean for session and will.

use super::super::history::{At, Fate, Planned};
use super::super::random::Random;
use super::super::rules::{user_name, Answer};
use super::super::world::{World, PASSWORD};
use super::{Client, Ended, Profile, Stage};
use crate::mqtt::encode;
use crate::mqtt::{
    AckKind, Connect, ConnectProperties, Disconnect, PublishProperties, Qos, Version, Will,
};
use crate::time::{Span, Time};

/// A timer may fire this much after its time.
const TIMER_SLACK: Span = Span::from_secs(1);
/// A client types its password wrong once in so many times.
const WRONG_ONCE_IN: usize = 12;
/// A client that does so gives up its session with one connection of so many.
const GIVES_UP_EVERY: usize = 3;
/// Sessions with a shorter expiry interval may have ended when the client reconnects.
const SHORT_LIFETIME_S: u32 = 1_000;

impl Client {
    /// Connects; an older connection is left to be taken over, or cut.
    pub(in super::super) fn connect(
        &mut self,
        world: &mut World,
        random: &mut Random,
        plan: &mut Vec<Planned>,
    ) {
        if random.once_in(2) {
            self.cut(world);
        }
        self.look_at_ghosts(world);
        if !self.is_connected && self.may_have_begun_anew(world) {
            self.cut(world); // it may be one that would continue
            self.is_clean_start = true;
        }
        let Profile {
            keep_alive_s,
            may_overflow,
            has_account,
            user,
            ..
        } = self.profile;
        let may_wait = self.may_wait_for_room(world);
        self.may_be_dropped = keep_alive_s > 0 || may_overflow || has_account || may_wait;
        let wants_clean = self.profile.starts_clean && random.once_in(4);
        let is_sure = self.ghosts.is_empty() && self.socket.is_none();
        if self.is_clean_start && !self.is_connected && !is_sure {
            // It could come after its successor and end that one's session.
            let ghosts = self.ghosts.iter().copied();
            let others = ghosts.filter(|ghost| Some(*ghost) != self.socket);
            others.for_each(|ghost| world.cut(ghost));
            return;
        }
        self.is_clean_start |= wants_clean && is_sure;
        let at = world.tick();
        self.end_connection(at, self.will_since(world, at));
        let gives_up = self.profile.gives_up_sessions && is_sure;
        self.lifetime_s = match gives_up && self.connects % GIVES_UP_EVERY == 1 {
            true => 0,
            false => self.profile.lifetime_s,
        };
        self.is_impostor =
            has_account && user_name(user).is_some() && random.once_in(WRONG_ONCE_IN);
        let socket = world.open();

        // Under the same rules it would be refused again.
        let may_leave_will = self.will_refused_by != Some(world.timeline().len());
        self.will = (self.profile.has_will && may_leave_will).then(|| {
            plan.push(self.will_plan(at, random));
            plan.len() - 1
        });
        world.note(|| format!("{} connects ({socket}), will {:?}", self.name, self.will));
        self.socket = Some(socket);
        self.ghosts.push(socket);
        if self.lifetime_s == 0 && self.profile.lifetime_s > 0 {
            self.gave_up_by = Some(socket);
        }
        self.connect_sent = at;
        self.connect_timed_until = world.timed_until();
        self.connects += 1;
        self.arrived_here = 0;
        let mut out = Vec::new();
        self.encode_connect(&mut out, plan);
        world.send(socket, &out);
    }

    fn look_at_ghosts(&mut self, world: &World) {
        let mut gone_at = self.ghosts_gone_at;
        self.ghosts.retain(|ghost| {
            let gone = world.gone_at(*ghost);
            gone_at = gone_at.max(gone.unwrap_or(Time::ZERO));
            gone.is_none()
        });
        self.ghosts_gone_at = gone_at;
    }

    fn will_plan(&self, at: At, random: &mut Random) -> Planned {
        Planned {
            publisher: self.index,
            user: self.profile.user,
            topic: format!("w/{}", self.index),
            qos: [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][random.below(3)],
            retain: false,
            is_clear: false,
            expiry_s: None,
            padding: 0,
            sent: None,
            sends: 1,
            accepted: None,
            is_abandoned: false,
            will: Some(Fate::Indeterminate),
            left: at.tick,
            decided: None,
            is_refused: false,
            lacked_room: None,
            permission: Answer::Yes,
        }
    }

    fn encode_connect(&self, out: &mut Vec<u8>, plan: &[Planned]) {
        let profile = &self.profile;
        let is_v5 = profile.version.is_v5();
        let payload = self.will.map(|index| (index as u64).to_be_bytes());
        let will = self
            .will
            .zip(payload.as_ref())
            .map(|(index, payload)| Will {
                topic: &plan[index].topic,
                payload,
                qos: plan[index].qos,
                retain: false,
                delay_interval_s: profile.will_delay_s,
                properties: PublishProperties::default(),
            });
        let properties = ConnectProperties {
            session_expiry_interval_s: is_v5.then_some(self.lifetime_s),
            receive_maximum: std::num::NonZeroU16::new(profile.receive_maximum).filter(|_| is_v5),
            maximum_packet_size: profile.packet_size_max,
            topic_alias_maximum: (profile.aliases > 0).then_some(profile.aliases),
            ..ConnectProperties::default()
        };
        let user_name = user_name(profile.user).filter(|_| profile.has_account);
        let password = if self.is_impostor { "wrong" } else { PASSWORD };
        encode::connect(
            out,
            &Connect {
                version: profile.version,
                is_bridge: false,
                clean_start: self.is_clean_start || (!is_v5 && profile.lifetime_s == 0),
                keep_alive_s: profile.keep_alive_s,
                client_id: &self.name,
                will,
                user_name,
                password: user_name.map(|_| password.as_bytes()),
                properties,
            },
        );
    }

    /// Closes without DISCONNECT.
    pub(in super::super) fn cut(&mut self, world: &mut World) {
        let Some(socket) = self.socket else { return };
        let at = world.tick();
        world.note(|| format!("{} cuts its connection", self.name));
        self.cuts += 1;
        let will_since = self.will_since(world, at);
        world.cut(socket);
        self.end_connection(at, will_since);
    }

    /// What the client does now ends its connection: its will cannot have been sent before, unless the
    /// broker has ended the connection already.
    fn will_since(&self, world: &World, at: At) -> Option<At> {
        let is_open = self.socket.is_some_and(|socket| !world.may_be_over(socket));
        (is_open || !self.may_be_dropped).then_some(at)
    }

    /// Sends DISCONNECT and waits for the broker to close.
    pub(in super::super) fn leave(&mut self, world: &mut World) {
        let Some(socket) = self
            .socket
            .filter(|_| self.is_connected && !self.is_leaving)
        else {
            return;
        };
        let mut out = Vec::new();
        encode::disconnect(&mut out, self.profile.version, &Disconnect::default());
        world.note(|| format!("{} says DISCONNECT", self.name));
        world.send(socket, &out);
        self.is_leaving = true;
        self.cuts += 1;
    }

    /// The connection is over. `will_since`: no will of it can have been sent before; `None`: since
    /// its CONNECT.
    pub(super) fn end_connection(&mut self, at: At, will_since: Option<At>) {
        let Some(socket) = self.socket.take() else {
            return;
        };
        if self.is_connected {
            let is_alone = self.ghosts.iter().all(|ghost| *ghost == socket);
            let was_told =
                self.is_leaving && will_since.is_none() && is_alone && !self.may_be_dropped;
            self.ended = Some(Ended {
                socket,
                will: self.will.filter(|_| !self.is_leaving || was_told),
                at,
                was_told,
                will_since: will_since.unwrap_or(self.connect_sent),
                connects: self.connects,
                was_alone: will_since.is_some() && is_alone,
                lifetime_s: self.lifetime_s,
                is_doubted: false,
            });
        } else if self.lifetime_s.min(self.lifetime_before()) < SHORT_LIFETIME_S {
            // It may have begun a new session that the next CONNACK would call present.
            self.is_clean_start |= self.profile.version.is_v5();
        }
        self.is_connected = false;
        self.is_leaving = false;
        self.inbox.clear();
        self.unsent_acks.clear();
        self.unacknowledged.clear();
        self.aliases_in.clear();
        self.aliases_out.clear();
        self.request_again();
    }

    /// How long the session was to outlive the last connection that had its CONNACK.
    fn lifetime_before(&self) -> u32 {
        self.ended
            .as_ref()
            .map_or(u32::MAX, |ended| ended.lifetime_s)
    }

    /// CONNACK has come.
    pub(super) fn connected(&mut self, world: &mut World, present: bool, plan: &mut [Planned]) {
        let at = world.tick();
        let is_told = self.profile.version != Version::V31;
        let present = if is_told {
            present
        } else {
            self.expects_v31_session()
        };
        if is_told {
            self.check_present(world, present, at);
        }
        if self.is_impostor {
            self.fail("let in with a wrong password");
        }
        self.decide_will(world, at, plan);
        for publication in self.unread.drain(..) {
            plan[publication].decided = Some(at.tick); // what was not read by now never will be
        }
        self.is_connected = true;
        self.has_session = true;
        self.is_clean_start = false;
        if present {
            self.resume(world, plan);
        } else {
            self.lose_session(at, plan);
        }
    }

    fn expects_v31_session(&self) -> bool {
        self.has_session && self.profile.lifetime_s > 0
    }

    fn check_present(&mut self, world: &World, present: bool, at: At) {
        let lifetime = Span::from_secs(u64::from(self.profile.lifetime_s));
        let earlier = self
            .ghosts
            .iter()
            .filter(|ghost| Some(**ghost) != self.socket);
        let were_gone = earlier.count() == 0;
        let expired =
            were_gone && self.ghosts_gone_at + lifetime + TIMER_SLACK <= self.connect_timed_until;
        // Its CONNECT may have come without its CONNACK being read, and late.
        let gave_up = self.gave_up_by.filter(|by| Some(*by) != self.socket);
        if gave_up.is_some_and(|by| !self.ghosts.contains(&by)) {
            self.gave_up_by = None;
        }
        let must = self.lasts(world, at) && gave_up.is_none();
        if present && (self.starts_anew() || expired) {
            self.fail("session present, but it must be gone");
        } else if !present && must {
            self.fail("session not present, but it must be there");
        }
    }

    /// The wall clock may have ended its session, and an attempt since then, whose CONNACK it has not seen, may have begun another
    /// one that the next CONNACK would call present.
    fn may_have_begun_anew(&self, world: &World) -> bool {
        let at = At {
            tick: 0,
            now: world.now(),
        };
        let ended = self.ended.as_ref();
        let has_tried = ended.is_some_and(|ended| self.connects > ended.connects);
        let may_matter = self.profile.version.is_v5() && has_tried && world.sets_wall();
        may_matter && !self.lasts(world, at)
    }

    /// It can find no session.
    fn starts_anew(&self) -> bool {
        self.is_clean_start || self.profile.lifetime_s == 0 || self.connects == 1
    }

    /// It has a session whose time is not over.
    fn lasts(&self, world: &World, at: At) -> bool {
        let lasted = self.ended.as_ref().is_some_and(|ended| {
            let lifetime = Span::from_secs(u64::from(ended.lifetime_s));
            at.now + world.wall_ahead() < self.earliest_end(world, ended) + lifetime
        });
        self.has_session && !self.starts_anew() && lasted
    }

    /// The broker has its session for certain, and keeps it.
    pub(super) fn has_kept_session(&self, world: &World) -> bool {
        let at = At {
            tick: 0,
            now: world.now(),
        };
        self.profile.version != Version::V31 && self.gave_up_by.is_none() && self.lasts(world, at)
    }

    fn earliest_end(&self, world: &World, ended: &Ended) -> Time {
        world
            .gone_since(ended.socket)
            .map_or(ended.at.now, |gone| gone.min(ended.at.now))
    }

    /// What the will of the last connection must have come to by now.
    fn decide_will(&mut self, world: &World, at: At, plan: &mut [Planned]) {
        let Some(ended) = self.ended.take() else {
            return;
        };
        let Some(will) = ended.will else { return };
        let delay_s = self.profile.will_delay_s.min(ended.lifetime_s);
        let delay = Span::from_secs(u64::from(delay_s));
        plan[will].sent = Some(ended.will_since);
        plan[will].decided = Some(at.tick);
        // No other connection can have taken the session over in between, and so cancelled the will.
        let is_direct = ended.was_alone && self.connects == ended.connects + 1;
        let gone = world.gone_at(ended.socket);
        let fired = gone.is_some_and(|at| {
            at.max(self.crashed_at) + delay + TIMER_SLACK <= self.connect_timed_until
        });
        let fate = if ended.is_doubted {
            Fate::Indeterminate
        } else if ended.was_told {
            Fate::MustNot
        } else if delay == Span::ZERO || (is_direct && (self.is_clean_start || fired)) {
            Fate::Must
        } else if !self.is_clean_start
            && at.now + world.wall_ahead() < self.earliest_end(world, &ended) + delay
        {
            Fate::MustNot
        } else {
            Fate::Indeterminate
        };
        plan[will].will = Some(fate);
    }

    /// At the end of the run: the will of a connection that lives is not to be seen.
    pub(in super::super) fn keep_will(&self, plan: &mut [Planned]) {
        if let Some(will) = self.will.filter(|_| self.is_connected) {
            plan[will].will = Some(Fate::MustNot);
            plan[will].sent = Some(self.connect_sent);
        }
    }

    fn lose_session(&mut self, at: At, plan: &mut [Planned]) {
        for subscribed in &mut self.subscribed {
            if !subscribed.is_over() {
                subscribed.lost = Some(at);
            }
        }
        self.request = None;
        for (_, publication, _) in self.outstanding.drain(..) {
            plan[publication].is_abandoned = true;
        }
        self.held.clear();
    }

    /// Repeats what was not acknowledged, in order, and the request that was not answered.
    fn resume(&mut self, world: &mut World, plan: &mut [Planned]) {
        for (id, publication, stage) in self.outstanding.clone() {
            match stage {
                Stage::Publish => self.send_publish(world, plan, publication, id, true),
                Stage::Release => self.send_ack(world, AckKind::PubRel, id),
            }
        }
        self.repeat_request(world);
    }

    /// It has been silent for longer than the broker may bear, and has nothing under way.
    pub(in super::super) fn is_overdue(&self, world: &World) -> bool {
        let silence_max = Span(u64::from(self.profile.keep_alive_s) * 1_500_000_000);
        let Some(socket) = self.socket.filter(|_| self.is_connected) else {
            return false;
        };
        // One to whom something is held back until it is committed is not silent.
        let is_silent = |read_at| {
            !world.has_journals() && read_at + silence_max + TIMER_SLACK <= world.timed_until()
        };
        silence_max > Span::ZERO && world.read_at(socket).is_some_and(is_silent)
    }

    /// It is not silent: it has sent something in time, which the broker has not read yet.
    pub(in super::super) fn has_sent_in_time(&self, world: &World) -> bool {
        let silence_max = Span(u64::from(self.profile.keep_alive_s) * 1_500_000_000);
        let unread = self.socket.filter(|_| self.is_connected);
        let unread = unread.and_then(|socket| world.unread(socket));
        let in_time = |(read_at, sent_at)| sent_at <= read_at + silence_max;
        silence_max > Span::ZERO && !self.is_given_up(world) && unread.is_some_and(in_time)
    }

    /// The broker has given up the connection.
    pub(in super::super) fn is_given_up(&self, world: &World) -> bool {
        self.socket
            .is_none_or(|socket| world.gone_at(socket).is_some())
    }
}
