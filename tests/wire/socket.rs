//! A broker behind a socket: to check the rows against others, and against the whole process.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::world::take_packet;
use super::Broker;

/// A packet that is to come has come by then.
const DEADLINE: Duration = Duration::from_secs(2);
/// A packet that must not come would have come by then.
const SHORT: Duration = Duration::from_millis(60);

pub(super) struct Remote {
    target: String,
    process: Option<Child>,
    clients: HashMap<String, Client>,
}

struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    is_closed: bool,
}

impl Remote {
    pub(super) fn at(target: &str) -> Self {
        Self {
            target: target.to_owned(),
            process: None,
            clients: HashMap::new(),
        }
    }

    /// Starts a broker for one row; `{port}` in the command is replaced.
    pub(super) fn start(command: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port().to_string();
        drop(listener);
        let words: Vec<String> = command
            .split_whitespace()
            .map(|word| word.replace("{port}", &port))
            .collect();
        let process = Command::new(&words[0])
            .args(&words[1..])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the broker starts");
        let mut remote = Self::at(&format!("127.0.0.1:{port}"));
        remote.process = Some(process);
        let start = Instant::now();
        while TcpStream::connect(&remote.target).is_err() {
            assert!(start.elapsed() < DEADLINE, "the broker does not listen");
            std::thread::sleep(Duration::from_millis(2));
        }
        remote
    }

    fn client(&mut self, name: &str) -> &mut Client {
        self.clients.get_mut(name).expect("the row opened it")
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Client {
    /// Reads until there is a packet, the connection is closed, or time is up.
    fn read_until(&mut self, patience: Duration) -> Option<Vec<u8>> {
        let end = Instant::now() + patience;
        loop {
            if let Some(packet) = take_packet(&mut self.received) {
                return Some(packet);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.is_closed {
                return None;
            }
            let _ = self.stream.set_read_timeout(Some(left));
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => self.is_closed = true,
                Ok(len) => self.received.extend_from_slice(&buffer[..len]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => self.is_closed = true,
            }
        }
    }
}

impl Broker for Remote {
    fn open(&mut self, name: &str) {
        let stream = TcpStream::connect(&self.target).expect("the broker listens");
        let _ = stream.set_nodelay(true);
        let client = Client {
            stream,
            received: Vec::new(),
            is_closed: false,
        };
        self.clients.insert(name.to_owned(), client);
    }

    fn send(&mut self, name: &str, bytes: &[u8]) {
        let _ = self.client(name).stream.write_all(bytes);
    }

    fn close(&mut self, name: &str) {
        let client = self.client(name);
        client.is_closed = true;
        let _ = client.stream.shutdown(std::net::Shutdown::Both);
        // Give the broker time to notice before the next step relies on it.
        std::thread::sleep(SHORT);
    }

    fn receive(&mut self, name: &str) -> Option<Vec<u8>> {
        self.client(name).read_until(DEADLINE)
    }

    fn receive_soon(&mut self, name: &str) -> Option<Vec<u8>> {
        self.client(name).read_until(SHORT)
    }

    fn is_closed(&mut self, name: &str) -> bool {
        self.client(name).is_closed
    }

    fn awaits_close(&mut self, name: &str) -> bool {
        let client = self.client(name);
        client.read_until(DEADLINE).is_none() && client.is_closed
    }

    fn wait_ms(&mut self, ms: u64) {
        std::thread::sleep(Duration::from_millis(ms));
    }
}
