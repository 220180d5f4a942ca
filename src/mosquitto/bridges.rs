//! Bridges of a mosquitto.conf as tables `[[bridge]]`.

use std::net::IpAddr;

use super::listener::quoted;
use super::notes::{Note, Weight};
use super::Statement;

/// One bridge, as written.
#[derive(Debug)]
pub(super) struct Bridge {
    pub(super) begin: Statement,
    pub(super) lines: Vec<Statement>,
}

/// Words that belong to a bridge and nothing else.
pub(super) const WORDS: [&str; 26] = [
    "addresses",
    "cleansession",
    "clientid",
    "idle_timeout",
    "keepalive_interval",
    "local_cleansession",
    "local_clientid",
    "local_password",
    "local_username",
    "notification_topic",
    "notifications",
    "notifications_local_only",
    "password",
    "remote_clientid",
    "remote_password",
    "remote_username",
    "restart_timeout",
    "round_robin",
    "session_expiry",
    "start_type",
    "threshold",
    "topic",
    "try_private",
    "username",
    "address",
    "max_topic_alias_incoming",
];

/// Port of an address without one.
const PORT: &str = "1883";

pub(super) fn is_word(word: &str) -> bool {
    WORDS.contains(&word) || word.starts_with("bridge_")
}

/// The table while it is made.
#[derive(Default)]
struct Table {
    rows: Vec<String>,
    addresses: Vec<String>,
    topics: Vec<String>,
    has_client_id: bool,
    has_tls: bool,
    clean: Option<bool>,
    local_clean: Option<bool>,
    notifies: Option<bool>,
    notifies_here_only: bool,
    version: &'static str,
    is_lazy: bool,
    /// It could not connect as it did.
    is_barred: bool,
}

impl Bridge {
    /// As a table of ours; what it cannot have is noted.
    pub(super) fn table(&self, notes: &mut Vec<Note>) -> String {
        let mut table = Table {
            version: "3.1.1",
            is_lazy: (self.lines.iter()).any(|of| of.word == "start_type" && of.value == "lazy"),
            ..Table::default()
        };
        for line in &self.lines {
            table.take(line, self, notes);
        }
        if !table.has_client_id {
            let text = format!(
                "its client id was \"{}.\" and the name of the machine, and is \"{}\" here: give client-id the old one, \
                 if the remote is to go on with its session",
                self.begin.value, self.begin.value
            );
            notes.push(Note::new(Weight::Lost, &self.begin, text));
        }
        let text = table.write(&self.begin);
        match table.is_barred {
            true => text.lines().fold(String::new(), |text, line| match line {
                "" => text + "\n",
                line => text + "#" + line + "\n",
            }),
            false => text,
        }
    }
}

impl Table {
    fn row(&mut self, name: &str, value: impl std::fmt::Display) {
        self.rows.push(format!("{name} = {value}"));
    }

    fn take(&mut self, of: &Statement, bridge: &Bridge, notes: &mut Vec<Note>) {
        let number = of.number().unwrap_or_default();
        match of.word.as_str() {
            "address" | "addresses" => self.addresses.extend(of.words().map(with_port)),
            "topic" => self.topics.push(of.value.clone()),
            "round_robin" if of.is_on() => self.row("order", "\"round-robin\""),
            "threshold" if self.is_lazy => {
                self.row("lazy-messages", number.clamp(1, u32::MAX.into()))
            }
            "idle_timeout" if self.is_lazy => self.row("idle-timeout", number.clamp(1, 86_400)),
            "clientid" | "remote_clientid" => {
                self.has_client_id = true;
                self.row("client-id", quoted(&of.value));
            }
            "username" | "remote_username" => self.row("user", quoted(&of.value)),
            "password" | "remote_password" => {
                let file = format!("/etc/ringmq/{}.password", bridge.begin.value);
                self.row("password-file", quoted(&file));
                let text = format!("write the password to {file}, which is read at each attempt");
                notes.push(Note::new(Weight::Lost, of, text));
            }
            "local_clientid" => self.row("local-client-id", quoted(&of.value)),
            "local_username" => self.row("local-user", quoted(&of.value)),
            "cleansession" => self.clean = Some(of.is_on()),
            "local_cleansession" => self.local_clean = Some(of.is_on()),
            "keepalive_interval" => self.row("keep-alive", number.clamp(5, 65_535)),
            "notifications" => self.notifies = Some(of.is_on()),
            "notifications_local_only" => self.notifies_here_only = of.is_on(),
            "notification_topic" => self.row("notify-topic", quoted(&of.value)),
            "try_private" if !of.is_on() => self.row("mark", "false"),
            "restart_timeout" => self.pauses(of),
            "start_type" => self.start(of),
            "session_expiry" | "bridge_session_expiry_interval" => {
                self.row("session-expiry", number.clamp(0, u32::MAX.into()));
            }
            "idle_timeout"
            | "threshold"
            | "local_password"
            | "round_robin"
            | "try_private"
            | "max_topic_alias_incoming" => {}
            _ => self.take_of_bridge(of, notes),
        }
    }

