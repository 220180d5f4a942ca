//! Connections cut on purpose, between mqload and real brokers: what is promised must hold.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::broker::Broker;
use crate::{figure, mqload};

/// Passes bytes on. Whenever so many more have passed to the broker, up to `times`, all connections are
/// cut and `then` is called.
pub(crate) fn proxy(
    broker: &Broker,
    every_bytes: u64,
    times: u64,
    then: impl Fn() + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let broker = broker.target.clone();
    let open = Arc::new(Mutex::new(Vec::<TcpStream>::new()));
    let seen = {
        let (passed, open) = (AtomicU64::new(0), Arc::clone(&open));
        Arc::new(move |count: u64| {
            let before = passed.fetch_add(count, Ordering::Relaxed);
            let number = (before + count) / every_bytes;
            if before / every_bytes != number && number <= times {
                for stream in open.lock().unwrap().drain(..) {
                    let _ = stream.shutdown(Shutdown::Both);
                }
                then();
            }
        })
    };
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(&broker) else {
                continue; // the broker is away: the client's connection ends
            };
            for stream in [&client, &server] {
                stream.set_nodelay(true).unwrap();
                open.lock().unwrap().push(stream.try_clone().unwrap());
            }
            let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || pass(client, server, |count| seen(count)));
            std::thread::spawn(move || pass(from, to, |_| {}));
        }
    });
    address
}

fn pass(mut from: TcpStream, mut to: TcpStream, seen: impl Fn(u64)) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        seen(count as u64);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

fn run(options: &str, target: &str) -> (String, bool) {
    let load = "pairs --clients 4 --rate 2000 --duration 1s --reconnect 1000 --drain 2s";
    let words = format!("{load} {options} --target {target}");
    mqload(&words.split_whitespace().collect::<Vec<_>>())
}

/// mosquitto 2.0 drops QoS 2 messages of an MQTT 3.1.1 client with more than 20 in flight, hence the window.
/// 2,000 messages and their acknowledgements are over 160 KB towards the broker: three cuts.
fn sessions_go_on(broker: &Broker) {
    for (qos, options) in [
        ("QoS 1:", "--qos 1 --clean-start false"),
        ("QoS 2:", "--qos 2 --window 16 --clean-start false --payload-size 16:1,64-128:1"),
        ("QoS 1:", "--qos 1 --clean-start false --session-expiry-s 60 --protocol 5 --topics 3 --topic-alias"),
        ("QoS 2:", "--qos 2 --clean-start false --session-expiry-s 60 --protocol 5 --user-property a=b"),
    ] {
        let target = proxy(broker, 40_000, 3, || {});
        let (text, success) = run(options, &target);
        assert!(success, "{options}: {text}");
        assert_eq!(figure(&text, qos, "expected"), 2_000, "{options}: {text}");
        assert_eq!(figure(&text, qos, "lost"), 0, "{options}: {text}");
        let cut = figure(&text, "lost connections", "lost connections");
        assert!(cut >= 8, "{options}: {text}");
        let back = figure(&text, "lost connections", "opened again");
        assert_eq!(back, cut, "{options}: {text}");
    }
}

#[test]
fn sessions_go_on_across_cuts_with_mosquitto() {
    sessions_go_on(&Broker::mosquitto(""));
}

#[test]
fn sessions_go_on_across_cuts_with_ringmq() {
    sessions_go_on(&Broker::ringmq(&[]));
}

#[test]
fn what_qos_0_loses_is_counted_and_no_broken_promise() {
    let broker = Broker::mosquitto("");
    let target = proxy(&broker, 60_000, 1, || {});
    let (text, success) = run("--qos 0", &target);
    assert!(success, "{text}");
    assert_eq!(figure(&text, "QoS 0:", "expected"), 2_000, "{text}");
    let [lost, received] = ["lost", "received"].map(|word| figure(&text, "QoS 0:", word));
    assert_eq!(lost + received, 2_000, "{text}");
    assert!(text.contains("tried again after:"), "{text}");
}

/// A broker that comes back without its sessions is distinguished from one that keeps them.
#[test]
fn a_restart_that_loses_sessions_is_told() {
    let broker = Arc::new(Mutex::new(Broker::mosquitto("persistence false")));
    // Not its owner: the proxy lives as long as the process, and the broker must end with the test.
    let restarted = Arc::downgrade(&broker);
    let target = proxy(&broker.lock().unwrap(), 80_000, 1, move || {
        if let Some(broker) = restarted.upgrade() {
            broker.lock().unwrap().restart();
        }
    });
    let (text, _) = run("--qos 1 --clean-start false", &target);
    assert!(
        text.contains("8 times the broker did not have the session"),
        "{text}"
    );
    assert_eq!(
        figure(&text, "lost connections", "opened again"),
        8,
        "{text}"
    );
    assert_eq!(figure(&text, "QoS 1:", "expected"), 2_000, "{text}");
}
