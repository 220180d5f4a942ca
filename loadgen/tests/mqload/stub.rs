//! A broker for one publisher and one subscriber that does wrong on purpose.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringmq::mqtt::encode::{self, AckKind};
use ringmq::mqtt::frame::{next_frame, PACKET_SIZE_MAX};
use ringmq::mqtt::{
    decode, Ack, ConnAck, ConnAckProperties, Packet, ReasonCode, Sender, SubAck, UserProperties,
    Version,
};

/// What is done with the PUBLISH of this number, counted from 0.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    None,
    /// Reads nothing and sends nothing for this time before the message.
    Stall(u64, Duration),
    Drop(u64),
    Duplicate(u64),
    /// Gives the message to the subscriber after the next one.
    Delay(u64),
    /// Answers CONNECT with a refusal.
    Refuse,
    /// Closes all connections at this message.
    Die(u64),
}

struct State {
    fault: Fault,
    count: u64,
    held: Option<Vec<u8>>,
    subscriber: Option<TcpStream>,
}

/// Starts one; it goes on until the test's process ends.
pub(crate) fn start(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let state = Arc::new(Mutex::new(State {
        fault,
        count: 0,
        held: None,
        subscriber: None,
    }));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let state = Arc::clone(&state);
            std::thread::spawn(move || serve(stream, &state));
        }
    });
    address
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; 65_536]);
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        bytes.extend_from_slice(&chunk[..count]);
        let mut used = 0;
        while let Ok(Some(frame)) = next_frame(&bytes[used..], PACKET_SIZE_MAX) {
            let whole = &bytes[used..used + frame.length];
            let Ok(packet) = decode::packet(Version::V311, Sender::Client, &frame) else {
                return;
            };
            if !answer(&mut stream, state, &packet, whole) {
                let _ = stream.shutdown(std::net::Shutdown::Both);
                return;
            }
            used += frame.length;
        }
        bytes.drain(..used);
    }
}

/// False when the connection ends.
fn answer(stream: &mut TcpStream, state: &Mutex<State>, packet: &Packet<'_>, whole: &[u8]) -> bool {
    let mut out = Vec::new();
    match packet {
        Packet::Connect(_) => {
            let refused = matches!(state.lock().unwrap().fault, Fault::Refuse);
            let reason = if refused {
                ReasonCode::NotAuthorized
            } else {
                ReasonCode::Success
            };
            let connack = ConnAck {
                session_present: false,
                reason,
                properties: ConnAckProperties::default(),
            };
            encode::connack(&mut out, Version::V311, &connack);
        }
        Packet::Subscribe(subscribe) => {
            state.lock().unwrap().subscriber = Some(stream.try_clone().unwrap());
            let codes = vec![1; subscribe.filters.iter().count()];
            let suback = SubAck {
                packet_id: subscribe.packet_id,
                reason_string: None,
                user_properties: UserProperties::default(),
                codes: &codes,
            };
            encode::suback(&mut out, Version::V311, &suback);
        }
        Packet::Publish(publish) => {
            if !state.lock().unwrap().publish(whole) {
                return false;
            }
            if let Some(packet_id) = publish.packet_id {
                let ack = Ack {
                    packet_id,
                    reason: ReasonCode::Success,
                    reason_string: None,
                    user_properties: UserProperties::default(),
                };
                encode::ack(&mut out, Version::V311, AckKind::PubAck, &ack);
            }
        }
        Packet::PingReq => encode::pingresp(&mut out),
        Packet::Disconnect(_) => return false,
        _ => {}
    }
    stream.write_all(&out).is_ok()
}

impl State {
    /// Gives a PUBLISH to the subscriber, or does what it is told; false when all is over.
    fn publish(&mut self, whole: &[u8]) -> bool {
        let number = self.count;
        self.count += 1;
        let Some(subscriber) = &mut self.subscriber else {
            return true;
        };
        match self.fault {
            Fault::Stall(at, time) if at == number => std::thread::sleep(time),
            Fault::Drop(at) if at == number => return true,
            Fault::Duplicate(at) if at == number => drop(subscriber.write_all(whole)),
            Fault::Delay(at) if at == number => {
                self.held = Some(whole.to_vec());
                return true;
            }
            Fault::Die(at) if at == number => {
                let _ = subscriber.shutdown(std::net::Shutdown::Both);
                return false;
            }
            _ => {}
        }
        let _ = subscriber.write_all(whole);
        if let Some(held) = self.held.take() {
            let _ = subscriber.write_all(&held);
        }
        true
    }
}
