//! Work under way for a peer: none while it sleeps, which most of them do, and then it takes no memory.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};

use super::requests::Requests;
use crate::mqtt::{PacketId, Qos};
use crate::time::Time;

/// A message for a client.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) topic: Box<str>,
    pub(super) payload: Box<[u8]>,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) dup: bool,
    pub(super) packet_id: Option<PacketId>,
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

/// Of one peer.
#[derive(Debug)]
pub(super) struct Busy {
    /// Packets for the link that the shard does not want yet.
    pub(super) waiting: Vec<u8>,
    pub(super) deliveries: VecDeque<Delivery>,
    /// What was sent and waits for its answer, also while the client sleeps.
    pub(super) outstanding: Option<Box<Outstanding>>,
    /// The release that follows a PUBREC.
    pub(super) release: Option<PacketId>,
    /// An exchange that ends without its client: the release is answered for it.
    pub(super) ended: Option<PacketId>,
    pub(super) requests: Requests,
    /// Will requests sent so far, and when the next one is due.
    pub(super) asked: (u8, Time),
}

impl Busy {
    const IDLE: Self = Self {
        waiting: Vec::new(),
        deliveries: VecDeque::new(),
        outstanding: None,
        release: None,
        ended: None,
        requests: Requests::NONE,
        asked: (0, Time::ZERO),
    };

    fn is_idle(&self) -> bool {
        self.waiting.is_empty()
            && self.deliveries.is_empty()
            && self.outstanding.is_none()
            && self.release.is_none()
            && self.ended.is_none()
            && self.requests.is_empty()
            && self.asked.0 == 0
    }
}

/// Allocated when it is changed.
#[derive(Debug, Default)]
pub(super) struct WhenBusy(Option<Box<Busy>>);

impl WhenBusy {
    /// Frees it, unless something is under way.
    pub(super) fn rest(&mut self) {
        self.0.take_if(|busy| busy.is_idle());
    }
}

impl Deref for WhenBusy {
    type Target = Busy;

    fn deref(&self) -> &Busy {
        static IDLE: Busy = Busy::IDLE;
        self.0.as_deref().unwrap_or(&IDLE)
    }
}

impl DerefMut for WhenBusy {
    fn deref_mut(&mut self) -> &mut Busy {
        self.0.get_or_insert_with(|| Box::new(Busy::IDLE))
    }
}
