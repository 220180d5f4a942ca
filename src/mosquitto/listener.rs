//! A listener of Mosquitto, and what its lines mean for a table `[[listener]]`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::notes::{Note, Weight};
use super::Statement;

/// Who may come in and what he may do: of a listener, or of all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Security {
    pub(super) allow_anonymous: Option<bool>,
    pub(super) password_file: Option<Statement>,
    pub(super) acl_file: Option<Statement>,
    /// Its accounts and rules are in a plugin.
    pub(super) plugin: Option<Statement>,
}

#[derive(Clone, Debug)]
pub(super) struct TheirListener {
    pub(super) begin: Statement,
    port: u16,
    host: Option<String>,
    unix: Option<String>,
    family: Option<&'static str>,
    websocket: bool,
    certificate: Option<String>,
    key: Option<String>,
    client_ca: Option<String>,
    requires_certificate: bool,
    certificate_is_name: bool,
    /// Lines of the table besides, as `name = value`.
    rows: Vec<String>,
    pub(super) security: Security,
    /// Why it is written as a comment.
    pub(super) barred: Vec<String>,
    /// Some line was about it.
    pub(super) is_used: bool,
}

impl TheirListener {
    pub(super) fn new(begin: Statement) -> Self {
        Self {
            begin,
            port: 1883,
            host: None,
            unix: None,
            family: None,
            websocket: false,
            certificate: None,
            key: None,
            client_ca: None,
            requires_certificate: false,
            certificate_is_name: false,
            rows: Vec::new(),
            security: Security::default(),
            barred: Vec::new(),
            is_used: false,
        }
    }

    /// `listener PORT [ADDRESS]`; port 0 is a Unix socket.
    pub(super) fn of_line(begin: &Statement, notes: &mut Vec<Note>) -> Self {
        let mut made = Self::new(begin.clone());
        let mut words = begin.words().take_while(|word| !word.starts_with('#'));
        match words.next().and_then(|port| port.parse().ok()) {
            Some(port) => made.port = port,
            None => made.bar(begin, "its port is no number", Weight::Lost, notes),
        }
        let place = words.next().map(str::to_owned);
        if made.port == 0 {
            made.unix = place;
        } else {
            made.host = place;
        }
        made
    }

    pub(super) fn set_port(&mut self, port: Option<i64>) {
        self.port = port
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(1883);
    }

    pub(super) fn set_host(&mut self, host: &str) {
        self.host = Some(host.to_owned());
    }

    /// It is written as a comment.
    fn bar(&mut self, of: &Statement, why: &str, weight: Weight, notes: &mut Vec<Note>) {
        let text = format!(
            "{why}; the listener of {} is written as a comment",
            self.begin.place
        );
        notes.push(Note::new(weight, of, text));
        self.barred.push(why.to_owned());
    }

    /// A line of it; false: it is none of a listener.
    pub(super) fn take(&mut self, of: &Statement, notes: &mut Vec<Note>) -> bool {
        let text = of.value.clone();
        match of.word.as_str() {
            "certfile" => self.certificate = Some(text),
            "keyfile" => self.key = Some(text),
            "cafile" => self.client_ca = Some(text),
            "crlfile" => self.row("tls-crl", &quoted(&text)),
            "require_certificate" => self.requires_certificate = of.is_on(),
            "use_identity_as_username" => self.certificate_is_name = of.is_on(),
            "protocol" => self.protocol(of, notes),
            "max_connections" if of.number().is_some_and(|n| n > 0) => {
                self.row("connections-max", &text);
            }
            "max_connections" => {}
            "max_qos" | "maximum_qos" => self.row("qos-max", &text),
            "tls_version" => self.tls_version(of, notes),
            "websockets_origin" => self.row("websocket-origins", &format!("[{}]", quoted(&text))),
            "accept_protocol_versions" => self.versions(of),
            "socket_domain" => {
                self.family = Some(if text == "ipv6" { "ipv6" } else { "ipv4" });
            }
            "listener_allow_anonymous" => self.security.allow_anonymous = Some(of.is_on()),
            _ => {
                let is_own = self.take_without_equal(of, notes);
                self.is_used |= is_own;
                return is_own;
            }
        }
        self.is_used = true;
        true
    }

