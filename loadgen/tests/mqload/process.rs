//! Starts programs and ends them.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A process that ends with its owner.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A broker that listens.
pub(crate) struct Broker {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    _process: Running,
    _directory: tempfile::TempDir,
}

/// Brokers of this machine; one that is not here is named on stderr.
pub(crate) fn brokers() -> Vec<Broker> {
    let mut brokers = Vec::new();
    match mosquitto() {
        Some(broker) => brokers.push(broker),
        None => {
            eprintln!("SKIPPED: mosquitto is not installed (Debian: apt-get install mosquitto)")
        }
    }
    match ringmq() {
        Some(broker) => brokers.push(broker),
        None => eprintln!(
            "SKIPPED: ringmq is not built (cargo build -p ringmq), and RINGMQ_BIN names none"
        ),
    }
    brokers
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn mosquitto() -> Option<Broker> {
    let places = [
        "/usr/sbin/mosquitto",
        "/usr/bin/mosquitto",
        "/usr/local/sbin/mosquitto",
    ];
    let program = places
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists())?;
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let config = directory.path().join("mosquitto.conf");
    let text =
        format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 100000\n");
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(program);
    command.arg("-c").arg(&config);
    Some(start("mosquitto", command, port, directory))
}

fn ringmq() -> Option<Broker> {
    let beside = PathBuf::from(env!("CARGO_BIN_EXE_mqload")).with_file_name("ringmq");
    let program = std::env::var_os("RINGMQ_BIN").map_or(beside, PathBuf::from);
    if !program.exists() {
        return None;
    }
    let port = free_port();
    let mut command = Command::new(program);
    command.args(["--port", &port.to_string(), "--shards", "2"]);
    Some(start("ringmq", command, port, tempfile::tempdir().unwrap()))
}

fn start(
    name: &'static str,
    mut command: Command,
    port: u16,
    directory: tempfile::TempDir,
) -> Broker {
    let child = command
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let process = Running(child);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{name} does not listen"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    Broker {
        name,
        address,
        _process: process,
        _directory: directory,
    }
}

/// The sink, in a process of its own.
pub(crate) fn sink(arguments: &[&str]) -> (SocketAddr, Running) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mqload"))
        .arg("sink")
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    (
        line.rsplit(' ').next().unwrap().trim().parse().unwrap(),
        Running(child),
    )
}

/// What a run of mqload came to.
pub(crate) struct Outcome {
    pub(crate) passed: bool,
    /// Its JSON; `Null` when none was written.
    pub(crate) json: serde_json::Value,
    pub(crate) text: String,
}

impl Outcome {
    pub(crate) fn number(&self, pointer: &str) -> f64 {
        let value = self
            .json
            .pointer(pointer)
            .unwrap_or_else(|| panic!("no {pointer} in: {}", self.text));
        value.as_f64().unwrap()
    }

    /// Sum over the three QoS levels.
    pub(crate) fn truth(&self, field: &str) -> u64 {
        (0..3)
            .map(|qos| self.number(&format!("/truth/{field}/{qos}")) as u64)
            .sum()
    }
}

/// Runs mqload; the words of `arguments` are divided by spaces.
pub(crate) fn mqload(address: SocketAddr, arguments: &str) -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("result.json");
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_mqload"))
        .args(arguments.split_whitespace())
        .args(["--target", &address.to_string(), "--quiet", "--json"])
        .arg(&json)
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    let json = std::fs::read_to_string(json).map_or(serde_json::Value::Null, |json| {
        serde_json::from_str(&json).unwrap()
    });
    Outcome {
        passed: status.success(),
        json,
        text,
    }
}
