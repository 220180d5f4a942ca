//! The verbs: what each is called with, which requests it makes, and how its answer is shown.

use clap::{Arg, ArgMatches};
use serde_json::{json, Value};

use super::arguments::{
    count, encoded, flag, limit, limit_arg, needed, number, option, pages, text, whom_args, with,
    word,
};
use super::client::{Client, Failure};
use super::table::{fields, nothing, show_listeners, show_subscriptions, table};

/// Takes each value that a verb gives.
type Each<'a> = &'a mut dyn FnMut(&Value) -> Result<(), Failure>;

pub(super) struct Verb {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) args: fn() -> Vec<Arg>,
    pub(super) run: fn(&Client, &ArgMatches, Each<'_>) -> Result<(), Failure>,
    pub(super) show: fn(&Value) -> String,
}

pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: "status",
        about: "Version, uptime, listeners",
        args: Vec::new,
        run: |client, _, each| {
            let mut status = client.get("/api/v1/broker")?;
            status["listeners"] = client.get("/api/v1/listeners")?["listeners"].take();
            each(&status)
        },
        show: |value| {
            let mut broker = value.clone();
            let listeners = broker["listeners"].take();
            fields(&broker) + "\n" + &show_listeners(&json!({ "listeners": listeners }))
        },
    },
    Verb {
        name: "clients",
        about: "Lists clients",
        args: || {
            vec![
                option("prefix", "TEXT", "What the client id begins with"),
                option("user", "NAME", "The authenticated user"),
                option("address", "IP", "The client's address"),
                option("connected", "BOOL", "true or false").value_parser(["true", "false"]),
                option("protocol", "WORD", "mqtt or mqtt-sn").value_parser(["mqtt", "mqtt-sn"]),
                count("min-queue", "At least so many messages wait"),
                option("sort", "WORD", "The largest first").value_parser([
                    "queue",
                    "dropped",
                    "publications",
                    "deliveries",
                    "bytes",
                    "rate",
                ]),
                limit_arg(),
            ]
        },
        run: |client, own, each| {
            let given = |name: &str| text(own, name).map(String::from);
            let pairs = [
                ("prefix", given("prefix")),
                ("user", given("user")),
                ("address", given("address")),
                ("connected", given("connected")),
                ("protocol", given("protocol")),
                (
                    "min_queue",
                    number(own, "min-queue").map(|min| min.to_string()),
                ),
                ("sort", given("sort")),
            ];
            each(&pages(
                client,
                "/api/v1/clients",
                &pairs,
                ("clients", limit(own)),
            )?)
        },
        show: |value| {
            let columns = [
                ("CLIENT", "client_id"),
                ("USER", "user"),
                ("ADDRESS", "address"),
                ("PROTOCOL", "protocol"),
                ("VERSION", "version"),
                ("STATE", "mqtt_sn/state"),
                ("SUBS", "subscriptions"),
                ("QUEUE", "queue_messages"),
                ("INFLIGHT", "inflight"),
                ("DROPPED", "dropped"),
                ("IN", "publications"),
                ("OUT", "deliveries"),
            ];
            table(&value["clients"], &columns)
        },
    },
    Verb {
        name: "client",
        about: "Shows one client in detail",
        args: || vec![word("id", "Its client id")],
        run: |client, own, each| {
            let id = encoded(needed(own, "id"));
            each(&client.get(&format!("/api/v1/clients/{id}"))?)
        },
        show: fields,
    },
    Verb {
        name: "kick",
        about: "Disconnects a client; its session stays unless --end-session is given",
        args: || {
            vec![
                word("id", "Its client id"),
                flag("end-session", "Ends its session, too"),
                count("ban", "Minutes for which the client id is not let in again"),
            ]
        },
        run: |client, own, each| {
            let path = format!("/api/v1/clients/{}", encoded(needed(own, "id")));
            let ends = own.get_flag("end-session").then(|| "end".to_string());
            let ban = number(own, "ban").map(|minutes| minutes.to_string());
            let target = with(&path, &[("session", ends), ("ban", ban)]);
            each(&client.request("DELETE", &target, None)?)
        },
        show: nothing,
    },
    Verb {
        name: "ban",
        about: "Bans a client, a user or an address, and disconnects them",
        args: || {
            let mut args = whom_args();
            args.push(count(
                "minutes",
                "How long; until it is lifted unless given",
            ));
            args.push(option(
                "reason",
                "TEXT",
                "Why, for those who look at the list",
            ));
            args
        },
        run: |client, own, each| {
            let body = json!({
                "client": text(own, "client"),
                "user": text(own, "user"),
                "address": text(own, "address"),
                "minutes": number(own, "minutes"),
                "reason": text(own, "reason"),
            });
            each(&client.request("POST", "/api/v1/bans", Some(&body))?)
        },
        show: fields,
    },
    Verb {
        name: "unban",
        about: "Lifts a ban",
        args: whom_args,
        run: |client, own, each| {
            let given = |name: &'static str| (name, text(own, name).map(String::from));
            let pairs = [given("client"), given("user"), given("address")];
            each(&client.request("DELETE", &with("/api/v1/bans", &pairs), None)?)
        },
        show: nothing,
    },
    Verb {
        name: "bans",
        about: "Lists bans",
        args: Vec::new,
        run: |client, _, each| each(&client.get("/api/v1/bans")?),
        show: |value| {
            let columns = [
                ("CLIENT", "client"),
                ("USER", "user"),
                ("ADDRESS", "address"),
                ("UNTIL", "until_s"),
                ("BY", "by"),
                ("REASON", "reason"),
            ];
            table(&value["bans"], &columns)
        },
    },
    Verb {
        name: "subscriptions",
        about: "Lists subscriptions: all, a client's, or those that overlap with a filter",
        args: || {
            vec![
                option("client", "ID", "Of this client"),
                option(
                    "filter",
                    "FILTER",
                    "Whose filter has topics in common with this one",
                ),
                limit_arg(),
            ]
        },
        run: |client, own, each| {
            let path = match text(own, "client") {
                Some(id) => format!("/api/v1/clients/{}/subscriptions", encoded(id)),
                None => "/api/v1/subscriptions".into(),
            };
            let pairs = [("filter", text(own, "filter").map(String::from))];
            each(&pages(
                client,
                &path,
                &pairs,
                ("subscriptions", limit(own)),
            )?)
        },
        show: show_subscriptions,
    },
    Verb {
        name: "match",
        about: "Who receives a topic, and by which filter",
        args: || vec![word("topic", "A topic name"), limit_arg()],
        run: |client, own, each| {
            let pairs = [("topic", text(own, "topic").map(String::from))];
            let wanted = ("subscriptions", limit(own));
            each(&pages(client, "/api/v1/subscriptions", &pairs, wanted)?)
        },
        show: show_subscriptions,
    },
    Verb {
        name: "retained",
        about: "Lists retained messages; with --topic shows one, with --delete removes it",
        args: || {
            vec![
                option("filter", "FILTER", "Those that match; all unless given"),
                option("topic", "TOPIC", "The message of this topic"),
                flag("delete", "Removes it; subscribers are not told").requires("topic"),
                limit_arg(),
            ]
        },
        run: |client, own, each| {
            let given = |name: &'static str| (name, text(own, name).map(String::from));
            if text(own, "topic").is_some() {
                let target = with("/api/v1/retained/message", &[given("topic")]);
                let method = if own.get_flag("delete") {
                    "DELETE"
                } else {
                    "GET"
                };
                return each(&client.request(method, &target, None)?);
            }
            let wanted = ("messages", limit(own));
            each(&pages(
                client,
                "/api/v1/retained",
                &[given("filter")],
                wanted,
            )?)
        },
        show: |value| match &value["messages"] {
            Value::Null => fields(value),
            messages => {
                let columns = [
                    ("TOPIC", "topic"),
                    ("QOS", "qos"),
                    ("BYTES", "payload_bytes"),
                    ("PAYLOAD", "payload"),
                ];
                table(messages, &columns)
            }
        },
    },
    Verb {
        name: "publish",
        about: "Publishes a message",
        args: || {
            vec![
                word("topic", "A topic name"),
                word("payload", "Text"),
                count("qos", "0, 1 or 2"),
                flag("retain", "Kept as the topic's last message"),
                count("expiry", "Seconds after which it is of no use"),
            ]
        },
        run: |client, own, each| {
            let body = json!({
                "topic": text(own, "topic"),
                "payload": text(own, "payload"),
                "qos": number(own, "qos"),
                "retain": own.get_flag("retain"),
                "expiry_s": number(own, "expiry"),
            });
            each(&client.request("POST", "/api/v1/publish", Some(&body))?)
        },
        show: fields,
    },
    Verb {
        name: "trace",
        about: "Shows packets of a client, an address or a topic as JSON lines, for a while",
        args: || {
            vec![
                option("client", "ID", "Packets of this client"),
                option("prefix", "TEXT", "Packets of clients whose id begins so"),
                option("address", "IP", "Packets of connections from this address"),
                option("filter", "FILTER", "Publications whose topic matches"),
                count("seconds", "How long: 60 unless given"),
                count("bytes", "Size of the lines: 4 MiB unless given"),
                count(
                    "payload-bytes",
                    "So much of each payload; none unless given",
                ),
            ]
        },
        run: |client, own, each| {
            let body = json!({
                "client": text(own, "client"),
                "prefix": text(own, "prefix"),
                "address": text(own, "address"),
                "filter": text(own, "filter"),
                "seconds": number(own, "seconds"),
                "bytes": number(own, "bytes"),
                "payload_bytes": number(own, "payload-bytes"),
            });
            client.stream("/api/v1/trace", &body, each)
        },
        show: |value| format!("{value}\n"),
    },
    Verb {
        name: "log-level",
        about: "Shows or changes the level of the log, until the process ends",
        args: || {
            let levels = ["error", "warn", "info", "debug", "trace"];
            vec![Arg::new("level").value_name("LEVEL").value_parser(levels)]
        },
        run: |client, own, each| match text(own, "level") {
            None => each(&client.get("/api/v1/log-level")?),
            Some(level) => {
                let body = json!({ "level": level });
                each(&client.request("PUT", "/api/v1/log-level", Some(&body))?)
            }
        },
        show: fields,
    },
    Verb {
        name: "log",
        about: "Shows the last lines of the log",
        args: Vec::new,
        run: |client, _, each| each(&client.get("/api/v1/log")?),
        show: |value| {
            let lines = value["lines"].as_array().map_or(&[][..], |lines| lines);
            let lines = lines
                .iter()
                .map(|line| super::table::plain(&line["text"]) + "\n");
            lines.collect()
        },
    },
    Verb {
        name: "reload",
        about: "Has the broker read its files again; fails when one of them stays as it was",
        args: Vec::new,
        run: |client, _, each| {
            let answer = client.request("POST", "/api/v1/reload", None)?;
            each(&answer)?;
            match answer["ok"].as_bool() {
                Some(true) => Ok(()),
                _ => Err(Failure::Refused(
                    "not everything could be read: the old stays in force".into(),
                )),
            }
        },
        show: |value| {
            table(
                &value["reloaded"],
                &[("WHAT", "what"), ("PROBLEM", "problem")],
            )
        },
    },
    Verb {
        name: "config",
        about: "Shows the configuration in force and where each value was given",
        args: || vec![flag("changed", "Without those at their default")],
        run: |client, own, each| {
            let mut config = client.get("/api/v1/config")?;
            if own.get_flag("changed") {
                if let Some(options) = config["options"].as_array_mut() {
                    options.retain(|option| option["origin"] != "default");
                }
            }
            each(&config)
        },
        show: |value| {
            let columns = [("OPTION", "name"), ("VALUE", "value"), ("FROM", "origin")];
            table(&value["options"], &columns)
        },
    },
    Verb {
        name: "listeners",
        about: "Lists listeners",
        args: Vec::new,
        run: |client, _, each| each(&client.get("/api/v1/listeners")?),
        show: show_listeners,
    },
];
