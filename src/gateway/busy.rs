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

/// Of one peer.
#[derive(Debug)]
pub(super) struct Busy {
    /// Packets for the link that the shard does not want yet.
    pub(super) waiting: Vec<u8>,
    pub(super) deliveries: VecDeque<Delivery>,
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
        release: None,
        ended: None,
        requests: Requests::NONE,
        asked: (0, Time::ZERO),
    };

    fn is_idle(&self) -> bool {
        self.waiting.is_empty()
            && self.deliveries.is_empty()
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
