//! Limits of an MQTT 5 broker's CONNACK.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::broker::Broker;
use crate::mqload;

#[test]
fn a_scenario_that_a_broker_does_not_allow_says_why() {
    let short = "--clients 1 --rate 10 --duration 100ms --drain 100ms";
    for (configured, scenario, sentence) in [
        (
            "max_qos 1",
            "pairs --qos 2",
            "takes QoS 1 at most (Maximum QoS)",
        ),
        (
            "retain_available false",
            "pairs --retain",
            "Retain Available is 0",
        ),
        (
            "max_packet_size 1000",
            "pairs --payload-size 1k",
            "packets of 1000 bytes at most (Maximum Packet Size)",
        ),
        (
            "max_topic_alias 2",
            "pairs --topics 3 --topic-alias",
            "takes 2 topic aliases (Topic Alias Maximum)",
        ),
    ] {
        let broker = Broker::mosquitto(configured);
        let arguments = format!("{scenario} {short} --mqtt 5 --target {}", broker.target);
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let (text, success) = mqload(&arguments);
        assert!(!success, "{scenario}: {text}");
        assert!(text.contains(sentence), "{scenario}: {text}");
    }
}

/// [MQTT-3.2.2-21]: the client asks for none, the broker wants a sign of life each second.
#[test]
fn the_broker_s_keep_alive_is_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let broker = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 1_024];
        let _ = stream.read(&mut bytes).unwrap();
        // CONNACK with Server Keep Alive 1.
        stream.write_all(&[0x20, 6, 0, 0, 3, 0x13, 0, 1]).unwrap();
        let mut pings = 0;
        while stream.read(&mut bytes).unwrap() == 2 && bytes[..2] == [0xC0, 0] {
            pings += 1;
            stream.write_all(&[0xD0, 0]).unwrap();
        }
        pings
    });
    let options = "connect-ramp --clients 1 --hold 1500ms --keep-alive-s 0 --mqtt 5";
    let mut arguments: Vec<&str> = options.split_whitespace().collect();
    arguments.extend(["--target", &target]);
    let (text, success) = mqload(&arguments);
    assert!(success, "{text}");
    assert!(
        broker.join().unwrap() > 0,
        "PINGREQ came before the end: {text}"
    );
}
