//! The table of what can be set for one bridge, in a table `[[bridge]]` of the file.

use std::path::PathBuf;

use super::kind::{Kind, Value};
use super::options::Opt;
use crate::bridge::{Bridge, Dialect, Line, Notify, Order, RetainFlag, Start, Words};
use crate::limits::QueuePolicy;
use crate::listener::Transport;
use crate::mqtt::frame::PACKET_SIZE_MAX;

/// An option of a bridge and a value to show what it looks like.
pub(super) struct BridgeOpt {
    pub(super) option: Opt<Bridge>,
    pub(super) example: &'static str,
}

/// All options of a bridge, in the order of the example file.
pub(super) fn all() -> impl Iterator<Item = &'static BridgeOpt> {
    OPTIONS.iter()
}

/// The option of this name.
pub(super) fn find(name: &str) -> Option<&'static Opt<Bridge>> {
    let mut options = all().map(|row| &row.option);
    options.find(|option| option.name == name)
}

const fn row(
    name: &'static str,
    example: &'static str,
    kind: Kind,
    get: fn(&Bridge) -> Value,
    set: fn(&mut Bridge, Value),
    (help, reason): (&'static str, &'static str),
) -> BridgeOpt {
    BridgeOpt {
        option: Opt {
            name,
            group: "Bridge",
            kind,
            help,
            reason,
            get,
            set,
        },
        example,
    }
}

fn file(path: &Option<PathBuf>) -> Value {
    let text = path.as_ref().map(|path| path.display().to_string());
    Value::Text(text.unwrap_or_default())
}

fn size(max: Option<u32>) -> Value {
    max.map_or(Value::Word, |bytes| Value::Number(bytes.into()))
}

fn transport(word: &str) -> Transport {
    match word {
        "tls" => Transport::Tls,
        "ws" => Transport::Ws,
        "wss" => Transport::Wss,
        _ => Transport::Tcp,
    }
}

/// Those that are right; the others are reported by the check.
fn lines(texts: &[String]) -> Vec<Line> {
    texts
        .iter()
        .filter_map(|text| Line::parse(text).ok())
        .collect()
}

