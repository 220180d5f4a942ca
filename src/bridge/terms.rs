//! A bridge as configured.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::line::Line;
use crate::limits::OwnTerms;
use crate::listener::Transport;
use crate::mqtt::topic::overlaps;
use crate::mqtt::Version;
use crate::time::Span;

/// A table `[[bridge]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    pub name: String,
    /// `host:port` or `unix:/path`, the main one first.
    pub addresses: Vec<String>,
    pub order: Order,
    pub transport: Transport,
    pub dialect: Dialect,
    /// At the remote; the bridge's name unless given.
    pub client_id: Option<String>,
    pub user: Option<String>,
    /// Read at each attempt.
    pub password_file: Option<PathBuf>,
    /// The remote is to begin a session anew with each connection.
    pub clean_start: bool,
    /// How long the remote keeps the session of a bridge that is away.
    pub session_expiry_s: u32,
    pub keep_alive_s: u16,
    /// Of one attempt.
    pub connect_timeout_s: u16,
    /// Mark in the protocol level of 3.1 and 3.1.1.
    pub mark: bool,
    pub lines: Vec<Line>,
    pub retain: RetainFlag,
    /// QoS 1 and 2 messages in flight to the remote.
    pub window: u16,
    /// Largest packet sent to the remote.
    pub packet_size_max: Option<u32>,
    /// Brokers that a message of a line `both` may have passed.
    pub hops_max: u16,
    pub notify: Notify,
    pub notify_topic: Option<String>,
    /// Base, cap, and how long a connection lasts that begins anew.
    pub backoff_s: [u32; 3],
    pub start: Start,
    /// Messages that wait before a lazy one connects.
    pub lazy_messages: u32,
    /// Without a message for so long a lazy one disconnects.
    pub idle_timeout_s: u32,
    /// How often the main address is looked at while another is in use; `None`: never.
    pub primary_check_s: Option<u32>,
    /// Queue of its session here, and pace of what goes out.
    pub own_terms: OwnTerms,
    /// Of this machine, to connect from.
    pub bind_address: Option<IpAddr>,
    /// `host:port` of an HTTP proxy on the way.
    pub proxy: Option<String>,
    pub proxy_user: Option<String>,
    /// Read at each attempt.
    pub proxy_password_file: Option<PathBuf>,
    pub local_client_id: Option<String>,
    /// Account whose rules hold for what the bridge does here.
    pub local_user: Option<String>,
    /// Nothing is kept here while the bridge is away.
    pub local_clean_start: bool,
    pub tls: TlsTerms,
    pub websocket_path: String,
}

/// TLS towards the remote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsTerms {
    /// `None`: the system's authorities.
    pub ca: Option<PathBuf>,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// Name in the remote's certificate, if it is not that of its address.
    pub server_name: Option<String>,
    pub alpn: Vec<String>,
    /// Any certificate will do.
    pub insecure: bool,
}

/// Which address is tried next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The first that answers, from the main one on.
    #[default]
    Priority,
    /// Each attempt begins with the one behind the last.
    RoundRobin,
}

/// Protocol version towards the remote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// 5.0, and 3.1.1 where that is refused.
    #[default]
    Auto,
    Only(Version),
}

/// What becomes of RETAIN on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetainFlag {
    #[default]
    Keep,
    Clear,
}

/// Who learns whether the bridge is connected, by a retained 1 or 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notify {
    Both,
    #[default]
    Local,
    Off,
}

/// When it connects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the start, and again whenever the connection ends.
    #[default]
    Automatic,
    /// When enough messages wait, until nothing passes any more.
    Lazy,
    /// At the start, until the first connection ends.
    Once,
    /// When an operator says so.
    Manual,
}

/// Words of the configuration for the values of a type.
pub trait Words: Sized + Copy + PartialEq + 'static {
    const ALL: &'static [(&'static str, Self)];

    #[must_use]
    fn word(self) -> &'static str {
        let row = Self::ALL.iter().find(|(_, value)| *value == self);
        row.map_or("", |(word, _)| word)
    }

    #[must_use]
    fn of_word(word: &str) -> Option<Self> {
        let row = Self::ALL.iter().find(|(other, _)| *other == word);
        row.map(|(_, value)| *value)
    }
}

impl Words for Order {
    const ALL: &'static [(&'static str, Self)] = &[
        ("priority", Self::Priority),
        ("round-robin", Self::RoundRobin),
    ];
}

impl Words for Dialect {
    const ALL: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("5.0", Self::Only(Version::V5)),
        ("3.1.1", Self::Only(Version::V311)),
        ("3.1", Self::Only(Version::V31)),
    ];
}

impl Words for RetainFlag {
    const ALL: &'static [(&'static str, Self)] = &[("keep", Self::Keep), ("clear", Self::Clear)];
}

impl Words for Notify {
    const ALL: &'static [(&'static str, Self)] = &[
        ("local", Self::Local),
        ("both", Self::Both),
        ("off", Self::Off),
    ];
}

