//! All bridges of the process, as they begin, change and end.

use std::sync::mpsc::{channel, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::keeper::Keeper;
use super::layer::Report;
use super::status::BridgeStatus;
use crate::bridge::{Bridge, LocalLimits};
use crate::io::broker::Broker;

/// What wakes the thread of a bridge.
pub(super) enum Wake {
    /// Of the connection with this number.
    Report(u64, Report),
    Order(Order),
}

/// What a bridge is to do from now on.
pub(super) enum Order {
    /// Connect, if it has not, and stay connected.
    Start,
    Stop,
    /// As its table is now.
    Renew(Arc<Bridge>),
    /// It has no table any more.
    Remove,
    /// What our own broker takes, on connections that begin from now on.
    Limits(LocalLimits),
    /// The broker stops.
    End,
}

/// One bridge, from outside its thread.
struct Running {
    bridge: Arc<Bridge>,
    status: Arc<BridgeStatus>,
    orders: Sender<Wake>,
}

impl Running {
    /// Fails only when the thread has ended with the process.
    fn order(&self, order: Order) {
        let _ = self.orders.send(Wake::Order(order));
    }
}

/// Lives on: what the shards share.
#[derive(Default)]
pub(in crate::io) struct BridgeSet {
    running: Mutex<Vec<Running>>,
    /// Of this broker, in the paths of messages; drawn when the first bridge begins.
    number: Mutex<Option<u32>>,
}

impl BridgeSet {
    fn lock(&self) -> MutexGuard<'_, Vec<Running>> {
        // What a thread that panicked has left is whole.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> std::io::Result<u32> {
        let mut number = self.number.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = *number {
            return Ok(number);
        }
        let mut drawn = [0; 4];
        getrandom::fill(&mut drawn).map_err(std::io::Error::from)?;
        Ok(*number.insert(u32::from_ne_bytes(drawn)))
    }

    /// Has these bridges run, and no others; those that are as they were are left alone. None is waited for.
    pub(in crate::io) fn renew(
        &self,
        broker: &Broker,
        bridges: &[Bridge],
        limits: LocalLimits,
    ) -> std::io::Result<()> {
        let number = self.number()?;
        let mut running = self.lock();
        running.retain(|one| {
            let stays = bridges.iter().any(|bridge| bridge.name == one.bridge.name);
            if !stays {
                one.order(Order::Remove);
            }
            stays
        });
        running
            .iter()
            .for_each(|one| one.order(Order::Limits(limits)));
        for (at, bridge) in bridges.iter().enumerate() {
            let one = running
                .iter_mut()
                .find(|one| one.bridge.name == bridge.name);
            match one {
                Some(one) if *one.bridge == *bridge => {}
                Some(one) => {
                    one.bridge = Arc::new(bridge.clone());
                    one.order(Order::Renew(Arc::clone(&one.bridge)));
                }
                None => running.push(begin(broker, bridge, (number, at), limits)?),
            }
        }
        Ok(())
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

fn begin(
    broker: &Broker,
    bridge: &Bridge,
    number: (u32, usize),
    limits: LocalLimits,
) -> std::io::Result<Running> {
    let (orders, wakes) = channel();
    let bridge = Arc::new(bridge.clone());
    let keeper = Keeper::new(broker, &bridge, number, limits, (orders.clone(), wakes))?;
    let running = Running {
        bridge,
        status: Arc::clone(&keeper.status),
        orders,
    };
    thread::Builder::new()
        .name(format!("bridge-{}", number.1))
        .spawn(move || keeper.run())?;
    Ok(running)
}
