//! Sending of a session's queue, as far as its inflight window and its outgoing bytes have room.

use crate::ids::SessionId;
use crate::mqtt::{encode, Ack, AckKind, Qos, ReasonCode, UserProperties};
use crate::mutant::{is_on, Mutant};
use crate::session::Resend;
use crate::shard::clients::view::Client;
use crate::shard::clients::Clients;
use crate::shard::delivery::send::{fit, write_publish, Fit};
use crate::shard::notices::About;
use crate::shard::Shard;
use crate::time::Time;

impl Shard {
    /// Resends what a resumed session has in flight, then sends from its queue, then continues
    /// with its retained messages. Called whenever room may have appeared: mostly nothing waits.
    #[inline]
    pub(in crate::shard) fn pump(&mut self, session: SessionId, now: Time) {
        if self.clients.session(session).has_waiting() {
            self.send_waiting(session, now);
        }
    }

    pub(in crate::shard) fn send_waiting(&mut self, session: SessionId, now: Time) {
        self.resend(session, now);
        self.drain_queue(session, now);
        self.replay.wake_walk(&mut self.clients, session);
    }

    /// [MQTT-4.4.0-1]: PUBLISH and PUBREL again, in their order.
    fn resend(&mut self, session: SessionId, now: Time) {
        let outgoing_max = self.config.limits.outgoing_bytes_max as usize;
        let Some(client) = self.clients.connected(session) else {
            return; // it waits for its client
        };
        let Client {
            id,
            connection,
            entry,
            dirty,
            ..
        } = client;
        let version = connection.version;
        let mut too_large = None;
        let mut dropped = 0;
        while connection.outgoing.len() <= outgoing_max && !is_on(Mutant::ForgetResend) {
            match entry.session.window.next_resend() {
                None => break,
                Some(Resend::Release(packet_id)) => {
                    let ack = Ack {
                        packet_id,
                        reason: ReasonCode::Success,
                        reason_string: None,
                        user_properties: UserProperties::default(),
                    };
                    connection
                        .outgoing
                        .write(|out| encode::ack(out, version, AckKind::PubRel, &ack));
                }
                Some(Resend::Publish(packet_id, delivery)) => {
                    match fit(delivery, version, connection.packet_size_max, now) {
                        None => too_large = Some(packet_id),
                        Some(fit) => {
                            let aliases = connection.rare.aliases_out_mut();
                            let aliases = aliases.filter(|_| fit == Fit::WithAlias);
                            let outgoing = &mut connection.outgoing;
                            let packet_id = Some(packet_id);
                            write_publish(
                                outgoing, version, aliases, delivery, packet_id, true, now,
                            );
                        }
                    }
                }
            }
            if let Some(packet_id) = too_large.take() {
                // The client came back with a smaller limit: as if it had been sent and
                // acknowledged [MQTT-3.1.2-25].
                let _ = entry.session.window.discard(packet_id);
                dropped += 1;
            }
        }
        if !connection.outgoing.is_empty() {
            connection.mark_dirty(id, dirty);
        }
        let is_ready = connection.outgoing.len() <= outgoing_max;
        let must_read = is_ready && entry.session.window.next_stored().is_some();
        if let Some(durable) = self.durable.as_deref_mut().filter(|_| must_read) {
            durable.loads.want(session);
        }
        if dropped > 0 {
            self.drop_too_large(session, dropped, now);
        }
    }

    /// Sends from the queue while rate, outgoing bytes and window have room. An empty window takes one
    /// message of any size.
    fn drain_queue(&mut self, session: SessionId, now: Time) {
        loop {
            let Some(mut client) = self.clients.connected(session) else {
                return; // it waits for its client
            };
            let Some(front) = client.entry.session.queue.front() else {
                return;
            };
            let metering = self.admission.metering.as_deref_mut();
            let waits = client
                .connection
                .output_waits_until(metering.as_deref(), now);
            if let Some(until) = waits {
                let id = client.id;
                self.pause_output(id, until);
                return;
            }
            let limits = &self.config.limits;
            let is_ready = client.connection.outgoing.len() <= limits.outgoing_bytes_max as usize;
            let has_room =
                front.qos() == Qos::AtMostOnce || client.window_takes(front.cost_bytes(), limits);
            if !(is_ready && has_room) {
                return;
            }
            if front.stored().is_some() {
                if let Some(durable) = self.durable.as_deref_mut() {
                    durable.loads.want(session);
                }
                return; // it continues when that is read back
            }
            let Some(delivery) = client.entry.session.queue.pop() else {
                return;
            };
            let is_expired = delivery.publication.expires_at.is_some_and(|at| at <= now);
            if is_expired && !is_on(Mutant::SendExpired) {
                self.outbox.stats.dropped_expired += 1; // [MQTT-3.3.2-5]
                continue;
            }
            let durable = self.durable.as_deref_mut();
            if !client.send(delivery, durable, metering, &mut self.outbox.stats, now) {
                self.drop_too_large(session, 1, now);
            }
        }
    }

    /// Disconnects the clients whose queue was full. One with replies that wait for a commit is sent them before, and
    /// not read meanwhile: else it would publish the same again each time, and never come to an end.
    pub(in crate::shard) fn disconnect_overflowed(&mut self, now: Time) {
        for session in std::mem::take(&mut self.clients.overflowed) {
            let Some(entry) = self.clients.sessions.get_mut(session) else {
                continue; // ended later in this turn
            };
            if !entry.is_overflowed {
                continue; // its connection has ended
            }
            let connection = entry.session.connection;
            let waits = connection.is_some_and(|id| {
                let connection = self.clients.connections.get_mut(id);
                connection.is_some_and(|connection| connection.awaits_commit_to_end())
            });
            if waits {
                self.clients.overflowed.push(session);
                continue;
            }
            entry.is_overflowed = false;
            if let Some(id) = connection {
                let reason = Some(ReasonCode::QuotaExceeded);
                let text = self.clients.queue_is_full(session, &self.config);
                self.end_connection(id, reason, &text, now);
            }
        }
    }

    /// A notice about messages that a session has lost.
    pub(in crate::shard) fn notice_of_loss(
        &mut self,
        session: SessionId,
        (detail, count): (&str, u64),
        now: Time,
        text: impl FnOnce() -> String,
    ) {
        let (client_id, peer) = self.clients.name_of(session);
        let about = About {
            peer,
            ..About::loss(detail, Some(&client_id), count)
        };
        self.notice(&about, now, text);
    }
}

impl Clients {
    /// The queue is full and the policy is to disconnect: at the end of the turn, since a will that
    /// is published then must not come into the middle of the publication that is being delivered.
    pub(in crate::shard) fn overflowed(&mut self, session: SessionId) {
        let entry = self.session_mut(session);
        if !std::mem::replace(&mut entry.is_overflowed, true) {
            self.overflowed.push(session);
        }
    }
}
