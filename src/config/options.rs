//! The table of options: the only place that knows what can be set, how it is called, what it may
//! be and why it is as it is. Defaults live in [`Checked::default`] and `Limits::default`.

use super::kind::{Kind, Value};
use super::Checked;
use crate::ids::SHARDS_MAX;
use crate::limits::QueuePolicy;
use crate::time::Span;

/// One option, on the command line (`--name`) and in the file (`name = ...`).
#[derive(Debug)]
pub(super) struct Opt<T: 'static = Checked> {
    pub(super) name: &'static str,
    pub(super) group: &'static str,
    pub(super) kind: Kind,
    /// One line, without a full stop.
    pub(super) help: &'static str,
    /// What follows from it, for whoever thinks about changing it.
    pub(super) reason: &'static str,
    pub(super) get: fn(&T) -> Value,
    /// Takes only values that `kind` has allowed.
    pub(super) set: fn(&mut T, Value),
}

/// The option of this name.
pub(super) fn find(name: &str) -> Option<&'static Opt> {
    OPTIONS.iter().find(|option| option.name == name)
}

impl Opt {
    /// The value when nobody sets it, in the syntax of the file.
    pub(super) fn default_text(&self) -> String {
        self.kind.write(&(self.get)(&Checked::default()))
    }
}

impl Value {
    /// As the number type of a field. Ranges of the table fit their fields (checked by a test).
    pub(super) fn number<T: TryFrom<u64>>(self) -> T {
        match self {
            Self::Number(number) => T::try_from(number).ok(),
            _ => None,
        }
        .expect("the kind of the option allows numbers of its field only")
    }

    pub(super) fn boolean(&self) -> bool {
        *self == Self::Boolean(true)
    }

    /// `None` for the empty text.
    pub(super) fn text(self) -> Option<String> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    pub(super) fn choice(&self) -> &'static str {
        match self {
            Self::Choice(word) => word,
            _ => "",
        }
    }
}

/// `get` and `set` of a number field: `limits.packet_size_max`.
macro_rules! number {
    ($($field:ident).+) => {
        Access(
            |checked| Value::Number(checked.$($field).+.into()),
            |checked, value| checked.$($field).+ = value.number(),
        )
    };
}

/// `get` and `set` of a number field that may be unlimited, which is `NONE`.
macro_rules! optional {
    ($($field:ident).+) => {
        Access(
            |checked| match checked.$($field).+ {
                Some(number) => Value::Number(number.into()),
                None => Value::Word,
            },
            |checked, value| {
                checked.$($field).+ = match value {
                    Value::Word => None,
                    number => Some(number.number()),
                }
            },
        )
    };
}

/// `get` and `set` of an optional text.
macro_rules! text {
    ($($field:ident).+) => {
        Access(
            |checked| Value::Text(checked.$($field).+.clone().unwrap_or_default()),
            |checked, value| checked.$($field).+ = value.text(),
        )
    };
}

const FILE: Kind = Kind::Text("the name of a file");

struct Access(fn(&Checked) -> Value, fn(&mut Checked, Value));

const fn opt(
    (group, name): (&'static str, &'static str),
    kind: Kind,
    Access(get, set): Access,
    (help, reason): (&'static str, &'static str),
) -> Opt {
    Opt {
        name,
        group,
        kind,
        help,
        reason,
        get,
        set,
    }
}

const fn count(min: u64, max: u64) -> Kind {
    Kind::Number {
        min,
        max,
        word: None,
    }
}

/// A number, or no limit.
const fn count_or_none(max: u64) -> Kind {
    Kind::Number {
        min: 1,
        max,
        word: Some("none"),
    }
}

const LISTENERS: &str = "Listeners";
const ACCOUNTS: &str = "Accounts";
const SHARDS: &str = "Shards";
const SESSIONS: &str = "Sessions";
const LIMITS: &str = "Limits";
const QUOTAS: &str = "Quotas";
const LOGGING: &str = "Logging";

const U16: u64 = u16::MAX as u64;
const U32: u64 = u32::MAX as u64;

