//! Real brokers on ports of their own, which end with their test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A broker's process.
pub(crate) struct Broker {
    child: Child,
    command: Command,
    pub(crate) target: String,
    /// Its files, the log among them; removed with it.
    directory: tempfile::TempDir,
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Broker {
    /// Mosquitto with its own configuration, and lines added to it.
    pub(crate) fn mosquitto(more: &str) -> Self {
        let places = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"];
        let program = places.into_iter().find(|place| Path::new(place).exists());
        let program = program.expect("mosquitto is missing: apt-get install mosquitto");
        Self::start(|port, directory| {
            let file = directory.join("mosquitto.conf");
            let text = format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n\
                 max_queued_messages 100000\n{more}\n"
            );
            let text = text.replace("DIRECTORY", &directory.display().to_string());
            std::fs::write(&file, text).unwrap();
            let mut command = Command::new(program);
            command.arg("-c").arg(file);
            command
        })
    }

    /// Mosquitto with its persistence, which it writes so often: in between it acknowledges what only its memory has.
    pub(crate) fn mosquitto_saving(every_s: u32) -> Self {
        Self::mosquitto(&format!(
            "persistence true\npersistence_location DIRECTORY/\nautosave_interval {every_s}"
        ))
    }

    /// ringmq of this workspace, built when it is missing or older than its source.
    pub(crate) fn ringmq(more: &[&str]) -> Self {
        Self::start(|port, _| {
            let mut command = Command::new(ringmq_program());
            command.args(["--port", &port.to_string(), "--shards", "1"]);
            command.args(more);
            command
        })
    }

    /// ringmq with a data directory and `shards`.
    pub(crate) fn ringmq_durable(shards: &str) -> Self {
        Self::start(|port, directory| {
            let mut command = Command::new(ringmq_program());
            command.args(["--port", &port.to_string(), "--shards", shards]);
            command.arg("--data-dir").arg(directory.join("data"));
            command.args(["--journal-segment-bytes", "1MiB"]);
            command.args([
                "--queue-messages-max",
                "100000",
                "--queue-bytes-max",
                "64MiB",
            ]);
            command
        })
    }

    /// aedes, which speaks no MQTT 5, of the clients' node_modules.
    pub(crate) fn aedes() -> Self {
        let modules = tree().join("tests/clients/js/node_modules");
        let told = "aedes is missing: npm ci --prefix tests/clients/js";
        assert!(modules.join("aedes").exists(), "{told}");
        Self::start(|port, _| {
            let mut command = Command::new("node");
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/aedes.js");
            command.arg(script).arg(port.to_string());
            command.env("NODE_PATH", &modules);
            command
        })
    }

    /// amqtt, which speaks no MQTT 5, of the virtual environment of the Python tests.
    pub(crate) fn amqtt() -> Self {
        let program = tree().join(".venv/bin/amqtt");
        let told = "amqtt is missing: scripts/test.sh makes .venv with it";
        assert!(program.exists(), "{told}");
        Self::start(|port, directory| {
            let file = directory.join("amqtt.yaml");
            let text = format!(
                "listeners:\n  default: {{type: tcp, bind: \"127.0.0.1:{port}\"}}\nplugins:\n  \
                 amqtt.plugins.authentication.AnonymousAuthPlugin: {{allow_anonymous: true}}\n"
            );
            std::fs::write(&file, text).unwrap();
            let mut command = Command::new(&program);
            command.arg("-c").arg(file);
            command
        })
    }

    /// The same with a configuration file, in which PORT stands for the port.
    pub(crate) fn ringmq_with(config: &str) -> Self {
        Self::start(|port, directory| {
            let file = directory.join("ringmq.toml");
            std::fs::write(&file, config.replace("PORT", &port.to_string())).unwrap();
            let mut command = Command::new(ringmq_program());
            command.args(["--shards", "2", "--config"]).arg(file);
            command
        })
    }

    /// Starts what `command` makes of a free port. Another process may take the port before the
    /// broker does: then the broker ends, and gets another.
    fn start(command: impl Fn(u16, &Path) -> Command) -> Self {
        for _ in 0..10 {
            let directory = tempfile::tempdir().unwrap();
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let mut command = command(port, directory.path());
            let log = std::fs::File::create(directory.path().join("log")).unwrap();
            command.stdout(Stdio::null()).stderr(log);
            let mut broker = Self {
                child: command.spawn().unwrap(),
                command,
                target: format!("127.0.0.1:{port}"),
                directory,
            };
            if broker.await_port() {
                return broker;
            }
        }
        panic!("the broker ended again and again: run it by hand to see why");
    }

    /// False when the process has ended.
    fn await_port(&mut self) -> bool {
        loop {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if std::net::TcpStream::connect(&self.target).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What a shell starts it with.
    pub(crate) fn command_line(&self) -> String {
        let words = std::iter::once(self.command.get_program()).chain(self.command.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    /// Ends the broker without warning and starts it again on its port.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.child = self.command.spawn().unwrap();
    }

    /// Sends SIGHUP and waits for a line of the log behind it; panics when it does not come.
    pub(crate) fn reload(&self, line: &str) {
        let before = self.log().len();
        let pid = self.id().to_string();
        let sent = Command::new("kill").args(["-HUP", &pid]).status().unwrap();
        assert!(sent.success());
        let end = Instant::now() + Duration::from_secs(20);
        while !self.log()[before..].contains(line) {
            assert!(Instant::now() < end, "no {line:?} in {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn log(&self) -> String {
        let log = std::fs::read(self.directory.path().join("log")).unwrap();
        String::from_utf8_lossy(&log).into_owned()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// It is there and does nothing.
    pub(crate) fn stop(&self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::STOP).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The broker's program, beside mqload's; `RINGMQ` names another.
fn ringmq_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match std::env::var_os("RINGMQ") {
        Some(program) => program.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_mqload")).parent().unwrap();
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command
        .args(["build", "--quiet", "--package", "ringmq", "--bin", "ringmq"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg("--target-dir")
        .arg(folder.parent().unwrap());
    if folder.ends_with("release") {
        command.arg("--release");
    }
    assert!(command.status().unwrap().success(), "ringmq does not build");
    folder.join("ringmq")
}