    fn take_without_equal(&mut self, of: &Statement, notes: &mut Vec<Note>) -> bool {
        let mut lost = |text: &str| notes.push(Note::new(Weight::Lost, of, text));
        match of.word.as_str() {
            "http_dir" => lost("ringmq serves no files: let a web server do it"),
            "capath" => lost("a folder of authorities: put those that sign client certificates into one file and name it \
                 in tls-client-ca"),
            "max_topic_alias" => lost("of the broker here: topic-alias-maximum"),
            "ciphers" | "ciphers_tls1.3" => lost("only suites with forward secrecy and authenticated encryption are spoken"),
            "auto_id_prefix" | "listener_auto_id_prefix" => lost("ids that the broker gives begin with \"auto-\""),
            "allow_zero_length_clientid" => lost("an empty client id is always taken, as MQTT says"),
            "use_username_as_clientid" if of.is_on() => {
                lost("client ids stay as they are; a session belongs to the user who made it, so that no other takes it");
            }
            "use_username_as_clientid" => {}
            "dhparamfile" | "websockets_headers_size" | "websockets_log_level"
            | "packet_buffer_size" => notes.push(Note::new(Weight::Fine, of, "means nothing here")),
            "disable_client_cert_date_checks" => lost("certificates that have expired are refused; issue new ones"),
            "enable_proxy_protocol" => {
                self.row("proxy-protocol", "true");
                let why = "who may send the header must be named: trusted-proxies = [\"10.0.0.5\"]";
                self.bar(of, why, Weight::Security, notes);
            }
            "proxy_protocol_v2_require_tls" if of.is_on() => {
                self.bar(of, "that the proxy spoke TLS cannot be asked for", Weight::Security, notes);
            }
            "mount_point" => {
                let why = "topics get no prefix here, its clients would see those of all others: give them rules \
                           (acl-file) for topics that begin with it, and let them use those";
                self.bar(of, why, Weight::Security, notes);
            }
            "bind_interface" => {
                let why = "it would listen on all interfaces: give the address of that interface";
                self.bar(of, why, Weight::Security, notes);
            }
            "psk_hint" | "psk_file" => {
                let why = "there are no pre-shared keys: use certificates (tls-certificate, tls-client-ca)";
                self.bar(of, why, Weight::Security, notes);
            }
            "tls_engine" | "tls_engine_kpass_sha1" | "tls_keyform" => {
                self.bar(of, "keys are files here: tls-key", Weight::Lost, notes);
            }
            "use_subject_as_username" if of.is_on() => {
                self.certificate_is_name = true;
                let text = "the user name is the common name (tls-identity = \"cn\"), not the whole subject: rename the \
                            users in acl-file";
                notes.push(Note::new(Weight::Security, of, text));
            }
            "use_subject_as_username" | "proxy_protocol_v2_require_tls" => {}
            _ => return false,
        }
        true
    }

    fn protocol(&mut self, of: &Statement, notes: &mut Vec<Note>) {
        match of.value.as_str() {
            "mqtt" => {}
            "websockets" => self.websocket = true,
            _ => self.bar(
                of,
                "it speaks neither mqtt nor websockets",
                Weight::Lost,
                notes,
            ),
        }
    }

    fn tls_version(&mut self, of: &Statement, notes: &mut Vec<Note>) {
        match of.value.as_str() {
            "tlsv1.2" => self.row("tls-version-min", "\"1.2\""),
            "tlsv1.3" => self.row("tls-version-min", "\"1.3\""),
            _ => notes.push(Note::new(
                Weight::Lost,
                of,
                "1.2 is the oldest version there is",
            )),
        }
    }

    fn versions(&mut self, of: &Statement) {
        let named = of.value.split(',').filter_map(|word| match word.trim() {
            "3" => Some("\"3.1\""),
            "4" => Some("\"3.1.1\""),
            "5" => Some("\"5.0\""),
            _ => None,
        });
        let named: Vec<&str> = named.collect();
        self.row("versions", &format!("[{}]", named.join(", ")));
    }

    fn row(&mut self, name: &str, value: &str) {
        self.rows.push(format!("{name} = {value}"));
    }

