//! The relay: the state of one connection of a bridge, from CONNECT to its end.
//!
//! What comes from the remote is in [`super::remote`], what comes from our own broker in [`super::local`]; here is
//! what both share, and the beginning.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::num::NonZeroU16;
use std::sync::Arc;

use super::counts::{Counts, Drop};
use super::ids::IdSet;
use super::terms::{Bridge, Notify};
use crate::limits::Limits;
use crate::mqtt::frame::next_frame;
use crate::mqtt::packet::{ConnectProperties, PublishProperties};
use crate::mqtt::{
    encode, AckKind, Connect, PacketType, Qos, ReasonCode, Version, Violation, Will,
};
use crate::mqtt::{Ack, PacketId, UserProperties};

/// Times that nothing has come in between two looks, after which the remote counts as lost: looks come twice in a
/// keep alive period, so it is one and a half of them.
const SILENT_LOOKS_MAX: u8 = 3;

/// Looks in which nothing in flight has moved, after which an operator learns of that.
const STILL_LOOKS_MAX: u8 = 2;

/// What our own broker takes.
#[derive(Clone, Copy, Debug)]
pub struct LocalLimits {
    pub receive_maximum: u16,
    pub packet_size_max: u32,
}

impl LocalLimits {
    #[must_use]
    pub fn of(limits: &Limits) -> Self {
        Self {
            receive_maximum: limits.receive_maximum,
            packet_size_max: limits.packet_size_max,
        }
    }
}

/// One connection of a bridge, as it begins.
#[derive(Clone, Debug)]
pub struct Link {
    pub bridge: Arc<Bridge>,
    pub version: Version,
    /// The level carries the mark of a bridge.
    pub mark: bool,
    pub password: Option<Vec<u8>>,
    /// Number of this broker, in the paths of messages.
    pub broker: u32,
    pub limits: LocalLimits,
    /// Our lines were subscribed to since the process began.
    pub has_subscribed: bool,
    /// Filters of lines of before, to which the remote's session may be subscribed still.
    pub given_up: Vec<String>,
}

/// Why a connection has ended, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Ended {
    pub text: String,
    /// The remote's reason for its refusal.
    pub refused: Option<ReasonCode>,
}

/// What an operator should see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The remote has accepted the connection; it has kept a session.
    Connected { session_present: bool },
    /// Both sides have granted all subscriptions.
    Up,
    /// A message was not passed on, or a subscription was refused: a sentence, and for drops why.
    Notice(Option<Drop>, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// CONNECT was sent to the remote.
    AwaitRemote,
    /// It has answered; CONNECT was sent to our own broker.
    AwaitLocal,
    /// SUBSCRIBE was sent where there are lines for it.
    AwaitGrants,
    Up,
}

/// What the remote takes, by its CONNACK.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remote {
    pub(super) session_present: bool,
    pub(super) receive_maximum: u16,
    pub(super) packet_size_max: u32,
    pub(super) qos_max: Qos,
    pub(super) retains: bool,
}

/// See the module.
pub struct Relay {
    pub(super) link: Link,
    pub(super) stage: Stage,
    pub(super) remote: Remote,
    /// Received and not yet handled: the start of a packet.
    from_remote: Vec<u8>,
    from_local: Vec<u8>,
    /// Bytes that are left of a message of the remote that is too large.
    skip: usize,
    /// For our own broker, found while its own bytes were handled.
    pub(super) owed: Vec<u8>,
    /// One side has lost its session and the other has not: what this one has received under an identifier before
    /// must not make it take a new message for a repetition. Set: identifiers that were freed on this connection.
    pub(super) freed_in: Option<IdSet>,
    pub(super) freed_out: Option<IdSet>,
    /// Answers to those PUBRELs, which nothing waits for.
    pub(super) unasked_in: IdSet,
    pub(super) unasked_out: IdSet,
    /// Sent with QoS 1 though the session sent it with QoS 2: not answered, and answered.
    pub(super) lowered: IdSet,
    pub(super) released: IdSet,
    /// The first identifier of our session on this connection.
    pub(super) first_out: Option<u16>,
    pub(super) grants_left: u8,
    heard: bool,
    pub(super) sent: bool,
    silent_looks: u8,
    /// Identifiers in flight to the remote, and how many.
    in_flight: IdSet,
    in_flight_count: u32,
    /// Since the last look one of them went forward.
    has_moved: bool,
    still_looks: u8,
    pub(super) events: VecDeque<Event>,
    pub(super) counts: Counts,
}

