//! The lines of a mosquitto.conf for the broker as a whole, and which listener or bridge each of the others is about.

use super::bridges::{self, Bridge};
use super::listener::{quoted, Security, TheirListener};
use super::notes::{Note, Weight};
use super::Statement;

/// Mosquitto's largest packet: the limit of the protocol.
const PACKET_BYTES_MAX: i64 = 268_435_460;
/// What ringmq takes by default, and at least.
const PACKET_BYTES: i64 = 1 << 20;
const PACKET_BYTES_LEAST: i64 = 256;

/// The configuration while it is read.
#[derive(Default)]
pub(super) struct Broker {
    pub(super) per_listener: bool,
    pub(super) security: Security,
    /// Its `port` or `bind_address` was given.
    pub(super) has_default: bool,
    pub(super) default: Option<TheirListener>,
    pub(super) listeners: Vec<TheirListener>,
    pub(super) bridges: Vec<Bridge>,
    pub(super) notes: Vec<Note>,
    /// Options of the file, as `name = value`, and the line each is from.
    pub(super) options: Vec<(String, String, String)>,
    pub(super) persistence: Option<Statement>,
    pub(super) packet_bytes: Option<i64>,
    pub(super) queue_bytes: Option<i64>,
    /// Of a listener that the lines are about: its place in `listeners`.
    current: Option<usize>,
    /// Lines are about the last bridge.
    in_bridge: bool,
    /// The last plugin: its options follow.
    plugin: Option<Statement>,
}

impl Broker {
    /// Another file: lines are about the default listener again, and about no bridge.
    pub(super) fn begin_file(&mut self) {
        self.current = None;
        self.in_bridge = false;
        self.plugin = None;
    }

    pub(super) fn take(&mut self, of: &Statement) {
        if self.begins(of) || self.is_of_bridge(of) || self.is_of_security(of) {
            return;
        }
        let Self {
            listeners,
            default,
            notes,
            ..
        } = self;
        let listener = match self.current {
            Some(index) => &mut listeners[index],
            None => default.get_or_insert_with(|| TheirListener::new(of.clone())),
        };
        if listener.take(of, notes) || self.takes_option(of) || self.needs_none(of) {
            return;
        }
        let text = "this line is not known: look at what it does before you leave Mosquitto";
        self.notes.push(Note::new(Weight::Security, of, text));
    }

    /// What begins a listener or a bridge.
    fn begins(&mut self, of: &Statement) -> bool {
        match of.word.as_str() {
            "listener" => {
                let listener = TheirListener::of_line(of, &mut self.notes);
                self.current = Some(self.listeners.len());
                self.listeners.push(listener);
            }
            "connection" => {
                self.in_bridge = true;
                let (begin, lines) = (of.clone(), Vec::new());
                self.bridges.push(Bridge { begin, lines });
            }
            "port" | "bind_address" => {
                self.has_default = true;
                let default = self
                    .default
                    .get_or_insert_with(|| TheirListener::new(of.clone()));
                match of.word.as_str() {
                    "port" => default.set_port(of.number()),
                    _ => default.set_host(&of.value),
                }
            }
            _ => return false,
        }
        true
    }

    fn is_of_bridge(&mut self, of: &Statement) -> bool {
        let is_own = bridges::is_word(&of.word) && self.in_bridge;
        if let Some(bridge) = self.bridges.last_mut().filter(|_| is_own) {
            bridge.lines.push(of.clone());
        }
        is_own
    }

