//! Roster of the bridges of the process: what is seen of each, and the way to give it orders.

use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::status::BridgeStatus;
use super::wake::{Order, Wake};
use crate::bridge::Bridge;

/// One bridge, from outside its thread.
pub(super) struct Running {
    pub(super) bridge: Arc<Bridge>,
    pub(super) status: Arc<BridgeStatus>,
    pub(super) orders: Sender<Wake>,
    /// Says nothing, and is closed when its session is there, or could not be made.
    pub(super) has_begun: Option<Receiver<()>>,
}

impl Running {
    /// Fails only when the thread has ended with the process.
    pub(super) fn order(&self, order: Order) {
        let _ = self.orders.send(Wake::Order(order));
    }
}

/// Lives on: what the shards share.
#[derive(Default)]
pub(in crate::io) struct Roster {
    running: Mutex<Vec<Running>>,
    /// Of this broker, in the paths of messages; drawn when the first bridge begins.
    number: Mutex<Option<u32>>,
}

impl Roster {
    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<Running>> {
        // What a thread that panicked has left is whole.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn number(&self) -> std::io::Result<u32> {
        let mut number = self.number.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = *number {
            return Ok(number);
        }
        let mut drawn = [0; 4];
        getrandom::fill(&mut drawn).map_err(std::io::Error::from)?;
        Ok(*number.insert(u32::from_ne_bytes(drawn)))
    }

    /// Waits until each bridge has its session, which keeps what is published from then on. One that could not be made
    /// is in the log by then.
    pub(in crate::io) fn await_sessions(&self) {
        let begun: Vec<_> = self
            .lock()
            .iter_mut()
            .filter_map(|one| one.has_begun.take())
            .collect();
        for one in begun {
            let _ = one.recv(); // nothing is ever sent
        }
    }

    /// What is seen of each bridge.
    pub(in crate::io) fn statuses(&self) -> Vec<(Arc<Bridge>, Arc<BridgeStatus>)> {
        let running = self.lock();
        let each = running.iter();
        each.map(|one| (Arc::clone(&one.bridge), Arc::clone(&one.status)))
            .collect()
    }

    /// Has a bridge connect, or not. False: there is none of this name.
    pub(in crate::io) fn order(&self, name: &str, starts: bool) -> bool {
        let running = self.lock();
        let Some(one) = running.iter().find(|one| one.bridge.name == name) else {
            return false;
        };
        one.order(if starts { Order::Start } else { Order::Stop });
        true
    }

    /// The broker stops.
    pub(in crate::io) fn end(&self) {
        for one in &*self.lock() {
            one.order(Order::End);
        }
    }
}
