//! Sleep, silence and the end of a client: the state chart of section 6.14 and its timers.

use std::rc::Rc;

use super::directory::Source;
use super::kept::Kept;
use super::peer::{Peer, State, PROVEN};
use super::Gateway;
use crate::mqtt::{encode, Disconnect, ReasonCode, Version};
use crate::mqtt_sn::{AddressChange, Message};
use crate::mutant::{is_on, Mutant};
use crate::shard::{CloseCause, Shard};
use crate::time::Time;

impl Gateway {
    /// DISCONNECT: the end, or with a duration sleep.
    pub(super) fn disconnect(
        &mut self,
        shard: &mut Shard,
        index: u32,
        duration_s: Option<u16>,
        now: Time,
    ) {
        let settings = self.settings_of(self.peers.get(index).key.listener);
        let is_connected = self.is_connected(index);
        let peer = self.peers.get_mut(index);
        self.outbox.send(&peer.key, &Message::Disconnect(None));
        // A sleep of no length would be lost at once.
        if let Some(seconds) = duration_s.filter(|seconds| *seconds > 0 && is_connected) {
            peer.state = State::Asleep;
            peer.sleep_s = seconds.min(settings.sleep_max_s);
            self.fall_asleep(shard, index, now);
            return;
        }
        let link = peer.link;
        self.ends(index);
        match link {
            None => self.leave(shard, index),
            Some(link) => {
                // The rest comes with the shard's request to close the link.
                let mut packet = Vec::new();
                let bye = Disconnect {
                    reason: ReasonCode::Success,
                    ..Disconnect::default()
                };
                encode::disconnect(&mut packet, Version::V5, &bye);
                shard.handle_bytes(link, &packet, now);
            }
        }
    }

    /// From now on nothing is sent; what was not acknowledged is sent again when it wakes.
    fn fall_asleep(&mut self, shard: &mut Shard, index: u32, now: Time) {
        let peer = self.peers.get_mut(index);
        peer.heard = now;
        peer.is_pinged = false;
        peer.credit = PROVEN;
        if is_on(Mutant::ForgetAtSleep) {
            peer.busy.outstanding = None;
        }
        peer.last_answer.forget();
        peer.share_names(shard);
        peer.rest(shard);
        self.pull(shard, index, now);
    }

    /// PINGREQ of a client that sleeps.
    pub(super) fn wake(&mut self, shard: &mut Shard, index: u32, client_id: &str, now: Time) {
        let settings = self.settings_of(self.peers.get(index).key.listener);
        let peer = self.peers.get_mut(index);
        if *peer.client_id != *client_id {
            self.outbox.send(&peer.key, &Message::Disconnect(None));
            return;
        }
        peer.credit = PROVEN;
        let was_asleep = peer.state == State::Asleep;
        peer.state = State::Awake;
        if was_asleep {
            self.awake.push(index);
        }
        let peer = self.peers.get(index);
        if was_asleep && peer.busy.outstanding.is_some() {
            self.send_again(index, &settings, now);
        }
        self.pull(shard, index, now);
    }

    /// A client that is awake has been sent everything: it sleeps on.
    pub(super) fn end_round(&mut self, shard: &mut Shard, index: u32, now: Time) {
        let peer = self.peers.get_mut(index);
        if peer.state != State::Awake {
            return;
        }
        let is_done = peer.busy.outstanding.is_none()
            && peer.busy.deliveries.is_empty()
            && peer.busy.waiting.is_empty()
            && peer.busy.requests.is_empty()
            && peer.link.is_none_or(|link| !shard.has_output(link));
        let is_put_off = peer
            .busy
            .outstanding
            .as_deref()
            .is_some_and(|one| one.is_put_off);
        if is_done || is_put_off || is_on(Mutant::AnswerPingAtOnce) {
            peer.state = State::Asleep;
            peer.heard = now;
            peer.rest(shard);
            self.outbox.send(&peer.key, &Message::PingResp);
        }
    }

    /// A message from an address that is no client here: the directory of its reader is behind.
    pub(super) fn unknown_here(
        &mut self,
        shard: &mut Shard,
        source: Source,
        message: &Message<'_>,
        now: Time,
    ) {
        if let Message::PingReq(client_id) = message {
            if self.move_sleeper(shard, &source, client_id, now) {
                return;
            }
        }
        self.stats.unknown_peer += 1;
        self.outbox.send(&source.key, &Message::Disconnect(None));
        self.report_left(source.reader, source.key, source.number);
    }

