//! The sending side of a client: topics encoded beforehand, packet identifiers, what waits.

use std::collections::VecDeque;
use std::num::NonZeroU16;

use ringmq::mqtt::encode::{self, PublishOut};
use ringmq::mqtt::{PacketId, Qos, Version};

use crate::payload::{Header, HEADER_BYTES};
use crate::plan::{PayloadSize, Publishing};

/// Messages that may wait for room or for acknowledgements, per client.
const OWED_MAX: usize = 1 << 20;

/// One topic of a publisher: all of its PUBLISH but the payload.
struct Topic {
    name: Box<str>,
    head: Box<[u8]>,
    /// Where the packet identifier is.
    id_at: usize,
}

/// A message that waits, or nothing more than its header.
pub struct Publisher {
    version: Version,
    qos: Qos,
    retain: bool,
    payload: PayloadSize,
    topics: Box<[Topic]>,
    next_topic: usize,
    /// Topics that still have to be sent with their name.
    unaliased: usize,
    alias: bool,
    /// Next sequence number, so messages sent or owed so far.
    pub sequence: u64,
    pub owed: VecDeque<Header>,
    /// In flight when connections were lost.
    pub abandoned: u64,
    pub in_flight: InFlight,
}

impl Publisher {
    pub fn new(version: Version, publishing: &Publishing, names: Vec<String>) -> Self {
        let alias = publishing.topic_alias && version.is_v5();
        let mut publisher = Self {
            version,
            qos: publishing.qos,
            retain: publishing.retain,
            payload: publishing.payload,
            topics: Box::default(),
            next_topic: 0,
            unaliased: if alias { names.len() } else { 0 },
            alias,
            sequence: 0,
            owed: VecDeque::new(),
            abandoned: 0,
            in_flight: InFlight::default(),
        };
        let topics = names.into_iter().enumerate();
        publisher.topics = topics
            .map(|(at, name)| publisher.topic(name.into_boxed_str(), at, true))
            .collect();
        publisher
    }

    fn topic(&self, name: Box<str>, at: usize, with_name: bool) -> Topic {
        let mut head = Vec::new();
        let size = self.payload.max();
        encode::publish_header(
            &mut head,
            self.version,
            &self.out(&name, at, with_name, size),
        );
        let properties = usize::from(self.version.is_v5()) * if self.alias { 4 } else { 1 };
        Topic {
            name,
            id_at: head.len() - properties - 2,
            head: head.into(),
        }
    }

    fn out<'a>(&self, name: &'a str, at: usize, with_name: bool, size: usize) -> PublishOut<'a> {
        PublishOut {
            dup: false,
            qos: self.qos,
            retain: self.retain,
            topic: if with_name { name } else { "" },
            packet_id: (self.qos != Qos::AtMostOnce).then_some(PacketId(NonZeroU16::MIN)),
            topic_alias: if self.alias {
                NonZeroU16::new(at as u16 + 1)
            } else {
                None
            },
            payload_len: size,
            ..PublishOut::default()
        }
    }

    /// The aliases of the last connection are gone.
    pub fn reset(&mut self) {
        if self.alias {
            self.unaliased = self.topics.len();
            self.next_topic = 0;
            for at in 0..self.topics.len() {
                let name = std::mem::take(&mut self.topics[at].name);
                self.topics[at] = self.topic(name, at, true);
            }
        }
        self.abandoned += u64::from(self.in_flight.count());
        self.in_flight.clear();
    }

    /// True when one more PUBLISH may be sent.
    #[must_use]
    #[inline]
    pub fn has_credit(&self, window: u16) -> bool {
        self.qos == Qos::AtMostOnce || self.in_flight.count() < window
    }

    /// Remembers a message for later; false when too many wait.
    pub fn owe(&mut self, header: Header) -> bool {
        let room = self.owed.len() < OWED_MAX;
        if room {
            self.owed.push_back(header);
        }
        room
    }

    /// Appends the next PUBLISH. The caller has asked [`Publisher::has_credit`].
    #[inline]
    pub fn put(&mut self, out: &mut Vec<u8>, header: Header, intended_ns: u64, filler: &[u8]) {
        let at = self.next_topic;
        self.next_topic = if at + 1 == self.topics.len() {
            0
        } else {
            at + 1
        };
        let start = out.len();
        let topic = &self.topics[at];
        let size = match self.payload {
            PayloadSize::Fixed(size) => {
                out.extend_from_slice(&topic.head);
                if self.qos != Qos::AtMostOnce {
                    let id = self.in_flight.begin(intended_ns);
                    out[start + topic.id_at..][..2].copy_from_slice(&id.to_be_bytes());
                }
                size
            }
            PayloadSize::Between(min, max) => self.put_sized(out, at, intended_ns, min, max),
        };
        if size >= HEADER_BYTES {
            out.extend_from_slice(&header.to_bytes());
            out.extend_from_slice(&filler[..size - HEADER_BYTES]);
        } else {
            out.extend_from_slice(&filler[..size]);
        }
        if self.unaliased > 0 {
            self.unaliased -= 1;
            let name = std::mem::take(&mut self.topics[at].name);
            self.topics[at] = self.topic(name, at, false);
        }
    }

    fn put_sized(
        &mut self,
        out: &mut Vec<u8>,
        at: usize,
        intended_ns: u64,
        min: usize,
        max: usize,
    ) -> usize {
        let size = fastrand::usize(min..=max);
        let mut publish = self.out(
            &self.topics[at].name,
            at,
            self.unaliased > 0 || !self.alias,
            size,
        );
        if self.qos != Qos::AtMostOnce {
            publish.packet_id = PacketId::new(self.in_flight.begin(intended_ns));
        }
        encode::publish_header(out, self.version, &publish);
        size
    }
}

/// Packet identifiers in use, with the intended send time of each.
#[derive(Default)]
pub struct InFlight {
    /// By identifier; 0 for one that is free.
    times: Vec<u64>,
    free: Vec<u16>,
    count: u16,
}

impl InFlight {
    #[must_use]
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Takes an identifier. There is one: the window is at most 65,535.
    fn begin(&mut self, intended_ns: u64) -> u16 {
        let id = self.free.pop().unwrap_or_else(|| {
            if self.times.is_empty() {
                self.times.push(0); // identifier 0 does not exist
            }
            self.times.push(0);
            (self.times.len() - 1) as u16
        });
        self.times[usize::from(id)] = intended_ns.max(1);
        self.count += 1;
        id
    }

    /// Ends one; its intended send time, or `None` when it was not in flight.
    pub fn end(&mut self, id: u16) -> Option<u64> {
        let time = std::mem::take(self.times.get_mut(usize::from(id))?);
        if time == 0 {
            return None;
        }
        self.free.push(id);
        self.count -= 1;
        Some(time)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}
