//! The table of what can be set for one listener, in a table `[[listener]]` of the file.

use super::kind::{Kind, Value};
use super::listener_option::{count, opt, Access, ListenerOpt};
use super::options::Opt;
use super::{listener_mqtt_sn, listener_quotas};
use crate::listener::{Authentication, Listener, Protocol, Transport, Versions};
use crate::mqtt::Qos;
use crate::transport::tls::{ClientCertificate, IdentitySource, VersionMin};

/// In place of names of protocols.
pub(super) const ALPN_IGNORE: &str = "ignore";

/// All options of a listener, in the order of the example file.
pub(super) fn all() -> impl Iterator<Item = &'static ListenerOpt> {
    let quotas = &listener_quotas::OPTIONS;
    OPTIONS
        .iter()
        .chain(quotas)
        .chain(&listener_mqtt_sn::OPTIONS)
}

/// The option of this name.
pub(super) fn find(name: &str) -> Option<&'static Opt<Listener>> {
    let mut options = all().map(|row| &row.option);
    options.find(|option| option.name == name)
}

/// A number that may be left out.
macro_rules! limit {
    ($field:ident) => {
        Access(
            |listener| match listener.$field {
                Some(number) => Value::Number(number.into()),
                None => Value::Word,
            },
            |listener, value| {
                listener.$field = match value {
                    Value::Word => None,
                    number => Some(number.number()),
                }
            },
        )
    };
}

/// Texts of which any number may be given.
macro_rules! texts {
    ($field:ident) => {
        Access(
            |listener| Value::Texts(listener.$field.clone()),
            |listener, value| {
                if let Value::Texts(texts) = value {
                    listener.$field = texts;
                }
            },
        )
    };
}

/// Names of files.
macro_rules! files {
    ($field:ident) => {
        Access(
            |listener| {
                let files = listener.tls.$field.iter();
                Value::Texts(files.map(|file| file.display().to_string()).collect())
            },
            |listener, value| {
                if let Value::Texts(files) = value {
                    listener.tls.$field = files.into_iter().map(Into::into).collect();
                }
            },
        )
    };
}

