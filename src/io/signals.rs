//! SIGTERM and SIGINT: the first stops the broker in order, the second at once. SIGHUP: files are read
//! again. SIGUSR1: what was counted is written to the log. SIGUSR2: another process takes everything over.

use std::sync::mpsc::Sender;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use super::commits::EXIT_JOURNAL;
use super::controls::Ask;
use super::logging;
use super::service_manager;
use super::shared::SharedState;
use super::upgrade::{hand_on, parent_stays};
use crate::run_options::Durability;

/// Exit code of a process ended by a signal is 128 and the signal.
const SIGNAL_EXIT: i32 = 128;

/// Watches for signals on a thread of its own. The process ends within `shutdown-timeout` of the first one,
/// whatever the clients do: with code 0, unless the journal cannot be written meanwhile.
pub(super) fn watch(shared: Arc<SharedState>, ask: Sender<Ask>) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2])?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let mut received = signals.forever();
            let ends = |signal: &i32| {
                if shared.has_left() && parent_stays() {
                    hand_on(*signal);
                    return false;
                }
                match *signal {
                    // Fails only when there is no reload thread.
                    SIGHUP => drop(ask.send(Ask::Reload)),
                    SIGUSR2 => drop(ask.send(Ask::Upgrade)),
                    SIGUSR1 => shared.ask_counters(),
                    _ => return true,
                }
                false
            };
            if !received.by_ref().any(|signal| ends(&signal)) {
                return;
            }
            service_manager::stopping();
            tracing::info!("stopping: clients are told and closed; signal again to exit at once");
            let watchdog = thread::Builder::new().name("watchdog".into()).spawn({
                let shared = Arc::clone(&shared);
                let deadline = shared.options().shutdown_timeout;
                let deadline = Duration::from_secs(deadline.as_secs());
                move || {
                    thread::sleep(deadline);
                    exit_late(&shared)
                }
            });
            if watchdog.is_err() {
                exit(0);
            }
            shared.stop(); // may wait for a shard, so the watchdog is there first
            if let Some(signal) =
                received.find(|signal| ![SIGHUP, SIGUSR1, SIGUSR2].contains(signal))
            {
                exit(SIGNAL_EXIT + signal);
            }
        })?;
    Ok(())
}

/// What is left after the deadline is cut.
fn exit_late(shared: &SharedState) -> ! {
    if shared.all_written() {
        tracing::warn!("some clients did not close in time; exiting");
        exit(0);
    }
    let lost = match shared.options().durability {
        Durability::Commit => "what is not on the disk was never acknowledged",
        Durability::Interval(_) => "of what was acknowledged, the last is lost",
    };
    tracing::error!("the journal could not be written to its end in time: {lost}; exiting");
    exit(EXIT_JOURNAL)
}

fn exit(code: i32) -> ! {
    logging::flush();
    std::process::exit(code)
}