    /// Whose accounts and rules a line is about.
    fn is_of_security(&mut self, of: &Statement) -> bool {
        if of.word == "per_listener_settings" {
            self.per_listener = of.is_on();
            return true;
        }
        let begun = self.plugin.clone();
        let Self {
            listeners, default, ..
        } = self;
        let security = match self.current {
            _ if !self.per_listener => &mut self.security,
            Some(index) => &mut listeners[index].security,
            None => {
                &mut default
                    .get_or_insert_with(|| TheirListener::new(of.clone()))
                    .security
            }
        };
        match of.word.as_str() {
            "allow_anonymous" => security.allow_anonymous = Some(of.is_on()),
            "password_file" => security.password_file = Some(of.clone()),
            "acl_file" => security.acl_file = Some(of.clone()),
            // Plugins of 2.1 that are these files.
            "plugin_opt_password_file" if begun.is_some() => {
                security.password_file = Some(of.clone())
            }
            "plugin_opt_acl_file" if begun.is_some() => security.acl_file = Some(of.clone()),
            "plugin" | "auth_plugin" | "global_plugin" | "plugin_load" => {
                let is_file = ["password_file", "acl_file"]
                    .iter()
                    .any(|own| of.value.contains(own));
                self.plugin = Some(of.clone());
                if !is_file && !of.value.contains("persist") {
                    security.plugin = Some(of.clone());
                }
                self.note_plugin(of, is_file);
            }
            "plugin_use" | "auth_plugin_deny_special_chars" => {}
            word if word.starts_with("auth_opt_") || word.starts_with("plugin_opt_") => {}
            _ => return false,
        }
        true
    }

    fn note_plugin(&mut self, of: &Statement, is_file: bool) {
        if is_file {
            return;
        }
        let (weight, text) = if of.value.contains("persist") {
            (Weight::Lost, "what outlives the process is in data-dir")
        } else if of.value.contains("dynamic_security") {
            (
                Weight::Security,
                "accounts, groups and roles are in its JSON file: make the accounts anew (ringmq passwd, password-file) \
                 and write the rules of their roles to acl-file",
            )
        } else {
            (
                Weight::Security,
                "there are no plugins: a service of yours is asked about logins and rules (http-hook-url, \
                 http-hook-acl-url), tokens are read (jwt-key-file), accounts are in files (password-file)",
            )
        };
        self.notes.push(Note::new(weight, of, text));
    }

    fn option(&mut self, of: &Statement, name: &str, value: impl Into<String>) {
        let from = format!("{}: {}", of.place, of.shown());
        self.options.push((name.into(), value.into(), from));
    }

    /// Lines that are an option here.
    fn takes_option(&mut self, of: &Statement) -> bool {
        let number = of.number().unwrap_or_default();
        let some =
            |number: i64, most: i64| if number > 0 { number.min(most) } else { most }.to_string();
        match of.word.as_str() {
            "max_inflight_messages" => {
                self.option(of, "outgoing-window-max", some(number, 65_535));
                self.option(of, "receive-maximum", some(number, 65_535));
            }
            "max_queued_messages" => {
                self.option(of, "queue-messages-max", some(number, u32::MAX.into()));
            }
            "max_queued_bytes" | "max_inflight_bytes" if number > 0 => {
                self.queue_bytes = Some(self.queue_bytes.unwrap_or_default().max(number));
            }
            "max_packet_size" | "message_size_limit" if number > 0 => {
                self.packet_bytes = Some(number.clamp(PACKET_BYTES_LEAST, PACKET_BYTES_MAX));
            }
            "queue_qos0_messages" => self.option(of, "queue-qos0", of.is_on().to_string()),
            "max_keepalive" if number > 0 => {
                self.option(of, "keep-alive-max", some(number, 65_535));
            }
            "memory_limit" if number > 0 => self.option(of, "memory-max", number.to_string()),
            "global_max_clients" if number > 0 => {
                self.option(of, "sessions-max", some(number, u32::MAX.into()));
            }
            "global_max_connections" if number > 0 => {
                self.option(of, "connections-max", some(number, u32::MAX.into()));
            }
            "max_topic_alias_broadcast" => {
                self.option(
                    of,
                    "topic-alias-outgoing-max",
                    number.clamp(0, 65_535).to_string(),
                );
            }
            "retain_available" if !of.is_on() => self.option(of, "retained-messages-max", "0"),
            "persistent_client_expiration" => self.expiry(of),
            "persistence" | "retained_persistence" => {
                self.persistence = Some(of.clone()).filter(Statement::is_on);
            }
            "log_type" => self.log_type(of),
            "log_dest" if of.value == "topic" => self.option(of, "sys-log", "true"),
            "sys_interval" if crate::config::is_option("sys-interval") => {
                self.option(of, "sys-interval", number.clamp(0, 65_535).to_string());
            }
            _ => return false,
        }
        true
    }

