//! Blocks: publications and control messages from one shard to another.

use std::num::NonZeroU64;

use bytes::Bytes;

use crate::ids::{MemberId, ShardId};
use crate::mqtt::{Qos, Version};
use crate::routing::Interest;
use crate::shard::delivery::message::Message;
use crate::shard::durable::ticket::{Awaited, CommitNeeds, Ticket, Waiter};
use crate::shard::mesh::publish_run::PublishRun;
use crate::time::Time;

use crate::shard::clients::outgoing::LARGE_PAYLOAD;

/// Two queues per ordered pair of shards: a flood of publications must not delay a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    Control,
    Data,
}

/// Many messages at once, opaque to the driver. Never dropped between shards: what does not fit into
/// a ring stays with its sender.
#[derive(Debug)]
pub struct Block(pub(in crate::shard) Content);

#[derive(Debug)]
pub(in crate::shard) enum Content {
    Control(Vec<Control>),
    Data(Publications),
}

/// Changes of the replicated index, and the walk over retained messages. Sent by the home shard of a
/// session to all others unless noted otherwise; applied in order.
#[derive(Debug)]
pub(in crate::shard) enum Control {
    /// What the sender's ordinary subscriptions want of a filter has changed.
    FilterInterest {
        filter: Box<str>,
        interest: Interest,
    },
    /// A session of the sender joined a shared group, or is a member in another way.
    MemberJoined {
        share: Box<str>,
        filter: Box<str>,
        member: MemberId,
        connected: bool,
        durable: bool,
    },
    MemberLeft {
        share: Box<str>,
        filter: Box<str>,
        member: MemberId,
    },
    /// A session of the sender that is in shared groups connected or disconnected.
    MemberConnected {
        member: MemberId,
        connected: bool,
    },
    /// Asks for [`Control::BarrierApplied`] once everything before it is applied.
    Barrier {
        number: u64,
    },
    /// Answer to the sender of the barrier. `data_sent[h]` counts the publications this shard had
    /// sent to shard `h` by then.
    BarrierApplied {
        number: u64,
        data_sent: Box<[u64]>,
    },
    /// Asks a topic's home for retained messages; answered by [`Control::RetainedPiece`]. Answered
    /// only when `data_needed[p]` publications of each shard `p` have been applied.
    RetainedWalk(Box<RetainedWalk>),
    RetainedPiece(Box<RetainedPiece>),
    /// So many publications that a turn of the receiver waits for are in the sender's log, on its disk.
    Committed {
        ticket: Ticket,
        count: u32,
    },
    /// Too much waits for the sender's disk, or no longer.
    LogPressure {
        is_high: bool,
    },
}

impl Control {
    /// Bytes of the filters and names it carries.
    pub(in crate::shard) fn bytes(&self) -> usize {
        match self {
            Self::FilterInterest { filter, .. } => filter.len(),
            Self::MemberJoined { share, filter, .. } | Self::MemberLeft { share, filter, .. } => {
                share.len() + filter.len()
            }
            Self::RetainedWalk(walk) => {
                walk.filter.len() + walk.after.as_ref().map_or(0, |topic| topic.len())
            }
            // Bounded by number: members, barriers, requests, and publications sent.
            Self::MemberConnected { .. }
            | Self::Barrier { .. }
            | Self::BarrierApplied { .. }
            | Self::RetainedPiece(_)
            | Self::Committed { .. }
            | Self::LogPressure { .. } => 0,
        }
    }
}

/// A piece of a walk over the retained messages of one shard.
#[derive(Debug)]
pub(in crate::shard) struct RetainedWalk {
    pub(in crate::shard) request: u64,
    pub(in crate::shard) filter: Box<str>,
    pub(in crate::shard) after: Option<Box<str>>,
    pub(in crate::shard) data_needed: Box<[u64]>,
}

#[derive(Debug)]
pub(in crate::shard) struct RetainedPiece {
    pub(in crate::shard) request: u64,
    pub(in crate::shard) messages: Publications,
    /// Where the next piece starts; `None`: the walk over this shard is complete.
    pub(in crate::shard) next: Option<Box<str>>,
}

/// What the receiving shard is to do with a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::shard) enum BlockOp<'a> {
    /// Deliver to its own subscribers.
    FanOut,
    /// Keep as the topic's retained message (or clear it).
    Retain,
    FanOutAndRetain,
    /// Deliver to one member of a shared group; `hops` counts how often it was dispatched.
    Member {
        group: &'a str,
        member: MemberId,
        hops: u8,
    },
}

impl BlockOp<'_> {
    fn kind(&self) -> u8 {
        match self {
            Self::FanOut => 0,
            Self::Retain => 1,
            Self::FanOutAndRetain => 2,
            Self::Member { .. } => 3,
        }
    }
}

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

/// Publications encoded one after the other; large payloads beside them by reference.
#[derive(Debug, Default)]
pub(in crate::shard) struct Publications {
    bytes: Vec<u8>,
    large: Vec<Bytes>,
}

