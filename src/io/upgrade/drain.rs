//! Connections whose layers the old process has are sent away one after the other, so that it can end.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::orders::{Arrived, UpgradeOrder};
use crate::ids::ShardId;
use crate::io::inbox::ShardCommand;
use crate::io::shared::SharedState;

/// From one step to the next, at least.
const STEP: Duration = Duration::from_millis(100);

/// Begins, if there are some.
pub(in crate::io) fn start(shared: &Arc<SharedState>, arrived: Arrived) -> std::io::Result<()> {
    let (relayed, within) = (arrived.relayed as usize, shared.options().upgrade_drain);
    if relayed == 0 {
        return Ok(());
    }
    let Some(within) = within else {
        tracing::info!("upgrade: the old process stays until its {relayed} connections end (upgrade-drain is \"off\")");
        return Ok(());
    };
    tracing::info!(
        "upgrade: {relayed} connections with TLS go through the old process, and are sent away within {} s",
        within.as_secs()
    );
    let shared = Arc::clone(shared);
    let drain = move || drain(&shared, relayed, Duration::from_secs(within.as_secs()));
    thread::Builder::new().name("drain".into()).spawn(drain)?;
    Ok(())
}

/// As many in each step as it takes; who leaves by itself does not make others stay longer.
fn drain(shared: &SharedState, relayed: usize, within: Duration) {
    let steps = (within.as_millis() / STEP.as_millis()).max(1) as usize;
    let shards = usize::from(shared.shards());
    let mut sent = 0;
    for step in 1..=steps {
        thread::sleep(STEP);
        if shared.has_left() {
            return; // the next process does it
        }
        let due = relayed * step / steps;
        for place in sent..due {
            let shard = ShardId((place % shards) as u16);
            shared.send(shard, ShardCommand::Upgrade(UpgradeOrder::SendAway(1)));
        }
        sent = due;
    }
    // What one shard had more than the others.
    shared.broadcast(|| ShardCommand::Upgrade(UpgradeOrder::SendAway(usize::MAX)));
}