static OPTIONS: [BridgeOpt; 45] = [
    row(
        "name",
        "\"cloud\"",
        Kind::Whole("letters, digits and the signs - _ ."),
        |bridge| Value::Text(bridge.name.clone()),
        |bridge, value| bridge.name = value.text().unwrap_or_default(),
        (
            "Name of the bridge; must be given",
            "In the log, in metrics, and where no client id is given at the remote, too.",
        ),
    ),
    row(
        "addresses",
        "[\"broker.example.com:1883\"]",
        Kind::Texts("a host with a port, such as \"broker.example.com:8883\", or \"unix:/path\""),
        |bridge| Value::Texts(bridge.addresses.clone()),
        |bridge, value| bridge.addresses = value.texts(),
        (
            "Where the remote is, the main address first; must be given",
            "With several, the others are tried when one does not accept the bridge.",
        ),
    ),
    row(
        "order",
        "\"round-robin\"",
        Kind::Choice(&["priority", "round-robin"]),
        |bridge| Value::Choice(bridge.order.word()),
        |bridge, value| bridge.order = Order::of_word(value.choice()).unwrap_or_default(),
        (
            "Which address is tried first",
            "\"priority\" begins with the main one each time, \"round-robin\" with the one behind the last.",
        ),
    ),
    row(
        "transport",
        "\"tls\"",
        Kind::Choice(&["tcp", "tls", "ws", "wss"]),
        |bridge| Value::Choice(bridge.transport.name()),
        |bridge, value| bridge.transport = transport(value.choice()),
        (
            "How the bytes travel",
            "As for a listener.",
        ),
    ),
    row(
        "version",
        "\"3.1.1\"",
        Kind::Choice(&["auto", "5.0", "3.1.1", "3.1"]),
        |bridge| Value::Choice(bridge.dialect.word()),
        |bridge, value| bridge.dialect = Dialect::of_word(value.choice()).unwrap_or_default(),
        (
            "Protocol version towards the remote",
            "\"auto\" speaks 5.0, and 3.1.1 with a remote that refuses it.",
        ),
    ),
    row(
        "client-id",
        "\"factory-7\"",
        Kind::Text("a client id"),
        |bridge| Value::Text(bridge.client_id.clone().unwrap_or_default()),
        |bridge, value| bridge.client_id = value.text(),
        (
            "Client id at the remote",
            "The name of the bridge by default. Two bridges with the same one end each other's connections.",
        ),
    ),
    row(
        "user",
        "\"factory-7\"",
        Kind::Text("a user name"),
        |bridge| Value::Text(bridge.user.clone().unwrap_or_default()),
        |bridge, value| bridge.user = value.text(),
        (
            "User name at the remote",
            "By default none is sent.",
        ),
    ),
    row(
        "password-file",
        "\"/etc/ringmq/cloud.password\"",
        Kind::Text("a file"),
        |bridge| file(&bridge.password_file),
        |bridge, value| bridge.password_file = value.text().map(Into::into),
        (
            "File with the password at the remote",
            "Read at each attempt, so that a token in it may change. A line feed at its end does not count.",
        ),
    ),
    row(
        "clean-start",
        "true",
        Kind::Boolean,
        |bridge| Value::Boolean(bridge.clean_start),
        |bridge, value| bridge.clean_start = value.boolean(),
        (
            "The remote forgets what it kept for the bridge",
            "False by default: what comes while the bridge is away is kept there, and QoS 2 is exactly once.",
        ),
    ),
    row(
        "session-expiry",
        "\"1d\"",
        Kind::Seconds { min: 0, max: u32::MAX as u64, word: None },
        |bridge| Value::Number(bridge.session_expiry_s.into()),
        |bridge, value| bridge.session_expiry_s = value.number(),
        (
            "How long the remote keeps the session of a bridge that is away",
            "Of 5.0; the remote may keep it for less. 7d by default.",
        ),
    ),
    row(
        "keep-alive",
        "\"60s\"",
        Kind::Seconds { min: 5, max: 65535, word: None },
        |bridge| Value::Number(bridge.keep_alive_s.into()),
        |bridge, value| bridge.keep_alive_s = value.number(),
        (
            "Keep alive towards the remote",
            "A remote that is silent for one and a half of these is given up. 60s by default.",
        ),
    ),
    row(
        "connect-timeout",
        "\"10s\"",
        Kind::Seconds { min: 1, max: 600, word: None },
        |bridge| Value::Number(bridge.connect_timeout_s.into()),
        |bridge, value| bridge.connect_timeout_s = value.number(),
        (
            "How long one address may take to accept a connection",
            "For all of CONNECT the option connect-timeout of the broker holds, too. 10s by default.",
        ),
    ),
    row(
        "mark",
        "false",
        Kind::Boolean,
        |bridge| Value::Boolean(bridge.mark),
        |bridge, value| bridge.mark = value.boolean(),
        (
            "Whether CONNECT of 3.1 and 3.1.1 has the mark of a bridge",
            "With it (0x80 in the protocol level) a remote sends nothing back that came from here. Where it is refused, the bridge tries without.",
        ),
    ),
    row(
        "topics",
        "[\"sensors/# out 1\", \"commands/# in 2 \\\"\\\" site7/\"]",
        Kind::Texts("a line such as \"sensors/# out 1 local/ remote/\""),
        |bridge| Value::Texts(bridge.lines.iter().map(ToString::to_string).collect()),
        |bridge, value| bridge.lines = lines(&value.texts()),
        (
            "What is carried: pattern direction qos local-prefix remote-prefix",
            "Directions are out, in and both. Prefixes stand before the pattern, a slash is not added; an empty word is ''.",
        ),
    ),
    row(
        "retain",
        "\"clear\"",
        Kind::Choice(&["keep", "clear"]),
        |bridge| Value::Choice(bridge.retain.word()),
        |bridge, value| bridge.retain = RetainFlag::of_word(value.choice()).unwrap_or_default(),
        (
            "Whether messages go out with RETAIN",
            "For remotes that do not take it: \"clear\". What they say of this in their CONNACK is obeyed anyway.",
        ),
    ),
    row(
        "window",
        "20",
        Kind::Number { min: 1, max: 65535, word: None },
        |bridge| Value::Number(bridge.window.into()),
        |bridge, value| bridge.window = value.number(),
        (
            "QoS 1 and 2 messages in flight to the remote",
            "At most its Receive Maximum, and outgoing-window-max of the broker. 512 by default.",
        ),
    ),
    row(
        "messages-per-s",
        "500",
        Kind::Number { min: 1, max: u32::MAX as u64, word: Some("unlimited") },
        |bridge| bridge.own_terms.messages_per_s.map_or(Value::Word, |count| Value::Number(count.into())),
        |bridge, value| bridge.own_terms.messages_per_s = match value { Value::Word => None, number => Some(number.number()) },
        (
            "Messages that go out per second",
            "QoS 1 and 2 above it wait, QoS 0 is dropped and counted. For clouds that close a connection that is faster. By default as many as come.",
        ),
    ),
    row(
        "queue-messages-max",
        "100000",
        Kind::Number { min: 1, max: u32::MAX as u64, word: Some("default") },
        |bridge| bridge.own_terms.queue_messages_max.map_or(Value::Word, |count| Value::Number(count.into())),
        |bridge, value| bridge.own_terms.queue_messages_max = match value { Value::Word => None, number => Some(number.number()) },
        (
            "Messages that wait for this bridge, at most",
            "By default as for every client of the broker.",
        ),
    ),
    row(
        "queue-bytes-max",
        "\"64MiB\"",
        Kind::BytesOr { min: 1, max: 1 << 40, word: "default" },
        |bridge| bridge.own_terms.queue_bytes_max.map_or(Value::Word, Value::Number),
        |bridge, value| bridge.own_terms.queue_bytes_max = match value { Value::Word => None, number => Some(number.number()) },
        (
            "Bytes that wait for this bridge, at most",
            "By default as for every client of the broker.",
        ),
    ),
    row(
        "queue-policy",
        "\"drop-newest\"",
        Kind::Choice(&["default", "drop-oldest", "drop-newest", "disconnect", "block"]),
        |bridge| Value::Choice(bridge.own_terms.queue_policy.map_or("default", QueuePolicy::word)),
        |bridge, value| bridge.own_terms.queue_policy = QueuePolicy::of_word(value.choice()),
        (
            "What becomes of a message for which that has no room",
            "By default as for every client of the broker. \"block\": who publishes it at QoS 1 or 2 waits until there is room.",
        ),
    ),
    row(
        "packet-size-max",
        "\"128KiB\"",
        Kind::BytesOr { min: 64, max: PACKET_SIZE_MAX as u64, word: "none" },
        |bridge| size(bridge.packet_size_max),
        |bridge, value| bridge.packet_size_max = match value { Value::Word => None, number => Some(number.number()) },
        (
            "Largest packet sent to the remote",
            "What is larger is dropped and counted. A limit in its CONNACK is obeyed anyway.",
        ),
    ),
    row(
        "hops-max",
        "2",
        Kind::Number { min: 0, max: 64, word: None },
        |bridge| Value::Number(bridge.hops_max.into()),
        |bridge, value| bridge.hops_max = value.number(),
        (
            "Bridges that a message may have passed before a line 'both' takes it",
            "1 by default, so that a ring of brokers delivers each message once. Raise it for a chain of lines 'both'.",
        ),
    ),
    row(
        "notify",
        "\"both\"",
        Kind::Choice(&["local", "both", "off"]),
        |bridge| Value::Choice(bridge.notify.word()),
        |bridge, value| bridge.notify = Notify::of_word(value.choice()).unwrap_or_default(),
        (
            "Who learns whether the bridge is connected",
            "By a retained 1 or 0 as of Mosquitto: here, and with \"both\" at the remote, where 0 is the will.",
        ),
    ),
    row(
        "notify-topic",
        "\"bridges/cloud\"",
        Kind::Text("a topic"),
        |bridge| Value::Text(bridge.notify_topic.clone().unwrap_or_default()),
        |bridge, value| bridge.notify_topic = value.text(),
        (
            "Topic of that",
            "$SYS/broker/connection/CLIENT-ID/state by default.",
        ),
    ),
    row(
        "backoff-base",
        "\"5s\"",
        Kind::Seconds { min: 0, max: 3600, word: None },
        |bridge| Value::Number(bridge.backoff_s[0].into()),
        |bridge, value| bridge.backoff_s[0] = value.number(),
        (
            "Shortest pause between attempts",
            "Pauses are random between this and three times the last one. 5s by default.",
        ),
    ),
    row(
        "backoff-cap",
        "\"30s\"",
        Kind::Seconds { min: 0, max: 86400, word: None },
        |bridge| Value::Number(bridge.backoff_s[1].into()),
        |bridge, value| bridge.backoff_s[1] = value.number(),
        (
            "Longest pause between attempts",
            "30s by default; at once after a refused login.",
        ),
    ),
    row(
        "backoff-stable",
        "\"30s\"",
        Kind::Seconds { min: 0, max: 86400, word: None },
        |bridge| Value::Number(bridge.backoff_s[2].into()),
        |bridge, value| bridge.backoff_s[2] = value.number(),
        (
            "A connection of this length begins with the shortest pause again",
            "30s by default.",
        ),
    ),
    row(
        "start",
        "\"lazy\"",
        Kind::Choice(&["automatic", "lazy", "once", "manual"]),
        |bridge| Value::Choice(bridge.start.word()),
        |bridge, value| bridge.start = Start::of_word(value.choice()).unwrap_or_default(),
        (
            "When it connects",
            "\"lazy\": when lazy-messages wait, until idle-timeout; \"once\": until the first connection ends; \"manual\": by ringmq ctl bridge NAME start.",
        ),
    ),
    row(
        "lazy-messages",
        "100",
        Kind::Number { min: 1, max: u32::MAX as u64, word: None },
        |bridge| Value::Number(bridge.lazy_messages.into()),
        |bridge, value| bridge.lazy_messages = value.number(),
        (
            "Messages that wait before a lazy bridge connects",
            "With start = \"lazy\". 10 by default. QoS 0 waits with queue-qos0 only.",
        ),
    ),
    row(
        "idle-timeout",
        "\"5m\"",
        Kind::Seconds { min: 1, max: 86400, word: None },
        |bridge| Value::Number(bridge.idle_timeout_s.into()),
        |bridge, value| bridge.idle_timeout_s = value.number(),
        (
            "A lazy bridge over which nothing has passed for so long disconnects",
            "With start = \"lazy\". 60s by default.",
        ),
    ),
    row(
        "primary-check",
        "\"never\"",
        Kind::Seconds { min: 1, max: 86400, word: Some("never") },
        |bridge| bridge.primary_check_s.map_or(Value::Word, |s| Value::Number(s.into())),
        |bridge, value| bridge.primary_check_s = match value { Value::Word => None, number => Some(number.number()) },
        (
            "How often the main address is looked at while another is in use",
            "With order = \"priority\": when it takes connections again, the bridge goes back to it. 60s by default.",
        ),
    ),
    row(
        "bind-address",
        "\"192.0.2.7\"",
        Kind::Text("an IP address"),
        |bridge| Value::Text(bridge.bind_address.map(|ip| ip.to_string()).unwrap_or_default()),
        |bridge, value| bridge.bind_address = value.text().and_then(|text| text.parse().ok()),
        (
            "Address of this machine that it connects from",
            "By default the one that the system chooses. Addresses of the remote of the other family are not tried then.",
        ),
    ),
    row(
        "proxy",
        "\"proxy.example.com:3128\"",
        Kind::Text("a host with a port"),
        |bridge| Value::Text(bridge.proxy.clone().unwrap_or_default()),
        |bridge, value| bridge.proxy = value.text(),
        (
            "HTTP proxy through which the remote is reached (CONNECT)",
            "By default none. Names of remotes are resolved by the proxy then.",
        ),
    ),
    row(
        "proxy-user",
        "\"factory-7\"",
        Kind::Text("a user name"),
        |bridge| Value::Text(bridge.proxy_user.clone().unwrap_or_default()),
        |bridge, value| bridge.proxy_user = value.text(),
        (
            "User name for the proxy",
            "Sent as Basic authentication. By default none.",
        ),
    ),
    row(
        "proxy-password-file",
        "\"/etc/ringmq/proxy.password\"",
        Kind::Text("a file"),
        |bridge| file(&bridge.proxy_password_file),
        |bridge, value| bridge.proxy_password_file = value.text().map(Into::into),
        (
            "File with the password for the proxy",
            "Read at each attempt.",
        ),
    ),
    row(
        "local-client-id",
        "\"bridge.cloud\"",
        Kind::Text("a client id"),
        |bridge| Value::Text(bridge.local_client_id.clone().unwrap_or_default()),
        |bridge, value| bridge.local_client_id = value.text(),
        (
            "Client id of the bridge here",
            "\"bridge.\" and its name by default.",
        ),
    ),
    row(
        "local-user",
        "\"bridge\"",
        Kind::Text("a user name"),
        |bridge| Value::Text(bridge.local_user.clone().unwrap_or_default()),
        |bridge, value| bridge.local_user = value.text(),
        (
            "Account whose rules hold for the bridge here",
            "Its client id here by default: with an acl-file it needs rights of its own. It needs no password.",
        ),
    ),
    row(
        "local-clean-start",
        "true",
        Kind::Boolean,
        |bridge| Value::Boolean(bridge.local_clean_start),
        |bridge, value| bridge.local_clean_start = value.boolean(),
        (
            "Nothing is kept here while the bridge is away",
            "False by default: QoS 1 and 2 messages wait in its session, within the limits of the broker's queues.",
        ),
    ),
    row(
        "tls-ca",
        "\"/etc/ringmq/cloud-ca.pem\"",
        Kind::Text("a file"),
        |bridge| file(&bridge.tls.ca),
        |bridge, value| bridge.tls.ca = value.text().map(Into::into),
        (
            "Authorities of the remote's certificate, in PEM",
            "Those of the system by default.",
        ),
    ),
    row(
        "tls-certificate",
        "\"/etc/ringmq/factory-7.pem\"",
        Kind::Text("a file"),
        |bridge| file(&bridge.tls.certificate),
        |bridge, value| bridge.tls.certificate = value.text().map(Into::into),
        (
            "Certificate that the bridge shows, in PEM",
            "By default none.",
        ),
    ),
    row(
        "tls-key",
        "\"/etc/ringmq/factory-7.key\"",
        Kind::Text("a file"),
        |bridge| file(&bridge.tls.key),
        |bridge, value| bridge.tls.key = value.text().map(Into::into),
        (
            "Key of that certificate, in PEM",
            "Read at each attempt, as all files of the bridge are.",
        ),
    ),
    row(
        "tls-server-name",
        "\"broker.example.com\"",
        Kind::Text("a host name"),
        |bridge| Value::Text(bridge.tls.server_name.clone().unwrap_or_default()),
        |bridge, value| bridge.tls.server_name = value.text(),
        (
            "Name that the remote's certificate must have",
            "The host of the address by default.",
        ),
    ),
    row(
        "tls-alpn",
        "[\"x-amzn-mqtt-ca\"]",
        Kind::Texts("the name of a protocol of 1 to 255 bytes"),
        |bridge| Value::Texts(bridge.tls.alpn.clone()),
        |bridge, value| bridge.tls.alpn = value.texts(),
        (
            "Protocols offered to the remote (ALPN)",
            "By default none. Some clouds need one on port 443.",
        ),
    ),
    row(
        "tls-insecure",
        "true",
        Kind::Boolean,
        |bridge| Value::Boolean(bridge.tls.insecure),
        |bridge, value| bridge.tls.insecure = value.boolean(),
        (
            "Take any certificate of the remote",
            "For tests: whoever is on the way can read and change everything.",
        ),
    ),
    row(
        "websocket-path",
        "\"/mqtt\"",
        Kind::Whole("a path that begins with \"/\""),
        |bridge| Value::Text(bridge.websocket_path.clone()),
        |bridge, value| bridge.websocket_path = value.text().unwrap_or_default(),
        (
            "Path of WebSocket at the remote",
            "With transport ws and wss. \"/mqtt\" by default.",
        ),
    ),
];
