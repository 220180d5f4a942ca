//! One subscriber of MQTT 5.0 that counts messages and looks at their numbers.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ringmq::mqtt::encode::{self, SubscribeOut};
use ringmq::mqtt::frame::{next_frame, PACKET_SIZE_MAX};
use ringmq::mqtt::{
    decode, Connect, ConnectProperties, Packet, PacketId, Sender, SubscriptionOptions,
    UserProperties, Version,
};

/// Octets of a message's number, behind the four of its client.
pub(super) const NUMBER_OCTETS: usize = 8;
/// It waits for so long at once.
const LOOK: Duration = Duration::from_millis(100);
/// So long after the last message nothing more comes.
const QUIET: Duration = Duration::from_millis(500);
/// The broker answers within this time.
const ANSWER: Duration = Duration::from_secs(10);
const BUFFER: usize = 1 << 20;

pub(super) struct Listener {
    socket: TcpStream,
    buffer: Vec<u8>,
    /// Octets in the buffer.
    filled: usize,
    /// The last number, by client.
    numbers: Vec<u64>,
    pub(super) received: u64,
    /// Twice, out of order, or none of this run.
    pub(super) wrong: u64,
    pub(super) last: Instant,
}

impl Listener {
    /// Connects and subscribes.
    pub(super) fn begin(address: &str, topic: &str, clients: usize) -> Result<Self, String> {
        let problem = |error: std::io::Error| format!("--subscriber {address}: {error}");
        let mut socket = TcpStream::connect(address).map_err(problem)?;
        socket.set_read_timeout(Some(LOOK)).map_err(problem)?;
        let mut request = Vec::new();
        encode::connect(&mut request, &connect());
        let options = SubscriptionOptions::default();
        let subscribe = SubscribeOut {
            packet_id: PacketId::new(1).expect("not 0"),
            subscription_identifier: None,
            user_properties: UserProperties::default(),
            filters: &[(topic, options)],
        };
        encode::subscribe(&mut request, Version::V5, &subscribe);
        socket.write_all(&request).map_err(problem)?;
        let mut listener = Self {
            socket,
            buffer: vec![0; BUFFER],
            filled: 0,
            numbers: vec![0; clients],
            received: 0,
            wrong: 0,
            last: Instant::now(),
        };
        let until = Instant::now() + ANSWER;
        let mut granted = false;
        while !granted {
            if Instant::now() > until {
                return Err(format!("--subscriber {address}: no SUBACK, or a refusal"));
            }
            listener.read()?;
            listener.packets(|_, packet| {
                granted |= matches!(packet, Packet::SubAck(suback) if suback.codes == [0]);
            })?;
        }
        Ok(listener)
    }

    /// Counts until the datagrams are all sent and nothing more comes.
    pub(super) fn listen(&mut self, is_over: &AtomicBool) -> Result<(), String> {
        self.last = Instant::now();
        let mut quiet_since = Instant::now();
        while !is_over.load(Ordering::Relaxed) || quiet_since.elapsed() < QUIET {
            if !self.read()? {
                continue;
            }
            quiet_since = Instant::now();
            self.last = quiet_since;
            self.packets(|listener, packet| match packet {
                Packet::Publish(publish) => listener.take(publish.payload),
                _ => listener.wrong += 1,
            })?;
        }
        Ok(())
    }

    /// Reads what there is; false: nothing for a while.
    fn read(&mut self) -> Result<bool, String> {
        match self.socket.read(&mut self.buffer[self.filled..]) {
            Ok(0) => Err("the broker has closed the subscriber's connection".into()),
            Ok(count) => {
                self.filled += count;
                Ok(true)
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(false)
            }
            Err(error) => Err(format!("the subscriber: {error}")),
        }
    }

    /// The whole packets that were read.
    fn packets(&mut self, mut handle: impl FnMut(&mut Self, &Packet<'_>)) -> Result<(), String> {
        let buffer = std::mem::take(&mut self.buffer);
        let bytes = &buffer[..self.filled];
        let mut at = 0;
        let problem = |error: &dyn std::fmt::Display| format!("the subscriber was sent: {error}");
        while let Some(frame) =
            next_frame(&bytes[at..], PACKET_SIZE_MAX).map_err(|e| problem(&e))?
        {
            at += frame.length;
            let packet = decode::packet(Version::V5, Sender::Server, &frame);
            handle(self, &packet.map_err(|e| problem(&e))?);
        }
        self.buffer = buffer;
        self.buffer.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }

    fn take(&mut self, payload: &[u8]) {
        let number = payload.split_first_chunk::<4>().and_then(|(client, rest)| {
            let client = u32::from_be_bytes(*client) as usize;
            let number = u64::from_be_bytes(*rest.first_chunk::<NUMBER_OCTETS>()?);
            Some((self.numbers.get_mut(client)?, number))
        });
        match number {
            Some((last, number)) if number > *last => {
                *last = number;
                self.received += 1;
            }
            _ => self.wrong += 1,
        }
    }
}

fn connect() -> Connect<'static> {
    Connect {
        version: Version::V5,
        is_bridge: false,
        clean_start: true,
        keep_alive_s: 0,
        client_id: "",
        will: None,
        user_name: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}
