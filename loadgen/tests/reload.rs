//! New certificates, keys, authorities and revocation lists while clients are connected, unnoticed by them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::broker::Broker;
use crate::transports::Certificates;

/// Reloads behind each other; what they bring differs.
const ROUNDS: usize = 6;

/// Puts files in the place of those that the broker reads, each at once.
fn put(own: &Certificates, files: &[(&str, &str)]) {
    for (from, to) in files {
        let path = |name: &str| own.path().join(name);
        std::fs::copy(path(from), path("new")).unwrap();
        std::fs::rename(path("new"), path(to)).unwrap();
    }
}

fn join(own: &Certificates, files: &[&str], to: &str) {
    let text = files
        .iter()
        .map(|name| std::fs::read_to_string(own.path().join(name)).unwrap());
    std::fs::write(own.path().join(to), text.collect::<String>()).unwrap();
}

/// The list of an authority, after the certificates that it takes back now.
fn revocations(own: &Certificates, ca: &str, revoked: &[&str]) {
    let folder = own.path().display().to_string();
    let file = |name: &str| own.path().join(format!("{ca}.{name}"));
    if !file("index").exists() {
        std::fs::write(file("index"), "").unwrap();
        std::fs::write(file("number"), "01\n").unwrap();
        let text = format!(
            "[ca]\ndefault_ca=own\n[own]\ndatabase={folder}/{ca}.index\ncrlnumber={folder}/{ca}.number\n\
             certificate={folder}/{ca}.pem\nprivate_key={folder}/{ca}.key\ndefault_md=sha256\n\
             default_crl_days=2\n"
        );
        std::fs::write(file("cnf"), text).unwrap();
    }
    for name in revoked {
        own.openssl(&format!("ca -config {ca}.cnf -revoke {name}.pem"));
    }
    own.openssl(&format!("ca -config {ca}.cnf -gencrl -out {ca}.crl"));
}

#[test]
fn a_reload_under_load_loses_nothing_and_nobody() {
    let own = Certificates::new();
    own.authority("other");
    own.sign("second", "ca");
    own.sign("third", "other");
    own.sign("device", "other");
    for ca in ["ca", "other"] {
        revocations(&own, ca, &[]);
    }
    join(&own, &["ca.pem", "other.pem"], "both.pem");
    join(&own, &["ca.crl", "other.crl"], "both.crl");
    put(
        &own,
        &[("server.pem", "own.pem"), ("server.key", "own.key")],
    );
    put(
        &own,
        &[("ca.pem", "clients.pem"), ("ca.crl", "revoked.crl")],
    );
    let folder = own.path().display().to_string();
    let broker = Broker::ringmq_with(&format!(
        "[[listener]]\naddress = \"127.0.0.1:PORT\"\ntransport = \"tls\"\n\
         tls-certificate = \"{folder}/own.pem\"\ntls-key = \"{folder}/own.key\"\n\
         tls-client-certificate = \"required\"\ntls-client-ca = \"{folder}/clients.pem\"\n\
         tls-crl = \"{folder}/revoked.crl\"\n"
    ));
    let with =
        |name: &str| format!("--tls --ca DIR/both.pem --cert DIR/{name}.pem --key DIR/{name}.key");
    let flows = format!(
        "pairs --clients 10 --rate 1000 --duration 3s --qos 1 {}",
        with("client")
    );
    let newcomers = format!("connect-storm --clients 5 --rounds 2 {}", with("client"));
    let is_over = AtomicBool::new(false);
    let (came, flowed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // One load after the other until the reloads have been, each whole.
    let repeat = |options: &str, told: &str, count: &AtomicUsize| {
        while !is_over.load(Ordering::Relaxed) {
            let (text, success) = own.run(&broker, options);
            let log = broker.log();
            assert!(success && text.contains(told), "{text}{log}");
            count.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let flowing = scope.spawn(|| repeat(&flows, "lost 0, duplicates 0", &flowed));
        let coming = scope.spawn(|| {
            repeat(
                &newcomers,
                "connected 10, failed 0, lost connections 0",
                &came,
            )
        });
        let ends_loads = Sets(&is_over); // also where a reload fails, which would wait for them without end
        for round in 0..ROUNDS {
            broker.reload(reload(&own, round));
            // Some come and go before the next.
            let before = came.load(Ordering::Relaxed);
            while came.load(Ordering::Relaxed) < before + 2 && !coming.is_finished() {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        drop(ends_loads);
        coming.join().unwrap();
        flowing.join().unwrap();
    });
    let (text, success) = own.run(
        &broker,
        &format!("connect-storm --clients 1 {}", with("device")),
    );
    assert!(!success && broker.log().contains("is revoked"), "{text}");
}

/// Set when it is dropped.
struct Sets<'a>(&'a AtomicBool);

impl Drop for Sets<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The files of a reload, and the line about its outcome.
fn reload(own: &Certificates, round: usize) -> &'static str {
    const LOADED: &str = "were read again";
    match round {
        // A certificate with another key.
        0 => put(own, &[("second.pem", "own.pem"), ("second.key", "own.key")]),
        // One of another authority, and clients of both.
        1 => {
            put(own, &[("third.pem", "own.pem"), ("third.key", "own.key")]);
            put(
                own,
                &[("both.pem", "clients.pem"), ("both.crl", "revoked.crl")],
            );
        }
        // Keys that are not those of the certificate, then no file of the kind: the old ones stay.
        2 => {
            put(own, &[("second.key", "own.key")]);
            return "own.key: is not the key of the certificate";
        }
        3 => {
            put(own, &[("third.key", "own.key"), ("ca.key", "revoked.crl")]);
            return "revoked.crl: holds no revocation list";
        }
        // A device is taken back.
        4 => {
            revocations(own, "other", &["device"]);
            join(own, &["ca.crl", "other.crl"], "both.crl");
            put(own, &[("both.crl", "revoked.crl")]);
        }
        _ => {}
    }
    LOADED
}
