//! Datagrams at QoS -1 or 0 as fast as they go, or at a rate, and one subscriber of MQTT that counts what arrives.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use ringmq::mqtt::Qos;
use ringmq::mqtt_sn::{self, encode, Message, TopicRef};

use super::connect::connect;
use super::fleet::Fleet;
use super::listener::{Listener, NUMBER_OCTETS};
use super::publish::topic_id;
use super::result::SnResult;
use super::Common;
use crate::options::parse_duration;
use crate::system;

/// The kernel cuts so many datagrams of one call apart at most.
const BATCH_MAX: usize = 64;
/// A clock tick in nanoseconds, as /proc has CPU times.
const TICK_NS: f64 = 1e7;

#[derive(Args, Clone, Debug)]
pub(super) struct Flood {
    #[command(flatten)]
    pub(super) common: Common,
    /// -1 (without a connection, to a short topic name) or 0
    #[arg(long, default_value_t = -1, allow_hyphen_values = true, value_parser = clap::value_parser!(i8).range(-1..=0))]
    qos: i8,
    /// Where the subscriber connects, by MQTT 5.0
    #[arg(long, default_value = "127.0.0.1:1883")]
    subscriber: String,
    /// Without a subscriber: what the datagrams are sent to counts them itself
    #[arg(long)]
    alone: bool,
    /// Datagrams per second of all clients; 0: as many as there can be
    #[arg(long, default_value_t = 0)]
    rate: u32,
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    duration: Duration,
    /// Octets of a payload
    #[arg(long, default_value_t = 16)]
    payload: usize,
    /// Short topic name, two octets, for QoS -1
    #[arg(long, default_value = "mq")]
    short_topic: String,
    /// Datagrams of one client behind each other, which are one call, from 1 to 64
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Process of the broker, whose CPU time for each message is shown
    #[arg(long)]
    broker_pid: Option<u32>,
}

impl Flood {
    pub(super) fn run(&self) -> Result<SnResult, String> {
        let common = &self.common;
        if common.nodes > 0 || !(1..=BATCH_MAX).contains(&self.batch) {
            return Err("--batch is from 1 to 64, and there are no --nodes here".into());
        }
        let mut fleet = common.fleet(0)?;
        let clients = common.clients;
        let ids = self.begin(&mut fleet)?;
        let mut senders = Vec::with_capacity(clients);
        for (client, socket) in fleet.sockets().iter().enumerate() {
            let topic = match ids.get(client) {
                Some(id) => TopicRef::Normal(*id),
                None => TopicRef::Short(self.short()?),
            };
            senders.push(Sender::new(socket, client as u32, topic, self));
        }
        let mut listener = match self.alone {
            true => None,
            false => Some(Listener::begin(&self.subscriber, &self.topic(), clients)?),
        };
        let ticks = || {
            self.broker_pid
                .and_then(system::usage)
                .map(|one| one.cpu_ticks)
        };
        let before = ticks();
        let is_over = AtomicBool::new(false);
        let mut result = SnResult {
            scenario: "flood",
            clients,
            connected: ids.len(),
            ..SnResult::default()
        };
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let listening = listener
                .as_mut()
                .map(|listener| scope.spawn(|| listener.listen(&is_over)));
            result.sent = self.send(&mut senders);
            is_over.store(true, Ordering::Relaxed);
            listening.map_or(Ok(()), |thread| thread.join().expect("it does not panic"))
        })?;
        let after = ticks();
        result.expected = result.sent;
        result.took(begun.elapsed().min(self.duration), result.sent);
        if let Some(listener) = &listener {
            (result.received, result.wrong) = (listener.received, listener.wrong);
            let took = listener.last.duration_since(begun);
            result.took(took, listener.received);
            result.lost = result.sent.saturating_sub(listener.received);
            let cpu = after.zip(before).map(|(after, before)| after - before);
            let each = cpu.map(|ticks| ticks as f64 * TICK_NS / listener.received.max(1) as f64);
            result.broker_cpu_ns_each = each;
        }
        for client in 0..ids.len() {
            fleet.send(client, &Message::Disconnect(None));
        }
        Ok(result)
    }

    fn topic(&self) -> String {
        match self.qos {
            ..0 => self.short_topic.clone(),
            _ => format!("{}/published", self.common.prefix),
        }
    }

    fn short(&self) -> Result<[u8; 2], String> {
        let name = self.short_topic.as_bytes();
        name.try_into()
            .map_err(|_| format!("--short-topic {:?}: it is two octets", self.short_topic))
    }

    /// The topic ids of the clients; at QoS -1 none of them connects.
    fn begin(&self, fleet: &mut Fleet) -> Result<Vec<u16>, String> {
        if self.qos < 0 {
            return Ok(Vec::new());
        }
        let clients = 0..self.common.clients;
        connect(&self.common, fleet, clients.clone())?;
        let topic = self.topic();
        clients
            .map(|client| topic_id(&self.common, fleet, client, &topic))
            .collect()
    }

    /// Sends for the time that there is; returns how many datagrams the kernel took.
    fn send(&self, senders: &mut [Sender<'_>]) -> u64 {
        let begun = Instant::now();
        let mut sent = 0;
        for at in (0..senders.len()).cycle() {
            let elapsed = begun.elapsed();
            if elapsed >= self.duration {
                break;
            }
            if self.rate > 0 {
                let due = Duration::from_secs_f64(
                    (sent + self.batch as u64) as f64 / f64::from(self.rate),
                );
                std::thread::sleep(due.saturating_sub(elapsed));
            }
            sent += senders[at].send(self.batch);
        }
        sent
    }
}