impl Words for Start {
    const ALL: &'static [(&'static str, Self)] = &[
        ("automatic", Self::Automatic),
        ("lazy", Self::Lazy),
        ("once", Self::Once),
        ("manual", Self::Manual),
    ];
}

impl Default for Bridge {
    fn default() -> Self {
        Self {
            name: String::new(),
            addresses: Vec::new(),
            order: Order::default(),
            transport: Transport::Tcp,
            dialect: Dialect::default(),
            client_id: None,
            user: None,
            password_file: None,
            clean_start: false,
            session_expiry_s: 7 * 24 * 3_600,
            keep_alive_s: 60,
            connect_timeout_s: 10,
            mark: true,
            lines: Vec::new(),
            retain: RetainFlag::default(),
            window: 512,
            packet_size_max: None,
            hops_max: 1,
            notify: Notify::default(),
            notify_topic: None,
            backoff_s: [5, 30, 30],
            start: Start::default(),
            lazy_messages: 10,
            idle_timeout_s: 60,
            primary_check_s: Some(60),
            own_terms: OwnTerms::default(),
            bind_address: None,
            proxy: None,
            proxy_user: None,
            proxy_password_file: None,
            local_client_id: None,
            local_user: None,
            local_clean_start: false,
            tls: TlsTerms::default(),
            websocket_path: "/mqtt".into(),
        }
    }
}

impl Bridge {
    /// Client id at the remote.
    #[must_use]
    pub fn remote_id(&self) -> &str {
        self.client_id.as_deref().unwrap_or(&self.name)
    }

    /// Client id here.
    #[must_use]
    pub fn local_id(&self) -> String {
        match &self.local_client_id {
            Some(id) => id.clone(),
            None => format!("bridge.{}", self.name),
        }
    }

    /// User name here.
    #[must_use]
    pub fn user_here(&self) -> String {
        self.local_user.clone().unwrap_or_else(|| self.local_id())
    }

    /// Where its state is published, here and there.
    #[must_use]
    pub fn state_topic(&self) -> String {
        match &self.notify_topic {
            Some(topic) => topic.clone(),
            None => format!("$SYS/broker/connection/{}/state", self.remote_id()),
        }
    }

    #[must_use]
    pub fn backoff(&self) -> [Span; 3] {
        self.backoff_s.map(|s| Span::from_secs(s.into()))
    }

    /// Filters that it subscribes to here.
    pub fn filters_here(&self) -> impl Iterator<Item = String> + '_ {
        let lines = self.lines.iter().filter(|line| line.goes_out());
        lines.map(|line| line.subscribed(line.local_filter()))
    }

    /// Filters that it subscribes to at the remote.
    pub fn filters_there(&self) -> impl Iterator<Item = String> + '_ {
        let lines = self.lines.iter().filter(|line| line.comes_in());
        lines.map(|line| line.subscribed(line.remote_filter()))
    }

    #[must_use]
    pub fn goes_out(&self) -> bool {
        self.lines.iter().any(Line::goes_out)
    }

    #[must_use]
    pub fn comes_in(&self) -> bool {
        self.lines.iter().any(Line::comes_in)
    }
}

/// Terms of the sessions of bridges, by their client ids.
#[must_use]
pub fn own_terms(bridges: &[Bridge]) -> Arc<HashMap<Box<str>, OwnTerms>> {
    let all = bridges.iter().map(|bridge| {
        let terms = OwnTerms {
            has_lag: true,
            ..bridge.own_terms
        };
        (bridge.local_id().into(), terms)
    });
    Arc::new(all.collect())
}

/// Pairs of lines of different bridges by which a message would return to where it came from: one takes it to a
/// remote, the other fetches it from there. Within one bridge No Local keeps it from that. A sentence for each, with
/// the number of the bridge that it is about.
#[must_use]
pub fn look_for_loops(bridges: &[Bridge]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, one) in bridges.iter().enumerate() {
        for other in &bridges[..at] {
            let mut addresses = one.addresses.iter();
            if !addresses.any(|address| other.addresses.contains(address)) {
                continue;
            }
            for (out, comes, goes_with, comes_with) in pairs(one, other) {
                found.push((
                    at,
                    format!(
                        "what \"{out}\" of the bridge {goes_with} takes to the remote, \"{comes}\" of {comes_with} \
                         brings back from there, and so on without an end: two bridges to one broker need topics \
                         of their own"
                    ),
                ));
            }
        }
    }
    found
}

type Pair<'a> = (&'a Line, &'a Line, &'a str, &'a str);

fn pairs<'a>(one: &'a Bridge, other: &'a Bridge) -> Vec<Pair<'a>> {
    let mut found = Vec::new();
    for (a, b) in [(one, other), (other, one)] {
        for out in a.lines.iter().filter(|line| line.goes_out()) {
            for comes in b.lines.iter().filter(|line| line.comes_in()) {
                if overlaps(out.remote_filter(), comes.remote_filter())
                    && overlaps(out.local_filter(), comes.local_filter())
                {
                    found.push((out, comes, a.name.as_str(), b.name.as_str()));
                }
            }
        }
    }
    found
}
