//! One network connection: its decoder's remainder, negotiated limits and phase.

use crate::ids::{ConnectionId, SessionId};
use crate::mqtt::{ReasonCode, Version};
use crate::mutant::{is_on, Mutant};
use crate::shard::action::CloseCause;
use crate::shard::clients::activity::Activity;
use crate::shard::clients::hold::{Hold, HoldSet};
use crate::shard::clients::meters::Metering;
use crate::shard::clients::origin::Origin;
use crate::shard::clients::outgoing::Outgoing;
use crate::shard::clients::phase::Phase;
use crate::shard::clients::rare::RareParts;
use crate::shard::gate::HeldReplies;
use crate::shard::queries::captures::CaptureFlag;
use crate::shard::turn::timer_wheel::TimerId;
use crate::time::{Span, Time};

/// What CONNACK announces to a client and holds as long as its connection, whatever a reload changes.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) struct Announced {
    /// Largest packet its listener takes, in bytes.
    pub(in crate::shard) packet_size_max: u32,
    pub(in crate::shard) receive_maximum: u16,
    pub(in crate::shard) topic_alias_maximum: u16,
}

/// Lives on: the shard that reads it. Written by: that shard only.
#[derive(Debug)]
pub(in crate::shard) struct Connection {
    pub(in crate::shard) phase: Phase,
    pub(in crate::shard) version: Version,
    /// The client is a bridge, by bit 7 of its protocol level.
    pub(in crate::shard) is_bridge: bool,
    /// A notice was logged that it publishes to a topic that begins with `$`.
    pub(in crate::shard) named_reserved: bool,
    /// Named in the shard's list of connections to transmit.
    pub(in crate::shard) dirty: bool,
    /// Has published: it is not read while a peer's outbox is full.
    pub(in crate::shard) publishes: bool,
    /// Its requests are recorded: it is not read while too much waits for the disk.
    pub(in crate::shard) fills_log: bool,
    /// Its CONNACK waits for a commit: nothing else may be sent [MQTT-3.2.0-1].
    pub(in crate::shard) owes_connack: bool,
    /// Why it is not read.
    pub(in crate::shard) holds: HoldSet,
    /// Its socket is closed, and what it sent before waits for the next turn.
    pub(in crate::shard) gone: Option<CloseCause>,
    /// Why we end it, also where the client's version has no reason code for it.
    pub(in crate::shard) end_reason: Option<ReasonCode>,
    /// v5 Request Problem Information.
    pub(in crate::shard) problem_information: bool,
    /// Largest packet the client takes, in bytes [MQTT-3.1.2-24].
    pub(in crate::shard) packet_size_max: u32,
    pub(in crate::shard) announced: Announced,
    pub(in crate::shard) outgoing: Outgoing,
    /// Start of a packet whose end has not arrived, or packets that wait for the next turn.
    pub(in crate::shard) partial: Vec<u8>,
    /// PUBACKs and PUBCOMPs appended since the socket last took bytes, of publications that took quota of
    /// this connection: a lower bound of those the client cannot have seen yet.
    pub(in crate::shard) acks_unsent: u16,
    /// Replies held at gates.
    pub(in crate::shard) held: HeldReplies,
    pub(in crate::shard) last_packet: Time,
    /// One and a half keep alive periods [MQTT-3.1.2-22]; zero: no timeout.
    pub(in crate::shard) silence_max: Span,
    /// Connect, keep-alive or linger timer, by phase.
    pub(in crate::shard) timer: Option<TimerId>,
    pub(in crate::shard) origin: Origin,
    pub(in crate::shard) activity: Activity,
    pub(in crate::shard) rare: RareParts,
    /// An operator is shown its packets.
    pub(in crate::shard) captured: CaptureFlag,
}

// With the generation of its place 2,048 of them are whole pages of the allocator.
const _: () = assert!(size_of::<Connection>() <= 248);

impl Connection {
    pub(in crate::shard) fn new(origin: Origin, announced: Announced, now: Time) -> Self {
        Self {
            phase: Phase::AwaitConnect,
            version: Version::V311,
            is_bridge: false,
            named_reserved: false,
            dirty: false,
            publishes: false,
            fills_log: false,
            owes_connack: false,
            holds: HoldSet::default(),
            gone: None,
            end_reason: None,
            problem_information: true,
            packet_size_max: u32::MAX,
            announced,
            outgoing: Outgoing::default(),
            partial: Vec::new(),
            acks_unsent: 0,
            held: HeldReplies::default(),
            last_packet: now,
            silence_max: Span::ZERO,
            timer: None,
            origin,
            activity: Activity {
                opened_at: now,
                ..Activity::default()
            },
            rare: RareParts::default(),
            captured: CaptureFlag::No,
        }
    }

    pub(in crate::shard) fn session(&self) -> Option<SessionId> {
        match self.phase {
            Phase::Live(session) => Some(session),
            _ => None,
        }
    }

    /// Until when nothing is sent to its client; `None`: its rate has room.
    #[inline]
    pub(in crate::shard) fn output_waits_until(
        &self,
        metering: Option<&Metering>,
        now: Time,
    ) -> Option<Time> {
        let meters = self.rare.get().meters.as_deref()?;
        if is_on(Mutant::SendOverRate) {
            return None;
        }
        let ready_at = metering?.output_ready_at((self.origin.listener, meters));
        (ready_at > now).then_some(ready_at)
    }

    /// It is to end when no reply waits for a commit any more; true while one does.
    pub(in crate::shard) fn awaits_commit_to_end(&mut self) -> bool {
        let waits = self.session().is_some() && self.outgoing.is_held();
        if waits {
            self.holds.insert(Hold::Ends);
        } else {
            self.holds.remove(Hold::Ends);
        }
        waits
    }

    #[inline]
    pub(in crate::shard) fn count_received(&mut self, bytes: usize) {
        self.activity.bytes_in += bytes as u64;
    }

    #[inline]
    pub(in crate::shard) fn count_sent(&mut self, bytes: usize) {
        self.activity.bytes_out += bytes as u64;
    }

    /// Puts it on the list of those to transmit.
    #[inline]
    pub(in crate::shard) fn mark_dirty(&mut self, id: ConnectionId, dirty: &mut Vec<ConnectionId>) {
        if !self.dirty {
            self.dirty = true;
            dirty.push(id);
        }
    }

    /// Appends a packet to its outgoing bytes.
    #[inline]
    pub(in crate::shard) fn append(&mut self, encode: impl FnOnce(&mut Vec<u8>, Version)) {
        let version = self.version;
        self.outgoing.write(|out| encode(out, version));
    }
}
