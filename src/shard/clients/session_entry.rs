//! A session as its shard holds it: the pure state plus timers and walks.

use std::rc::Rc;

use crate::ids::{ConnectionId, MemberId};
use crate::mqtt::{Connect, Publish, Qos};
use crate::session::Session;
use crate::shard::access::pending_connect::store_will;
use crate::shard::access::rights::Rights;
use crate::shard::clients::activity::Ending;
use crate::shard::retained::walks::Walks;
use crate::shard::turn::timer_wheel::TimerId;
use crate::shard::ShardConfig;
use crate::time::Time;

/// Lives on: the home shard of the client id.
#[derive(Debug)]
pub(in crate::shard) struct SessionEntry {
    pub(in crate::shard) session: Session,
    pub(in crate::shard) rights: Rights,
    pub(in crate::shard) expiry_timer: Option<TimerId>,
    pub(in crate::shard) will_timer: Option<TimerId>,
    /// Retained messages still to be sent for new subscriptions.
    pub(in crate::shard) walks: Option<Box<Walks>>,
    /// Since it joined its first shared group.
    pub(in crate::shard) member: Option<MemberId>,
    /// Its queue was full: to be disconnected when the turn ends.
    pub(in crate::shard) is_overflowed: bool,
    /// The configuration has terms of its own for its client id: others need not be looked for.
    pub(in crate::shard) has_own_terms: bool,
    /// Its last connection was that of a client of MQTT-SN, for operators.
    pub(in crate::shard) is_sensor: bool,
    /// Messages that it was not sent, for operators.
    pub(in crate::shard) dropped: u64,
    /// How its last connection ended, and when.
    pub(in crate::shard) last_ending: Option<(Ending, Time)>,
}

// With the generation of its place 2,048 of them are whole pages of the allocator.
const _: () = assert!(size_of::<SessionEntry>() <= 344);

impl SessionEntry {
    /// Of a client that has no session.
    pub(in crate::shard) fn of_new(client_id: &Rc<str>, config: &ShardConfig) -> Self {
        Self::new(Session::new(Rc::clone(client_id), config.hash_seed), config)
    }

    pub(in crate::shard) fn new(session: Session, config: &ShardConfig) -> Self {
        Self {
            has_own_terms: config.own_terms.contains_key(&*session.client_id),
            session,
            rights: Rights::default(),
            expiry_timer: None,
            will_timer: None,
            walks: None,
            member: None,
            is_overflowed: false,
            is_sensor: false,
            dropped: 0,
            last_ending: None,
        }
    }

    /// A connection continues it.
    pub(in crate::shard) fn begin(&mut self, connection: ConnectionId, is_sensor: bool) {
        self.session.connection = Some(connection);
        self.session.received.start();
        self.is_sensor = is_sensor;
    }

    /// Its client has the will of this CONNECT.
    pub(in crate::shard) fn set_will(&mut self, connect: &Connect<'_>, keeps_will: bool) {
        let will = connect.will.as_ref().map(store_will);
        if keeps_will && self.session.is_durable() {
            self.session.keep_will(will.clone());
        }
        self.session.will = will.map(Box::new);
    }

    /// QoS 2, and accepted before.
    pub(in crate::shard) fn is_repeated(&self, publish: &Publish<'_>) -> bool {
        let received = &self.session.received;
        publish.qos == Qos::ExactlyOnce
            && (publish.packet_id).is_some_and(|packet_id| received.contains(packet_id))
    }

    /// Something waits for room in the window or the socket.
    #[inline]
    pub(in crate::shard) fn has_waiting(&self) -> bool {
        let session = &self.session;
        session.window.has_unsent() || !session.queue.is_empty() || self.walks.is_some()
    }
}
