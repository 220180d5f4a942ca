//! TLS and WebSocket against mosquitto, and what is said when they do not come about.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::broker::Broker;
use crate::{figure, mqload};

/// A CA and what it has signed, in a folder that the broker's user can read.
struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let readable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), readable).unwrap();
        let own = Self { folder };
        own.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem");
        std::fs::write(
            own.folder.path().join("extensions"),
            "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n",
        )
        .unwrap();
        for name in ["server", "client"] {
            own.openssl(&format!("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"));
            own.openssl(&format!("x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out {name}.pem"));
            let readable = std::fs::Permissions::from_mode(0o644);
            let key = own.folder.path().join(format!("{name}.key"));
            std::fs::set_permissions(key, readable).unwrap();
        }
        own
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(self.folder.path())
            .output()
            .expect("openssl is missing: apt-get install openssl");
        assert!(output.status.success(), "{output:?}");
    }

    fn path(&self) -> &Path {
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

    fn run(&self, broker: &Broker, options: &str) -> (String, bool) {
        let folder = self.path().display().to_string();
        let options = options.replace("DIR", &folder);
        let options = format!("{options} --target {}", broker.target);
        mqload(&options.split_whitespace().collect::<Vec<_>>())
    }
}

/// mosquitto 2.0 with WebSocket alone thinks that it has no listener: it gets another, which nobody uses.
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
            "is not signed by who is in --ca",
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
