//! The broker as a process of its own, for tests that need the whole of it.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_MAX: Duration = Duration::from_secs(20);

/// A running broker; ends with the value.
pub(crate) struct Broker {
    child: Child,
    pub(crate) port: u16,
}

impl Broker {
    /// Starts the broker on a free port of loopback and waits until it accepts.
    pub(crate) fn start(shards: usize, options: &[&str]) -> Self {
        let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = probe.local_addr().expect("bound").port();
        drop(probe);
        let child = Command::new(env!("CARGO_BIN_EXE_ringmq"))
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--shards", &shards.to_string()])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the broker starts");
        let mut broker = Self { child, port };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(broker.is_running(), "the broker ended at once");
            assert!(start.elapsed() < START_MAX, "the broker does not accept");
            std::thread::sleep(Duration::from_millis(10));
        }
        broker
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
