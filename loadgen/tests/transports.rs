//! TLS and WebSocket against mosquitto, and the errors when they fail.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::broker::Broker;
use crate::{figure, mqload};

/// A CA and what it has signed, in a folder that the broker's user can read.
pub(crate) struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let readable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), readable).unwrap();
        let own = Self { folder };
        std::fs::write(
            own.folder.path().join("extensions"),
            "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n",
        )
        .unwrap();
        own.authority("ca");
        for name in ["server", "client"] {
            own.sign(name, "ca");
        }
        own
    }

    pub(crate) fn authority(&self, ca: &str) {
        self.openssl(&format!("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={ca} -keyout {ca}.key -out {ca}.pem -addext keyUsage=critical,keyCertSign,cRLSign"));
    }

    /// Makes NAME.key, and NAME.pem signed by an authority.
    pub(crate) fn sign(&self, name: &str, ca: &str) {
        self.openssl(&format!("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        self.openssl(&format!("x509 -req -in {name}.csr -CA {ca}.pem -CAkey {ca}.key -CAcreateserial -days 2 -extfile extensions -out {name}.pem"));
        let readable = std::fs::Permissions::from_mode(0o644);
        let key = self.folder.path().join(format!("{name}.key"));
        std::fs::set_permissions(key, readable).unwrap();
    }

    pub(crate) fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(self.folder.path())
            .output()
            .expect("openssl is missing: apt-get install openssl");
        assert!(output.status.success(), "{output:?}");
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// mosquitto with a listener that has these certificates, and these lines.
    fn mosquitto(&self, more: &str) -> Broker {
        let folder = self.path().display();
        Broker::mosquitto(&format!(
            "certfile {folder}/server.pem\nkeyfile {folder}/server.key\n{}",
            more.replace("DIR", &folder.to_string())
        ))
    }

    pub(crate) fn run(&self, broker: &Broker, options: &str) -> (String, bool) {
        let folder = self.path().display().to_string();
        let options = options.replace("DIR", &folder);
        let options = format!("{options} --target {}", broker.target);
        mqload(&options.split_whitespace().collect::<Vec<_>>())
    }
}

/// mosquitto 2.0 with WebSocket alone thinks that it has no listener: it gets another, which is not used.
fn websocket() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    format!("protocol websockets\nlistener {port} 127.0.0.1")
}

const PAIRS: &str = "pairs --clients 3 --rate 200 --duration 500ms --qos 1";

#[test]
fn flows_are_whole_over_every_transport() {
    let own = Certificates::new();
    let tls = "--tls --ca DIR/ca.pem";
    let mutual = "require_certificate true\ncafile DIR/ca.pem";
    let brokers = [
        (own.mosquitto(""), tls.to_string()),
        (
            own.mosquitto(""),
            format!("{tls} --tls-version 1.2 --threads 2"),
        ),
        (
            own.mosquitto(mutual),
            format!("{tls} --cert DIR/client.pem --key DIR/client.key"),
        ),
        (Broker::mosquitto(&websocket()), "--ws".to_string()),
        (
            own.mosquitto(&websocket()),
            format!("{tls} --ws --protocol 5"),
        ),
    ];
    for (broker, transport) in &brokers {
        for scenario in [
            PAIRS,
            "pairs --clients 2 --rate 20 --duration 500ms --payload-size 300k --qos 2",
            "pairs --clients 2 --max --messages 2000",
            "reconnect-storm --clients 20 --rounds 2",
        ] {
            // mosquitto 2.0 keeps the end of a large WebSocket message until there is another.
            if transport.contains("--ws") && scenario.contains("300k") {
                continue;
            }
            let (text, success) = own.run(broker, &format!("{scenario} {transport}"));
            assert!(success, "{scenario} {transport}: {text}");
            assert!(!text.contains(" lost 1"), "{scenario} {transport}: {text}");
            if transport.contains("--tls") {
                assert!(text.contains("TLS handshakes "), "{text}");
            }
        }
    }
}

