//! The network between sensors and gateways: datagrams are lost, doubled, overtaken and delayed.

use std::net::SocketAddr;

use crate::mqtt_sn::{decode, Message};
use crate::prng::Prng;

/// Datagrams on their way; more are lost.
const DATAGRAMS_MAX: usize = 200;

/// A datagram between a sensor's address and the gateways.
#[derive(Debug)]
pub(super) struct Datagram {
    /// To the gateways.
    pub(super) is_up: bool,
    pub(super) sensor: SocketAddr,
    pub(super) bytes: Vec<u8>,
    /// In the order of sending.
    pub(super) number: u64,
}

/// How bad a network is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    /// Of a hundred.
    pub(super) lost: u64,
    pub(super) doubled: u64,
    /// The next is any of those that wait, not the first.
    pub(super) overtaken: u64,
}

#[derive(Debug)]
pub(super) struct Network {
    pub(super) faults: Faults,
    on_way: Vec<Datagram>,
    sent: u64,
}

impl Network {
    pub(super) fn new(faults: Faults) -> Self {
        Self {
            faults,
            on_way: Vec::new(),
            sent: 0,
        }
    }

    pub(super) fn send(&mut self, is_up: bool, sensor: SocketAddr, bytes: Vec<u8>) {
        self.sent += 1;
        if self.on_way.len() < DATAGRAMS_MAX {
            self.on_way.push(Datagram {
                is_up,
                sensor,
                bytes,
                number: self.sent,
            });
        }
    }

    /// The next datagram that arrives, if one does now.
    pub(super) fn arrival(&mut self, prng: &mut Prng) -> Option<Datagram> {
        let Faults {
            lost,
            doubled,
            overtaken,
        } = self.faults;
        if self.on_way.is_empty() {
            return None;
        }
        let mut any = |of_hundred| prng.draw() % 100 < of_hundred;
        let (is_lost, is_doubled, is_overtaken) = (any(lost), any(doubled), any(overtaken));
        let at = if is_overtaken {
            (prng.draw() % self.on_way.len() as u64) as usize
        } else {
            0
        };
        let datagram = self.on_way.remove(at);
        if is_doubled {
            self.on_way.push(Datagram {
                bytes: datagram.bytes.clone(),
                ..datagram
            });
        }
        (!is_lost).then_some(datagram)
    }

    /// Some datagrams do not live as long as what they belong to.
    pub(super) fn forget(&mut self, is_over: impl Fn(&Datagram, &Message<'_>) -> bool) {
        self.on_way.retain(|datagram| {
            let message = decode(&datagram.bytes);
            !message.is_ok_and(|message| is_over(datagram, &message))
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.on_way.is_empty()
    }
}
