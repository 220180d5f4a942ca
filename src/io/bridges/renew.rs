//! Bridges as the configuration has them: begun, changed and removed.

use std::sync::mpsc::channel;
use std::sync::Arc;
use std::thread;

use super::keeper::Keeper;
use super::roster::Running;
use super::wake::Order;
use crate::bridge::{Bridge, LocalLimits};
use crate::io::broker::Broker;

/// Has these bridges run, and no others; those that are as they were are left alone. None is waited for.
pub(in crate::io) fn renew(
    broker: &Broker,
    bridges: &[Bridge],
    limits: LocalLimits,
) -> std::io::Result<()> {
    let roster = broker.shared().bridges();
    let number = roster.number()?;
    let mut running = roster.lock();
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

fn begin(
    broker: &Broker,
    bridge: &Bridge,
    number: (u32, usize),
    limits: LocalLimits,
) -> std::io::Result<Running> {
    let (orders, wakes) = channel();
    let bridge = Arc::new(bridge.clone());
    let (begins, has_begun) = channel();
    let keeper = Keeper::new(broker, &bridge, number, limits, (orders.clone(), wakes))?;
    let running = Running {
        bridge,
        status: Arc::clone(&keeper.status),
        orders,
        has_begun: Some(has_begun),
    };
    thread::Builder::new()
        .name(format!("bridge-{}", number.1))
        .spawn(move || keeper.run(begins))?;
    Ok(running)
}