    /// A sleeping client wakes at another address, where its listener allows that.
    fn move_sleeper(
        &mut self,
        shard: &mut Shard,
        source: &Source,
        client_id: &str,
        now: Time,
    ) -> bool {
        let settings = self.settings_of(source.key.listener);
        if settings.address_change != AddressChange::Asleep {
            return false;
        }
        let link = shard.connection_of_client(client_id);
        let Some(index) = link.and_then(|link| self.peers.of_link(link)) else {
            return false;
        };
        let peer = self.peers.get(index);
        if peer.state != State::Asleep || peer.key.listener != source.key.listener {
            return false;
        }
        let (reader, number) = (peer.reader, peer.number);
        let before = self.peers.moved(index, source.key.clone());
        self.report_left(reader, before, number);
        let peer = self.peers.get_mut(index);
        (peer.reader, peer.number) = (source.reader, source.number);
        self.wake(shard, index, client_id, now);
        true
    }

    /// Deadlines that have passed.
    pub fn handle_timeout(&mut self, shard: &mut Shard, now: Time) {
        self.advertise(now);
        while let Some(index) = self.next_due(now) {
            self.peer_is_due(shard, index, now);
            self.arm(index);
        }
    }

    fn peer_is_due(&mut self, shard: &mut Shard, index: u32, now: Time) {
        let settings = self.settings_of(self.peers.get(index).key.listener);
        let peer = self.peers.get_mut(index);
        match peer.state {
            State::WillTopic | State::WillMessage => {
                self.ask_will(shard, index, now);
                return;
            }
            State::Active if peer.keep_alive_s() > 0 && peer.silent_until() <= now => {
                if peer.is_pinged {
                    self.stats.lost += 1;
                    self.lose(shard, index, now);
                    return;
                }
                // Cheap, and it saves a will after one lost datagram.
                peer.is_pinged = true;
                self.outbox.send(&peer.key, &Message::PingReq(""));
            }
            State::Asleep if peer.heard + Peer::silence_max(peer.sleep_s) <= now => {
                self.stats.lost += 1;
                self.lose(shard, index, now);
                return;
            }
            _ => {}
        }
        let peer = self.peers.get_mut(index);
        if let Some(outstanding) = peer
            .busy
            .outstanding
            .as_deref()
            .filter(|one| one.due <= now)
        {
            if is_on(Mutant::ForgetUnanswered) {
                peer.busy.outstanding = None;
                return;
            }
            if outstanding.sent > settings.retries {
                self.stats.lost += 1;
                self.lose(shard, index, now);
                return;
            }
            self.send_again(index, &settings, now);
            self.pull(shard, index, now);
        }
        self.ping_link(shard, index, now);
    }

    /// A client is lost: its will is published, and its session stays as long as it is to.
    pub(super) fn lose(&mut self, shard: &mut Shard, index: u32, now: Time) {
        let peer = self.cut(shard, index, CloseCause::Lost, now);
        self.report_left(peer.reader, peer.key, peer.number);
    }

    /// The same for one whose address has another client now.
    pub(super) fn cut(
        &mut self,
        shard: &mut Shard,
        index: u32,
        cause: CloseCause,
        now: Time,
    ) -> Peer {
        self.ends(index);
        if let Some(link) = self.peers.get_mut(index).link.take() {
            self.peers.close(link);
            shard.handle_closed(link, cause, now);
        }
        self.remove(shard, index)
    }

    /// Ends a peer whose link is closed.
    pub(super) fn leave(&mut self, shard: &Shard, index: u32) {
        let peer = self.remove(shard, index);
        self.report_left(peer.reader, peer.key, peer.number);
    }

    /// A peer is about to leave, perhaps from the middle of the will's conversation.
    fn ends(&mut self, index: u32) {
        let peer = self.peers.get_mut(index);
        let in_conversation = matches!(peer.state, State::WillTopic | State::WillMessage);
        self.connecting -= usize::from(in_conversation);
        peer.state = State::Leaving;
    }

    /// What the session of a peer keeps here stays with it.
    fn remove(&mut self, shard: &Shard, index: u32) -> Peer {
        self.ends(index);
        let mut peer = self.peers.remove(index);
        // Another link may have continued the session meanwhile, which then has a copy; an MQTT client has none.
        let link = shard.connection_of_client(&peer.client_id);
        let is_kept = !peer.terms.clean
            && shard.has_session(&peer.client_id)
            && link.is_none_or(|link| !self.peers.is_link(link));
        if is_kept {
            self.keep(
                shard,
                peer.client_id.clone(),
                std::mem::take(&mut peer.kept),
            );
        }
        peer
    }

    /// Keeps it as long as its session lives, or not much longer: when twice as much is kept as before, what
    /// has no session goes.
    fn keep(&mut self, shard: &Shard, client_id: Rc<str>, kept: Kept) {
        self.kept.insert(client_id, kept);
        if self.kept.len() >= self.sweep_at {
            self.kept
                .retain(|client_id, _| shard.has_session(client_id));
            self.sweep_at = (2 * self.kept.len()).max(64);
        }
    }
}
