//! The broker's process is killed while a load runs, and started again.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{kill_process, Pid, Signal};

use crate::plan::Crashes;
use crate::results::Restart;
use crate::system;

/// How long a process that was killed may take to end, and one that was asked to end.
const GONE_MAX: Duration = Duration::from_secs(10);
/// How long a broker may take to accept connections again.
const BACK_MAX: Duration = Duration::from_secs(120);
/// An attempt to connect.
const ATTEMPT: Duration = Duration::from_millis(50);

/// Lives on: the run.
#[derive(Debug)]
pub(super) struct Restarts {
    /// Of the broker that is there, or was killed last.
    pub(super) pid: Option<u32>,
    /// The same, when it was started here: it ends with the run.
    child: Option<Child>,
    /// Killed then, and not back yet.
    down: Option<Instant>,
    /// Kills of this step that have been done.
    pub(super) done_in_step: usize,
    pub(super) done: Vec<Restart>,
}

impl Restarts {
    pub(super) fn of(pid: Option<u32>) -> Self {
        Self {
            pid,
            child: None,
            down: None,
            done_in_step: 0,
            done: Vec::new(),
        }
    }

    /// Kills and restarts when it is time. `since` is the time since the beginning of the step, `at_s` that of the
    /// run. True: a broker has come back.
    ///
    /// # Errors
    /// A sentence when it cannot be killed, or does not come back.
    pub(super) fn watch(
        &mut self,
        crashes: &Crashes,
        since: Duration,
        at_s: f64,
        target: &[SocketAddr],
    ) -> Result<bool, String> {
        if self.down.is_some() {
            return self.look(target);
        }
        let due = crashes.times.get(self.done_in_step);
        if due.is_some_and(|due| *due <= since) {
            self.done_in_step += 1;
            self.kill()?;
            self.start(&crashes.restart_command)?;
            self.done.push(Restart { at_s, down_s: 0.0 });
        }
        Ok(false)
    }

    /// A broker was killed and does not accept connections yet.
    pub(super) fn is_down(&self) -> bool {
        self.down.is_some()
    }

    fn kill(&mut self) -> Result<(), String> {
        let number = self.pid.ok_or("there is no broker to kill")?;
        self.down = Some(Instant::now());
        if let Some(child) = &mut self.child {
            let ended = child.kill().and_then(|()| child.wait());
            return ended.map(drop).map_err(|error| {
                format!("the broker's process {number} cannot be killed: {error}")
            });
        }
        signal(number, Signal::KILL)?;
        let begun = Instant::now();
        while system::is_running(number) {
            if begun.elapsed() > GONE_MAX {
                return Err(format!("the broker's process {number} does not end"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn start(&mut self, command: &str) -> Result<(), String> {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("exec {command}"));
        let child = shell.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = child.map_err(|error| format!("--restart-command: {error}"))?;
        self.pid = Some(child.id());
        self.child = Some(child);
        Ok(())
    }

    /// Whether it accepts connections.
    fn look(&mut self, target: &[SocketAddr]) -> Result<bool, String> {
        let Some(since) = self.down else {
            return Ok(false);
        };
        if let Some(child) = &mut self.child {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!(
                    "--restart-command: the broker has not come back, it ended with {status}"
                ));
            }
        }
        let accepts = |address| TcpStream::connect_timeout(address, ATTEMPT).is_ok();
        if target.iter().any(accepts) {
            self.down = None;
            if let Some(restart) = self.done.last_mut() {
                restart.down_s = since.elapsed().as_secs_f64();
            }
            return Ok(true);
        }
        if since.elapsed() > BACK_MAX {
            let seconds = BACK_MAX.as_secs();
            return Err(format!(
                "--restart-command: the broker does not accept connections after {seconds} s"
            ));
        }
        Ok(false)
    }
}

impl Drop for Restarts {
    /// What was started here ends here.
    fn drop(&mut self) {
        let Some(child) = &mut self.child else {
            return;
        };
        let _ = signal(child.id(), Signal::TERM); // it may have ended by itself
        let begun = Instant::now();
        while begun.elapsed() < GONE_MAX {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill().and_then(|()| child.wait());
    }
}

fn signal(number: u32, signal: Signal) -> Result<(), String> {
    let pid = i32::try_from(number).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| format!("{number} is no process"))?;
    kill_process(pid, signal)
        .map_err(|errno| format!("the broker's process {number} cannot be killed: {errno}"))
}
