//! Records: what nodes tell each other, one after the other in a block.
//!
//! They come from outside of the process: every text, count and flag is checked, and what is wrong ends the
//! connection's block, not the node.

use crate::cluster::NODES_MAX;
use crate::ids::MemberId;
use crate::image::{ImageError, Reader, Writer};
use crate::mqtt::{decode, topic, Qos};
use crate::routing::Interest;
use crate::shard::delivery::message::Message;
use crate::time::{Clocks, WallTime};

const _: () = assert!(
    NODES_MAX < 128,
    "a slot is a place in a set of destinations"
);

/// A member of a shared group, as its own node names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RemoteMember {
    pub(super) shard: u16,
    pub(super) id: u64,
}

/// What the receiver is to do with a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op<'a> {
    FanOut,
    Retain,
    FanOutAndRetain,
    Member {
        group: &'a str,
        member: RemoteMember,
        hops: u8,
    },
    /// To be retained, unless something newer has come since it was asked for.
    Sync,
}

/// A publication on its way between two nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Carried<'a> {
    pub(super) op: Op<'a>,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) topic: &'a str,
    pub(super) properties: &'a [u8],
    pub(super) payload: &'a [u8],
    pub(super) expires_at: Option<WallTime>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// Asks for all the receiver's interest and members.
    AskSnapshot(u64),
    SnapshotBegins(u64),
    SnapshotEnds(u64),
    Interest {
        filter: &'a str,
        interest: Interest,
    },
    Joined {
        member: RemoteMember,
        share: &'a str,
        filter: &'a str,
        connected: bool,
        durable: bool,
    },
    Left {
        member: RemoteMember,
        share: &'a str,
        filter: &'a str,
    },
    Connected {
        member: RemoteMember,
        connected: bool,
    },
    Barrier(u64),
    BarrierApplied(u64),
    Publication(Carried<'a>),
    AskRetained,
    RetainedEnds,
}

fn put_member(out: &mut Writer<'_>, member: RemoteMember) {
    out.short(member.shard);
    out.long(member.id);
}

fn take_member(it: &mut Reader<'_>) -> Result<RemoteMember, ImageError> {
    let member = RemoteMember {
        shard: it.short()?,
        id: it.long()?,
    };
    let is_one = member.id > 0 && member.id < MemberId::NOBODY.0.get();
    is_one
        .then_some(member)
        .ok_or(ImageError::invalid("a member"))
}

impl<'a> Carried<'a> {
    pub(super) fn of(message: &Message<'a>, op: Op<'a>, clocks: Clocks) -> Self {
        Self {
            op,
            qos: message.qos,
            retain: message.retain,
            topic: message.topic,
            properties: message.properties,
            payload: message.payload,
            expires_at: message.expires_at.map(|at| clocks.to_wall(at)),
        }
    }

    fn put(&self, out: &mut Writer<'_>) {
        out.byte(self.qos as u8 | u8::from(self.retain) << 2);
        match self.op {
            Op::FanOut => out.byte(0),
            Op::Retain => out.byte(1),
            Op::FanOutAndRetain => out.byte(2),
            Op::Sync => out.byte(4),
            Op::Member {
                group,
                member,
                hops,
            } => {
                out.byte(3);
                out.text(group);
                put_member(out, member);
                out.byte(hops);
            }
        }
        out.text(self.topic);
        out.bytes(self.properties);
        out.bytes(self.payload);
        out.option(self.expires_at, Writer::time);
    }

    fn take(it: &mut Reader<'a>) -> Result<Self, ImageError> {
        let flags = it.byte()?;
        let qos = match flags & 3 {
            0 => Qos::AtMostOnce,
            1 => Qos::AtLeastOnce,
            2 => Qos::ExactlyOnce,
            _ => return Err(ImageError::invalid("a QoS")),
        };
        if flags >> 3 != 0 {
            return Err(ImageError::invalid("flags of a publication"));
        }
        let op = match it.byte()? {
            0 => Op::FanOut,
            1 => Op::Retain,
            2 => Op::FanOutAndRetain,
            3 => Op::Member {
                group: take_group(it)?,
                member: take_member(it)?,
                hops: it.byte()?,
            },
            4 => Op::Sync,
            _ => return Err(ImageError::invalid("an operation")),
        };
        let topic = it.text("a topic")?;
        if !topic::is_valid_name(topic) || topic::is_reserved(topic) {
            return Err(ImageError::invalid("a topic"));
        }
        let properties = it.bytes()?;
        decode::forwardable_properties(properties)
            .map_err(|_| ImageError::invalid("properties of a message"))?;
        Ok(Self {
            op,
            qos,
            retain: flags & 4 != 0,
            topic,
            properties,
            payload: it.bytes()?,
            expires_at: it.option(Reader::time)?,
        })
    }
}

