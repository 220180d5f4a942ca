//! Connections that leave a shard with their sessions and are continued, by this shard or another.

use bytes::Bytes;

use super::attributes::deadline_of;
use super::connection::{ConnectionImage, LoginImage, MetersImage, SilenceImage};
use super::NotSaved;
use crate::ids::{ConnectionId, SessionId};
use crate::mutant::{is_on, Mutant};
use crate::session::{AliasBounds, AliasesOut, SessionImage};
use crate::shard::access::login_state::Login;
use crate::shard::clients::connection::Connection;
use crate::shard::clients::hold::Hold;
use crate::shard::clients::meters::ClientMeters;
use crate::shard::clients::phase::Phase;
use crate::shard::gate::HeldReply;
use crate::shard::turn::timer_key::TimerKey;
use crate::shard::Shard;
use crate::time::{Span, Time};

impl Shard {
    /// The images of a connection and of its session, which stay here.
    ///
    /// # Errors
    /// See [`NotSaved`].
    pub fn save_connection(
        &self,
        id: ConnectionId,
    ) -> Result<(SessionImage, ConnectionImage), NotSaved> {
        let (session, connection) = self.savable(id)?;
        let client_id = &self.clients.session(session).session.client_id;
        Ok((self.save_session(client_id)?, self.image_of(id, connection)))
    }

    /// A connection that can be saved now, and its session.
    pub(super) fn savable(&self, id: ConnectionId) -> Result<(SessionId, &Connection), NotSaved> {
        let connection = self.clients.connections.get(id);
        let connection = connection.ok_or(NotSaved::Unknown)?;
        let Phase::Live(session) = connection.phase else {
            return Err(NotSaved::Busy);
        };
        let is_exchanging = connection
            .rare
            .get()
            .login
            .as_ref()
            .is_some_and(|l| !l.is_idle());
        let awaits_commit = connection.outgoing.is_held();
        let waits = connection.holds.keeps_packets() || is_exchanging;
        if waits || awaits_commit || connection.gone.is_some() {
            return Err(NotSaved::Busy);
        }
        match self.is_savable(self.clients.session(session)) {
            true => Ok((session, connection)),
            false => Err(NotSaved::Busy),
        }
    }

    /// Takes a connection out of this shard, whose driver does not use its id again: the images of its session
    /// and of itself. The session stays, without deadlines and with what comes for it, until it is restored.
    ///
    /// # Errors
    /// See [`NotSaved`]; nothing has changed then.
    pub fn take_connection(
        &mut self,
        id: ConnectionId,
    ) -> Result<(SessionImage, ConnectionImage), NotSaved> {
        let images = self.save_connection(id)?;
        if let Some(mut state) = self.clients.connections.remove(id) {
            self.clients.live.leave(state.version);
            let proof = state
                .rare
                .get()
                .login
                .as_ref()
                .and_then(|login| login.timer);
            for timer in [state.timer, proof].into_iter().flatten() {
                self.turn.timers.cancel(timer);
            }
            let session = state.session();
            ClientMeters::release(state.rare.take_meters(), &mut self.turn.timers);
            if let Some(session) = session {
                self.clients.session_mut(session).session.connection = None;
            }
        }
        Ok(images)
    }

    fn image_of(&self, id: ConnectionId, connection: &Connection) -> ConnectionImage {
        let clocks = self.clocks();
        let silence_over_at = connection.last_packet + connection.silence_max;
        let checked_at = connection
            .timer
            .and_then(|timer| deadline_of(&self.turn.timers, timer));
        let silence = checked_at.map(|checked_at| SilenceImage {
            max_ms: u32::try_from(connection.silence_max.as_millis()).unwrap_or(u32::MAX),
            over_at: clocks.to_wall(silence_over_at),
            checked_at: clocks.to_wall(checked_at),
        });
        let login = connection.rare.get().login.as_deref();
        let proof_timer = login.and_then(|login| login.timer);
        let proof_expires_at = proof_timer.and_then(|timer| deadline_of(&self.turn.timers, timer));
        let meters = connection.rare.get().meters.as_deref();
        let aliases_out = connection.rare.get().aliases_out.as_deref();
        let aliases_in = connection.rare.get().aliases_in.as_deref();
        ConnectionImage {
            version: connection.version,
            is_bridge: connection.is_bridge,
            publishes: connection.publishes,
            named_reserved: connection.named_reserved,
            problem_information: connection.problem_information,
            waits_for_turn: connection.holds.contains(Hold::NextTurn),
            packet_size_max: connection.packet_size_max,
            acks_unsent: connection.acks_unsent,
            origin: connection.origin.clone(),
            silence,
            login: LoginImage {
                method: login.and_then(|login| login.method().map(Box::from)),
                proof_expires_at: proof_expires_at.map(|at| clocks.to_wall(at)),
            },
            meters: meters.map(|meters| MetersImage(meters.times().map(|at| clocks.to_wall(at)))),
            aliases_out: aliases_out.map(|aliases| (aliases.maximum(), aliases.topics())),
            aliases_in: aliases_in.map_or_else(Vec::new, |aliases| {
                let set = aliases.iter();
                set.map(|(alias, topic)| (alias, topic.into())).collect()
            }),
            unhandled: Bytes::copy_from_slice(&connection.partial),
            unsent: connection.outgoing.to_bytes(),
            held: self
                .mesh
                .gate
                .held_for(id)
                .map(Bytes::copy_from_slice)
                .collect(),
        }
    }