/// What there is of a listener only.
static OPTIONS: [ListenerOpt; 25] = [
    opt(
        "address",
        "\"0.0.0.0:8883\"",
        Kind::Place,
        Access(
            |listener| Value::Place(listener.address.clone()),
            |listener, value| {
                if let Value::Place(address) = value {
                    listener.address = address;
                }
            },
        ),
        (
            "Where it listens; must be given",
            "Anything but loopback and Unix sockets needs clients to authenticate, or \
             allow-anonymous. \"fd:NAME\" is a socket that systemd has opened (FileDescriptorName=).",
        ),
    ),
    opt(
        "owner",
        "\"mosquitto:iot\"",
        Kind::Text("a user, or a user and a group as \"user:group\""),
        Access(
            |listener| Value::Text(listener.owner.clone().unwrap_or_default()),
            |listener, value| listener.owner = value.text(),
        ),
        (
            "Owner of the Unix socket",
            "Names or numbers. To give it away the broker must be allowed to.",
        ),
    ),
    opt(
        "mode",
        "\"0660\"",
        Kind::Mode,
        limit!(mode),
        (
            "Permissions of the Unix socket",
            "Who may write to it may connect. By default what the process's umask leaves of 0777.",
        ),
    ),
    opt(
        "transport",
        "\"wss\"",
        Kind::Choice(&["tcp", "tls", "ws", "wss", "udp", "quic"]),
        Access(
            |listener| {
                Value::Choice(match listener.transport {
                    Transport::Tcp => "tcp",
                    Transport::Tls => "tls",
                    Transport::Ws => "ws",
                    Transport::Wss => "wss",
                    Transport::Udp => "udp",
                    Transport::Quic => "quic",
                })
            },
            |listener, value| {
                listener.transport = match value.choice() {
                    "tls" => Transport::Tls,
                    "ws" => Transport::Ws,
                    "wss" => Transport::Wss,
                    "udp" => Transport::Udp,
                    "quic" => Transport::Quic,
                    _ => Transport::Tcp,
                }
            },
        ),
        (
            "How the bytes travel",
            "\"tcp\" is MQTT straight on the socket, for everybody on the way to read; \"ws\" is \
             WebSocket, for browsers; \"tls\" and \"wss\" are the same, encrypted. \"udp\" is datagrams, for \
             protocol = \"mqtt-sn\". \"quic\" is a stream of QUIC, encrypted and over UDP, which lives on when a client's \
             address changes.",
        ),
    ),
    opt(
        "protocol",
        "\"mqtt\"",
        Kind::Choice(&["mqtt", "mqtt-sn"]),
        Access(
            |listener| {
                Value::Choice(match listener.protocol {
                    Protocol::Mqtt => "mqtt",
                    Protocol::MqttSn => "mqtt-sn",
                })
            },
            |listener, value| {
                listener.protocol = match value.choice() {
                    "mqtt-sn" => Protocol::MqttSn,
                    _ => Protocol::Mqtt,
                }
            },
        ),
        (
            "What is spoken",
            "\"mqtt\", or \"mqtt-sn\" (version 1.2) with transport = \"udp\": its clients have sessions like all others.",
        ),
    ),
    opt(
        "versions",
        "[\"3.1.1\", \"5.0\"]",
        Kind::Words(&["3.1", "3.1.1", "5.0"]),
        Access(
            |listener| {
                let Versions { v31, v311, v5 } = listener.policy.versions;
                let words = [(v31, "3.1"), (v311, "3.1.1"), (v5, "5.0")];
                let words = words.into_iter().filter(|(on, _)| *on);
                Value::Words(words.map(|(_, word)| word).collect())
            },
            |listener, value| {
                if let Value::Words(words) = value {
                    listener.policy.versions = Versions {
                        v31: words.contains(&"3.1"),
                        v311: words.contains(&"3.1.1"),
                        v5: words.contains(&"5.0"),
                    };
                }
            },
        ),
        (
            "Protocol versions it takes",
            "Others are refused with 0x84 (3.1 and 3.1.1: return code 1).",
        ),
    ),
    opt(
        "authentication",
        "\"required\"",
        Kind::Choice(&["auto", "anonymous", "required"]),
        Access(
            |listener| {
                Value::Choice(match listener.authentication {
                    None => "auto",
                    Some(Authentication::Anonymous) => "anonymous",
                    Some(Authentication::Required) => "required",
                })
            },
            |listener, value| {
                listener.authentication = match value.choice() {
                    "anonymous" => Some(Authentication::Anonymous),
                    "required" => Some(Authentication::Required),
                    _ => None,
                }
            },
        ),
        (
            "Whether clients must say who they are",
            "\"required\" refuses a client that brings no credentials with 0x87. \"anonymous\" lets \
             it in, where there are no accounts or allow-anonymous is set. \"auto\" requires them where a \
             client certificate is required.",
        ),
    ),
    opt(
        "connections-max",
        "10000",
        count(),
        limit!(connections_max),
        (
            "Connections open at once",
            "One more is closed before anything is read of it. connections-max of the whole broker \
             counts, too.",
        ),
    ),
    opt(
        "connect-rate",
        "500",
        count(),
        limit!(connect_rate),
        (
            "Connections accepted in a second, as many at once",
            "More are closed before TLS, whose handshake is the most work a stranger can cause.",
        ),
    ),
    opt(
        "connect-rate-source",
        "10",
        count(),
        limit!(connect_rate_source),
        (
            "The same for one source address",
            "An address of IPv4, or the first 64 bits of one of IPv6. Not for Unix sockets.",
        ),
    ),
    opt(
        "packet-size-max",
        "\"64KiB\"",
        Kind::Bytes {
            min: 256,
            max: 5 + 268_435_455,
        },
        Access(
            |listener| match listener.policy.packet_size_max {
                Some(bytes) => Value::Number(bytes.into()),
                None => Value::Word,
            },
            |listener, value| listener.policy.packet_size_max = Some(value.number()),
        ),
        (
            "Largest packet accepted here",
            "At most packet-size-max of the whole broker, which it is by default.",
        ),
    ),
    opt(
        "qos-max",
        "1",
        Kind::Number {
            min: 0,
            max: 2,
            word: None,
        },
        Access(
            |listener| Value::Number(listener.policy.qos_max as u64),
            |listener, value| {
                listener.policy.qos_max =
                    Qos::from_bits(value.number()).unwrap_or(Qos::ExactlyOnce);
            },
        ),
        (
            "Highest quality of service",
            "Announced to 5.0 clients as Maximum QoS; one that publishes above it is disconnected \
             (0x9B). Subscriptions are granted at most this.",
        ),
    ),
    opt(
        "tls-certificate",
        "[\"/etc/ringmq/server.pem\"]",
        Kind::Files,
        files!(certificates),
        (
            "Certificate chains of the listener (PEM)",
            "Of several the client gets the first that is valid for the name it asks for (SNI).",
        ),
    ),
    opt(
        "tls-key",
        "[\"/etc/ringmq/server.key\"]",
        Kind::Files,
        files!(keys),
        (
            "Private keys of the certificates, in their order (PEM)",
            "Without a passphrase. Read again at SIGHUP, like all files of TLS.",
        ),
    ),
    opt(
        "tls-version-min",
        "\"1.3\"",
        Kind::Choice(&["1.2", "1.3"]),
        Access(
            |listener| {
                Value::Choice(match listener.tls.settings.version_min {
                    VersionMin::Tls12 => "1.2",
                    VersionMin::Tls13 => "1.3",
                })
            },
            |listener, value| {
                listener.tls.settings.version_min = match value.choice() {
                    "1.3" => VersionMin::Tls13,
                    _ => VersionMin::Tls12,
                }
            },
        ),
        (
            "Oldest version of TLS taken",
            "\"1.2\" by default, for devices; older ones are never taken.",
        ),
    ),
    opt(
        "tls-client-certificate",
        "\"required\"",
        Kind::Choice(&["none", "optional", "required"]),
        Access(
            |listener| {
                Value::Choice(match listener.tls.settings.client_certificate {
                    ClientCertificate::None => "none",
                    ClientCertificate::Optional => "optional",
                    ClientCertificate::Required => "required",
                })
            },
            |listener, value| {
                listener.tls.settings.client_certificate = match value.choice() {
                    "optional" => ClientCertificate::Optional,
                    "required" => ClientCertificate::Required,
                    _ => ClientCertificate::None,
                }
            },
        ),
        (
            "Whether clients are asked for a certificate",
            "One that is sent must be good, also where it is \"optional\".",
        ),
    ),
    opt(
        "tls-client-ca",
        "\"/etc/ringmq/devices-ca.pem\"",
        Kind::Files,
        files!(client_ca),
        (
            "Authorities that sign client certificates (PEM)",
            "Only these count, not those of the machine.",
        ),
    ),
    opt(
        "tls-crl",
        "\"/etc/ringmq/devices-crl.pem\"",
        Kind::Files,
        files!(revocation_lists),
        (
            "Revocation lists of these authorities (PEM)",
            "Once there is one, the authority of every client needs one that has not expired.",
        ),
    ),
    opt(
        "tls-identity",
        "\"cn\"",
        Kind::Choice(&["cn", "san-dns", "san-email", "san-uri", "none"]),
        Access(
            |listener| {
                Value::Choice(match listener.tls.settings.identity {
                    Some(IdentitySource::CommonName) => "cn",
                    Some(IdentitySource::SanDns) => "san-dns",
                    Some(IdentitySource::SanEmail) => "san-email",
                    Some(IdentitySource::SanUri) => "san-uri",
                    None => "none",
                })
            },
            |listener, value| {
                listener.tls.settings.identity = match value.choice() {
                    "san-dns" => Some(IdentitySource::SanDns),
                    "san-email" => Some(IdentitySource::SanEmail),
                    "san-uri" => Some(IdentitySource::SanUri),
                    "none" => None,
                    _ => Some(IdentitySource::CommonName),
                }
            },
        ),
        (
            "What of a client certificate is the user name",
            "The common name (\"cn\", the default), or the first name of a kind among the \
             alternative ones. \"none\" leaves the user name to CONNECT.",
        ),
    ),
    opt(
        "tls-alpn",
        "[\"mqtt\", \"x-amzn-mqtt-ca\"]",
        Kind::Texts("the name of a protocol of 1 to 255 bytes, or \"ignore\""),
        Access(
            |listener| match listener.tls.settings.alpn.as_deref() {
                None => Value::Texts(Vec::new()),
                Some([]) => Value::Texts(vec![ALPN_IGNORE.into()]),
                Some(names) => Value::Texts(names.to_vec()),
            },
            |listener, value| {
                if let Value::Texts(names) = value {
                    let ignore = names == [ALPN_IGNORE];
                    listener.tls.settings.alpn = Some(if ignore { Vec::new() } else { names });
                }
            },
        ),
        (
            "Protocols taken of clients that ask for one (ALPN)",
            "By default \"mqtt\", with WebSocket \"http/1.1\"; who asks for others only is refused. Devices made for \
             a cloud ask for its name. \"ignore\" takes them all and answers none.",
        ),
    ),
    opt(
        "tls-record-max",
        "512",
        Kind::Number {
            min: 64,
            max: 16_384,
            word: None,
        },
        Access(
            |listener| match listener.tls.settings.record_max {
                Some(bytes) => Value::Number(bytes.into()),
                None => Value::Number(16_384),
            },
            |listener, value| listener.tls.settings.record_max = Some(value.number()),
        ),
        (
            "Plain bytes of the largest record sent",
            "16384 by default, as in TLS. For devices with small buffers: a smaller one cannot be agreed upon by \
             max_fragment_length, it is for all clients of the listener.",
        ),
    ),
    opt(
        "websocket-path",
        "\"/mqtt\"",
        Kind::Whole("a path that begins with \"/\", or \"*\" or \"\" for any"),
        Access(
            |listener| Value::Text(listener.websocket_path.clone()),
            |listener, value| {
                if let Value::Text(path) = value {
                    listener.websocket_path = path;
                }
            },
        ),
        (
            "Path where WebSocket is spoken",
            "Other paths get 404. \"/mqtt\" by default, where most clients look; clients made for Mosquitto may ask \
             for \"/\" or any other.",
        ),
    ),
    opt(
        "websocket-origins",
        "[\"https://example.com\"]",
        Kind::Texts("an origin, such as \"https://example.com\""),
        texts!(websocket_origins),
        (
            "Pages that may connect, by their origin",
            "By default pages of every site may. Programs that are no browsers send no origin, or any \
             they like: they are let in.",
        ),
    ),
    opt(
        "proxy-protocol",
        "true",
        Kind::Boolean,
        Access(
            |listener| Value::Boolean(listener.proxy_protocol),
            |listener, value| listener.proxy_protocol = value.boolean(),
        ),
        (
            "Connections begin with a header of the PROXY protocol, version 1 or 2",
            "The address it names is the client's. Only trusted-proxies may connect then.",
        ),
    ),
    opt(
        "trusted-proxies",
        "[\"127.0.0.1\", \"10.0.0.0/8\"]",
        Kind::Texts("an address, a block of addresses, or \"unix\" for Unix sockets"),
        texts!(trusted_proxies),
        (
            "Whose word about the addresses of clients is believed",
            "In the PROXY protocol, and in X-Forwarded-For of WebSocket.",
        ),
    ),
];
