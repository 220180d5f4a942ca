//! Name and version of a broker: one short connection asks for `$SYS/broker/version`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ringmq::mqtt::encode::{self, SubscribeOut};
use ringmq::mqtt::frame::next_frame;
use ringmq::mqtt::{
    decode, Connect, ConnectProperties, Packet, PacketId, Qos, RetainHandling, Sender,
    SubscriptionOptions, UserProperties, Version,
};
use ringmq::transport::Scratch;

use crate::plan::{Connection, Plan};
use crate::transport::{Connector, Link};

const TOPIC: &str = "$SYS/broker/version";
/// All of it takes no longer: a run whose broker does not say who it is ends a little later.
const TIME: Duration = Duration::from_secs(1);
/// What has not come so long after the SUBACK will not: most brokers send it at once.
const AFTER_SUBACK: Duration = Duration::from_millis(300);
const PACKET_MAX: u32 = 64 << 10;
/// Longer names are cut.
const NAME_CHARS: usize = 100;

/// Name and version of a plan's first target; `None` when it does not say.
pub(crate) fn ask(plan: &Plan) -> Option<String> {
    let target = *plan.connection.targets.first()?.first()?;
    let client_id = format!("mqload-{:06x}-version", plan.seed & 0xFF_FFFF);
    let mut wire = Wire::open(&plan.connection, target)?;
    wire.send(&hello(&plan.connection, &client_id))?;
    let name = wire.name(plan.connection.version);
    let mut goodbye = Vec::new();
    let disconnect = ringmq::mqtt::Disconnect::default();
    encode::disconnect(&mut goodbye, plan.connection.version, &disconnect);
    let _ = wire.send(&goodbye); // a connection that has ended is over, too
    name
}

/// CONNECT and, right behind it, SUBSCRIBE.
fn hello(common: &Connection, client_id: &str) -> Vec<u8> {
    let connect = Connect {
        version: common.version,
        is_bridge: false,
        clean_start: true,
        keep_alive_s: 60,
        client_id,
        will: None,
        user_name: common.user.as_deref(),
        password: common.password.as_deref().map(str::as_bytes),
        properties: ConnectProperties::default(),
    };
    let options = SubscriptionOptions {
        qos: Qos::AtMostOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::default(),
    };
    let subscribe = SubscribeOut {
        packet_id: PacketId(std::num::NonZeroU16::MIN),
        subscription_identifier: None,
        user_properties: UserProperties::default(),
        filters: &[(TOPIC, options)],
    };
    let mut bytes = Vec::new();
    encode::connect(&mut bytes, &connect);
    encode::subscribe(&mut bytes, common.version, &subscribe);
    bytes
}

/// A blocking connection, through TLS and WebSocket where the plan has them.
struct Wire {
    stream: TcpStream,
    link: Option<Link>,
    scratch: Scratch,
    until: Instant,
}

impl Wire {
    fn open(common: &Connection, target: SocketAddr) -> Option<Self> {
        let mut wire = Self {
            stream: TcpStream::connect_timeout(&target, TIME).ok()?,
            link: Connector::new(&common.transport, 1).link(0, (0, 0)),
            scratch: Scratch::default(),
            until: Instant::now() + TIME,
        };
        wire.stream.set_write_timeout(Some(TIME)).ok()?;
        if let Some(link) = &mut wire.link {
            link.begin(0, &mut wire.scratch).ok()?;
            wire.flush()?;
        }
        while wire.link.as_ref().is_some_and(|link| !link.is_open()) {
            wire.read()?;
        }
        Some(wire)
    }

    fn send(&mut self, bytes: &[u8]) -> Option<()> {
        match &mut self.link {
            Some(link) => link.send(bytes, &mut self.scratch).ok()?,
            None => return self.stream.write_all(bytes).ok(),
        }
        self.flush()
    }

    /// Sends what the layers have for the socket.
    fn flush(&mut self) -> Option<()> {
        if let Some(link) = &mut self.link {
            self.stream.write_all(link.unsent()).ok()?;
            link.advance(link.unsent().len());
        }
        Some(())
    }

    /// Bytes of MQTT that come next, maybe none; `None` at the end of the time or the connection.
    fn read(&mut self) -> Option<Vec<u8>> {
        let left = self.until.checked_duration_since(Instant::now())?;
        let left = left.max(Duration::from_millis(1)); // 0 would be without end
        self.stream.set_read_timeout(Some(left)).ok()?;
        let mut buffer = vec![0; 16 << 10];
        let count = self
            .stream
            .read(&mut buffer)
            .ok()
            .filter(|count| *count > 0)?;
        buffer.truncate(count);
        let Some(link) = &mut self.link else {
            return Some(buffer);
        };
        link.receive(&mut buffer, &mut self.scratch).ok()?;
        let up = std::mem::take(&mut self.scratch.up);
        self.flush()?;
        Some(up)
    }

    fn name(&mut self, version: Version) -> Option<String> {
        let mut bytes = Vec::new();
        loop {
            bytes.extend(self.read()?);
            let mut used = 0;
            while let Some(frame) = next_frame(&bytes[used..], PACKET_MAX).ok()? {
                used += frame.length;
                match decode::packet(version, Sender::Server, &frame).ok()? {
                    Packet::ConnAck(connack) if connack.reason.is_error() => return None,
                    Packet::Publish(publish) if publish.topic == TOPIC => {
                        return Some(cleaned(publish.payload));
                    }
                    Packet::SubAck(_) => {
                        self.until = self.until.min(Instant::now() + AFTER_SUBACK);
                    }
                    _ => {}
                }
            }
            bytes.drain(..used);
        }
    }
}

/// Text of a stranger, for one line.
fn cleaned(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(payload);
    let shown = text.chars().filter(|letter| !letter.is_control());
    shown.take(NAME_CHARS).collect()
}
