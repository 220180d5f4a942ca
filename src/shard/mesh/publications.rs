//! Publications on their way to another shard, in their serial form: within one process, so what is malformed is a
//! broken invariant.

use std::num::NonZeroU64;

use bytes::Bytes;

use crate::ids::{MemberId, ShardId};
use crate::mqtt::{Qos, Version};
use crate::shard::clients::outgoing::LARGE_PAYLOAD;
use crate::shard::delivery::message::Message;
use crate::shard::durable::ticket::{Awaited, HeldNumber, Ticket, Waiter};
use crate::shard::mesh::block_op::BlockOp;
use crate::shard::mesh::publish_run::PublishRun;
use crate::time::Time;

/// One item in a block of publications.
#[derive(Debug)]
pub(in crate::shard) enum BlockItem<'a> {
    Message(Message<'a>, BlockOp<'a>),
    PublishRun(PublishRun<'a>),
}

// Bits of the byte before each item.
const QOS_MASK: u8 = 0b11;
const RETAIN: u8 = 1 << 2;
const EXPIRES: u8 = 1 << 3;
const LARGE: u8 = 1 << 4;
const TASK_SHIFT: u8 = 5;
const TASK_MASK: u8 = 0b11;
/// Back-reference: the publication before, for another op.
const AGAIN: u8 = 1 << 7;
/// Not a publication but a run of packets: no QoS has these bits.
const RUN: u8 = QOS_MASK;
/// Not a publication but, before it, the turn that waits for its commit.
const AWAITED: u8 = QOS_MASK | RETAIN;
/// The same for the number under which its sender holds it.
const HELD: u8 = QOS_MASK | EXPIRES;

/// Publications encoded one after the other; large payloads beside them by reference.
#[derive(Debug, Default)]
pub(in crate::shard) struct Publications {
    bytes: Vec<u8>,
    large: Vec<Bytes>,
    /// When its first publication was read.
    pub(in crate::shard) read_at: Time,
}

impl Publications {
    /// Room for one block without growing.
    pub(in crate::shard) fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Appends a publication; returns the bytes it is charged with, large payload included.
    pub(in crate::shard) fn push(&mut self, message: &mut Message<'_>, op: &BlockOp<'_>) -> usize {
        let before = self.bytes.len();
        let large = message.payload.len() >= LARGE_PAYLOAD;
        let mut flags = message.qos as u8 | op.kind() << TASK_SHIFT;
        if message.retain {
            flags |= RETAIN;
        }
        if message.expires_at.is_some() {
            flags |= EXPIRES;
        }
        if large {
            flags |= LARGE;
        }
        self.bytes.push(flags);
        self.put_u32(message.topic.len());
        self.put_u32(message.properties.len());
        self.put_u32(message.payload.len());
        if let Some(Time(at)) = message.expires_at {
            self.bytes.extend_from_slice(&at.to_le_bytes());
        }
        self.put_op(op);
        self.bytes.extend_from_slice(message.topic.as_bytes());
        self.bytes.extend_from_slice(message.properties);
        let mut charged = 0;
        if large {
            charged = message.payload.len();
            self.large.push(message.shared_payload());
        } else {
            self.bytes.extend_from_slice(message.payload);
        }
        charged + self.bytes.len() - before
    }

    /// Appends the publication at the end again, for another op; returns the bytes charged.
    pub(in crate::shard) fn push_again(&mut self, op: &BlockOp<'_>) -> usize {
        let before = self.bytes.len();
        self.bytes.push(AGAIN | op.kind() << TASK_SHIFT);
        self.put_op(op);
        self.bytes.len() - before
    }

    /// Appends a run; returns the bytes it is charged with.
    pub(in crate::shard) fn push_run(&mut self, run: &PublishRun<'_>) -> usize {
        let before = self.bytes.len();
        let (is_v5, has_more) = (run.version.is_v5(), run.has_more);
        self.bytes.extend([RUN, is_v5.into(), has_more.into()]);
        let places = [run.packets.len(), run.topic.start, run.topic.len()];
        let counts = [run.count as usize, run.largest, run.payloads];
        for number in places.into_iter().chain(counts) {
            self.put_u32(number);
        }
        self.bytes.extend_from_slice(run.packets);
        self.bytes.len() - before
    }

    /// Appends who is to learn of the commit of the publication that is appended next; returns the bytes charged.
    #[inline]
    pub(in crate::shard) fn push_waiter(&mut self, waiter: Waiter) -> usize {
        let before = self.bytes.len();
        match waiter {
            Waiter::Nobody | Waiter::Reply | Waiter::Log => {}
            Waiter::Peer(Awaited { by, ticket }) => {
                self.bytes.push(AWAITED);
                self.bytes.extend_from_slice(&by.0.to_le_bytes());
                self.bytes.extend_from_slice(&ticket.0.to_le_bytes());
            }
            Waiter::Held(number) => {
                self.bytes.push(HELD);
                self.bytes.extend_from_slice(&number.0.to_le_bytes());
            }
        }
        self.bytes.len() - before
    }

    fn put_op(&mut self, op: &BlockOp<'_>) {
        if let BlockOp::Member {
            group,
            member,
            hops,
        } = op
        {
            self.put_u32(group.len());
            self.bytes.extend_from_slice(&member.0.get().to_le_bytes());
            self.bytes.push(*hops);
            self.bytes.extend_from_slice(group.as_bytes());
        }
    }

