//! Targets, passwords, files and signals, as people give them.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::lies::{liar, run};
use crate::transports::Certificates;
use crate::{mqload, mqload_alone};

/// mqload with these words and environment, without waiting for it.
fn start(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqload"));
    command
        .args(words.split_whitespace())
        .args(["--quiet", "--unpinned"])
        .stdout(Stdio::piped());
    command
}

#[test]
fn a_target_may_be_a_url_or_a_name() {
    let liar = liar("");
    let port = liar.address.port();
    for target in [
        format!("mqtt://127.0.0.1:{port}/"),
        format!("localhost:{port}"),
    ] {
        let words = format!("pairs --clients 1 --rate 0.1k --duration 0m1s --target {target}");
        let (text, success) = mqload(&words.split_whitespace().collect::<Vec<_>>());
        assert!(success && text.contains("received 100, lost 0"), "{text}");
    }
}

#[test]
fn passwords_are_in_no_result() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "hunter2\nmore\n").unwrap();
    let address = liar("").address;
    let given = [
        format!("--user u --password hunter2 --target {address}"),
        format!(
            "--user u --password-file {} --target {address}",
            file.display()
        ),
        format!("--target mqtt://u:hunter2@{address}"),
    ];
    for given in given {
        let [json, html] = ["json", "html"].map(|name| folder.path().join(name));
        let words = format!(
            "pairs --clients 1 --rate 100 --duration 200ms {given} --json {} --html {}",
            json.display(),
            html.display()
        );
        let (text, success) = mqload(&words.split_whitespace().collect::<Vec<_>>());
        assert!(success, "{text}");
        for file in [json, html] {
            let written = std::fs::read_to_string(file).unwrap();
            assert!(!written.contains("hunter2"), "{given}");
        }
    }
}

#[test]
fn the_password_comes_from_the_environment_too() {
    let broker = Broker::mosquitto("allow_anonymous false");
    let words = format!("pairs --clients 1 --user a --target {}", broker.target);
    let output = start(&words)
        .env("MQLOAD_PASSWORD", "wrong")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("not authorized"),
        "a password was sent: {text}"
    );
}

#[test]
fn a_result_that_cannot_be_written_is_told_before_the_run() {
    let began = Instant::now();
    let words = "pairs --clients 1 --duration 20s --json /nonexistent/x.json";
    let (text, success) = run(&liar(""), words);
    assert!(
        !success && text.contains("cannot write /nonexistent/x.json"),
        "{text}"
    );
    assert!(began.elapsed() < Duration::from_secs(15), "after the run");
}

#[test]
fn a_result_may_go_to_standard_output() {
    let words = format!(
        "pairs --clients 1 --rate 100 --duration 200ms --json - --target {}",
        liar("").address
    );
    let output = start(&words).stderr(Stdio::piped()).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["truth"]["received"][0], 20);
    assert!(String::from_utf8_lossy(&output.stderr).contains("received 20"));
}

#[test]
fn a_run_that_is_terminated_gives_its_result() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("result.json");
    for signal in ["-TERM", "-INT"] {
        let words = format!(
            "pairs --clients 1 --rate 100 --duration 60s --json {} --target {}",
            json.display(),
            liar("").address
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_mqload"));
        command.args(words.split_whitespace()).arg("--unpinned");
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        lines.read_line(&mut String::new()).unwrap(); // its first second
        let id = child.id().to_string();
        assert!(Command::new("kill")
            .args([signal, &id])
            .status()
            .unwrap()
            .success());
        assert_eq!(child.wait().unwrap().code(), Some(1));
        let text = std::fs::read_to_string(&json).unwrap();
        let result: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(result["interrupted"], "interrupted");
        std::fs::remove_file(&json).unwrap();
    }
}

#[test]
fn a_broker_without_mqtt_5_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            use std::io::{Read, Write};
            let _ = stream.read(&mut [0; 1_024]);
            let _ = stream.write_all(&[0x20, 2, 0, 1]);
        }
    });
    let words = [
        "pairs",
        "--clients",
        "1",
        "--protocol",
        "5",
        "--target",
        &target,
    ];
    let (text, success) = mqload(&words);
    let sentence = "the broker does not speak MQTT 5: give --protocol 3.1.1";
    assert!(!success && text.contains(sentence), "{text}");
}

/// As `openssl req -x509` makes them: a CA's, and its own.
#[test]
fn a_self_signed_certificate_is_pinned() {
    let own = Certificates::new();
    own.openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout server.key -out server.pem");
    own.openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout other.key -out other.pem");
    let folder = own.path().display();
    let broker = Broker::ringmq_with(&format!(
        "[[listener]]\naddress = \"127.0.0.1:PORT\"\ntransport = \"tls\"\ntls-certificate = \"{folder}/server.pem\"\n\
         tls-key = \"{folder}/server.key\"\n"
    ));
    let load = "pairs --clients 1 --rate 100 --duration 300ms --tls --ca";
    let (text, success) = own.run(&broker, &format!("{load} DIR/server.pem"));
    assert!(success, "{text}");
    let (text, success) = own.run(&broker, &format!("{load} DIR/other.pem"));
    assert!(
        !success && text.contains("is of no authority in --ca"),
        "{text}"
    );
}

#[test]
fn options_of_tls_want_tls() {
    let (text, success) = mqload_alone(&["pairs", "--insecure"]);
    assert!(!success && text.contains("--insecure is of TLS"), "{text}");
    let (text, success) = mqload_alone(&["pairs", "--ws-path", "/x"]);
    assert!(
        !success && text.contains("--ws-path is of WebSocket"),
        "{text}"
    );
}

/// The result can be distinguished from others without its command line.
#[test]
fn a_result_has_its_plan_and_broker() {
    let words = format!(
        "pairs --clients 2 --rate 1k --duration 200ms --qos 1 --payload-size 16-64 --protocol 5 \
         --broker-name liar/1 --json - --target {}",
        liar("").address
    );
    let output = start(&words).stderr(Stdio::null()).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["broker_name"], "liar/1");
    let plan = &json["plan"];
    assert_eq!(plan["protocol"], "5");
    assert_eq!(plan["groups"][1]["qos"], 1);
    assert_eq!(plan["groups"][1]["payload_bytes_max"], 64);
    assert_eq!(plan["groups"][0]["subscribe_qos"], 1);
    assert_eq!(plan["loads"][0]["kind"], "open");
    assert_eq!(plan["loads"][0]["rate_per_s"], 1_000.0);
}
