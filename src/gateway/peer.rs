//! A peer that is a client: its state, its topic ids, and what waits for its answer.

use std::rc::Rc;

use super::busy::WhenBusy;
use super::kept::Kept;
use super::outbox::PeerKey;
use super::requests::LastAnswer;
use crate::ids::{ConnectionId, ShardId};
use crate::mqtt::{PacketType, Qos};
use crate::mqtt_sn::Settings;
use crate::mutant::{is_on, Mutant};
use crate::shard::Shard;
use crate::time::{Span, Time};

/// Deliveries taken from a link before the first of them is sent: acknowledgements may be behind them.
pub(super) const DELIVERIES_MAX: usize = 16;

/// State of a client, section 6.14. One that is disconnected or lost has none here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its will topic was asked for.
    WillTopic,
    /// Its will message was asked for.
    WillMessage,
    /// Its CONNECT is with the shard.
    Entering,
    Active,
    Asleep,
    /// What was kept for it while it slept is being sent.
    Awake,
    /// Its end was answered; its link is about to be closed.
    Leaving,
}

impl State {
    /// Its place in [`Stats::STATES`](super::Stats::STATES).
    pub(super) fn place(self) -> u8 {
        match self {
            Self::WillTopic | Self::WillMessage | Self::Entering => 0,
            Self::Active | Self::Leaving => 1,
            Self::Asleep => 2,
            Self::Awake => 3,
        }
    }
}

/// The fields of CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) clean: bool,
    pub(super) will: bool,
    pub(super) duration_s: u16,
}

/// In place of a credit: it has sent something since its CONNECT, so its address is no forged one.
pub(super) const PROVEN: u8 = u8::MAX;

/// A link has to show a packet in each keep alive of the shard, and shows two.
#[derive(Debug)]
pub(super) struct LinkPing {
    pub(super) keep_alive_s: u16,
    pub(super) at: Time,
}

impl LinkPing {
    pub(super) fn new(keep_alive_s: u16, now: Time) -> Self {
        let at = now + Span::from_millis(u64::from(keep_alive_s) * 500);
        Self { keep_alive_s, at }
    }
}

pub(super) struct Peer {
    pub(super) key: PeerKey,
    /// The shard that reads its datagrams, and the number of its entry there.
    pub(super) reader: ShardId,
    pub(super) number: u32,
    pub(super) client_id: Rc<str>,
    pub(super) state: State,
    /// The place of the state that it is counted under.
    pub(super) counted: u8,
    pub(super) terms: Terms,
    /// When its last CONNECT came.
    pub(super) connected_at: Time,
    pub(super) link: Option<ConnectionId>,
    pub(super) kept: Kept,
    pub(super) busy: WhenBusy,
    pub(super) last_answer: LastAnswer,
    pub(super) sleep_s: u16,
    /// Last message; asleep: since when.
    pub(super) heard: Time,
    /// It was asked whether it is there.
    pub(super) is_pinged: bool,
    /// Deliveries that may be sent before it has sent something since its CONNECT, or [`PROVEN`].
    pub(super) credit: u8,
    /// Where the shard wants to hear of a link.
    pub(super) link_ping: Option<Box<LinkPing>>,
    /// Highest QoS that the shard takes.
    pub(super) qos_max: Qos,
    pub(super) retain_available: bool,
    /// Of the last REGISTER that was sent.
    pub(super) last_msg_id: u16,
    /// For which the timer is set, and a later deadline that stays in the list behind that: without it each wake-up would
    /// leave one more there until the sleep ends.
    pub(super) armed: Time,
    pub(super) armed_next: Time,
}

// A hundred thousand sleep on one machine.
const _: () = assert!(size_of::<Peer>() <= 168);

impl Peer {
    /// Until when it may be silent, section 7.2.
    pub(super) fn silence_max(seconds: u16) -> Span {
        let ms = u64::from(seconds) * 1_000;
        Span::from_millis(if seconds > 60 {
            ms + ms / 10
        } else {
            ms + ms / 2
        })
    }

    /// Messages are taken from its link: while it sleeps they wait there. In the will's conversation the link is that
    /// of the connection before, whose messages the next one has anew.
    pub(super) fn takes_messages(&self) -> bool {
        let waits = match self.state {
            State::WillTopic | State::WillMessage => true,
            State::Asleep => !is_on(Mutant::SendToSleeper),
            _ => false,
        };
        !waits && self.busy.deliveries.len() < DELIVERIES_MAX
    }

    /// Its names are in memory once, with its session. Early, while few have names of their own that leave gaps.
    pub(super) fn share_names(&mut self, shard: &Shard) {
        if let Some(shared) = shard.name_of_client(&self.client_id) {
            self.client_id = shared;
        }
        let own = Rc::clone(&self.client_id);
        let topics = &mut self.kept.topics;
        topics.share_names(|name| shard.filter_of_client(&own, name));
    }

    /// It sleeps: what it has not answered is due when it wakes, with all its repeats.
    pub(super) fn rest(&mut self, shard: &mut Shard) {
        if let Some(link) = self.link {
            shard.handle_rest(link);
        }
        if let Some(outstanding) = &mut self.busy.outstanding {
            outstanding.sent = outstanding.sent.min(1);
            outstanding.due = Time(u64::MAX);
        }
    }

    /// A packet of a delivery, which waits until its client is there.
    pub(super) fn is_message(packet_type: Option<PacketType>) -> bool {
        matches!(packet_type, Some(PacketType::Publish | PacketType::PubRel))
    }

    /// When something is to be done for it.
    pub(super) fn due(&self) -> Option<Time> {
        let keep_alive = match self.state {
            State::WillTopic | State::WillMessage => return Some(self.busy.asked.1),
            State::Active if self.keep_alive_s() > 0 => Some(self.silent_until()),
            State::Asleep => self.lost_at(),
            _ => None,
        };
        let answer = self.busy.outstanding.as_ref().map(|one| one.due);
        let ping = self.link_ping.as_deref().map(|ping| ping.at);
        [keep_alive, answer, ping].into_iter().flatten().min()
    }

    /// Of an active client: when it is asked whether it is there, or, once it was asked, lost.
    pub(super) fn silent_until(&self) -> Time {
        let span = if self.is_pinged {
            Self::silence_max(self.keep_alive_s())
        } else {
            Span::from_secs(u64::from(self.keep_alive_s()))
        };
        self.heard + span
    }

    /// When it is lost if nothing is heard of it.
    pub(super) fn lost_at(&self) -> Option<Time> {
        let seconds = match self.state {
            State::Active if self.keep_alive_s() > 0 => self.keep_alive_s(),
            State::Asleep => self.sleep_s,
            _ => return None,
        };
        Some(self.heard + Self::silence_max(seconds))
    }

    /// Its own, or that of the shard where it has none; 0: it is never taken for lost.
    pub(super) fn keep_alive_s(&self) -> u16 {
        match (self.terms.duration_s, &self.link_ping) {
            (0, Some(ping)) => ping.keep_alive_s,
            (seconds, _) => seconds,
        }
    }

    pub(super) fn retry(settings: &Settings) -> Span {
        Span::from_secs(u64::from(settings.retry_s))
    }
}
