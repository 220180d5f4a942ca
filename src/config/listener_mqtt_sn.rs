//! Options of a listener of MQTT-SN.

use std::net::SocketAddr;

use super::kind::{Kind, Value};
use super::listener_option::{count, opt, Access, ListenerOpt};
use crate::mqtt_sn::AddressChange;

/// A number of the settings.
macro_rules! number {
    ($field:ident, $as:ty) => {
        Access(
            |listener| Value::Number(listener.mqtt_sn.$field.into()),
            |listener, value| listener.mqtt_sn.$field = value.number::<u64>() as $as, // within the kind's range
        )
    };
}

/// In the order of the example file. All begin with `sn-`.
pub(super) static OPTIONS: [ListenerOpt; 15] = [
    opt(
        "sn-gateway-id",
        "1",
        Kind::Number {
            min: 0,
            max: 255,
            word: None,
        },
        number!(gateway_id, u8),
        (
            "Number of this gateway, for clients that look for one (MQTT-SN)",
            "Each gateway of a network needs one of its own. 1 by default.",
        ),
    ),
    opt(
        "sn-multicast",
        "\"225.1.1.1:1885\"",
        Kind::Text("an address and a port"),
        Access(
            |listener| {
                let group = listener.mqtt_sn.multicast;
                Value::Text(group.map_or_else(String::new, |group| group.to_string()))
            },
            |listener, value| {
                // What is none is reported by the check of the listener.
                listener.mqtt_sn.multicast = value.text().map(|text| {
                    let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
                    text.parse().unwrap_or(unspecified)
                });
            },
        ),
        (
            "Multicast group in which clients look for a gateway (SEARCHGW)",
            "It is answered to the group and to who has asked, 20 times a second at most. By default only SEARCHGW to the \
             listener's own address is answered.",
        ),
    ),
    opt(
        "sn-advertise",
        "\"20m\"",
        Kind::Seconds {
            min: 901,
            max: 65_535,
            word: Some("none"),
        },
        Access(
            |listener| match listener.mqtt_sn.advertise_s {
                Some(seconds) => Value::Number(seconds.into()),
                None => Value::Word,
            },
            |listener, value| {
                listener.mqtt_sn.advertise_s = match value {
                    Value::Word => None,
                    number => Some(number.number::<u64>() as u16), // within the kind's range
                }
            },
        ),
        (
            "How often the group is told of this gateway (ADVERTISE)",
            "None by default. More than 15 minutes, as the specification recommends.",
        ),
    ),
    opt(
        "sn-datagram-max",
        "\"1KiB\"",
        Kind::Bytes {
            min: 64,
            max: 65_000,
        },
        number!(datagram_max, u16),
        (
            "Largest message of MQTT-SN taken and sent",
            "1024 bytes by default. A larger one is dropped, whoever it is for: a datagram that the network has to \
             cut is lost with each of its pieces. Radio networks take less than Ethernet.",
        ),
    ),
    opt(
        "sn-retry",
        "\"10s\"",
        Kind::Seconds {
            min: 1,
            max: 3_600,
            word: None,
        },
        number!(retry_s, u16),
        (
            "After what time a message is sent again that a client has not answered (T_RETRY)",
            "10 seconds by default, which the specification recommends.",
        ),
    ),
    opt(
        "sn-retries",
        "4",
        Kind::Number {
            min: 0,
            max: 100,
            word: None,
        },
        number!(retries, u8),
        (
            "How often it is sent again before its client is taken for lost (N_RETRY)",
            "4 by default. The message stays in the client's queue.",
        ),
    ),
    opt(
        "sn-pace-ms",
        "50",
        Kind::Number {
            min: 0,
            max: 10_000,
            word: None,
        },
        number!(pace_ms, u16),
        (
            "Milliseconds from one retained message at QoS 0 to the next",
            "20 by default: after a subscription they all come, and many clients have room for one datagram. Messages at QoS 1 \
             and 2 wait for the acknowledgement of the one before anyway. 0 sends them at once.",
        ),
    ),
    opt(
        "sn-sleep-max",
        "\"18h\"",
        Kind::Seconds {
            min: 1,
            max: 65_535,
            word: None,
        },
        number!(sleep_max_s, u16),
        (
            "Longest sleep of a client",
            "One that does not wake up in time, and half as much again (a tenth above a minute), is lost: its will is \
             published. 65535 seconds by default, the most a client can ask for.",
        ),
    ),
    opt(
        "sn-topics-max",
        "1000",
        Kind::Number {
            min: 1,
            max: 30_000,
            word: None,
        },
        number!(topics_max, u16),
        (
            "Topics of one client that have a topic id",
            "A client that registers more is refused (return code 3). 1000 by default, and 64 KiB of names.",
        ),
    ),
    opt(
        "sn-predefined",
        "\"/etc/ringmq/topics.csv\"",
        Kind::Text("a file"),
        Access(
            |listener| {
                let file = listener.mqtt_sn.predefined_file.as_ref();
                Value::Text(file.map_or_else(String::new, |file| file.display().to_string()))
            },
            |listener, value| listener.mqtt_sn.predefined_file = value.text().map(Into::into),
        ),
        (
            "Predefined topic ids",
            "Lines \"client, topic, id\", or \"*, topic, id\" for all clients. Read again at SIGHUP.",
        ),
    ),
    opt(
        "sn-clients",
        "\"/etc/ringmq/sensors.txt\"",
        Kind::Text("a file"),
        Access(
            |listener| {
                let file = listener.mqtt_sn.clients_file.as_ref();
                Value::Text(file.map_or_else(String::new, |file| file.display().to_string()))
            },
            |listener, value| listener.mqtt_sn.clients_file = value.text().map(Into::into),
        ),
        (
            "Client ids that may come",
            "One on each line; the CONNECT of another one is refused (return code 3). Every client id may come by \
             default. Read again at SIGHUP.",
        ),
    ),
    opt(
        "sn-forwarders",
        "true",
        Kind::Boolean,
        Access(
            |listener| Value::Boolean(listener.mqtt_sn.forwarders),
            |listener, value| listener.mqtt_sn.forwarders = value.boolean(),
        ),
        (
            "Take messages of nodes that a forwarder passes on",
            "Each node behind a forwarder is a client of its own. By default such messages are dropped.",
        ),
    ),
    opt(
        "sn-qos-minus-one",
        "\"sensors\"",
        Kind::Text("a user"),
        Access(
            |listener| {
                let user = listener.mqtt_sn.minus_one_user.as_deref();
                Value::Text(user.unwrap_or_default().into())
            },
            |listener, value| {
                listener.mqtt_sn.minus_one_user = value.text().map(String::into_boxed_str);
            },
        ),
        (
            "User for whom publications without a connection are taken (QoS -1)",
            "To predefined ids of all clients and short names only; rules apply to this user. By default they are \
             dropped: anybody can send them.",
        ),
    ),
    opt(
        "sn-address-change",
        "\"asleep\"",
        Kind::Choice(&["never", "asleep"]),
        Access(
            |listener| {
                Value::Choice(match listener.mqtt_sn.address_change {
                    AddressChange::Never => "never",
                    AddressChange::Asleep => "asleep",
                })
            },
            |listener, value| {
                listener.mqtt_sn.address_change = match value.choice() {
                    "asleep" => AddressChange::Asleep,
                    _ => AddressChange::Never,
                }
            },
        ),
        (
            "Whether a client may wake up at another address",
            "\"asleep\" lets a client that sleeps continue from wherever a PINGREQ with its id comes, as routers with \
             address translation need it; whoever knows the id can take its messages. By default it has to connect again.",
        ),
    ),
    opt(
        "sn-datagram-rate-source",
        "1000",
        count(),
        Access(
            |listener| match listener.mqtt_sn.datagram_rate_source {
                Some(number) => Value::Number(number.into()),
                None => Value::Word,
            },
            |listener, value| {
                listener.mqtt_sn.datagram_rate_source = match value {
                    Value::Word => None,
                    number => Some(number.number()),
                }
            },
        ),
        (
            "Datagrams per second of one source address",
            "More are dropped before anything is read of them. An address of IPv4, or the first 64 bits of one of IPv6.",
        ),
    ),
];
