//! People's own payloads and clients: templates, files and tables, on the command line and in scenario files.

use std::path::PathBuf;

use crate::broker::Broker;
use crate::lies::liar;
use crate::mqload;
use crate::transports::Certificates;

/// Runs mqload with these words; a word may have blanks where there is `~`.
fn run(target: &str, words: &str) -> (String, bool) {
    let words = format!("{words} --target {target}");
    let words: Vec<String> = words
        .split_whitespace()
        .map(|word| word.replace('~', " "))
        .collect();
    mqload(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

fn against(lies: &str, words: &str) -> (String, bool) {
    let liar = liar(lies);
    run(&liar.address.to_string(), words)
}

/// A file in a folder of its own.
fn file(name: &str, content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

const LOAD: &str = "--clients 2 --rate 200 --duration 500ms";
const WITHIN: &str = "--payload {\"i\":{i},~\"v\":{rand:18.0-24.5},\"p\":\"{proof}\"}";
const BESIDE: &str = "--protocol 5 --payload {\"n\":{seq},\"at\":{now},\"s\":\"{choice:on,off}\"}";

#[test]
fn own_payloads_are_verified() {
    for broker in [Broker::mosquitto(""), Broker::ringmq(&[])] {
        for more in [
            format!("pairs {LOAD} --qos 1 {WITHIN}"),
            format!("pairs {LOAD} --qos 2 {BESIDE} --topics 2 --topic-alias --user-property a=b"),
            format!("round-trip {LOAD} {BESIDE}"),
            format!("fan-in {LOAD} {WITHIN} --protocol 3.1"),
        ] {
            let (text, success) = run(&broker.target, &more);
            assert!(success && text.contains("lost 0,"), "{more}: {text}");
            assert!(
                text.contains("received 100") || text.contains("received 200"),
                "{text}"
            );
        }
    }
}

#[test]
fn what_is_altered_or_lost_of_them_is_noticed() {
    for own in [WITHIN, BESIDE] {
        for (lie, sentence) in [
            ("corrupt=20", "payloads were not those published"),
            ("truncate=20", "payloads were not those published"),
            ("drop=20", "5 acknowledged messages were lost"),
            ("duplicate=20", ", duplicates 5"),
            ("swap=20", "came after a later one"),
        ] {
            let (text, success) = against(lie, &format!("pairs {LOAD} --qos 1 {own}"));
            assert!(text.contains(sentence), "{lie} {own}: {text}");
            assert_eq!(success, lie.starts_with("duplicate"), "{lie} {own}: {text}");
        }
    }
}

/// A payload that comes in many pieces, and is no text.
#[test]
fn a_file_is_sent_as_it_is() {
    let bytes: Vec<u8> = (0..1_000_000_u32)
        .map(|at| (at.wrapping_mul(at) >> 7) as u8)
        .collect();
    let (_folder, path) = file("firmware", &bytes);
    let load = format!(
        "pairs --clients 1 --rate 10 --duration 1s --protocol 5 --qos 1 --payload-file {}",
        path.display()
    );
    let broker = Broker::mosquitto("");
    let (text, success) = run(&broker.target, &load);
    assert!(success && text.contains("received 10, lost 0"), "{text}");
    let (text, success) = against("corrupt=5", &load);
    assert!(
        !success && text.contains("2 payloads were not those published"),
        "{text}"
    );
}

#[test]
fn without_a_proof_messages_are_counted_and_no_more() {
    let own = "--payload {\"v\":{rand:1-9}}";
    let (text, success) = against("", &format!("pairs {LOAD} {own}"));
    assert!(
        !success && text.contains("nothing can be verified: put {proof}"),
        "{text}"
    );
    // Without receivers there is nothing to verify.
    let (text, success) = against("", &format!("publish {LOAD} {own}"));
    assert!(success, "{text}");
    let counted = format!("pairs {LOAD} --qos 1 {own} --unverified");
    let (text, success) = against("", &counted);
    assert!(success && text.contains("received 100, lost 0"), "{text}");
    let (text, success) = against("drop=10", &counted);
    assert!(
        !success && text.contains("10 acknowledged messages were lost"),
        "{text}"
    );
    let (text, success) = against("", &format!("{counted} --assert-reordered 0"));
    assert!(
        !success && text.contains("do not tell which message they are"),
        "{text}"
    );
}

pub(crate) fn with_passwords() -> (tempfile::TempDir, Broker) {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passwords");
    std::fs::write(&path, "alice:apple\nbob:be,et\n").unwrap();
    for (place, mode) in [(folder.path(), 0o755), (&path, 0o644)] {
        std::fs::set_permissions(place, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let hashed = std::process::Command::new("mosquitto_passwd")
        .arg("-U")
        .arg(&path)
        .output();
    assert!(hashed.unwrap().status.success());
    let more = format!(
        "allow_anonymous false\npassword_file {}\nlog_type all",
        path.display()
    );
    let broker = Broker::mosquitto(&more);
    (folder, broker)
}

const TABLE: &str = "client_id,user,password,topic,model\n\
                     dev-a,alice,apple,site/1/temp,m7\n\
                     dev-b,bob,\"be,et\",site/2/temp,m8\n";

#[test]
fn clients_are_those_of_their_table() {
    let (_folder, broker) = with_passwords();
    let (_table, path) = file("devices.csv", TABLE.as_bytes());
    let path = path.display();
    for scenario in [
        "publish --payload {csv:model}",
        "publish --topics 2",
        "connect-storm",
        "listen --duration 300ms",
    ] {
        let load = if scenario.starts_with("publish") {
            "--rate 100 --duration 300ms"
        } else {
            ""
        };
        let words = format!("{scenario} {load} --clients 2 --clients-from {path}");
        let (text, success) = run(&broker.target, &words);
        assert!(success, "{words}: {text}");
    }
    let log = broker.log();
    for line in [
        "as dev-a (p2, c1, k60, u'alice')",
        "as dev-b (p2, c1, k60, u'bob')",
    ] {
        assert_eq!(log.matches(line).count(), 6, "{line}: {log}");
    }
    for topic in [
        "'site/1/temp', ... (2 bytes)",
        "'site/2/temp/0', ... (64 bytes)",
    ] {
        assert!(log.contains(topic), "{topic}: {log}");
    }
    assert!(
        log.contains("site/2/temp (QoS 0)"),
        "listens to its own: {log}"
    );
}

/// The other end of flows follows the table's topics.
#[test]
fn receivers_follow_the_topics_of_a_table() {
    let table = "topic\nsite/1/temp\nsite/2/temp\nsite/2/x/y\n";
    let (_table, path) = file("devices.csv", table.as_bytes());
    let broker = Broker::mosquitto("");
    for (scenario, expected) in [
        ("pairs", "expected 60, received 60, lost 0"),
        ("fan-in", "expected 60, received 60, lost 0"),
        ("fan-in --topics 2", "expected 60, received 60, lost 0"),
        ("shared-group", "expected 60, received 60, lost 0"),
        ("round-trip", "expected 120, received 120, lost 0"),
    ] {
        let words = format!(
            "{scenario} --clients 3 --rate 200 --duration 300ms --clients-from {}",
            path.display()
        );
        let (text, success) = run(&broker.target, &words);
        assert!(success && text.contains(expected), "{scenario}: {text}");
    }
}

#[test]
fn each_client_has_its_certificate() {
    let own = Certificates::new();
    own.sign("dev-a", "ca");
    own.sign("dev-b", "ca");
    let folder = own.path().display().to_string();
    let table = format!(
        "client_id,cert,key\na,{folder}/dev-a.pem,{folder}/dev-a.key\nb,{folder}/dev-b.pem,{folder}/dev-b.key\n"
    );
    let (_table, path) = file("devices.csv", table.as_bytes());
    let broker = Broker::mosquitto(&format!(
        "certfile {folder}/server.pem\nkeyfile {folder}/server.key\ncafile {folder}/ca.pem\n\
         require_certificate true\nuse_identity_as_username true\nlog_type all"
    ));
    let words = format!(
        "connect-storm --clients 2 --rounds 2 --clients-from {}",
        path.display()
    );
    let (text, success) = run(
        &broker.target,
        &format!("{words} --tls --ca {folder}/ca.pem"),
    );
    assert!(success, "{text}");
    for line in [
        "as a (p2, c1, k60, u'dev-a')",
        "as b (p2, c1, k60, u'dev-b')",
    ] {
        assert_eq!(broker.log().matches(line).count(), 2, "{}", broker.log());
    }
    let (text, success) = run(&broker.target, &words);
    assert!(
        !success && text.contains("the column cert is of TLS"),
        "{text}"
    );
}

#[test]
fn bad_data_is_told_before_the_run() {
    let table = |text: &str| file("d.csv", text.as_bytes());
    for (text, words, sentence) in [
        (
            TABLE,
            "publish --clients 3 --clients-from PATH",
            "has lines for 2 clients, and 3 are asked for",
        ),
        (
            TABLE,
            "fan-out --clients 2 --clients-from PATH",
            "which publish nothing",
        ),
        (
            TABLE,
            "pairs --clients 2 --clients-from devices=PATH",
            "there is no group devices, but subscribers, publishers",
        ),
        (
            TABLE,
            "publish --clients 2 --clients-from PATH --topic {csv:modell}",
            "has no column modell, but client_id",
        ),
        (TABLE, "publish --topic {csv:model}", "come from no table"),
        (
            "client_id\na\na\n",
            "publish --clients 2 --clients-from PATH",
            "d.csv:3:1: client_id: a is that of line 2",
        ),
        (
            "x\na\n",
            "publish --clients-from PATH",
            "d.csv:1: the first line must name the columns",
        ),
        (
            "{rnd:1-2}",
            "publish --payload-file PATH",
            "d.csv:1:1: {rnd:1-2} is no place (did you mean {rand}?)",
        ),
        (
            "",
            "publish --payload ab{rand:9-1}",
            "line 1, column 3: {rand:9-1}",
        ),
        (
            "",
            "publish --clients-from /nonexistent.csv",
            "/nonexistent.csv: cannot be read",
        ),
        (
            "",
            "publish --payload-file /nonexistent",
            "/nonexistent: cannot be read",
        ),
        (
            "",
            "publish --payload x --payload-size 20",
            "cannot be used with",
        ),
    ] {
        let (_folder, path) = table(text);
        let words = words.replace("PATH", &path.display().to_string());
        let (text, success) = run("127.0.0.1:1", &words);
        assert!(!success && text.contains(sentence), "{words}: {text}");
    }
}

#[test]
fn scenario_files_have_the_same() {
    let (_folder, broker) = with_passwords();
    let (folder, path) = file("devices.csv", TABLE.as_bytes());
    let scenario = folder.path().join("day.toml");
    let text = format!(
        "[connection]\nprotocol = \"5\"\n\
         [groups.devices]\nclients_from = \"{}\"\n\
         publish = {{ qos = 1, payload = '{{\"m\":\"{{csv:model}}\",\"t\":{{rand:1-9}}}}' }}\n\
         [groups.backend]\nclients = 1\nsubscribe = {{ filter = \"site/+/temp\", qos = 1 }}\n\
         [[stages]]\ntime = \"500ms\"\nload.devices = {{ rate = 100 }}\n\
         [assert]\nloss = 0\nreordered = 0\n",
        path.display()
    );
    std::fs::write(&scenario, &text).unwrap();
    let words = format!("run {} --user alice --password apple", scenario.display());
    let (output, success) = run(&broker.target, &words);
    assert!(
        success && output.contains("expected 50, received 50, lost 0"),
        "{output}"
    );
    assert!(
        broker.log().contains("as dev-b (p5, c1, k60, u'bob')"),
        "{}",
        broker.log()
    );
    for (from, to, sentence) in [
        ("{csv:model}", "{csv:modell}", "has no column modell"),
        (
            "{rand:1-9}",
            "{rand:9-1}",
            "groups.devices.publish.payload: line 1, column 24: {rand:9-1}",
        ),
        (
            "qos = 1, payload",
            "payload_size = 3, payload",
            "and payload_size: give one of them",
        ),
        (
            "clients_from",
            "clients = 3\nclients_from",
            "has lines for 2 clients, and 3 are asked for",
        ),
        (
            "protocol = \"5\"",
            "protocol = \"3.1.1\"",
            "verified = false",
        ),
    ] {
        std::fs::write(&scenario, text.replacen(from, to, 1)).unwrap();
        let (output, success) = run(&broker.target, &words);
        assert!(!success && output.contains(sentence), "{to}: {output}");
    }
}
