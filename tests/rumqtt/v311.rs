//! rumqttc speaking 3.1.1.

use std::sync::mpsc::{channel, Receiver};
use std::time::Duration;

use rumqttc::{mqttbytes::v4::Packet, Client, Event, LastWill, MqttOptions, QoS};

use super::{
    check_all_arrived, next_message, wait_connected, wait_finished, wait_subscribed, Message, Seen,
    MESSAGES, SHARDS,
};
use crate::process::Broker;

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

fn options(broker: &Broker, client_id: &str, clean: bool) -> MqttOptions {
    let mut options = MqttOptions::new(client_id, "127.0.0.1", broker.port);
    options
        .set_keep_alive(Duration::from_secs(30))
        .set_clean_session(clean);
    options
}

fn packet_seen(packet: Packet) -> Option<Seen> {
    Some(match packet {
        Packet::ConnAck(ack) => Seen::Connected {
            session_present: ack.session_present,
        },
        Packet::SubAck(_) => Seen::Subscribed,
        Packet::PubAck(_) | Packet::PubComp(_) => Seen::Finished,
        Packet::Publish(publish) => Seen::Message(Message {
            topic: publish.topic,
            payload: publish.payload.to_vec(),
            qos: publish.qos as u8,
            is_retained: publish.retain,
        }),
        _ => return None,
    })
}

fn with_options(options: MqttOptions) -> (Client, Receiver<Seen>) {
    let (client, mut connection) = Client::new(options, 2_000);
    let (tell, seen) = channel();
    std::thread::spawn(move || {
        for event in connection.iter() {
            let Ok(Event::Incoming(packet)) = event else {
                match event {
                    Ok(_) => continue,
                    Err(_) => return,
                }
            };
            if packet_seen(packet).is_some_and(|what| tell.send(what).is_err()) {
                return;
            }
        }
    });
    (client, seen)
}

/// Connects with a clean session.
fn connect(broker: &Broker, client_id: &str) -> (Client, Receiver<Seen>) {
    let (client, seen) = with_options(options(broker, client_id, true));
    assert!(!wait_connected(&seen));
    (client, seen)
}

// conformance: 3.1.1:MQTT-7.1.1-1 3.1.1:MQTT-7.0.0-2
#[test]
fn all_qualities_of_service_in_order() {
    for shards in SHARDS {
        let broker = Broker::start(shards, &[]);
        let (subscriber, seen) = connect(&broker, "subscriber");
        subscriber
            .subscribe("numbers/+", QoS::ExactlyOnce)
            .expect("sent");
        wait_subscribed(&seen);
        let (publisher, acknowledged) = connect(&broker, "publisher");
        for n in 0..MESSAGES {
            for (number, qos) in QOS.into_iter().enumerate() {
                let topic = format!("numbers/{number}");
                publisher
                    .publish(topic, qos, false, n.to_string())
                    .expect("sent");
            }
        }
        wait_finished(&acknowledged, 2 * MESSAGES);
        check_all_arrived(&seen);
    }
}

#[test]
fn a_kept_session_receives_what_it_missed() {
    for shards in SHARDS {
        let broker = Broker::start(shards, &[]);
        let (subscriber, seen) = with_options(options(&broker, "subscriber", false));
        assert!(!wait_connected(&seen));
        subscriber
            .subscribe("numbers/+", QoS::ExactlyOnce)
            .expect("sent");
        wait_subscribed(&seen);
        subscriber.disconnect().expect("sent");
        while seen.recv().is_ok() {}
        let (publisher, acknowledged) = connect(&broker, "publisher");
        for n in 0..100 {
            publisher
                .publish("numbers/1", QoS::AtLeastOnce, false, n.to_string())
                .expect("sent");
        }
        wait_finished(&acknowledged, 100);
        let (_subscriber, seen) = with_options(options(&broker, "subscriber", false));
        assert!(wait_connected(&seen));
        for n in 0..100 {
            assert_eq!(next_message(&seen).payload, n.to_string().into_bytes());
        }
    }
}

#[test]
fn retained_messages() {
    for shards in SHARDS {
        let broker = Broker::start(shards, &[]);
        let (publisher, acknowledged) = connect(&broker, "publisher");
        publisher
            .publish("kept/a", QoS::AtLeastOnce, true, "old")
            .expect("sent");
        publisher
            .publish("kept/a", QoS::AtLeastOnce, true, "new")
            .expect("sent");
        wait_finished(&acknowledged, 2);
        let (subscriber, seen) = connect(&broker, "subscriber");
        subscriber
            .subscribe("kept/#", QoS::AtLeastOnce)
            .expect("sent");
        let expected = Message {
            topic: "kept/a".to_owned(),
            payload: b"new".to_vec(),
            qos: 1,
            is_retained: true,
        };
        assert_eq!(next_message(&seen), expected);
    }
}

#[test]
fn a_will_is_published_when_the_client_is_lost() {
    for shards in SHARDS {
        let broker = Broker::start(shards, &[]);
        let (observer, seen) = connect(&broker, "observer");
        observer
            .subscribe("will/#", QoS::AtLeastOnce)
            .expect("sent");
        wait_subscribed(&seen);
        let mut with_will = options(&broker, "dying", true);
        with_will.set_last_will(LastWill::new("will/w", "gone", QoS::AtLeastOnce, false));
        // The event loop ends with its first event, and the connection with it.
        let (_client, mut connection) = Client::new(with_will, 10);
        for event in connection.iter() {
            if matches!(event, Ok(Event::Incoming(_))) {
                break;
            }
        }
        drop(connection);
        assert_eq!(next_message(&seen).payload, b"gone");
    }
}