    /// Continues a connection with its session, which was restored and has none.
    pub(super) fn attach_restored(
        &mut self,
        session: SessionId,
        image: ConnectionImage,
        now: Time,
    ) -> ConnectionId {
        let mut connection = self.connection_of(session, &image, now);
        if let Some(trace) = self.outbox.begin_trace() {
            connection.rare.make().trace = Some(trace);
        }
        self.clients.live.enter(connection.version);
        let id = self.clients.connections.insert(connection);
        self.clients.session_mut(session).session.connection = Some(id);
        self.set_timers(id, &image, now);
        for reply in image.held {
            self.hold_again(id, session, reply.into());
        }
        if image.waits_for_turn {
            self.clients.pause(id, &mut self.turn.budget);
        }
        self.pause_input(id, now);
        let connection = self.clients.connections.get_mut(id);
        if let Some(connection) = connection.filter(|connection| !connection.outgoing.is_empty()) {
            connection.mark_dirty(id, &mut self.clients.dirty);
        }
        self.pump(session, now);
        id
    }

    /// What needs no id.
    fn connection_of(&self, session: SessionId, image: &ConnectionImage, now: Time) -> Connection {
        let (clocks, limits) = (self.clocks(), self.limits());
        let listener = image.origin.listener;
        let announced = self.announced(listener);
        let mut connection = Connection::new(image.origin.clone(), announced, now);
        connection.phase = Phase::Live(session);
        connection.version = image.version;
        connection.is_bridge = image.is_bridge;
        connection.publishes = image.publishes;
        connection.named_reserved = image.named_reserved;
        connection.problem_information = image.problem_information;
        connection.packet_size_max = image.packet_size_max;
        connection.acks_unsent = image.acks_unsent;
        if let Some(silence) = image.silence {
            connection.silence_max = Span::from_millis(silence.max_ms.into());
            let over_at = clocks.to_time(silence.over_at).0;
            connection.last_packet = Time(over_at.saturating_sub(connection.silence_max.0));
        }
        let metering = self.admission.metering.as_ref();
        if metering.is_some_and(|metering| metering.limits(listener)) {
            let times = image
                .meters
                .map(|meters| meters.0.map(|at| clocks.to_time(at)));
            let meters = times.map_or_else(ClientMeters::default, ClientMeters::of_times);
            connection.rare.make().meters = Some(Box::new(meters));
        }
        if let Some((maximum, topics)) = &image.aliases_out {
            let bounds = AliasBounds {
                maximum: *maximum,
                bytes_max: limits.topic_alias_bytes_max,
            };
            let seed = self.config.hash_seed;
            let aliases = AliasesOut::restore(bounds, seed, topics);
            connection.rare.make().aliases_out = Some(Box::new(aliases));
        }
        for (alias, topic) in &image.aliases_in {
            let bounds = AliasBounds {
                maximum: u16::MAX,
                bytes_max: limits.topic_alias_bytes_max,
            };
            // What does not fit a smaller limit is unknown when the client names it.
            let aliases = &mut connection.rare.make().aliases_in;
            let aliases = aliases.get_or_insert_default();
            let _ = aliases.set(*alias, topic, bounds);
        }
        if !is_on(Mutant::ImageLosesUnhandled) {
            connection.partial = image.unhandled.to_vec();
        }
        connection.outgoing.restore(image.unsent.clone());
        connection
    }

    fn set_timers(&mut self, id: ConnectionId, image: &ConnectionImage, now: Time) {
        let clocks = self.clocks();
        let connection = self.clients.connection_mut(id);
        let timers = &mut self.turn.timers;
        connection.timer = image.silence.map(|silence| {
            let at = clocks.to_time(silence.checked_at).max(now);
            timers.insert(at, TimerKey::Connection(id))
        });
        let LoginImage {
            method,
            proof_expires_at,
        } = &image.login;
        let proof = proof_expires_at.map(|at| {
            let at = clocks.to_time(at).max(now);
            timers.insert(at, TimerKey::Proof(id))
        });
        if method.is_some() || proof.is_some() {
            connection.rare.make().login = Some(Box::new(Login::resumed(method.clone(), proof)));
        }
    }

    /// A reply that waited for a position here or on another shard: the next barrier covers it, since the
    /// filters of its session enter the index before.
    fn hold_again(&mut self, id: ConnectionId, session: SessionId, bytes: Vec<u8>) {
        if is_on(Mutant::ImageLosesHeld) {
            return;
        }
        if self.mesh.peers.is_alone() {
            self.clients
                .reply(id, |out, _| out.extend_from_slice(&bytes));
            return;
        }
        self.mesh.barriers.want();
        self.hold_until_barrier(HeldReply {
            connection: id,
            session,
            bytes,
        });
    }
}