fn take_filter<'a>(it: &mut Reader<'a>) -> Result<&'a str, ImageError> {
    let filter = it.text("a filter")?;
    let is_sound = topic::check_filter(filter).is_ok() && !topic::is_shared(filter);
    is_sound
        .then_some(filter)
        .ok_or(ImageError::invalid("a filter"))
}

fn take_group<'a>(it: &mut Reader<'a>) -> Result<&'a str, ImageError> {
    let group = it.text("a group")?;
    let is_group = matches!(topic::share(group), Ok(Some(_)));
    is_group
        .then_some(group)
        .ok_or(ImageError::invalid("a group"))
}

/// Share name and filter, which are a group only together.
fn take_share<'a>(it: &mut Reader<'a>) -> Result<(&'a str, &'a str), ImageError> {
    let (share, filter) = (it.text("a share")?, take_filter(it)?);
    let group = format!("$share/{share}/{filter}");
    let is_group =
        matches!(topic::share(&group), Ok(Some(it)) if it.name == share && it.filter == filter);
    is_group
        .then_some((share, filter))
        .ok_or(ImageError::invalid("a share"))
}

impl<'a> Record<'a> {
    pub(super) fn put(&self, block: &mut Vec<u8>) {
        let out = &mut Writer::fields(block);
        match self {
            Self::AskSnapshot(number) => put_number(out, 1, *number),
            Self::SnapshotBegins(number) => put_number(out, 2, *number),
            Self::SnapshotEnds(number) => put_number(out, 3, *number),
            Self::Interest { filter, interest } => {
                out.byte(4);
                out.byte(*interest as u8);
                out.text(filter);
            }
            Self::Joined {
                member,
                share,
                filter,
                connected,
                durable,
            } => {
                out.byte(5);
                put_member(out, *member);
                out.text(share);
                out.text(filter);
                out.flag(*connected);
                out.flag(*durable);
            }
            Self::Left {
                member,
                share,
                filter,
            } => {
                out.byte(6);
                put_member(out, *member);
                out.text(share);
                out.text(filter);
            }
            Self::Connected { member, connected } => {
                out.byte(7);
                put_member(out, *member);
                out.flag(*connected);
            }
            Self::Barrier(number) => put_number(out, 8, *number),
            Self::BarrierApplied(number) => put_number(out, 9, *number),
            Self::Publication(carried) => {
                out.byte(10);
                carried.put(out);
            }
            Self::AskRetained => out.byte(11),
            Self::RetainedEnds => out.byte(12),
        }
    }

    /// # Errors
    /// The bytes do not begin with a record.
    pub(super) fn take(it: &mut Reader<'a>) -> Result<Self, ImageError> {
        Ok(match it.byte()? {
            1 => Self::AskSnapshot(it.long()?),
            2 => Self::SnapshotBegins(it.long()?),
            3 => Self::SnapshotEnds(it.long()?),
            4 => {
                let interest = match it.byte()? {
                    0 => Interest::Absent,
                    1 => Interest::Transient,
                    2 => Interest::Durable,
                    _ => return Err(ImageError::invalid("an interest")),
                };
                let filter = take_filter(it)?;
                Self::Interest { filter, interest }
            }
            5 => {
                let member = take_member(it)?;
                let (share, filter) = take_share(it)?;
                Self::Joined {
                    member,
                    share,
                    filter,
                    connected: it.flag()?,
                    durable: it.flag()?,
                }
            }
            6 => {
                let member = take_member(it)?;
                let (share, filter) = take_share(it)?;
                Self::Left {
                    member,
                    share,
                    filter,
                }
            }
            7 => Self::Connected {
                member: take_member(it)?,
                connected: it.flag()?,
            },
            8 => Self::Barrier(it.long()?),
            9 => Self::BarrierApplied(it.long()?),
            10 => Self::Publication(Carried::take(it)?),
            11 => Self::AskRetained,
            12 => Self::RetainedEnds,
            _ => return Err(ImageError::invalid("a record")),
        })
    }
}

fn put_number(out: &mut Writer<'_>, kind: u8, number: u64) {
    out.byte(kind);
    out.long(number);
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