/// The largest MQTT packet: a fixed header of 5 bytes and 268,435,455 bytes after it.
const PACKET_SIZE_LARGEST: u64 = 5 + 268_435_455;
/// A match goes down the stack by one call per level: far within the 2 MiB of a shard's thread.
const TOPIC_LEVELS_LARGEST: u64 = 1_000;
/// More than any machine has; keeps sums far from the ends of their types.
const MEMORY_LARGEST: u64 = 1 << 50;
/// Session Expiry Interval that means "never" [MQTT-5.0, 3.1.2.11.2].
const EXPIRY_NEVER_S: u32 = u32::MAX;

/// In the order of the help and of the example file.
pub(super) static OPTIONS: [Opt; 60] = [
    opt(
        (LISTENERS, "listen"),
        Kind::Addresses,
        Access(
            |checked| Value::Addresses(checked.listen.clone()),
            |checked, value| {
                if let Value::Addresses(addresses) = value {
                    checked.listen = addresses;
                }
            },
        ),
        (
            "Address and port to listen on; may be given more than once",
            "Several addresses are a list in the file and repeated options on the command line. \
             \"0.0.0.0:1883\" and \"[::]:1883\" are all addresses of the machine; port 0 lets the \
             kernel choose. Anything but loopback needs a way to log in (password-file and others) or \
             allow-anonymous.",
        ),
    ),
    opt(
        (LISTENERS, "allow-anonymous"),
        Kind::Boolean,
        Access(
            |checked| Value::Boolean(checked.allow_anonymous),
            |checked, value| checked.allow_anonymous = value.boolean(),
        ),
        (
            "Let clients without credentials connect",
            "A broker that answers the network without asking who is there must have been meant. \
             Where nobody can log in, loopback listeners take anonymous clients in any case. Who \
             gives credentials that are wrong is refused all the same.",
        ),
    ),
    opt(
        (LISTENERS, "watch-files"),
        Kind::Boolean,
        Access(
            |checked| Value::Boolean(checked.watch_files),
            |checked, value| checked.watch_files = value.boolean(),
        ),
        (
            "Read the files of TLS, accounts and rules again when they change",
            "As at SIGHUP, within a few seconds: one that does not load leaves the old in force. For \
             certificates that something else renews.",
        ),
    ),
    opt(
        (ACCOUNTS, "password-file"),
        FILE,
        text!(auth.password_file),
        (
            "File of user names and hashed passwords, as mosquitto_passwd writes it",
            "Made with `ringmq passwd`. With it (or another way to log in) clients without \
             credentials are refused, unless allow-anonymous is set. SIGHUP reads it again.",
        ),
    ),
    opt(
        (ACCOUNTS, "acl-file"),
        FILE,
        text!(auth.acl_file),
        (
            "What clients may publish and subscribe to, in Mosquitto's format",
            "With it everything is refused that no rule allows. A `deny` wins over every other \
             rule. SIGHUP reads it again; subscriptions it no longer allows end.",
        ),
    ),
    opt(
        (ACCOUNTS, "acl-check-delivery"),
        Kind::Boolean,
        Access(
            |checked| Value::Boolean(checked.auth.acl_check_delivery),
            |checked, value| checked.auth.acl_check_delivery = value.boolean(),
        ),
        (
            "Check each delivery; subscriptions may then reach beyond the rules",
            "Off: a filter is allowed if everything it matches may be read, and deliveries cost \
             nothing. On: as Mosquitto does, a filter is allowed if something of it may be read, and \
             each message is checked for each receiver.",
        ),
    ),
    opt(
        (ACCOUNTS, "acl-disconnect"),
        Kind::Boolean,
        Access(
            |checked| Value::Boolean(checked.auth.acl_disconnect),
            |checked, value| checked.auth.acl_disconnect = value.boolean(),
        ),
        (
            "Disconnect a client that publishes or subscribes to what it may not",
            "Off: a 5.0 client is told 0x87; for a 3.1.1 client a publication is acknowledged and \
             goes nowhere, a subscription is answered with 0x80.",
        ),
    ),
    opt(
        (ACCOUNTS, "scram-file"),
        FILE,
        text!(auth.scram_file),
        (
            "Credentials for SCRAM-SHA-256, the enhanced authentication of 5.0",
            "Made with `ringmq passwd --scram`. SIGHUP reads it again.",
        ),
    ),
    opt(
        (ACCOUNTS, "jwt-key-file"),
        FILE,
        text!(auth.jwt_key_file),
        (
            "Public key (PEM) or key set (JWKS) of who signs JSON web tokens",
            "A token comes as the password of CONNECT; the user name is then the token's, whatever \
             CONNECT says. When it expires its connection ends. SIGHUP reads it again.",
        ),
    ),
    opt(
        (ACCOUNTS, "jwt-secret-file"),
        FILE,
        text!(auth.jwt_secret_file),
        (
            "Secret of JSON web tokens signed with HMAC (HS256, HS384, HS512)",
            "At least 32 bytes; a line break at the end is not part of it. SIGHUP reads it again.",
        ),
    ),
    opt(
        (ACCOUNTS, "jwt-issuer"),
        Kind::Text("a name"),
        text!(auth.jwt.issuer),
        ("What a token's `iss` must be", "\"\" takes any issuer whose key is known."),
    ),
    opt(
        (ACCOUNTS, "jwt-audience"),
        Kind::Text("a name"),
        text!(auth.jwt.audience),
        (
            "What a token's `aud` must be or contain",
            "\"\" takes tokens that were made for others, too.",
        ),
    ),
    opt(
        (ACCOUNTS, "jwt-user-claim"),
        Kind::Text("the name of a claim"),
        Access(
            |checked| Value::Text(checked.auth.jwt.user_claim.clone()),
            |checked, value| checked.auth.jwt.user_claim = value.text().unwrap_or_default(),
        ),
        ("The claim that is the user name", "A token without it is refused."),
    ),
    opt(
        (ACCOUNTS, "jwt-acl-claim"),
        Kind::Text("the name of a claim"),
        Access(
            |checked| Value::Text(checked.auth.jwt.acl_claim.clone()),
            |checked, value| checked.auth.jwt.acl_claim = value.text().unwrap_or_default(),
        ),
        (
            "The claim with lists of filters to `publish` and to `subscribe`",
            "A token that has it brings its own rules, which take the place of acl-file.",
        ),
    ),
    opt(
        (ACCOUNTS, "http-hook-url"),
        Kind::Text("a URL starting with http:// or https://"),
        Access(
            |checked| Value::Text(checked.hook.url.clone()),
            |checked, value| checked.hook.url = value.text().unwrap_or_default(),
        ),
        (
            "A service that is asked about logins",
            "It gets a POST with client_id, user, password and address as JSON and answers \
             {\"result\": \"allow\"} or \"deny\", maybe with `user` and `acl`. Users of password-file \
             are not asked about.",
        ),
    ),
    opt(
        (ACCOUNTS, "http-hook-acl-url"),
        Kind::Text("a URL starting with http:// or https://"),
        Access(
            |checked| Value::Text(checked.acl_hook_url.clone()),
            |checked, value| checked.acl_hook_url = value.text().unwrap_or_default(),
        ),
        (
            "A service that is asked what clients may publish and subscribe to",
            "It gets a POST with action (\"publish\" or \"subscribe\"), topics, client_id, user and address \
             as JSON and answers {\"result\": \"allow\"}, \"deny\" or a list of them. What acl-file refuses is not \
             asked; nor is a client whose token or login has brought rules. A client waits for the answer, \
             the others do not.",
        ),
    ),
    opt(
        (ACCOUNTS, "http-hook-ca"),
        FILE,
        text!(auth.hook_ca_file),
        (
            "Authorities (PEM) of https hooks, in place of those that browsers know",
            "For a service whose certificate is signed by an authority of your own. Read at start.",
        ),
    ),
    opt(
        (ACCOUNTS, "http-hook-timeout"),
        Kind::Seconds {
            min: 1,
            max: 60,
            word: None,
        },
        Access(
            |checked| Value::Number(checked.hook.timeout.as_secs()),
            |checked, value| checked.hook.timeout = Span::from_secs(value.number()),
        ),
        (
            "Time for the hook to answer",
            "After it the hook counts as down. Clients wait for at most connect-timeout.",
        ),
    ),
    opt(
        (ACCOUNTS, "http-hook-cache"),
        Kind::Seconds {
            min: 0,
            max: 86_400,
            word: None,
        },
        Access(
            |checked| Value::Number(checked.hook.cache.as_secs()),
            |checked, value| checked.hook.cache = Span::from_secs(value.number()),
        ),
        (
            "How long an answer of a hook counts for the same question",
            "A password that was revoked still opens the broker for so long. What a client may do counts for \
             its connection. 0 asks each time.",
        ),
    ),
    opt(
        (ACCOUNTS, "http-hook-when-down"),
        Kind::Choice(&["deny", "allow"]),
        Access(
            |checked| {
                Value::Choice(if checked.hook.allow_when_down { "allow" } else { "deny" })
            },
            |checked, value| checked.hook.allow_when_down = value.choice() == "allow",
        ),
        (
            "What counts while a hook does not answer",
            "\"allow\" lets anybody in under any name, and do anything, as long as the hook is down. \"deny\" \
             refuses logins with 0x88, publications and subscriptions with 0x83; a 3.1.1 client that \
             publishes with QoS 1 or 2 is disconnected then, so that it sends it again.",
        ),
    ),
    opt(
        (ACCOUNTS, "login-queue-max"),
        count(1, 1_000_000),
        number!(login_queue_max),
        (
            "Logins that may wait to be judged",
            "One more is refused with 0x97 (3.1.1: server unavailable). Connected clients do not \
             wait for logins.",
        ),
    ),
    opt(
        (ACCOUNTS, "ban-failures"),
        count(0, U32),
        number!(bans.failures),
        (
            "Failed logins that ban a source address",
            "An IPv6 source is the first half of its address. 0 bans nobody, which may be right \
             where all clients come through one proxy.",
        ),
    ),
    opt(
        (ACCOUNTS, "ban-within"),
        Kind::Seconds {
            min: 1,
            max: 86_400,
            word: None,
        },
        Access(
            |checked| Value::Number(checked.bans.within.as_secs()),
            |checked, value| checked.bans.within = Span::from_secs(value.number()),
        ),
        ("Time in which they must have failed", "Slower guesses are not noticed."),
    ),
    opt(
        (ACCOUNTS, "ban-time"),
        Kind::Seconds {
            min: 1,
            max: 2_592_000,
            word: None,
        },
        Access(
            |checked| Value::Number(checked.bans.span.as_secs()),
            |checked, value| checked.bans.span = Span::from_secs(value.number()),
        ),
        (
            "How long a source address is banned",
            "Its connections are closed at once. It starts anew with each restart.",
        ),
    ),
    opt(
        (SHARDS, "shards"),
        Kind::Number {
            min: 1,
            max: SHARDS_MAX as u64,
            word: Some("auto"),
        },
        Access(
            |checked| match checked.shards {
                Some(shards) => Value::Number(shards.into()),
                None => Value::Word,
            },
            |checked, value| {
                checked.shards = match value {
                    Value::Word => None,
                    number => Some(number.number()),
                }
            },
        ),
        (
            "Shards, each with a thread, a ring and its own clients",
            "\"auto\" is one per core this process may use, which is right unless the machine has \
             other work: then leave it some cores.",
        ),
    ),
    opt(
        (SHARDS, "pin-shards"),
        Kind::Choice(&["auto", "off"]),
        Access(
            |checked| Value::Choice(if checked.pin { "auto" } else { "off" }),
            |checked, value| checked.pin = value.choice() == "auto",
        ),
        (
            "Keep each shard on a core of its own",
            "\"auto\" pins when there is a core for every shard. \"off\" leaves the choice to the \
             kernel: better beside other busy programs on the same cores.",
        ),
    ),
    opt(
        (SHARDS, "shutdown-timeout"),
        Kind::Seconds {
            min: 0,
            max: 5,
            word: None,
        },
        Access(
            |checked| Value::Number(checked.shutdown_timeout.as_secs()),
            |checked, value| checked.shutdown_timeout = Span::from_secs(value.number()),
        ),
        (
            "Time for wills and farewells when the broker stops",
            "It ends sooner when all is said. Clients that do not read their farewell by then are \
             cut off.",
        ),
    ),
    opt(
        (SESSIONS, "session-expiry-max"),
        Kind::Seconds {
            min: 0,
            max: U32 - 1,
            word: Some("none"),
        },
        Access(
            |checked| match checked.limits.session_expiry_max_s {
                EXPIRY_NEVER_S => Value::Word,
                seconds => Value::Number(seconds.into()),
            },
            |checked, value| {
                checked.limits.session_expiry_max_s = match value {
                    Value::Word => EXPIRY_NEVER_S,
                    number => number.number(),
                }
            },
        ),
        (
            "Longest time a session is kept for a client that is away",
            "A 5.0 client asking for more is told this value; a 3.1 or 3.1.1 client without clean \
             session is kept this long. 0 ends every session with its connection, \"none\" lets \
             clients keep a session for ever: their queues then stay, too.",
        ),
    ),
    opt(
        (SESSIONS, "keep-alive-max"),
        Kind::Seconds {
            min: 1,
            max: U16,
            word: Some("none"),
        },
        Access(
            |checked| match checked.limits.keep_alive_max_s {
                Some(seconds) => Value::Number(seconds.into()),
                None => Value::Word,
            },
            |checked, value| {
                checked.limits.keep_alive_max_s = match value {
                    Value::Word => None,
                    number => Some(number.number()),
                }
            },
        ),
        (
            "Longest keep alive",
            "A client asking for more, or for no keep alive at all, is timed by this value (a 5.0 \
             client is told). \"none\" leaves each client its own value, so that one without keep \
             alive is never timed out.",
        ),
    ),
    opt(
        (SESSIONS, "subscriptions-max"),
        count(1, U32),
        number!(limits.subscriptions_max),
        (
            "Subscriptions of one session",
            "One more is refused with 0x97 (Quota exceeded). Every shard holds every subscription.",
        ),
    ),
    opt(
        (SESSIONS, "outgoing-window-max"),
        count(1, U16),
        number!(limits.outgoing_window_max),
        (
            "QoS 1 and 2 messages in flight to one client",
            "Never above the Receive Maximum the client announces. More hides a long round trip, \
             less leaves more to the queue, where messages can still expire or be dropped.",
        ),
    ),
    opt(
        (SESSIONS, "receive-maximum"),
        count(1, U16),
        number!(limits.receive_maximum),
        (
            "QoS 1 and 2 messages a client may have in flight to the broker",
            "Announced to 5.0 clients as Receive Maximum. A client that goes beyond it is \
             disconnected with 0x93 [MQTT-3.3.4-9].",
        ),
    ),
    opt(
        (SESSIONS, "queue-messages-max"),
        count(1, U32),
        number!(limits.queue_messages_max),
        (
            "Messages waiting for one client",
            "What happens to one more is queue-policy.",
        ),
    ),
    opt(
        (SESSIONS, "queue-bytes-max"),
        Kind::Bytes {
            min: 256,
            max: MEMORY_LARGEST,
        },
        number!(limits.queue_bytes_max),
        (
            "Bytes waiting for one client or in flight to it",
            "At least packet-size-max, or the largest messages could never wait. What happens to \
             more is queue-policy.",
        ),
    ),
    opt(
        (SESSIONS, "queue-policy"),
        Kind::Choice(&["drop-oldest", "drop-newest", "disconnect"]),
        Access(
            |checked| {
                Value::Choice(match checked.limits.queue_policy {
                    QueuePolicy::DropOldest => "drop-oldest",
                    QueuePolicy::DropNewest => "drop-newest",
                    QueuePolicy::Disconnect => "disconnect",
                })
            },
            |checked, value| {
                checked.limits.queue_policy = match value.choice() {
                    "drop-newest" => QueuePolicy::DropNewest,
                    "disconnect" => QueuePolicy::Disconnect,
                    _ => QueuePolicy::DropOldest,
                }
            },
        ),
        (
            "What a full queue does with one more QoS 1 or 2 message",
            "\"drop-oldest\" makes room: a client that returns sees the latest state. \
             \"drop-newest\" keeps what was there. \"disconnect\" ends the connection with 0x97 and \
             keeps the session; while the client is away the new message is dropped.",
        ),
    ),
    opt(
        (SESSIONS, "queue-qos0"),
        Kind::Boolean,
        Access(
            |checked| Value::Boolean(checked.limits.queue_qos0),
            |checked, value| checked.limits.queue_qos0 = value.boolean(),
        ),
        (
            "Queue QoS 0 messages, too, for clients that are away",
            "MQTT leaves it open. Off: a sensor's stream does not fill the queue of somebody who \
             is away.",
        ),
    ),
    opt(
        (LIMITS, "packet-size-max"),
        Kind::Bytes {
            min: 256,
            max: PACKET_SIZE_LARGEST,
        },
        number!(limits.packet_size_max),
        (
            "Largest packet accepted, header included",
            "A larger one ends the connection with 0x95 before its bytes are read. Announced to \
             5.0 clients as Maximum Packet Size. queue-bytes-max, outgoing-bytes-max and \
             retained-bytes-max must be at least as large.",
        ),
    ),
    opt(
        (LIMITS, "connect-timeout"),
        Kind::Seconds {
            min: 1,
            max: U16,
            word: None,
        },
        number!(limits.connect_timeout_s),
        (
            "Time for a new connection to send its CONNECT",
            "Closes what connects and stays silent before it has said who it is.",
        ),
    ),
    opt(
        (LIMITS, "connections-max"),
        count(1, U32),
        number!(limits.connections_max),
        (
            "Network connections of the whole broker",
            "One more is closed at once. The open-file limit of the process must leave room for \
             them.",
        ),
    ),
    opt(
        (LIMITS, "sessions-max"),
        count(1, U32),
        number!(limits.sessions_max),
        (
            "Sessions of the whole broker, connected or not",
            "A client that would need one more is refused with 0x97 (3.1.1: server unavailable). \
             Below connections-max, it is the limit that counts.",
        ),
    ),
    opt(
        (LIMITS, "client-id-bytes-max"),
        count(23, U16),
        number!(limits.client_id_bytes_max),
        (
            "Longest client identifier, in bytes",
            "Longer ones are refused with 0x85. 23 bytes must be accepted [MQTT-3.1.3-5].",
        ),
    ),
    opt(
        (LIMITS, "topic-levels-max"),
        count(1, TOPIC_LEVELS_LARGEST),
        number!(limits.topic_levels_max),
        (
            "Levels of a topic name or topic filter",
            "Deeper topics are refused. Each level is a step of every match.",
        ),
    ),
    opt(
        (LIMITS, "topic-alias-maximum"),
        count(0, U16),
        number!(limits.topic_alias_maximum),
        (
            "Topic aliases a 5.0 client may use towards the broker",
            "Each keeps a topic name per connection. 0 allows none.",
        ),
    ),
    opt(
        (LIMITS, "topic-alias-outgoing-max"),
        count(0, U16),
        number!(limits.topic_alias_outgoing_max),
        (
            "Topic aliases the broker uses towards a 5.0 client",
            "Never more than the client announces. Each keeps a topic name per connection. 0 uses \
             none.",
        ),
    ),
    opt(
        (LIMITS, "retained-messages-max"),
        count(0, U32),
        number!(limits.retained_messages_max),
        (
            "Retained messages of the whole broker",
            "One more is delivered but not kept. 0 keeps none.",
        ),
    ),
    opt(
        (LIMITS, "retained-bytes-max"),
        Kind::Bytes {
            min: 0,
            max: MEMORY_LARGEST,
        },
        number!(limits.retained_bytes_max),
        (
            "Bytes of retained messages of the whole broker",
            "At least packet-size-max, or the largest messages could never be kept; 0 keeps none.",
        ),
    ),
    opt(
        (LIMITS, "outgoing-bytes-max"),
        Kind::Bytes {
            min: 256,
            max: U32,
        },
        number!(limits.outgoing_bytes_max),
        (
            "Bytes waiting to be sent on one connection",
            "Above it QoS 0 messages for this client are dropped, QoS 1 and 2 messages stay in its \
             queue, and nothing more is read from it. At least packet-size-max, or the largest \
             packets could never be sent.",
        ),
    ),
    opt(
        (QUOTAS, "client-in-messages-per-s"),
        count_or_none(U32),
        optional!(limits.client_rates.incoming.messages_per_s),
        (
            "PUBLISH packets per second of one client",
            "A client that sends more is read more slowly: nothing it sent is lost.",
        ),
    ),
    opt(
        (QUOTAS, "client-in-bytes-per-s"),
        count_or_none(U32),
        optional!(limits.client_rates.incoming.bytes_per_s),
        (
            "Bytes per second of one client",
            "The same, for the bytes of all packets.",
        ),
    ),
    opt(
        (QUOTAS, "client-out-messages-per-s"),
        count_or_none(U32),
        optional!(limits.client_rates.outgoing.messages_per_s),
        (
            "PUBLISH packets per second to one client",
            "QoS 0 messages above it are dropped and counted; QoS 1 and 2 messages wait in the client's queue.",
        ),
    ),
    opt(
        (QUOTAS, "client-out-bytes-per-s"),
        count_or_none(U32),
        optional!(limits.client_rates.outgoing.bytes_per_s),
        (
            "Bytes of PUBLISH packets per second to one client",
            "The same, for bytes.",
        ),
    ),
    opt(
        (QUOTAS, "listener-in-messages-per-s"),
        count_or_none(U32),
        optional!(limits.listener_rates.incoming.messages_per_s),
        (
            "PUBLISH packets per second of all clients of one listener",
            "Each shard has its part of it. The clients that send are read more slowly, each as often as the others.",
        ),
    ),
    opt(
        (QUOTAS, "listener-in-bytes-per-s"),
        count_or_none(U32),
        optional!(limits.listener_rates.incoming.bytes_per_s),
        (
            "Bytes per second of all clients of one listener",
            "The same, for the bytes of all packets.",
        ),
    ),
    opt(
        (QUOTAS, "listener-out-messages-per-s"),
        count_or_none(U32),
        optional!(limits.listener_rates.outgoing.messages_per_s),
        (
            "PUBLISH packets per second to all clients of one listener",
            "Each shard has its part of it. QoS 0 messages above it are dropped and counted; QoS 1 and 2 messages wait in the clients' queues.",
        ),
    ),
    opt(
        (QUOTAS, "listener-out-bytes-per-s"),
        count_or_none(U32),
        optional!(limits.listener_rates.outgoing.bytes_per_s),
        (
            "Bytes of PUBLISH packets per second to all clients of one listener",
            "The same, for bytes.",
        ),
    ),
    opt(
        (QUOTAS, "rate-burst"),
        Kind::Seconds {
            min: 0,
            max: 3_600,
            word: None,
        },
        number!(limits.rate_burst_s),
        (
            "How much of a rate may come at once, as the time it would take",
            "A client that was quiet may send or get this much without a pause. What one read brings \
             (64 KiB at most) is always taken.",
        ),
    ),
    opt(
        (QUOTAS, "half-open-max"),
        count_or_none(U32),
        optional!(limits.half_open_max),
        (
            "Connections that have not sent their CONNECT",
            "More are closed at once. It bounds what strangers can hold; in a storm of reconnecting clients many are half open for a moment, so it should be generous. Each shard has its part of it.",
        ),
    ),
    opt(
        (QUOTAS, "memory-max"),
        Kind::Bytes {
            min: 0,
            max: MEMORY_LARGEST,
        },
        number!(memory_max),
        (
            "Memory of the process from which on no clients are let in",
            "They get 0x97 (Quota exceeded; return code 3 in 3.1.1), before the kernel kills the \
             broker and ends all sessions; those that are connected are served as before. 0 takes 90 % \
             of what the cgroup allows, and no limit when it allows everything.",
        ),
    ),
    opt(
        (QUOTAS, "turn-max-ms"),
        count_or_none(10_000),
        optional!(turn_max_ms),
        (
            "Milliseconds that a turn of a shard may take",
            "When turns take longer, less is read in each, so that clients are answered sooner and \
             all publishers slow down alike; when that does not help for a second, new clients are \
             refused with 0x97. A turn of 10 ms is long; other programs on the shard's core make \
             turns long, too.",
        ),
    ),
    opt(
        (LOGGING, "log-level"),
        Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        Access(
            |checked| {
                Value::Choice(match checked.log_level {
                    tracing::Level::ERROR => "error",
                    tracing::Level::WARN => "warn",
                    tracing::Level::INFO => "info",
                    tracing::Level::DEBUG => "debug",
                    tracing::Level::TRACE => "trace",
                })
            },
            |checked, value| {
                checked.log_level = match value.choice() {
                    "error" => tracing::Level::ERROR,
                    "warn" => tracing::Level::WARN,
                    "debug" => tracing::Level::DEBUG,
                    "trace" => tracing::Level::TRACE,
                    _ => tracing::Level::INFO,
                }
            },
        ),
        (
            "Least important log line written to stderr",
            "\"info\" tells of start, stop and what was refused or dropped; \"debug\" adds every \
             connection; \"trace\" is for looking for a fault.",
        ),
    ),
];