    /// Words that begin with `bridge_`.
    fn take_of_bridge(&mut self, of: &Statement, notes: &mut Vec<Note>) {
        let number = of.number().unwrap_or_default();
        match of.word.as_str() {
            "bridge_protocol_version" => {
                self.version = match of.value.as_str() {
                    "mqttv50" => "5.0",
                    "mqttv31" => "3.1",
                    _ => "3.1.1",
                }
            }
            "bridge_outgoing_retain" if !of.is_on() => self.row("retain", "\"clear\""),
            "bridge_outgoing_retain" => {}
            "bridge_max_packet_size" if number > 0 => self.row("packet-size-max", number.max(64)),
            "bridge_cafile" => {
                self.has_tls = true;
                self.row("tls-ca", quoted(&of.value));
            }
            "bridge_capath" | "bridge_tls_use_os_certs" => {
                self.has_tls = true;
                let text =
                    "the authorities of the system are taken; others are named in one file, tls-ca";
                notes.push(Note::new(Weight::Lost, of, text));
            }
            "bridge_certfile" => self.row("tls-certificate", quoted(&of.value)),
            "bridge_keyfile" => self.row("tls-key", quoted(&of.value)),
            "bridge_alpn" => self.row("tls-alpn", format!("[{}]", quoted(&of.value))),
            "bridge_bind_address" if of.value.parse::<IpAddr>().is_ok() => {
                self.row("bind-address", quoted(&of.value));
            }
            "bridge_tls_version" => {
                let text = "TLS 1.3 is spoken, and 1.2 with a remote that has no other";
                notes.push(Note::new(Weight::Lost, of, text));
            }
            "bridge_insecure" if of.is_on() => self.row("tls-insecure", "true"),
            "bridge_identity" | "bridge_psk" => {
                self.is_barred = true;
                let text = "there are no pre-shared keys: give the bridge a certificate (tls-certificate, tls-key), or \
                            another way to be known there";
                notes.push(Note::new(Weight::Security, of, text));
            }
            "bridge_require_ocsp" if of.is_on() => {
                let text = "no OCSP response is required of the remote";
                notes.push(Note::new(Weight::Security, of, text));
            }
            "bridge_receive_maximum"
            | "bridge_attempt_unsubscribe"
            | "bridge_max_topic_alias"
            | "bridge_insecure"
            | "bridge_require_ocsp"
            | "bridge_max_packet_size" => {}
            _ => {
                let text = "a bridge has no such option here";
                notes.push(Note::new(Weight::Lost, of, text));
            }
        }
    }

    /// One number is a pause that is always the same.
    fn pauses(&mut self, of: &Statement) {
        let numbers: Vec<i64> = of.words().filter_map(|word| word.parse().ok()).collect();
        let base = numbers.first().copied().unwrap_or(5).clamp(1, 3_600);
        let cap = numbers.get(1).copied().unwrap_or(base).clamp(base, 86_400);
        self.row("backoff-base", base);
        self.row("backoff-cap", cap);
        if let Some(stable) = numbers.get(2) {
            self.row("backoff-stable", stable.clamp(&0, &86_400));
        }
    }

    fn start(&mut self, of: &Statement) {
        if matches!(of.value.as_str(), "once" | "lazy") {
            self.row("start", quoted(&of.value));
        }
    }

    fn write(&mut self, begin: &Statement) -> String {
        let name: String = (begin.value.chars())
            .map(
                |c| match c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
                    true => c,
                    false => '-',
                },
            )
            .collect();
        let list = |texts: &[String]| {
            texts
                .iter()
                .map(|t| quoted(t))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let mut text = format!(
            "\n# {}: {}\n[[bridge]]\nname = {}\naddresses = [{}]\ntopics = [{}]\nversion = \"{}\"\n",
            begin.place,
            begin.shown(),
            quoted(&name),
            list(&self.addresses),
            list(&self.topics),
            self.version,
        );
        if self.has_tls {
            text.push_str("transport = \"tls\"\n");
        }
        let clean = self.clean.unwrap_or(false);
        for (name, value) in [
            ("clean-start", clean),
            ("local-clean-start", self.local_clean.unwrap_or(clean)),
        ] {
            if value {
                text.push_str(&format!("{name} = true\n"));
            }
        }
        let notify = match (self.notifies.unwrap_or(true), self.notifies_here_only) {
            (false, _) => "off",
            (true, true) => "local",
            (true, false) => "both",
        };
        text.push_str(&format!("notify = \"{notify}\"\n"));
        for row in &self.rows {
            text.push_str(row);
            text.push('\n');
        }
        text
    }
}

/// `host` or `host:port`; an IPv6 address may come without brackets.
fn with_port(address: &str) -> String {
    match address.rsplit_once(':') {
        None => format!("{address}:{PORT}"),
        Some((host, port)) if host.contains(':') && !host.starts_with('[') => {
            format!("[{host}]:{port}")
        }
        Some((_, "")) => format!("{address}{PORT}"),
        Some(_) => address.to_owned(),
    }
}
