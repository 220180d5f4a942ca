//! The verified flows of one thread.

use super::stage::Actor;
use crate::verified::client::Disorder;
use crate::verified::flow::{turn, Flow, Shape};
use crate::verified::random::Random;

/// While the storm is on.
pub(super) const DISORDER: Disorder = Disorder {
    cut_one_in: 400,
    cuts_left: u32::MAX,
    stall_one_in: 2_000,
    stall_ms_max: 3_000,
    rivals_max: 8,
};
const RESUBSCRIBE_ONE_IN: u64 = 500;
/// The smallest that still moves at a good pace on loopback.
const SMALL_RECEIVE_BUFFER_BYTES: usize = 8_192;

/// One subscriber after another: the simplest flow.
pub(super) const PAIR: Shape = Shape {
    qos: 1,
    publishers: 1,
    subscribers: 1,
    is_shared: false,
    messages: u64::MAX,
    outstanding_max: 300,
    payload_bytes_max: 20_000,
};
pub(super) const FAN: Shape = Shape {
    publishers: 2,
    subscribers: 3,
    ..PAIR
};
pub(super) const GROUP: Shape = Shape {
    publishers: 2,
    subscribers: 4,
    is_shared: true,
    ..PAIR
};

pub(super) struct Flows {
    flows: Vec<Flow>,
    packets: u64,
}

impl Flows {
    pub(super) fn new(mut flows: Vec<Flow>, seed: u64) -> Self {
        let mut random = Random::new(seed);
        for client in flows.iter_mut().flat_map(Flow::clients_mut) {
            if random.one_in(3) {
                client.limit_receive_buffer(SMALL_RECEIVE_BUFFER_BYTES);
            }
        }
        for flow in &mut flows {
            flow.is_publishing = false;
        }
        Self { flows, packets: 0 }
    }

    /// Messages that have arrived, by flow.
    pub(super) fn arrived(&self) -> impl Iterator<Item = u64> + '_ {
        self.flows.iter().map(Flow::arrived)
    }
}

impl Actor for Flows {
    fn storm(&mut self, _seed: u64) {
        for flow in &mut self.flows {
            flow.is_publishing = true;
            flow.set_disorder(DISORDER);
            flow.set_resubscribing(RESUBSCRIBE_ONE_IN);
        }
    }

    fn calm(&mut self) {
        for flow in &mut self.flows {
            flow.is_publishing = false;
            flow.set_disorder(Disorder::NONE);
            flow.set_resubscribing(0);
        }
    }

    fn turn(&mut self) {
        turn(&mut self.flows);
        self.packets = self.flows.iter().map(Flow::packets).sum();
    }

    fn is_settled(&self) -> bool {
        let mut flows = self.flows.iter();
        flows.all(|flow| flow.is_subscribed() && flow.is_settled())
    }

    fn handled(&self) -> u64 {
        self.packets
    }

    fn connections(&self) -> usize {
        self.flows.iter().map(Flow::connections).sum()
    }

    fn state(&self) -> String {
        let unsettled = self.flows.iter().filter(|flow| !flow.is_settled());
        let states: Vec<String> = unsettled.map(Flow::state).collect();
        states.join("\n")
    }
}