impl Relay {
    #[must_use]
    pub fn new(link: Link) -> Self {
        Self {
            link,
            stage: Stage::AwaitRemote,
            remote: Remote {
                session_present: false,
                receive_maximum: u16::MAX,
                packet_size_max: u32::MAX,
                qos_max: Qos::ExactlyOnce,
                retains: true,
            },
            from_remote: Vec::new(),
            from_local: Vec::new(),
            skip: 0,
            owed: Vec::new(),
            freed_in: None,
            freed_out: None,
            unasked_in: IdSet::default(),
            unasked_out: IdSet::default(),
            lowered: IdSet::default(),
            released: IdSet::default(),
            first_out: None,
            grants_left: 0,
            heard: true,
            sent: true,
            silent_looks: 0,
            in_flight: IdSet::default(),
            in_flight_count: 0,
            has_moved: true,
            still_looks: 0,
            events: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// Appends CONNECT for the remote.
    pub fn start(&mut self, down: &mut Vec<u8>) {
        let bridge = &self.link.bridge;
        let topic = bridge.state_topic();
        let will = (bridge.notify == Notify::Both).then(|| Will {
            topic: &topic,
            payload: b"0",
            qos: Qos::AtLeastOnce,
            retain: true,
            delay_interval_s: 0,
            properties: PublishProperties::default(),
        });
        let expiry = if bridge.clean_start {
            0
        } else {
            bridge.session_expiry_s
        };
        let connect = Connect {
            version: self.link.version,
            is_bridge: self.link.mark && !self.link.version.is_v5(),
            clean_start: bridge.clean_start,
            keep_alive_s: bridge.keep_alive_s,
            client_id: bridge.remote_id(),
            will,
            user_name: bridge.user.as_deref(),
            password: self.link.password.as_deref(),
            properties: ConnectProperties {
                session_expiry_interval_s: Some(expiry).filter(|s| *s > 0),
                receive_maximum: NonZeroU16::new(self.link.limits.receive_maximum.max(1)),
                maximum_packet_size: Some(self.link.limits.packet_size_max),
                ..ConnectProperties::default()
            },
        };
        encode::connect(down, &connect);
        self.sent = true;
    }

    /// Appends what comes of the remote's bytes: `up` is for our own broker, `down` for the remote.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub fn handle_remote(
        &mut self,
        bytes: &[u8],
        up: &mut Vec<u8>,
        down: &mut Vec<u8>,
    ) -> Result<(), Ended> {
        self.heard = true;
        let mut waiting = std::mem::take(&mut self.from_remote);
        let all = if waiting.is_empty() {
            bytes
        } else {
            waiting.extend_from_slice(bytes);
            &waiting
        };
        let mut at = 0;
        let mut result = Ok(());
        while result.is_ok() {
            let skipped = self.skip.min(all.len() - at);
            self.skip -= skipped;
            at += skipped;
            match next_frame(&all[at..], self.link.limits.packet_size_max) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    at += frame.length;
                    result = self.on_remote(&frame, up, down);
                }
                // Refused by the end of the connection it would come again with the next one.
                Err(Violation::PacketTooLarge { size, .. }) if is_publish(all[at]) => {
                    if !self.on_too_large(&all[at..], size, down) {
                        break;
                    }
                    self.skip = size as usize;
                }
                Err(violation) => {
                    result = Err(self.broke("the remote", &violation));
                }
            }
        }
        self.from_remote = all[at..].to_vec();
        result
    }

    /// Appends what comes of our own broker's bytes to `down`; what is for itself is taken by [`Relay::take_owed`].
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub fn handle_local(
        &mut self,
        slices: &[IoSlice<'_>],
        down: &mut Vec<u8>,
    ) -> Result<(), Ended> {
        let mut bytes = std::mem::take(&mut self.from_local);
        slices
            .iter()
            .for_each(|slice| bytes.extend_from_slice(slice));
        let mut at = 0;
        let mut result = Ok(());
        while result.is_ok() {
            // Our own broker is trusted with sizes.
            match next_frame(&bytes[at..], u32::MAX) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    at += frame.length;
                    result = self.on_local(&frame, down);
                }
                Err(violation) => result = Err(self.broke("our own broker", &violation)),
            }
        }
        bytes.drain(..at);
        self.from_local = bytes;
        result
    }

    /// Moves to `up` what is for our own broker.
    pub fn take_owed(&mut self, up: &mut Vec<u8>) {
        up.append(&mut self.owed);
    }

    /// Our own broker has accepted it.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        matches!(self.stage, Stage::AwaitGrants | Stage::Up)
    }

    /// Twice in a keep alive period: asks the remote for a sign of life when one side was silent.
    ///
    /// # Errors
    /// It has been silent for too long.
    pub fn look(&mut self, down: &mut Vec<u8>) -> Result<(), Ended> {
        let has_heard = std::mem::replace(&mut self.heard, false);
        let has_sent = std::mem::replace(&mut self.sent, false);
        self.silent_looks = match has_heard {
            true => 0,
            false => self.silent_looks + 1,
        };
        if self.silent_looks >= SILENT_LOOKS_MAX {
            return Err(ended(format!(
                "the remote has sent nothing for one and a half keep alive periods of {} s",
                self.link.bridge.keep_alive_s
            )));
        }
        self.look_at_flight();
        if self.stage != Stage::AwaitRemote && !(has_heard && has_sent) {
            encode::pingreq(down);
            self.sent = true;
        }
        Ok(())
    }

    /// A remote may answer PINGREQ and acknowledge nothing.
    fn look_at_flight(&mut self) {
        let is_still = self.in_flight_count > 0 && !std::mem::replace(&mut self.has_moved, false);
        self.still_looks = if is_still { self.still_looks + 1 } else { 0 };
        if self.still_looks >= STILL_LOOKS_MAX {
            self.still_looks = 0;
            self.counts.stalls += 1;
            let text = format!(
                "the remote has acknowledged none of {} messages in flight for a keep alive period of {} s",
                self.in_flight_count, self.link.bridge.keep_alive_s
            );
            self.events.push_back(Event::Notice(None, text));
        }
    }

    /// A message with an identifier is on its way to the remote.
    pub(super) fn departs(&mut self, packet_id: PacketId) {
        self.in_flight_count += u32::from(self.in_flight.insert(packet_id.get()));
    }

    /// It went forward, and has arrived.
    pub(super) fn moves(&mut self, packet_id: PacketId, has_arrived: bool) {
        self.has_moved = true;
        let is_gone = has_arrived && self.in_flight.remove(packet_id.get());
        self.in_flight_count -= u32::from(is_gone);
    }

    /// What an operator should see next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What was counted since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    pub(super) fn dropped(&mut self, why: Drop, text: String) {
        self.counts.dropped[why as usize] += 1;
        self.events.push_back(Event::Notice(Some(why), text));
    }

    pub(super) fn grant(&mut self) {
        self.grants_left = self.grants_left.saturating_sub(1);
        if self.grants_left == 0 && self.stage == Stage::AwaitGrants {
            self.stage = Stage::Up;
            self.events.push_back(Event::Up);
        }
    }

    pub(super) fn broke(&self, side: &str, violation: &dyn std::fmt::Display) -> Ended {
        let version = match self.link.version {
            Version::V5 => "5.0",
            Version::V311 => "3.1.1",
            Version::V31 => "3.1",
        };
        ended(format!(
            "{side} does not keep to MQTT {version}: {violation}"
        ))
    }
}

/// By the first byte of a packet.
fn is_publish(first: u8) -> bool {
    PacketType::from_bits(first >> 4) == Some(PacketType::Publish)
}

pub(super) fn ended(text: String) -> Ended {
    Ended {
        text,
        refused: None,
    }
}

/// Appends an acknowledgement with its reason alone.
pub(super) fn put_ack(
    out: &mut Vec<u8>,
    version: Version,
    kind: AckKind,
    packet_id: PacketId,
    reason: ReasonCode,
) {
    let ack = Ack {
        packet_id,
        reason,
        reason_string: None,
        user_properties: UserProperties { raw: &[] },
    };
    encode::ack(out, version, kind, &ack);
}
