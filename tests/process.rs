//! The broker as a process of its own, for tests that need the whole of it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{sync_channel, SyncSender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const START_MAX: Duration = Duration::from_secs(20);
/// Warnings, errors and panics kept, to be shown when a test fails.
const LINES_MAX: usize = 40;

type Lines = Arc<Mutex<VecDeque<String>>>;

/// A running broker; ends with the value.
pub(crate) struct Broker {
    child: Child,
    pub(crate) port: u16,
    last_lines: Lines,
}

impl Broker {
    /// Starts the broker on a port of loopback that the kernel chooses and waits until it is ready.
    /// The program is the one cargo built, or the one that `RINGMQ_BIN` names.
    pub(crate) fn start(shards: usize, options: &[&str]) -> Self {
        Self::start_with(shards, options, &[])
    }

    /// The same, with variables in its environment.
    pub(crate) fn start_with(shards: usize, options: &[&str], variables: &[(&str, &str)]) -> Self {
        let program = std::env::var("RINGMQ_BIN");
        let program = program.as_deref().unwrap_or(env!("CARGO_BIN_EXE_ringmq"));
        let mut child = Command::new(program)
            .args(["--listen", "127.0.0.1:0"])
            .args(["--shards", &shards.to_string()])
            .args(options)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the broker starts");
        let log = child.stderr.take().expect("piped");
        let last_lines = Lines::default();
        let (sender, port) = sync_channel(1);
        let lines = Arc::clone(&last_lines);
        std::thread::spawn(move || follow(log, &lines, &sender));
        let mut broker = Self {
            child,
            port: 0,
            last_lines,
        };
        broker.port = port
            .recv_timeout(START_MAX)
            .expect("the broker says where it listens and that it is ready");
        broker
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

/// Reads the log to its end, so that the broker never waits for a reader, and finds the port in it.
fn follow(log: ChildStderr, last_lines: &Mutex<VecDeque<String>>, port: &SyncSender<u16>) {
    let mut found = 0;
    for line in BufReader::new(log).lines().map_while(Result::ok) {
        let address = line.split("listening on 127.0.0.1:").nth(1);
        if let Some(Ok(number)) = address.map(|rest| rest.trim().parse()) {
            found = number;
        }
        if line.ends_with("ready") {
            let _ = port.try_send(found);
        }
        if line.contains(" INFO ") {
            continue; // thousands in some tests
        }
        let mut lines = last_lines.lock().expect("no reader panics");
        lines.push_back(line);
        if lines.len() > LINES_MAX {
            lines.pop_front();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            for line in self.last_lines.lock().iter().flat_map(|lines| lines.iter()) {
                eprintln!("broker: {line}");
            }
        }
    }
}
