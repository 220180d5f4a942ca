//! A listener as configured: its address, transport, TLS settings, limits and policy.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::limits::OwnQuotas;
use crate::mqtt::{Qos, Version};
use crate::mqtt_sn;
use crate::own_files::OwnFiles;
use crate::transport::tls::Settings;

/// A listener as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub address: Address,
    pub transport: Transport,
    pub protocol: Protocol,
    /// As configured; what follows from it is in the policy. `None`: by what the listener can ask.
    pub authentication: Option<Authentication>,
    pub policy: ListenerPolicy,
    /// Connections open at once; `None`: as many as the broker takes.
    pub connections_max: Option<u32>,
    /// Connections accepted in a second.
    pub connect_rate: Option<u32>,
    /// The same of one source address.
    pub connect_rate_source: Option<u32>,
    /// Of a Unix socket: user, or user and group as `user:group`.
    pub owner: Option<String>,
    /// Of a Unix socket: permission bits.
    pub mode: Option<u16>,
    pub tls: TlsFiles,
    /// Of WebSocket: where it is spoken.
    pub websocket_path: String,
    /// Of WebSocket: origins of pages that may connect; empty: all.
    pub websocket_origins: Vec<String>,
    /// Connections begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Proxies that may name client addresses, see [`crate::transport::Trusted::from_list`].
    pub trusted_proxies: Vec<String>,
    /// Of MQTT-SN.
    pub mqtt_sn: mqtt_sn::Settings,
}

/// Where a listener is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// Port 0 asks the kernel for a free one.
    Ip(SocketAddr),
    Unix(PathBuf),
    /// Open before the process began: a socket of this name, from the service manager.
    Inherited(String),
}

/// Transport between socket and MQTT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    #[default]
    Tcp,
    Tls,
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// Datagrams, in which MQTT-SN is spoken.
    Udp,
    /// Streams of QUIC, which is encrypted.
    Quic,
}

/// What is spoken on a transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    Mqtt,
    MqttSn,
}

/// What a TLS listener does and the files it does it with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    pub settings: Settings,
    pub certificates: Vec<PathBuf>,
    /// Of the certificates, in their order.
    pub keys: Vec<PathBuf>,
    pub client_ca: Vec<PathBuf>,
    pub revocation_lists: Vec<PathBuf>,
}

impl Listener {
    /// MQTT straight on the socket, without restrictions.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        Self {
            address: Address::Ip(address),
            transport: Transport::Tcp,
            protocol: Protocol::Mqtt,
            authentication: None,
            policy: ListenerPolicy::default(),
            connections_max: None,
            connect_rate: None,
            connect_rate_source: None,
            owner: None,
            mode: None,
            tls: TlsFiles::default(),
            websocket_path: "/mqtt".into(),
            websocket_origins: Vec::new(),
            proxy_protocol: false,
            trusted_proxies: Vec::new(),
            mqtt_sn: mqtt_sn::Settings::default(),
        }
    }
}

impl Default for Listener {
    fn default() -> Self {
        Self::plain(SocketAddr::from((Ipv4Addr::LOCALHOST, 1883)))
    }
}

impl Address {
    /// Only programs of this machine reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Ip(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
            Self::Inherited(_) => false, // not known before the start
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(out),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
            Self::Inherited(name) => write!(out, "fd:{name}"),
        }
    }
}

impl Transport {
    /// What follows the address in a line of the log.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Tcp => "",
            Self::Tls => " (TLS)",
            Self::Ws => " (WebSocket)",
            Self::Wss => " (WebSocket over TLS)",
            Self::Udp => " (MQTT-SN over UDP)",
            Self::Quic => " (QUIC)",
        }
    }

    /// As in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Udp => "udp",
            Self::Quic => "quic",
        }
    }

    #[must_use]
    pub fn has_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Wss | Self::Quic)
    }

    #[must_use]
    pub fn has_datagrams(self) -> bool {
        matches!(self, Self::Udp | Self::Quic)
    }

    #[must_use]
    pub fn has_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

/// What connections of one listener may do. `ShardConfig` has one for each
/// [`crate::ids::ListenerId`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerPolicy {
    pub versions: Versions,
    /// Largest control packet accepted, in bytes; `None`: as large as the broker's limits allow.
    pub packet_size_max: Option<u32>,
    /// Highest quality of service a client may publish with, and be granted.
    pub qos_max: Qos,
    pub authentication: Authentication,
    /// Clients without credentials may connect although others have accounts; `None`: as configured for
    /// the whole broker.
    pub allow_anonymous: Option<bool>,
    pub files: OwnFiles,
    pub quotas: OwnQuotas,
    /// Connections that have not sent their CONNECT; `None`: as many as the broker takes.
    pub half_open_max: Option<u32>,
    /// There is a handshake of a layer before CONNECT.
    pub layered: bool,
}

/// Whether clients must authenticate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// A client may come without credentials; those it brings are checked where there is something
    /// to check them with.
    #[default]
    Anonymous,
    /// A client needs credentials that were checked: a certificate, or a user name and password.
    Required,
}

/// A set of protocol versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    pub v31: bool,
    pub v311: bool,
    pub v5: bool,
}

impl Versions {
    pub const ALL: Self = Self {
        v31: true,
        v311: true,
        v5: true,
    };

    #[must_use]
    pub fn contains(self, version: Version) -> bool {
        match version {
            Version::V31 => self.v31,
            Version::V311 => self.v311,
            Version::V5 => self.v5,
        }
    }
}

impl ListenerPolicy {
    /// Of connections that bridges have begun: layers give them their user names.
    pub const OF_BRIDGES: Self = Self {
        versions: Versions::ALL,
        packet_size_max: None,
        qos_max: Qos::ExactlyOnce,
        authentication: Authentication::Anonymous,
        allow_anonymous: None,
        files: OwnFiles {
            password_file: None,
            acl_file: None,
        },
        quotas: OwnQuotas::UNLIMITED,
        half_open_max: None,
        layered: true,
    };
}

impl Default for ListenerPolicy {
    /// Everything the broker supports, without restrictions.
    fn default() -> Self {
        Self {
            versions: Versions::ALL,
            packet_size_max: None,
            qos_max: Qos::ExactlyOnce,
            authentication: Authentication::Anonymous,
            allow_anonymous: None,
            files: OwnFiles::default(),
            quotas: OwnQuotas::default(),
            half_open_max: None,
            layered: false,
        }
    }
}