impl Publications {
    /// Room for one block without growing.
    pub(in crate::shard) fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            large: Vec::new(),
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
        self.bytes.push(RUN);
        self.bytes.push(u8::from(run.version.is_v5()));
        self.bytes.push(u8::from(run.has_more));
        self.put_u32(run.packets.len());
        self.put_u32(run.topic.start);
        self.put_u32(run.topic.len());
        self.put_u32(run.count as usize);
        self.put_u32(run.largest);
        self.bytes.extend_from_slice(run.packets);
        self.bytes.len() - before
    }

    /// Appends which turn waits for the commit of the publication that is appended next; returns the bytes
    /// charged.
    pub(in crate::shard) fn push_awaited(&mut self, awaited: Awaited) -> usize {
        let before = self.bytes.len();
        self.bytes.push(AWAITED);
        self.bytes.extend_from_slice(&awaited.by.0.to_le_bytes());
        self.bytes
            .extend_from_slice(&awaited.ticket.0.to_le_bytes());
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
        let version = match self.take(1)[0] {
            0 => Version::V311, // of 3.1 the packets are the same
            _ => Version::V5,
        };
        let has_more = self.take(1)[0] != 0;
        let [length, start, topic_len, count, largest] = [(); 5].map(|()| self.take_u32() as usize);
        PublishRun {
            version,
            packets: self.take(length),
            topic: start..start + topic_len,
            count: count as u64,
            largest,
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
            commit: CommitNeeds::default(),
        };
        Some(BlockItem::Message(message, op))
    }

    /// Who waits for the publication that begins with `flags`, if that is stated before it; and its own flags.
    #[inline]
    fn take_waiter(&mut self, flags: u8) -> (u8, Waiter) {
        if flags != AWAITED {
            return (flags, Waiter::Nobody);
        }
        self.take(1);
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
mod tests {
    use super::*;

    fn message<'a>(topic: &'a str, payload: &'a [u8]) -> Message<'a> {
        Message {
            topic,
            shared_topic: None,
            payload,
            shared: None,
            properties: b"\x01\x01",
            qos: Qos::ExactlyOnce,
            retain: true,
            expires_at: Some(Time(77)),
            owned: None,
            serial: 0,
            waiter: Waiter::Nobody,
            commit: CommitNeeds::default(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let large = vec![9; LARGE_PAYLOAD];
        let member = BlockOp::Member {
            group: "$share/g/a/#",
            member: MemberId(NonZeroU64::MAX),
            hops: 2,
        };
        let mut publications = Publications::default();
        publications.push(&mut message("a/b", b"small"), &BlockOp::FanOutAndRetain);
        publications.push(&mut message("a/c", &large), &member);
        publications.push(&mut message("", b""), &BlockOp::Retain);
        let run = PublishRun {
            version: Version::V5,
            packets: b"\x30\x04\0\x01t\0",
            topic: 4..5,
            count: 1,
            largest: 6,
            has_more: true,
        };
        publications.push_run(&run);
        let mut reader = publications.reader(Position::default());
        for (topic, payload, op) in [
            ("a/b", &b"small"[..], BlockOp::FanOutAndRetain),
            ("a/c", &large[..], member),
            ("", &b""[..], BlockOp::Retain),
        ] {
            let Some(BlockItem::Message(got, got_task)) = reader.next() else {
                panic!("no message");
            };
            assert_eq!((got.topic, got.payload, got_task), (topic, payload, op));
            assert_eq!(got.properties, b"\x01\x01");
            assert_eq!((got.qos, got.retain), (Qos::ExactlyOnce, true));
            assert_eq!(got.expires_at, Some(Time(77)));
        }
        let Some(BlockItem::PublishRun(got)) = reader.next() else {
            panic!("no run");
        };
        assert_eq!((&got, got.topic()), (&run, "t"));
        assert!(reader.next().is_none());
    }

    #[test]
    fn a_publication_named_again_is_read_in_full_from_any_position() {
        let large = vec![9; LARGE_PAYLOAD];
        let mut publications = Publications::default();
        publications.push(&mut message("a", &large), &BlockOp::Retain);
        publications.push(&mut message("b", &large[1..]), &BlockOp::FanOut);
        let member = |n| BlockOp::Member {
            group: "$share/g/b",
            member: MemberId(NonZeroU64::MIN.saturating_add(n)),
            hops: 0,
        };
        assert!(publications.push_again(&member(1)) < 64);
        let awaited = |ticket| Awaited {
            by: ShardId(3),
            ticket: Ticket(ticket),
        };
        publications.push_awaited(awaited(7));
        publications.push_again(&member(2));
        publications.push_run(&PublishRun {
            version: Version::V311,
            packets: b"\x30\x03\0\x01c",
            topic: 4..5,
            count: 1,
            largest: 5,
            has_more: false,
        });
        publications.push_awaited(awaited(u64::MAX));
        publications.push(&mut message("c", b"x"), &BlockOp::FanOut);
        let all = |mut reader: Reader<'_>| {
            let read = std::iter::from_fn(|| reader.next());
            let told = |carried| match carried {
                BlockItem::Message(m, op) => {
                    format!("{} {} {op:?} {:?}", m.topic, m.payload.len(), m.waiter)
                }
                BlockItem::PublishRun(run) => format!("{run:?}"),
            };
            read.map(told).collect::<Vec<_>>()
        };
        let expected = all(publications.reader(Position::default()));
        assert_eq!(expected.len(), 6);
        assert!(expected[3].starts_with(&format!("b {}", LARGE_PAYLOAD - 1)));
        let is_awaited = |item: &String| item.contains("Peer(Awaited { by: ShardId(3)");
        let awaited: Vec<usize> = (0..6).filter(|n| is_awaited(&expected[*n])).collect();
        assert_eq!(awaited, [3, 5]);
        let mut reader = publications.reader(Position::default());
        for done in 0..=6 {
            let from_here = all(publications.reader(reader.position()));
            assert_eq!(from_here, expected[done..]);
            assert_eq!(reader.next().is_none(), reader.is_at_end() && done == 6);
        }
    }
}