/// One run over all of them: publisher and subscribers of a flow differ in what they speak.
#[test]
fn transports_are_spoken_side_by_side() {
    let own = Certificates::new();
    let folder = own.path().display();
    let free: Vec<_> = (0..3)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let ports: Vec<u16> = free
        .iter()
        .map(|free| free.local_addr().unwrap().port())
        .collect();
    drop(free);
    let tls =
        format!("tls-certificate = \"{folder}/server.pem\"\ntls-key = \"{folder}/server.key\"");
    let listener = |port: &str, transport: &str, more: &str| {
        format!(
            "[[listener]]\naddress = \"127.0.0.1:{port}\"\ntransport = \"{transport}\"\n{more}\n"
        )
    };
    let text = [
        listener("PORT", "tcp", ""),
        listener(&ports[0].to_string(), "tls", &tls),
        listener(&ports[1].to_string(), "ws", ""),
        listener(&ports[2].to_string(), "wss", &tls),
    ];
    let broker = Broker::ringmq_with(&text.concat());
    let others = ["mqtts", "ws", "wss"].into_iter().zip(&ports);
    let others: Vec<String> = others
        .map(|(scheme, port)| format!("--target {scheme}://localhost:{port}"))
        .collect();
    // `run` adds the plain one, which is the last.
    let all = format!("{} --ca DIR/ca.pem", others.join(" "));
    for (scenario, expected, handshakes) in [
        (
            "fan-out --clients 8 --publishers 4 --rate 200 --duration 500ms",
            800,
            6,
        ),
        (
            "pairs --clients 4 --rate 200 --duration 500ms --payload-size 20k",
            100,
            4,
        ),
        ("reconnect-storm --clients 8 --rounds 2", 0, 12),
    ] {
        let more = "--protocol 3.1.1,5 --broker-name x --json -";
        let qos = if expected > 0 { "--qos 1" } else { "" };
        let (text, success) = own.run(&broker, &format!("{scenario} {qos} {all} {more}"));
        assert!(success, "{scenario}: {text}");
        let (json, text) = crate::json_first(&text);
        let spoken = serde_json::json!(["tls", "ws", "wss", "tcp"]);
        assert_eq!(json["plan"]["transports"], spoken, "{text}");
        assert_eq!(json["truth"]["received"][1], expected, "{text}");
        let totals = &json["totals"];
        let [full, resumed] =
            ["handshakes_full", "handshakes_resumed"].map(|name| totals[name].as_u64().unwrap());
        assert_eq!(full + resumed, handshakes, "{scenario}: {text}");
    }
    let (text, success) = own.run(&broker, &format!("{PAIRS} {}", others.join(" ")));
    assert!(!success && text.contains("--tls needs --ca FILE"), "{text}");
}

#[test]
fn storms_say_what_kind_their_handshakes_were() {
    let own = Certificates::new();
    let broker = own.mosquitto("");
    for version in ["1.2", "1.3"] {
        let tls = format!("--clients 20 --rounds 2 --tls --ca DIR/ca.pem --tls-version {version}");
        let (text, success) = own.run(&broker, &format!("handshake-storm {tls}"));
        assert!(success, "{text}");
        assert!(
            text.contains("TLS handshakes 40 in full, 0 resumed"),
            "{text}"
        );
        let (text, success) = own.run(&broker, &format!("resumption-storm {tls}"));
        assert!(success, "{text}");
        assert_eq!(
            figure(&text, "TLS handshakes", "TLS handshakes"),
            20,
            "{text}"
        );
        assert_eq!(figure(&text, "TLS handshakes", "in full,"), 40, "{text}");
        assert!(text.contains("handshake_resumed"), "{text}");
        let (text, success) = own.run(
            &broker,
            &format!("reconnect-storm {tls} --tls-resumption off"),
        );
        assert!(success, "{text}");
        assert!(
            text.contains("TLS handshakes 60 in full, 0 resumed"),
            "{text}"
        );
    }
}

