//! One network connection: its decoder's remainder, negotiated limits and phase.

use std::num::NonZeroU16;

use super::action::CloseCause;
use super::login::Login;
use super::origin::Origin;
use super::outgoing::Outgoing;
use super::rates::ClientMeters;
use super::timer_wheel::TimerId;
use super::trace::Trace;
use crate::ids::SessionId;
use crate::mqtt::{ReasonCode, Version};
use crate::session::{AliasBounds, AliasesIn, AliasesOut};
use crate::time::{Span, Time};

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    AwaitConnect,
    /// A CONNECT waits until it is known who sent it.
    Authenticating,
    Live(SessionId),
    /// An error, a DISCONNECT or a takeover ended it: no further bytes are accepted.
    Closing,
}

/// Lives on: the shard that reads it. Written by: that shard only.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) phase: Phase,
    pub(super) version: Version,
    /// Another broker, by the mark in its protocol level.
    pub(super) is_bridge: bool,
    /// The log has been told that it publishes to a topic that begins with `$`.
    pub(super) named_reserved: bool,
    /// Named in the shard's list of connections to transmit.
    pub(super) dirty: bool,
    /// Counted among those that have not sent their CONNECT.
    pub(super) is_half_open: bool,
    /// Has published: it is not read while a peer's outbox is full.
    pub(super) publishes: bool,
    /// What it has sent waits in `partial` for the next turn (see `work`).
    pub(super) is_paused: bool,
    /// The packet at the start of `partial` waits for what a service rules (see `authorize`).
    pub(super) is_asking: bool,
    /// Its socket is gone, and what it sent before waits for the next turn.
    pub(super) gone: Option<CloseCause>,
    /// Why we end it, also where the client's version has no word for it.
    pub(super) end_reason: Option<ReasonCode>,
    /// v5 Request Problem Information.
    pub(super) problem_information: bool,
    /// Largest packet the client takes, in bytes [MQTT-3.1.2-24].
    pub(super) packet_size_max: u32,
    /// Largest packet its listener takes, in bytes.
    pub(super) receive_size_max: u32,
    pub(super) outgoing: Outgoing,
    pub(super) aliases_out: Option<Box<AliasesOut>>,
    pub(super) aliases_in: Option<Box<AliasesIn>>,
    /// Start of a packet whose end has not arrived, or packets that wait for the next turn.
    pub(super) partial: Vec<u8>,
    /// PUBACKs and PUBCOMPs appended since the socket last took bytes, of publications that took quota of
    /// this connection: a lower bound of those the client cannot have seen yet.
    pub(super) acks_unsent: u16,
    /// SUBACKs waiting for their barrier, and one more for each KiB of them.
    pub(super) subacks_waiting: u16,
    pub(super) last_packet: Time,
    /// One and a half keep alive periods [MQTT-3.1.2-22]; zero: no timeout.
    pub(super) silence_max: Span,
    /// Connect, keep-alive or linger timer, by phase.
    pub(super) timer: Option<TimerId>,
    pub(super) origin: Origin,
    /// When rates are limited and it is live.
    pub(super) meters: Option<Box<ClientMeters>>,
    /// What it has to prove, or had.
    pub(super) login: Option<Box<Login>>,
    /// The layers below MQTT have not finished their handshakes.
    pub(super) waits_for_layers: bool,
    /// For the log, when connections are told of one by one.
    pub(super) trace: Option<Box<Trace>>,
}

impl Connection {
    pub(super) fn new(origin: Origin, receive_size_max: u32, now: Time) -> Self {
        Self {
            phase: Phase::AwaitConnect,
            version: Version::V311,
            is_bridge: false,
            named_reserved: false,
            dirty: false,
            is_half_open: true,
            publishes: false,
            is_paused: false,
            is_asking: false,
            gone: None,
            end_reason: None,
            problem_information: true,
            packet_size_max: u32::MAX,
            receive_size_max,
            outgoing: Outgoing::default(),
            aliases_out: None,
            aliases_in: None,
            partial: Vec::new(),
            acks_unsent: 0,
            subacks_waiting: 0,
            last_packet: now,
            silence_max: Span::ZERO,
            timer: None,
            origin,
            meters: None,
            login: None,
            waits_for_layers: false,
            trace: None,
        }
    }

    /// True while nothing may be read before it is known who the client is, or what it may do.
    #[inline]
    pub(super) fn is_judged(&self) -> bool {
        self.is_asking
            || (self.phase == Phase::Authenticating
                && self.login.as_ref().is_some_and(|login| login.is_judged()))
    }

    pub(super) fn session(&self) -> Option<SessionId> {
        match self.phase {
            Phase::Live(session) => Some(session),
            _ => None,
        }
    }

    /// It has come faster than it may, and is not read for a while.
    pub(super) fn is_over_rate(&self) -> bool {
        self.meters.as_ref().is_some_and(|meters| meters.is_over)
    }

    /// Sets an incoming alias, creating the table on first use.
    pub(super) fn set_alias_in(
        &mut self,
        alias: NonZeroU16,
        topic: &str,
        bounds: AliasBounds,
    ) -> Result<(), crate::session::AliasInError> {
        self.aliases_in
            .get_or_insert_default()
            .set(alias, topic, bounds)
    }
}
