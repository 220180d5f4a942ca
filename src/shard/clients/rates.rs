//! Pauses in reading and sending, by the meters of a client and its listener (see `meters`).

use crate::ids::{ConnectionId, SessionId};
use crate::mutant::{is_on, Mutant};
use crate::shard::clients::connection::Connection;
use crate::shard::clients::hold::Hold;
use crate::shard::turn::timer_key::TimerKey;
use crate::shard::Shard;
use crate::time::Time;

impl Shard {
    /// Counts packets and their bytes; the client is not read again before its rate and its listener's
    /// allow it. A read is at most one buffer, so neither is passed by more than that.
    #[cold]
    pub(in crate::shard) fn count_input(
        &mut self,
        id: ConnectionId,
        counts: (u64, u64),
        now: Time,
    ) {
        let Connection { rare, origin, .. } = self.clients.connection_mut(id);
        if let (Some(meters), Some(metering)) = (rare.meters_mut(), &mut self.admission.metering) {
            metering.count_input((origin.listener, meters), counts, now);
            self.pause_input(id, now);
        }
    }

    /// Stops or resumes reading a client, by its meters.
    pub(in crate::shard) fn pause_input(&mut self, id: ConnectionId, now: Time) {
        let connection = self.clients.connection_mut(id);
        let Connection {
            rare,
            origin,
            last_packet,
            holds,
            ..
        } = connection;
        let (Some(meters), Some(metering)) = (rare.meters_mut(), &self.admission.metering) else {
            return;
        };
        let ready_at = metering.input_ready_at((origin.listener, meters));
        if let Some(timer) = meters.input_timer.take() {
            self.turn.timers.cancel(timer);
        }
        let is_over = ready_at > now && !is_on(Mutant::ReadOverRate);
        let was_paused = holds.remove(Hold::Rate);
        if is_over {
            holds.insert(Hold::Rate);
            self.outbox.stats.reads_paused += u64::from(!was_paused);
            let key = TimerKey::ReadAgain(id);
            meters.input_timer = Some(self.turn.timers.insert(ready_at, key));
        } else if was_paused {
            *last_packet = now; // it was not read because of us
        }
    }

    /// A pause in reading is over, unless other clients of the listener have used up its rate meanwhile.
    pub(in crate::shard) fn read_again(&mut self, id: ConnectionId, now: Time) {
        if let Some(meters) = self.clients.connection_mut(id).rare.meters_mut() {
            meters.input_timer = None;
        }
        self.pause_input(id, now);
    }

    /// Resumes sending to a client at a time, if that is not scheduled already.
    pub(in crate::shard) fn pause_output(&mut self, id: ConnectionId, until: Time) {
        let Some(meters) = self.clients.connection_mut(id).rare.meters_mut() else {
            return;
        };
        if meters.output_timer.is_none() {
            self.outbox.stats.sends_paused += 1;
            let timer = self.turn.timers.insert(until, TimerKey::SendAgain(id));
            meters.output_timer = Some(timer);
        }
    }

    /// A pause in sending is over.
    pub(in crate::shard) fn send_again(&mut self, id: ConnectionId, now: Time) {
        let connection = self.clients.connection_mut(id);
        if let Some(meters) = connection.rare.meters_mut() {
            meters.output_timer = None;
        }
        if let Some(session) = connection.session() {
            self.pump(session, now);
        }
    }

    /// Counts and reports a QoS 0 message dropped for a client that is sent too much.
    #[cold]
    pub(in crate::shard) fn drop_over_rate(&mut self, session: SessionId, now: Time) {
        self.outbox.stats.dropped_over_rate += 1;
        self.clients.count_dropped(session, 1);
        self.notice_of_loss(session, ("over rate", 1), now, || {
            "QoS 0 messages dropped: more than the rate of the client (client-out-messages-per-s, \
             client-out-bytes-per-s) or of all clients of its listener (listener-out-...)"
                .into()
        });
    }
}