    /// Where it listens here; a name may be several addresses.
    fn addresses(&mut self, notes: &mut Vec<Note>) -> Vec<String> {
        if let Some(path) = &self.unix {
            return vec![format!("unix:{path}")];
        }
        let any: Vec<IpAddr> = match (self.host.as_deref(), self.family) {
            (None | Some("*"), Some("ipv4")) => vec![Ipv4Addr::UNSPECIFIED.into()],
            (None | Some("*"), _) => vec![Ipv6Addr::UNSPECIFIED.into()], // IPv4, too
            (Some("localhost"), Some("ipv4")) => vec![Ipv4Addr::LOCALHOST.into()],
            (Some("localhost"), Some("ipv6")) => vec![Ipv6Addr::LOCALHOST.into()],
            (Some("localhost"), _) => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            (Some(host), _) => host.parse().into_iter().collect(),
        };
        if any.is_empty() {
            let of = self.begin.clone();
            self.bar(
                &of,
                "names are not looked up: give the IP address",
                Weight::Lost,
                notes,
            );
        }
        let places = any
            .into_iter()
            .map(|ip| SocketAddr::new(ip, self.port).to_string());
        places.collect()
    }

    /// Only programs of this machine reach it.
    pub(super) fn is_local(&self) -> bool {
        let is_loopback = |host: &String| {
            host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        };
        self.unix.is_some() || self.host.as_ref().is_some_and(is_loopback)
    }

    /// The tables it becomes.
    pub(super) fn tables(&mut self, notes: &mut Vec<Note>) -> Vec<String> {
        if self.requires_certificate && self.client_ca.is_none() {
            let of = self.begin.clone();
            let why = "clients need certificates, and no file names who signs them (cafile): give tls-client-ca";
            self.bar(&of, why, Weight::Security, notes);
        }
        let mut rows = Vec::new();
        let transport = match (self.certificate.is_some(), self.websocket) {
            (false, false) => None,
            (false, true) => Some("ws"),
            (true, false) => Some("tls"),
            (true, true) => Some("wss"),
        };
        rows.extend(transport.map(|word| format!("transport = \"{word}\"")));
        if self.websocket {
            rows.push("websocket-path = \"*\"".into()); // as Mosquitto does
        }
        let files = [
            ("tls-certificate", &self.certificate),
            ("tls-key", &self.key),
        ];
        for (name, file) in files {
            rows.extend(
                file.as_ref()
                    .map(|file| format!("{name} = {}", quoted(file))),
            );
        }
        if self.requires_certificate {
            rows.push("tls-client-certificate = \"required\"".into());
            rows.extend(
                self.client_ca
                    .as_ref()
                    .map(|file| format!("tls-client-ca = {}", quoted(file))),
            );
            let identity = if self.certificate_is_name {
                "cn"
            } else {
                "none"
            };
            rows.push(format!("tls-identity = \"{identity}\""));
        }
        rows.append(&mut self.rows);
        let places = self.addresses(notes);
        let places = if places.is_empty() {
            vec!["ADDRESS:PORT".into()]
        } else {
            places
        };
        let why: String = self.barred.iter().map(|why| format!("# {why}\n")).collect();
        let mark = if self.barred.is_empty() { "" } else { "#" };
        let table = |place: &String| {
            let rows: String = rows.iter().map(|row| format!("{mark}{row}\n")).collect();
            format!(
                "\n# {}: {}\n{why}{mark}[[listener]]\n{mark}address = \"{place}\"\n{rows}",
                self.begin.place,
                self.begin.shown()
            )
        };
        places.iter().map(table).collect()
    }

    /// Another line of the table.
    pub(super) fn add(&mut self, row: &str) {
        self.rows.push(row.to_owned());
    }

    /// Its clients say who they are by a certificate.
    pub(super) fn names_by_certificate(&self) -> bool {
        self.requires_certificate && self.certificate_is_name
    }

    pub(super) fn bar_for(&mut self, of: &Statement, why: &str, notes: &mut Vec<Note>) {
        self.bar(of, why, Weight::Security, notes);
    }
}

/// A text in the syntax of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '\\' | '"' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
