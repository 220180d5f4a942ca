//! A peer that is a client: its state, its topic ids, and what waits for its answer.

use std::rc::Rc;

use super::busy::{Delivery, WhenBusy};
use super::outbox::PeerKey;
use super::requests::LastAnswer;
use super::topics::Topics;
use crate::ids::{ConnectionId, ShardId};
use crate::mqtt::{PacketId, PacketType, Qos};
use crate::mqtt_sn::Settings;
use crate::mutant::{is_on, Mutant};
use crate::shard::SensorState;
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

/// The will of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Will {
    pub(super) topic: Box<str>,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) payload: Box<[u8]>,
}

/// What was sent to a client and waits for its answer: one at a time.
#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) what: Awaited,
    /// How often it was sent.
    pub(super) sent: u8,
    pub(super) due: Time,
    /// Its client has no room for it now (congestion): it is asked again later, and nothing else is sent meanwhile.
    pub(super) is_put_off: bool,
}

#[derive(Debug)]
pub(super) enum Awaited {
    /// REGACK, before the delivery that needs it.
    Registration { topic_id: u16, msg_id: u16 },
    /// PUBACK or PUBREC.
    Publication {
        delivery: Delivery,
        /// Its topic was registered again because the client did not know the id.
        repaired: bool,
    },
    /// PUBCOMP.
    Release(PacketId),
    /// Nothing: its client has time to take a retained message at QoS 0.
    Pause,
}

/// What a session keeps beside the shard's part of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    pub(super) topics: Topics,
    pub(super) will: Option<Box<Will>>,
}

impl Kept {
    /// What the log has of it.
    pub(super) fn of(state: Option<&SensorState>) -> Self {
        let ids = state.map_or(&[][..], SensorState::ids);
        let predefined = state.map_or(&[][..], SensorState::predefined);
        let will = state.and_then(SensorState::will).map(|will| {
            Box::new(Will {
                topic: (&*will.topic).into(),
                qos: will.qos,
                retain: will.retain,
                payload: (&*will.payload).into(),
            })
        });
        Self {
            topics: Topics::second(ids, predefined),
            will,
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
    pub(super) outstanding: Option<Box<Outstanding>>,
    pub(super) busy: WhenBusy,
    pub(super) last_answer: LastAnswer,
    /// 0: it is never taken for lost.
    pub(super) keep_alive_s: u16,
    pub(super) sleep_s: u16,
    /// Last message; asleep: since when.
    pub(super) heard: Time,
    /// It was asked whether it is there.
    pub(super) is_pinged: bool,
    /// It has sent something since its CONNECT: its address is no forged one.
    pub(super) is_proven: bool,
    /// Deliveries that may be sent before that.
    pub(super) credit: u8,
    /// Of the shard, in seconds: the link has to show a packet so often; 0: never.
    pub(super) link_keep_alive_s: u16,
    pub(super) link_ping_at: Time,
    /// Highest QoS that the shard takes.
    pub(super) qos_max: Qos,
    pub(super) retain_available: bool,
    /// Of the last REGISTER that was sent.
    pub(super) last_msg_id: u16,
    /// For which the timer is set.
    pub(super) armed: Time,
}

// A hundred thousand sleep on one machine: below the allocator's class of 224 bytes.
const _: () = assert!(size_of::<Peer>() <= 224);

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

    /// It sleeps: what it has not answered is due when it wakes, with all its repeats.
    pub(super) fn rest(&mut self) {
        if let Some(outstanding) = &mut self.outstanding {
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
            State::Active if self.keep_alive_s > 0 => Some(self.silent_until()),
            State::Asleep => self.lost_at(),
            _ => None,
        };
        let answer = self.outstanding.as_ref().map(|one| one.due);
        let ping = (self.link_keep_alive_s > 0).then_some(self.link_ping_at);
        [keep_alive, answer, ping].into_iter().flatten().min()
    }

    /// Of an active client: when it is asked whether it is there, or, once it was asked, lost.
    pub(super) fn silent_until(&self) -> Time {
        let span = if self.is_pinged {
            Self::silence_max(self.keep_alive_s)
        } else {
            Span::from_secs(u64::from(self.keep_alive_s))
        };
        self.heard + span
    }

    /// When it is lost if nothing is heard of it.
    pub(super) fn lost_at(&self) -> Option<Time> {
        let seconds = match self.state {
            State::Active if self.keep_alive_s > 0 => self.keep_alive_s,
            State::Asleep => self.sleep_s,
            _ => return None,
        };
        Some(self.heard + Self::silence_max(seconds))
    }

    /// Twice in the keep alive that the shard wants of a link.
    pub(super) fn link_ping_every(seconds: u16) -> Span {
        Span::from_millis(u64::from(seconds) * 500)
    }

    pub(super) fn retry(settings: &Settings) -> Span {
        Span::from_secs(u64::from(settings.retry_s))
    }
}
