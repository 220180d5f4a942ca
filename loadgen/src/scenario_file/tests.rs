use super::*;
use crate::plan::{Load, LoadStep, MoveKind};

fn mistakes(text: &str) -> Vec<String> {
    match parse("f.toml", text) {
        Ok(file) => panic!("nothing wrong with {file:?}"),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

fn loads(file: &ScenarioFile) -> Vec<&LoadStep> {
    let mut loads = Vec::new();
    for step in &file.steps {
        if let Step::Load(load) = step {
            loads.push(load);
        }
    }
    loads
}

#[test]
fn the_examples_are_without_mistakes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = read(&path).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        names.push(file.name);
    }
    names.sort();
    assert_eq!(names, ["chat", "ci-gate", "telemetry"]);
}

#[test]
fn stages_become_steps() {
    let file = parse(
        "a/day.toml",
        r#"
        [groups.p]
        clients = 3
        publish = { topic = "t/{i}", qos = 1, window = 7 }
        [groups.s]
        clients = 1
        subscribe = { filter = "t/+" }
        [groups.late]
        clients = 4
        publish = { topic = "u" }
        [[stages]]
        time = "1s"
        load.p = { rate = 0, rate_to = 10, poisson = true }
        [[stages]]
        time = "2s"
        connect = { late = 4 }
        load.p = { max = true }
        load.late = { think = "1s-2s" }
        [[stages]]
        name = "burst"
        time = "3s"
        messages = 5
        disconnect = ["late"]
        load.p = { window = 3 }
        load.late = { max = true }
        "#,
    )
    .unwrap();
    assert_eq!(file.name, "day");
    // Subscribers first; the late ones come in their stage.
    let connects: Vec<usize> = file
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Connect { group, .. } => Some(*group),
            _ => None,
        })
        .collect();
    assert_eq!(connects, [1, 0]);
    let loads = loads(&file);
    let names: Vec<_> = loads
        .iter()
        .map(|load| load.name.clone().unwrap())
        .collect();
    assert_eq!(names, ["stage 1", "stage 2", "burst"]);
    assert!(matches!(
        loads[0].groups[..],
        [(
            0,
            Load::Open {
                from_per_s: 0.0,
                to_per_s: 10.0,
                ..
            }
        )]
    ));
    assert_eq!(loads[1].groups[0], (0, Load::Closed { window: 7 }));
    assert!(matches!(loads[1].groups[1], (2, Load::Think { .. })));
    assert_eq!(loads[1].moves[0].kind, MoveKind::Connect);
    assert_eq!(loads[1].moves[0].per_s, Some(4.0));
    assert_eq!(loads[2].groups[0], (0, Load::Closed { window: 3 }));
    assert!(matches!(loads[2].groups[1], (2, Load::Unlimited { .. })));
    assert_eq!(loads[2].moves[0].per_s, None);
    assert_eq!(loads[2].messages, Some(5));
    assert!(file.groups[2].comes_and_goes && !file.groups[0].comes_and_goes);
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let found = mistakes(
        r#"nane = "x"
[connection]
protocol = "6"
keep_alive_s = -1
target = 5

[groups.a]
clients = 0
client_id = "same"
publish = { topic = "t/#", qos = 3, window = 2, payload_size = "9-1", colour = "red" }

[groups.b]
clients = 2
client_id = "same"
session_expiry_s = 5
subscribe = [{ filter = "a/#/b" }, { qos = 1 }]

[[stages]]
name = "one"
time = "soon"
load.c = { rate = 1 }
load.b = { rate = 1, think = "1s" }
connect = { b = 0.1 }

[[stages]]
name = "one"
time = "1s"
messages = 3
disconnect = { b = 1 }
load = 7

[assert]
p99_ms = "fast"
losses = 0
"#,
    );
    let expected = [
        "f.toml:1: nane: no such key (did you mean name?)",
        "f.toml:3: connection.protocol: give 3.1, 3.1.1 or 5",
        "f.toml:4: connection.keep_alive_s: -1 is not allowed: give a whole number from 0 to 65535",
        "f.toml:5: connection.target: 5 is not allowed: give text in quotes, or a list of it",
        "f.toml:8: groups.a.clients: 0 is not allowed: give a whole number from 1 to 16777216",
        "f.toml:10: groups.a.publish.colour: no such key",
        "f.toml:10: groups.a.publish.payload_size: 9-1: the smaller size comes first",
        "f.toml:10: groups.a.publish.qos: 3 is not allowed: give a whole number from 0 to 2",
        "f.toml:10: groups.a.publish.topic: is no topic: it must not be empty nor have + or # in it",
        "f.toml:10: groups.a.publish.window: needs qos 1 or 2: messages of QoS 0 are not acknowledged",
        "f.toml:14: groups.b.client_id: all clients would have the same identifier: put {i} in it",
        "f.toml:14: groups.b.client_id: clients of a have the same identifiers: put {g} in it",
        "f.toml:15: groups.b.session_expiry_s: needs MQTT 5: give protocol = \"5\" in [connection]",
        "f.toml:16: groups.b.subscribe[0].filter: is no filter",
        "f.toml:16: groups.b.subscribe[1].filter: subscribe to which filter? give filter = \"a/+\"",
        "f.toml:20: stages[0].time: unknown unit \"soon\": give ms, s, m or h",
        "f.toml:21: stages[0].load: there is no group c",
        "f.toml:22: stages[0].load.b: clients of b publish nothing: give [groups.b.publish]",
        "f.toml:22: stages[0].load.b: give one of rate",
        "f.toml:26: stages.name: two stages are named one",
        "f.toml:28: stages[1].messages: nobody publishes in this stage",
        "f.toml:29: stages[1].disconnect.b: 2 clients at 1 per second take 2.0 s, and the stage lasts 1 s",
        "f.toml:30: stages[1].load: must be a section (a table)",
        "f.toml:33: assert.p99_ms: \"fast\" is not allowed: give a number of at least 0",
        "f.toml:34: assert.losses: no such key (did you mean loss?)",
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n  is not\n{expected}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

/// What `[connection]` says about its transport, and the mistakes in it.
fn transport(keys: &str) -> Result<crate::transport::TransportOptions, Vec<String>> {
    let rest = "[groups.a]\nclients = 1\n[[stages]]\ntime = \"1s\"\n";
    match parse("f.toml", &format!("[connection]\n{keys}\n{rest}")) {
        Ok(file) => Ok(file.connection.transport),
        Err(mistakes) => Err(mistakes.iter().map(ToString::to_string).collect()),
    }
}

#[test]
fn a_file_says_how_its_clients_speak() {
    let plain = transport("").unwrap();
    assert!(!plain.tls && !plain.ws);
    let tcp = transport("transport = \"tcp\"").unwrap();
    assert!(!tcp.tls && !tcp.ws);
    let tls = transport(
        "transport = \"tls\"\nca = \"ca.pem\"\ncert = \"own.pem\"\nkey = \"own.key\"\n\
         sni = \"broker.example\"\ntls_version = \"1.2\"\ntls_resumption = false",
    )
    .unwrap();
    assert!(tls.tls && !tls.ws && !tls.insecure);
    assert_eq!(tls.ca.as_deref(), Some(Path::new("ca.pem")));
    assert_eq!(tls.cert.as_deref(), Some(Path::new("own.pem")));
    assert_eq!(tls.key.as_deref(), Some(Path::new("own.key")));
    assert_eq!(tls.sni.as_deref(), Some("broker.example"));
    assert_eq!(tls.tls_version.as_deref(), Some("1.2"));
    assert_eq!(tls.tls_resumption, Some(crate::transport::Switch::Off));
    let ws = transport("transport = \"ws\"").unwrap();
    assert!(!ws.tls && ws.ws && ws.ws_path == "/mqtt");
    let wss =
        transport("transport = \"wss\"\ninsecure = true\nws_path = \"/x\"\ntls_version = \"1.3\"");
    let wss = wss.unwrap();
    assert!(wss.tls && wss.ws && wss.insecure && wss.ws_path == "/x");
    assert_eq!(wss.tls_version.as_deref(), Some("1.3"));
}

#[test]
fn keys_that_do_not_go_with_the_transport_are_told() {
    let needs_tls = "needs transport = \"tls\" or \"wss\"";
    let rows: &[(&str, &[&str])] = &[
        (
            "transport = \"quic\"\nca = \"x\"\nws_path = \"x\"",
            &["2: connection.transport: give tcp, tls, ws or wss"],
        ),
        (
            "transport = \"tls\"",
            &["1: connection.ca: TLS needs the file of who signed the broker's certificate, or insecure = true"],
        ),
        (
            "transport = \"tls\"\ninsecure = false",
            &["1: connection.ca: TLS needs the file"],
        ),
        (
            "transport = \"wss\"\nca = 7",
            &["3: connection.ca: 7 is not allowed: give text in quotes"],
        ),
        (
            "transport = \"tls\"\nca = \"ca.pem\"\ninsecure = true",
            &["4: connection.insecure: takes whoever answers, and ca says who may"],
        ),
        (
            "transport = \"tls\"\nca = \"ca.pem\"\ncert = \"own.pem\"",
            &["4: connection.cert: needs key beside it"],
        ),
        (
            "transport = \"tls\"\nca = \"ca.pem\"\nkey = \"own.key\"",
            &["4: connection.key: needs cert beside it"],
        ),
        (
            "transport = \"tls\"\nca = \"ca.pem\"\ntls_version = \"1.1\"\ntls_resumption = \"no\"",
            &[
                "4: connection.tls_version: give \"1.2\" or \"1.3\"",
                "5: connection.tls_resumption: \"no\" is not allowed: give true or false",
            ],
        ),
        (
            "transport = \"tls\"\nca = \"ca.pem\"\nws_path = \"/x\"",
            &["4: connection.ws_path: needs transport = \"ws\" or \"wss\""],
        ),
        (
            "transport = \"ws\"\nws_path = \"mqtt\"",
            &["3: connection.ws_path: must begin with / and have no spaces"],
        ),
        (
            "ca = \"a\"\ncert = \"a\"\nkey = \"a\"\ninsecure = true\nsni = \"a\"\ntls_version = \"1.2\"\n\
             tls_resumption = true\nws_path = \"/\"",
            &[
                &format!("2: connection.ca: {needs_tls}"),
                &format!("3: connection.cert: {needs_tls}"),
                &format!("4: connection.key: {needs_tls}"),
                &format!("5: connection.insecure: {needs_tls}"),
                &format!("6: connection.sni: {needs_tls}"),
                &format!("7: connection.tls_version: {needs_tls}"),
                &format!("8: connection.tls_resumption: {needs_tls}"),
                "9: connection.ws_path: needs transport = \"ws\" or \"wss\"",
            ],
        ),
    ];
    for (keys, expected) in rows {
        assert_mistakes(keys, expected);
    }
}

/// Each mistake of a `[connection]` with these keys begins with its place and its sentence.
fn assert_mistakes(keys: &str, expected: &[&str]) {
    let found = transport(keys).unwrap_err();
    assert_eq!(found.len(), expected.len(), "{keys}: {found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        let expected = format!("f.toml:{expected}");
        assert!(
            found.starts_with(&expected),
            "{found}\n  is not\n{expected}"
        );
    }
}

#[test]
fn a_line_that_is_no_toml_does_not_hide_the_others() {
    let found = mistakes("[groups.a]\nclients = = 2\n[[stages]]\ntime = 0\n");
    assert!(found[0].starts_with("f.toml:2: syntax: "), "{found:#?}");
    assert!(
        found
            .iter()
            .any(|own| own.starts_with("f.toml:4: stages[0].time: must be above 0")),
        "{found:#?}"
    );
}

#[test]
fn an_empty_file_says_what_a_scenario_needs() {
    let found = mistakes("");
    assert_eq!(
        found,
        [
            "f.toml: groups: a scenario needs at least one [groups.NAME]",
            "f.toml: stages: a scenario needs at least one [[stages]]",
        ]
    );
}

#[test]
fn clients_that_come_later_do_not_publish_before() {
    let found = mistakes(
        r#"
        [groups.a]
        clients = 1
        publish = { topic = "t" }
        [[stages]]
        time = "1s"
        load.a = { rate = 1 }
        [[stages]]
        time = "1s"
        connect = ["a"]
        "#,
    );
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].contains("connected in a later stage only"),
        "{found:#?}"
    );
}

#[test]
fn whatever_is_in_a_file_ends_in_sentences() {
    // Every prefix of a good file, and every file with one byte less.
    let text = include_str!("../../scenarios/chat.toml");
    for at in 0..text.len() {
        if text.is_char_boundary(at) {
            let _ = parse("f", &text[..at]);
        }
        if let (Some(head), Some(tail)) = (text.get(..at), text.get(at + 1..)) {
            let _ = parse("f", &format!("{head}{tail}"));
        }
    }
}
