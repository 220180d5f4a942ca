//! SIGTERM and SIGINT: the first stops the broker in order, the second at once. SIGHUP: files are read
//! again.

use std::sync::mpsc::Sender;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::logging;
use super::wake::Wakes;

/// Exit code of a process ended by a signal is 128 and the signal.
const SIGNAL_EXIT: i32 = 128;

/// Watches for signals on a thread of its own. The process ends with code 0 within `deadline` of the
/// first one, whatever the clients do.
pub(super) fn watch(
    wakes: Arc<Wakes>,
    deadline: Duration,
    reload: Sender<()>,
) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let mut received = signals.forever();
            let is_hangup = |signal: &i32| {
                if *signal == SIGHUP {
                    let _ = reload.send(()); // fails only when nobody can reload
                }
                *signal == SIGHUP
            };
            if received
                .by_ref()
                .find(|signal| !is_hangup(signal))
                .is_none()
            {
                return;
            }
            tracing::info!("stopping: clients are told and closed; signal again to exit at once");
            wakes.stop();
            let watchdog = thread::Builder::new()
                .name("watchdog".into())
                .spawn(move || {
                    thread::sleep(deadline);
                    tracing::warn!("some clients did not close in time; exiting");
                    exit(0);
                });
            if watchdog.is_err() {
                exit(0);
            }
            if let Some(signal) = received.find(|signal| *signal != SIGHUP) {
                exit(SIGNAL_EXIT + signal);
            }
        })?;
    Ok(())
}

fn exit(code: i32) -> ! {
    logging::flush();
    std::process::exit(code)
}