    fn put_u32(&mut self, value: usize) {
        let value = u32::try_from(value).expect("lengths within a packet fit 32 bits");
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Reads from the start (the default) or from where another reader was.
    pub(in crate::shard) fn reader(&self, at: Position) -> Reader<'_> {
        let mut reader = Reader {
            publications: self,
            bytes: &self.bytes[at.whole.bytes..],
            large: at.whole.large,
            whole: Place::default(),
            last: None,
        };
        if at.next != at.whole {
            reader.next(); // what a back-reference may refer to
            reader.bytes = &self.bytes[at.next.bytes..];
            reader.large = at.next.large;
        }
        reader
    }
}

/// Where a reader is: bytes read, and large payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    bytes: usize,
    large: usize,
}

/// How far a block has been read.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::shard) struct Position {
    next: Place,
    /// The last publication written in full before it.
    whole: Place,
}

/// Walks the publications of a block. The bytes were written by [`Publications::push`] in this
/// process, so a malformed block is a broken invariant.
pub(in crate::shard) struct Reader<'a> {
    publications: &'a Publications,
    /// Not read yet.
    bytes: &'a [u8],
    /// Large payloads read.
    large: usize,
    whole: Place,
    last: Option<Written<'a>>,
}

/// A publication as it was written in full.
#[derive(Clone)]
struct Written<'a> {
    topic: &'a str,
    properties: &'a [u8],
    payload: &'a [u8],
    shared: Option<Bytes>,
    flags: u8,
    expires_at: Option<Time>,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.bytes.split_at(count);
        self.bytes = rest;
        head
    }

    fn take_u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().expect("four bytes"))
    }

    fn take_u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().expect("eight bytes"))
    }

    fn take_str(&mut self, count: usize) -> &'a str {
        text(self.take(count))
    }

    pub(in crate::shard) fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(in crate::shard) fn position(&self) -> Position {
        Position {
            next: self.place(),
            whole: self.whole,
        }
    }

    fn place(&self) -> Place {
        Place {
            bytes: self.publications.bytes.len() - self.bytes.len(),
            large: self.large,
        }
    }

    fn take_run(&mut self) -> PublishRun<'a> {
        let is_v5 = self.take(1)[0] != 0;
        let version = [Version::V311, Version::V5][usize::from(is_v5)]; // 3.1 has the packets of 3.1.1
        let has_more = self.take(1)[0] != 0;
        let [length, start, topic_len, count, largest, payloads] =
            [(); 6].map(|()| self.take_u32() as usize);
        PublishRun {
            version,
            packets: self.take(length),
            topic: start..start + topic_len,
            count: count as u64,
            largest,
            payloads,
            has_more,
        }
    }

    pub(in crate::shard) fn next(&mut self) -> Option<BlockItem<'a>> {
        let flags = *self.bytes.first()?;
        if flags == RUN {
            self.whole = self.place();
            self.take(1);
            return Some(BlockItem::PublishRun(self.take_run()));
        }
        let (flags, waiter) = self.take_waiter(flags);
        let op = if flags & AGAIN != 0 {
            self.take(1);
            self.take_task(flags)
        } else {
            self.take_whole(flags)
        };
        let last = self.last.clone().expect("the first is written in full");
        let qos = Qos::from_bits(last.flags & QOS_MASK).expect("QoS was QoS when it was written");
        let message = Message {
            topic: last.topic,
            shared_topic: None,
            payload: last.payload,
            shared: last.shared,
            properties: last.properties,
            qos,
            retain: last.flags & RETAIN != 0,
            expires_at: last.expires_at,
            owned: None,
            serial: 0,
            waiter,
            needs_commit: false,
        };
        Some(BlockItem::Message(message, op))
    }

    /// Who waits for the publication that begins with `flags`, if that is stated before it; and its own flags.
    #[inline]
    fn take_waiter(&mut self, flags: u8) -> (u8, Waiter) {
        if flags & QOS_MASK != QOS_MASK {
            return (flags, Waiter::Nobody);
        }
        self.take(1);
        if flags == HELD {
            let number = HeldNumber(self.take_u64());
            return (self.bytes[0], Waiter::Held(number));
        }
        let by = self.take(2).try_into().expect("two bytes");
        let awaited = Awaited {
            by: ShardId(u16::from_le_bytes(by)),
            ticket: Ticket(self.take_u64()),
        };
        (self.bytes[0], Waiter::Peer(awaited))
    }

    fn take_whole(&mut self, flags: u8) -> BlockOp<'a> {
        self.whole = self.place();
        self.take(1);
        let topic_len = self.take_u32() as usize;
        let properties_len = self.take_u32() as usize;
        let payload_len = self.take_u32() as usize;
        let expires_at = (flags & EXPIRES != 0).then(|| Time(self.take_u64()));
        let op = self.take_task(flags);
        let topic = self.take_str(topic_len);
        let properties = self.take(properties_len);
        let mut shared = None;
        let payload = if flags & LARGE != 0 {
            let large = &self.publications.large[self.large];
            self.large += 1;
            shared = Some(large.clone());
            large
        } else {
            self.take(payload_len)
        };
        self.last = Some(Written {
            topic,
            properties,
            payload,
            shared,
            flags,
            expires_at,
        });
        op
    }

    fn take_task(&mut self, flags: u8) -> BlockOp<'a> {
        match flags >> TASK_SHIFT & TASK_MASK {
            0 => BlockOp::FanOut,
            1 => BlockOp::Retain,
            2 => BlockOp::FanOutAndRetain,
            _ => {
                let group_len = self.take_u32() as usize;
                let member = NonZeroU64::new(self.take_u64());
                let hops = self.take(1)[0];
                let group = self.take_str(group_len);
                BlockOp::Member {
                    group,
                    member: MemberId(member.expect("a member's id when it was written")),
                    hops,
                }
            }
        }
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text was text when it was written")
}

#[cfg(test)]
#[path = "publications_tests.rs"]
mod tests;
