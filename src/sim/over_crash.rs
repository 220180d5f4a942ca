//! Exceptions that a crash of the process allows, and reasons for each of them.

use super::client::Client;
use super::history::{Arrival, Planned};
use crate::mqtt::Qos;

/// The crashes of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crashes {
    pub(super) count: usize,
}

impl Crashes {
    /// Publications with the same of these keep their order. One at QoS 1 that was not acknowledged may be lost with the
    /// process and sent again, while one at QoS 2 that came behind it was held for another shard and outlives it.
    pub(super) fn order(&self, planned: &Planned) -> Option<Qos> {
        (self.count > 0).then_some(planned.qos)
    }

    /// How many times more than once a publication may arrive without DUP. What was sent before the crash and
    /// is not on the disk is sent again by its publisher, or as what was never sent.
    pub(super) fn repeats(&self, client: &Client, planned: &Planned, arrival: &Arrival) -> u32 {
        let is_exact = planned.qos == Qos::ExactlyOnce && arrival.qos == Qos::ExactlyOnce as u8;
        if is_exact && planned.will.is_none() && client.outlives_crashes() {
            0
        } else {
            self.count as u32
        }
    }
}