#[test]
fn what_does_not_come_about_is_a_sentence() {
    let own = Certificates::new();
    let (plain, tls) = (Broker::mosquitto(""), own.mosquitto(""));
    let mutual = own.mosquitto("require_certificate true\ncafile DIR/ca.pem");
    let rows = [
        (&tls, "--tls", "--tls needs --ca FILE"),
        (
            &tls,
            "--tls --ca DIR/client.pem",
            "is of no authority in --ca",
        ),
        (
            &tls,
            "--tls --ca DIR/ca.pem --sni elsewhere.example",
            "is for another host: give the name it has with --sni",
        ),
        (
            &mutual,
            "--tls --ca DIR/ca.pem",
            "the broker wants a certificate of the client: give --cert and --key",
        ),
        (
            &plain,
            "--tls --ca DIR/ca.pem",
            "is it what its port speaks?",
        ),
        (&plain, "--ws", "is it what its port speaks?"),
        (&tls, "", "before CONNACK: does its port speak plain MQTT?"),
        (&tls, "--tls --ca DIR/nowhere.pem", "--ca "),
        (&tls, "--tls --ca DIR/server.key", "no certificate in PEM"),
        (
            &tls,
            "--tls --insecure --cert DIR/client.pem --key DIR/server.key",
            "do not go together",
        ),
        (&plain, "--ca DIR/ca.pem", "--tls"),
        (&plain, "--ws --ws-path mqtt", "--ws-path must begin with /"),
    ];
    for (broker, transport, told) in rows {
        let (text, success) = own.run(broker, &format!("{PAIRS} {transport}"));
        assert!(!success, "{transport}: {text}");
        assert!(text.contains(told), "{transport}: {text}");
    }
    let (text, success) = own.run(&plain, "handshake-storm");
    assert!(
        !success && text.contains("handshake-storm needs --tls"),
        "{text}"
    );
}

/// A broker whose TLS is fine and which takes no session back: a storm that resumes nothing is no storm
/// of resumption.
#[test]
fn a_storm_without_resumption_fails() {
    let own = Certificates::new();
    let broker = own.mosquitto("tls_version tlsv1.2\nciphers ECDHE-ECDSA-AES128-GCM-SHA256");
    // A new process has no tickets, and one round is all it does.
    let options = "resumption-storm --clients 5 --rounds 0 --tls --insecure";
    let (text, success) = own.run(&broker, options);
    assert!(!success, "{text}");
    assert!(text.contains("no session was resumed"), "{text}");
}

/// A scenario file says how its clients speak; the command line comes first, as a whole.
#[test]
fn a_scenario_file_has_the_keys_of_every_transport() {
    let own = Certificates::new();
    let scenario = "[groups.p]\nclients = 2\npublish = { topic = \"own/{r}/{i}\", qos = 1 }\n\
                    [groups.s]\nclients = 2\nsubscribe = { filter = \"own/{r}/{i}\", qos = 1 }\n\
                    [[stages]]\ntime = \"500ms\"\nload.p = { rate = 100 }\n[assert]\nloss = 0\n";
    let folder = own.path().display().to_string();
    let run = |broker: &Broker, keys: &str, options: &str| {
        let file = own.path().join("scenario.toml");
        let text = format!("drain = \"1s\"\n[connection]\n{keys}\n{scenario}");
        std::fs::write(&file, text.replace("DIR", &folder)).unwrap();
        own.run(broker, &format!("run {} {options}", file.display()))
    };
    let mutual = own.mosquitto("require_certificate true\ncafile DIR/ca.pem");
    let certificates = "ca = \"DIR/ca.pem\"\ncert = \"DIR/client.pem\"\nkey = \"DIR/client.key\"";
    let tls = format!("transport = \"tls\"\n{certificates}\ntls_version = \"1.2\"");
    let rows = [
        (&mutual, &tls[..], ""),
        (
            &own.mosquitto(&websocket()),
            "transport = \"wss\"\ninsecure = true",
            "",
        ),
        (&Broker::mosquitto(&websocket()), "transport = \"ws\"", ""),
        (&Broker::mosquitto(""), "transport = \"tcp\"", ""),
        (&own.mosquitto(""), &tls[..], "--tls --insecure"),
        (&own.mosquitto(""), "", "--tls --ca DIR/ca.pem"),
    ];
    for (broker, keys, options) in rows {
        let (text, success) = run(broker, keys, options);
        assert!(success, "{keys}: {text}");
        assert_eq!(figure(&text, "QoS 1:", "received"), 50, "{keys}: {text}");
    }
    for (keys, told) in [
        (
            "ca = \"DIR/nowhere.pem\"",
            "connection.ca DIR/nowhere.pem: ",
        ),
        ("ca = \"DIR/client.pem\"", "is of no authority in --ca"),
        (
            "ca = \"DIR/ca.pem\"\ncert = \"DIR/client.pem\"\nkey = \"DIR/server.key\"",
            "connection.cert DIR/client.pem and connection.key DIR/server.key do not go together",
        ),
    ] {
        let (text, success) = run(&mutual, &format!("transport = \"tls\"\n{keys}"), "");
        let told = told.replace("DIR", &folder);
        assert!(!success && text.contains(&told), "{keys}: {text}");
    }
}