    /// `2d`, `3w`; a month has thirty days there.
    fn expiry(&mut self, of: &Statement) {
        let Some(unit) = of.value.chars().last() else {
            return;
        };
        let days = match unit {
            'h' => None,
            'd' => Some(1),
            'w' => Some(7),
            'm' => Some(30),
            'y' => Some(365),
            _ => return,
        };
        let count: i64 = of.value[..of.value.len() - 1].parse().unwrap_or(1);
        let hours = count.saturating_mul(days.map_or(1, |days| 24 * days));
        let seconds = hours.saturating_mul(3_600).min(i64::from(u32::MAX) - 1);
        self.option(of, "session-expiry-max", seconds.to_string());
    }

    /// The most talkative one counts.
    fn log_type(&mut self, of: &Statement) {
        let level = match of.value.as_str() {
            "all" | "debug" | "subscribe" | "unsubscribe" => "debug",
            "none" => "error",
            _ => return, // what "info" says, or less of it
        };
        if !self.options.iter().any(|(name, _, _)| name == "log-level") {
            self.option(of, "log-level", quoted(level));
        }
    }

    /// Lines that need no option, or have none.
    fn needs_none(&mut self, of: &Statement) -> bool {
        let (weight, text) = match of.word.as_str() {
            "user" => (Weight::Fine, "it runs as the user that starts it: User= of the unit"),
            "pid_file" => (Weight::Fine, "the service manager knows the process"),
            "log_dest" | "log_facility" | "log_timestamp" | "log_timestamp_format" => (
                Weight::Fine,
                "the log goes to standard error, with time; journald or a container keeps it (log-format), and \
                 ringmq ctl log shows it",
            ),
            "connection_messages" => (Weight::Fine, "each connection is told at log-level = \"debug\""),
            "set_tcp_nodelay" | "allow_duplicate_messages" | "max_queued_bytes" | "max_inflight_bytes"
            | "max_packet_size" | "message_size_limit" | "max_keepalive" | "memory_limit" | "global_max_clients"
            | "global_max_connections" | "retain_available" => (Weight::Fine, "so it is here in any case"),
            "persistence_location" | "persistence_file" => (
                Weight::Fine,
                "its file is read once, by ringmq import --db; what ringmq keeps is in data-dir",
            ),
            "autosave_interval" | "autosave_on_changes" => (
                Weight::Fine,
                "with data-dir what was acknowledged is on the disk; durability = \"interval:60s\" is as lax as Mosquitto",
            ),
            "sys_interval" => (Weight::Lost, "there is no option of that name in this version"),
            "upgrade_outgoing_qos" => (Weight::Lost, "a subscriber gets the lower of both QoS, as MQTT says"),
            "retain_expiry_interval" => (Weight::Lost, "retained messages stay, unless their publisher gave them an expiry"),
            "check_retain_source" if of.is_on() => (
                Weight::Lost,
                "whether the publisher of a retained message may still write is not asked again when it is delivered",
            ),
            "check_retain_source" => (Weight::Fine, "so it is here in any case"),
            "clientid_prefixes" => (
                Weight::Security,
                "client ids are not asked for their beginning: give each client an account (password-file)",
            ),
            _ => return false,
        };
        self.notes.push(Note::new(weight, of, text));
        true
    }

    /// Limits of sizes that hang together: a queue takes the largest packet.
    pub(super) fn size_options(&mut self) -> Vec<(&'static str, i64)> {
        let packet = self.packet_bytes.unwrap_or(PACKET_BYTES);
        let mut sizes = Vec::new();
        if self.packet_bytes.is_some() {
            sizes.push(("packet-size-max", packet));
        }
        let queue = self.queue_bytes.unwrap_or(PACKET_BYTES).max(packet);
        if queue != PACKET_BYTES {
            sizes.push(("queue-bytes-max", queue));
        }
        if packet > PACKET_BYTES {
            sizes.push(("outgoing-bytes-max", packet));
        }
        sizes
    }
}
