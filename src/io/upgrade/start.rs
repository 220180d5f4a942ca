//! The start of a process that takes over from another one.

use std::os::fd::OwnedFd;
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::orders::{BeginLog, ReadLog};
use super::taking::{HandedSockets, Taking};
use super::{drain, parent, relay};
use crate::auth::Rules;
use crate::ids::ShardId;
use crate::io::clock::Clock;
use crate::io::errors::StartError;
use crate::io::listener_set::ListenerSet;
use crate::io::logging;
use crate::io::recovery::Journal;
use crate::io::shared::SharedState;
use crate::shard::{Shard, ShardConfig};

/// A process that another one has replaced ends after so long: the answer to who has asked for it is written by then.
const FAREWELL: Duration = Duration::from_millis(250);

/// In a process that takes over: says that it can start, and waits until the old one is at rest. Its listeners, and
/// the lock of the data directory.
pub(in crate::io) fn greet(
    data_dir: Option<String>,
    shared: &SharedState,
    taking: &mut Option<Taking>,
) -> Result<(HandedSockets, Option<OwnedFd>), StartError> {
    let Some(taking) = taking else {
        return Ok((HandedSockets::new(), None));
    };
    taking.greet(data_dir)?;
    shared.hand_services(taking.take_services());
    let lock = taking.take_lock();
    Ok((std::mem::take(&mut taking.sockets), lock))
}

/// A log that another process still writes.
pub(in crate::io) fn read_later(
    journal: &Arc<Journal>,
    id: ShardId,
    rules: &Arc<Rules>,
    clock: Clock,
) -> ReadLog {
    let (journal, rules) = (Arc::clone(journal), Arc::clone(rules));
    Box::new(move |shard: &mut Shard| {
        let begun = journal.begin(id, shard, &rules, clock)?;
        let make_ready = move |shard: &mut Shard| Ok(journal.make_ready(id, shard, begun)?);
        Ok(Box::new(make_ready) as BeginLog)
    })
}

/// The shards are filled, and serve.
pub(in crate::io) fn take_over(
    taking: &mut Option<Taking>,
    (shared, config): (&Arc<SharedState>, &ShardConfig),
    listeners: &ListenerSet,
    journal: Option<&Journal>,
) -> Result<(), StartError> {
    let Some(own) = taking else {
        return Ok(());
    };
    own.begin_to_take(shared, listeners)?;
    let arrived = own.fill(shared, config, listeners.of_formers())?;
    let resting_since = own.finish(arrived)?;
    if let Some(journal) = journal {
        journal.take_over()?;
    }
    Taking::begin_logs(shared)?;
    if let Some(journal) = journal {
        journal.all_have_begun()?;
    }
    if let Some(own) = taking.take() {
        own.serve(shared, arrived, resting_since)?;
    }
    drain::start(shared, arrived)?;
    Ok(())
}

/// Another process serves: this one does what is left, and ends.
pub(in crate::io) fn see_off(shared: &SharedState) -> Result<(), StartError> {
    let relays = shared.take_relays();
    if !relays.is_empty() {
        tracing::info!(
            "upgrade: the layers of {} connections stay in this process until they end",
            relays.len()
        );
        relay::run(relays)?;
    }
    // The answer to who has asked for it is on its way.
    shared.await_told();
    thread::sleep(FAREWELL);
    if parent::must_stay() {
        tracing::info!("upgrade: process 1 stays until the others have ended");
        let code = parent::outlast();
        logging::flush();
        process::exit(code);
    }
    Ok(())
}
