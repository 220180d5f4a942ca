//! Tables of bridges, good and bad, and the examples of the documentation.

use super::*;
use crate::bridge::{Bridge, Dialect, Notify, Order, RetainFlag, Start};
use crate::listener::Transport;
use crate::mqtt::Version;

const LEAST: &str =
    "[[bridge]]\nname = \"b\"\naddresses = [\"far:1883\"]\ntopics = [\"# out 1\"]\n";

#[test]
fn a_table_with_every_option_is_understood() {
    let examples = bridge_options::all().map(|row| {
        let value = match row.option.name {
            "transport" => "\"wss\"",
            "local-clean-start" => "false", // a lazy bridge has a session
            _ => row.example,
        };
        format!("{} = {value}\n", row.option.name)
    });
    let text = format!("[[bridge]]\n{}", examples.collect::<String>());
    let checked = file(&text).unwrap();
    let [bridge] = &checked.bridges[..] else {
        panic!("{checked:?}");
    };
    // Every option has changed something.
    for row in bridge_options::all() {
        let is_default = (row.option.get)(bridge) == (row.option.get)(&Bridge::default());
        let may_be = [
            "keep-alive",
            "connect-timeout",
            "websocket-path",
            "local-clean-start",
        ]
        .contains(&row.option.name)
            || row.option.name.starts_with("backoff-");
        assert!(!is_default || may_be, "{}", row.option.name);
    }
    assert_eq!(bridge.transport, Transport::Wss);
    assert_eq!(bridge.dialect, Dialect::Only(Version::V311));
    assert_eq!(
        (bridge.order, bridge.start),
        (Order::RoundRobin, Start::Lazy)
    );
    assert_eq!(
        (bridge.retain, bridge.notify),
        (RetainFlag::Clear, Notify::Both)
    );
    assert_eq!(bridge.lines[1].remote_filter(), "site7/commands/#");
}

#[test]
fn the_effective_values_of_a_bridge_are_a_good_file() {
    let mut problems = Vec::new();
    let text = format!("{LEAST}transport = \"tls\"\ntls-alpn = [\"x\"]\nkeep-alive = \"1m\"\n");
    let content = file::parse(&"f".into(), &text, &mut problems);
    let outcome = check(
        &content.given,
        &content.listeners,
        &content.bridges,
        &mut problems,
    );
    let shown = check::effective(&outcome);
    assert!(
        shown.contains("# here # -> # there, QoS 1 at most"),
        "{shown}"
    );
    assert_eq!(file(&shown).as_ref(), Ok(&outcome.checked), "{shown}");
}

#[test]
fn bad_tables_of_bridges_name_every_fault() {
    let found = |text: &str| file(text).unwrap_err();
    let missing = found("[[bridge]]\n");
    assert_eq!(missing.len(), 3, "{missing:?}");
    let cases = [
        (LEAST.replace("\"b\"", "\"a b\""), "f:2: name: "),
        (
            LEAST.replace("far:1883", "far"),
            "f:3: addresses: \"far\" is not a host with a port",
        ),
        (
            LEAST.replace("# out 1", "# up"),
            "f:4: topics: \"# up\": \"up\" is no direction",
        ),
        (
            LEAST.replace("# out 1", "'' out"),
            "f:4: topics: \"'' out\": an empty pattern",
        ),
        (
            format!("{LEAST}tls-ca = \"x\"\n"),
            "f:5: tls-ca: means something only with transport",
        ),
        (
            format!("{LEAST}transport = \"tls\"\ntls-key = \"x\"\n"),
            "tls-certificate and tls-key go together",
        ),
        (
            format!("{LEAST}websocket-path = \"/x\"\n"),
            "f:5: websocket-path: means something only",
        ),
        (
            format!("{LEAST}notify-topic = \"a/#\"\n"),
            "f:5: notify-topic: \"a/#\" is not a topic",
        ),
        (format!("{LEAST}keep-alive = 4\n"), "f:5: keep-alive: "),
        (
            format!("{LEAST}adresses = []\n"),
            "no such option of a bridge (did you mean addresses?)",
        ),
        ("bridge = 3".into(), "bridge"),
        (
            "[bridge]\n".into(),
            "a bridge is a table of its own: write [[bridge]]",
        ),
    ];
    for (text, wanted) in cases {
        let found = found(&text);
        assert!(
            found.iter().any(|line| line.contains(wanted)),
            "{text}\n{found:?}"
        );
    }
}

#[test]
fn options_that_need_others_say_so() {
    let cases = [
        (
            format!("{LEAST}proxy = \"http://proxy\"\n"),
            "f:5: proxy: \"http://proxy\" is not a host with a port",
        ),
        (
            format!("{LEAST}proxy-user = \"u\"\n"),
            "f:5: proxy-user: means something only with proxy",
        ),
        (
            format!("{LEAST}proxy = \"p:1\"\nproxy-password-file = \"/f\"\n"),
            "f:6: proxy-password-file: proxy-user is missing",
        ),
        (
            format!("{LEAST}bind-address = \"eth0\"\n"),
            "f:5: bind-address: \"eth0\" is not an IP address",
        ),
        (
            format!("{LEAST}idle-timeout = 3\n"),
            "f:5: idle-timeout: means something only with start = \"lazy\"",
        ),
        (
            format!("{LEAST}start = \"lazy\"\nlocal-clean-start = true\n"),
            "f:5: start: \"lazy\" waits for messages that go out",
        ),
    ];
    for (text, wanted) in cases {
        let found = file(&text).unwrap_err();
        assert!(
            found.iter().any(|line| line.contains(wanted)),
            "{text}\n{found:?}"
        );
    }
}

#[test]
fn bridges_that_stand_in_each_others_way_are_refused() {
    let second = LEAST.replace("far", "near");
    let cases = [
        (
            format!("{LEAST}{second}"),
            "f:6: name: \"b\" is the name of two bridges",
        ),
        (
            format!(
                "{LEAST}{}",
                LEAST
                    .replace("\"b\"", "\"c\"\nclient-id = \"b\"")
                    .replace("out", "in")
            ),
            "would end each other's connections",
        ),
        (
            format!(
                "{LEAST}{}",
                LEAST.replace("\"b\"", "\"c\"").replace("out", "in")
            ),
            "brings back from there, and so on without an end",
        ),
    ];
    for (text, wanted) in cases {
        let found = file(&text).unwrap_err();
        assert!(
            found.iter().any(|line| line.contains(wanted)),
            "{text}\n{found:?}"
        );
    }
}

/// Each example of docs/bridges.md is a configuration by itself.
#[test]
fn the_examples_of_the_documentation_are_accepted() {
    let page = std::fs::read_to_string(root("docs/bridges.md")).unwrap();
    let examples: Vec<_> = page
        .split("```toml\n")
        .skip(1)
        .filter_map(|behind| behind.split("```").next())
        .collect();
    assert_eq!(examples.len(), 5);
    for example in examples {
        let checked = file(example);
        assert_eq!(
            checked.map(|checked| checked.bridges.len()),
            Ok(1),
            "{example}"
        );
    }
}