/// Datagrams of one client.
struct Sender<'a> {
    socket: &'a UdpSocket,
    /// A batch of them.
    bytes: Vec<u8>,
    /// Octets of one, and where its number is.
    size: usize,
    number_at: usize,
    number: u64,
    /// The kernel cuts a batch apart.
    is_cut: bool,
}

impl<'a> Sender<'a> {
    fn new(socket: &'a UdpSocket, client: u32, topic: TopicRef, flood: &Flood) -> Self {
        let mut payload = client.to_be_bytes().to_vec();
        payload.resize(flood.payload.max(4 + NUMBER_OCTETS), b'.');
        let mut bytes = Vec::new();
        let publish = mqtt_sn::Publish {
            dup: false,
            qos: (flood.qos == 0).then_some(Qos::AtMostOnce),
            retain: false,
            topic,
            msg_id: 0,
            payload: &payload,
        };
        encode(&Message::Publish(publish), &mut bytes);
        let size = bytes.len();
        Self {
            socket,
            bytes: bytes.repeat(flood.batch),
            size,
            number_at: size - payload.len() + 4,
            number: 0,
            is_cut: cut_apart(socket, size),
        }
    }

    /// Sends so many; returns how many the kernel took.
    fn send(&mut self, count: usize) -> u64 {
        let bytes = &mut self.bytes[..count * self.size];
        for datagram in bytes.chunks_exact_mut(self.size) {
            self.number += 1;
            datagram[self.number_at..self.number_at + NUMBER_OCTETS]
                .copy_from_slice(&self.number.to_be_bytes());
        }
        if self.is_cut {
            return self.socket.send(bytes).map_or(0, |_| count as u64);
        }
        let datagrams = bytes.chunks_exact(self.size);
        datagrams
            .filter(|one| self.socket.send(one).is_ok())
            .count() as u64
    }
}

/// What is sent at once is cut into datagrams of this size by the kernel, if it can.
fn cut_apart(socket: &UdpSocket, size: usize) -> bool {
    const UDP_SEGMENT: libc::c_int = 103; // of the kernel's udp.h
    let size = size as libc::c_int;
    // SAFETY: the option's value is an int that lives through the call, and its length is its own.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_UDP,
            UDP_SEGMENT,
            (&raw const size).cast(),
            size_of_val(&size) as libc::socklen_t,
        )
    };
    result == 0
}
