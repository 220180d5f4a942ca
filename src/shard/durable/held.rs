//! Publications that this shard's log holds for other shards until theirs have them.
//!
//! What has no publisher who would repeat it must reach another shard exactly once over a crash between the two
//! commits: a QoS 2 publication after its PUBREC; what a member of a shared group hands on; a will. It is
//! written here, in the turn that takes it over, is forwarded when that turn is committed, and is forgotten when
//! the other shard has committed it (see [`cursors`](super::cursors)). Numbers count on within a log.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;

use super::ticket::HeldNumber;
use crate::ids::{MemberId, ShardId};
use crate::journal::{Lsn, SegmentNumber};
use crate::mqtt::Publication;
use crate::shard::mesh::block_op::BlockOp;

/// [`BlockOp`] as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::shard) enum HeldOp {
    FanOut,
    Retain,
    FanOutAndRetain,
    Member {
        group: Rc<str>,
        /// `None`: it was chosen by an earlier process, and another is chosen where it arrives.
        member: Option<MemberId>,
        hops: u8,
    },
}

impl HeldOp {
    fn of(op: &BlockOp<'_>) -> Self {
        match op {
            BlockOp::FanOut => Self::FanOut,
            BlockOp::Retain => Self::Retain,
            BlockOp::FanOutAndRetain => Self::FanOutAndRetain,
            BlockOp::Member {
                group,
                member,
                hops,
            } => Self::Member {
                group: (*group).into(),
                member: Some(*member),
                hops: *hops,
            },
        }
    }

    pub(super) fn as_block_op(&self) -> BlockOp<'_> {
        match self {
            Self::FanOut => BlockOp::FanOut,
            Self::Retain => BlockOp::Retain,
            Self::FanOutAndRetain => BlockOp::FanOutAndRetain,
            Self::Member {
                group,
                member,
                hops,
            } => BlockOp::Member {
                group,
                member: member.unwrap_or(MemberId::NOBODY),
                hops: *hops,
            },
        }
    }
}

/// A publication for one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::shard) struct HeldPublication {
    pub(super) to: ShardId,
    pub(super) publication: Rc<Publication>,
    pub(super) op: HeldOp,
}

impl HeldPublication {
    /// About what it takes, here and in the log.
    fn cost(&self) -> usize {
        const OWN_BYTES: usize = 128;
        let Publication {
            topic,
            payload,
            properties,
            ..
        } = &*self.publication;
        let group = match &self.op {
            HeldOp::Member { group, .. } => group.len(),
            _ => 0,
        };
        OWN_BYTES + topic.len() + payload.len() + properties.len() + group
    }
}

#[derive(Debug)]
struct Entry {
    it: HeldPublication,
    /// Where its record is; `None`: not written yet.
    segment: Option<SegmentNumber>,
}

/// Lives on: the shard, when it has a journal. Bounded by its bytes: above
/// [`HELD_HIGH_WATER`](crate::limits::HELD_HIGH_WATER) those who fill it are not read.
#[derive(Debug)]
pub(in crate::shard) struct Held {
    /// The number of the last one.
    last: HeldNumber,
    entries: BTreeMap<HeldNumber, Entry>,
    /// By shard: those for it, in order.
    of: Vec<VecDeque<HeldNumber>>,
    /// By shard: the last one for it, and up to which it has committed them.
    last_for: Vec<HeldNumber>,
    committed: Vec<HeldNumber>,
    /// Not forwarded yet, with the frame that must be on the disk before; of the turn at hand it is not known.
    waiting: VecDeque<(Lsn, HeldNumber)>,
    /// How often each topic is among those.
    topics: HashMap<Rc<str>, u32, ahash::RandomState>,
    /// Those of the turn at hand.
    unwritten: usize,
    bytes: usize,
}

impl Held {
    pub(super) fn new(shards: usize, hash_seed: u64) -> Self {
        Self {
            last: HeldNumber(0),
            entries: BTreeMap::new(),
            of: vec![VecDeque::new(); shards],
            last_for: vec![HeldNumber(0); shards],
            committed: vec![HeldNumber(0); shards],
            waiting: VecDeque::new(),
            topics: HashMap::with_hasher(ahash::RandomState::with_seeds(hash_seed, 27, 28, 29)),
            unwritten: 0,
            bytes: 0,
        }
    }

    pub(in crate::shard) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Publications of this topic have not been forwarded.
    #[inline]
    pub(super) fn has_waiting(&self, topic: &str) -> bool {
        !self.topics.is_empty() && self.topics.contains_key(topic)
    }

    /// The last one for a shard.
    pub(super) fn last_for(&self, to: ShardId) -> HeldNumber {
        self.last_for[to.index()]
    }

    /// Holds one more, from the turn at hand on.
    pub(super) fn hold(&mut self, to: ShardId, publication: Rc<Publication>, op: &BlockOp<'_>) {
        let number = HeldNumber(self.last.0 + 1);
        let op = HeldOp::of(op);
        let it = HeldPublication {
            to,
            publication,
            op,
        };
        self.put(number, it, None, Lsn(u64::MAX));
        self.unwritten += 1;
    }

    /// One that the log has kept.
    pub(super) fn restore(
        &mut self,
        number: HeldNumber,
        it: HeldPublication,
        segment: SegmentNumber,
    ) {
        self.put(number, it, Some(segment), Lsn(0));
    }

    fn put(
        &mut self,
        number: HeldNumber,
        it: HeldPublication,
        segment: Option<SegmentNumber>,
        lsn: Lsn,
    ) {
        self.last = self.last.max(number);
        self.last_for[it.to.index()] = number;
        self.of[it.to.index()].push_back(number);
        *(self.topics)
            .entry(Rc::clone(&it.publication.topic))
            .or_default() += 1;
        self.bytes += it.cost();
        self.waiting.push_back((lsn, number));
        self.entries.insert(number, Entry { it, segment });
    }

    /// Numbers that an earlier process has given, and up to which each shard has committed them.
    pub(super) fn restore_numbers(
        &mut self,
        last: HeldNumber,
        committed: impl Iterator<Item = (ShardId, HeldNumber)>,
    ) {
        self.last = self.last.max(last);
        for (shard, through) in committed {
            if let Some(committed) = self.committed.get_mut(shard.index()) {
                *committed = through;
                self.last_for[shard.index()] = self.last_for[shard.index()].max(through);
            }
        }
    }

    /// Those of the turn at hand, which are to be written.
    pub(super) fn unwritten(&self) -> impl Iterator<Item = HeldNumber> + '_ {
        let first = self.last.0 - self.unwritten as u64;
        (first + 1..=self.last.0).map(HeldNumber)
    }

    pub(super) fn has_unwritten(&self) -> bool {
        self.unwritten > 0
    }

    /// The records of the turn are appended; the last one is in this frame.
    pub(super) fn end_turn(&mut self, last: Lsn) {
        self.unwritten = 0;
        for (lsn, _) in self.waiting.iter_mut().rev() {
            if lsn.0 != u64::MAX {
                break;
            }
            *lsn = last;
        }
    }

    /// The next one that may be forwarded, now that frames up to this one are on the disk.
    pub(super) fn pop_forwardable(
        &mut self,
        durable: Lsn,
    ) -> Option<(HeldNumber, &HeldPublication)> {
        let (lsn, number) = *self.waiting.front()?;
        if lsn > durable {
            return None;
        }
        self.waiting.pop_front();
        let it = &self.entries.get(&number).expect("what waits is held").it;
        let topic = &it.publication.topic;
        let count = self.topics.get_mut(topic).expect("what waits is counted");
        *count -= 1;
        if *count == 0 {
            self.topics.remove(topic);
        }
        Some((number, it))
    }

    /// A shard has committed what is for it, up to this one. Returns the segments in which records are not needed
    /// any more.
    pub(super) fn committed(
        &mut self,
        by: ShardId,
        through: HeldNumber,
    ) -> Vec<Option<SegmentNumber>> {
        let committed = &mut self.committed[by.index()];
        *committed = through.max(*committed);
        let numbers = &mut self.of[by.index()];
        let count = numbers.partition_point(|number| *number <= through);
        let mut segments = Vec::with_capacity(count);
        for number in numbers.drain(..count) {
            let entry = self.entries.remove(&number);
            let entry = entry.expect("what is for a shard is held");
            self.bytes -= entry.it.cost();
            segments.push(entry.segment);
        }
        segments
    }

    pub(super) fn get(&self, number: HeldNumber) -> Option<&HeldPublication> {
        Some(&self.entries.get(&number)?.it)
    }

    pub(super) fn is_in(&self, number: HeldNumber, segment: SegmentNumber) -> bool {
        let entry = self.entries.get(&number);
        entry.is_some_and(|entry| entry.segment == Some(segment))
    }

    /// The record of one is in this segment now; where it was before.
    pub(super) fn record_is_in(
        &mut self,
        number: HeldNumber,
        segment: SegmentNumber,
    ) -> Option<SegmentNumber> {
        let entry = self
            .entries
            .get_mut(&number)
            .expect("what is written is held");
        entry.segment.replace(segment)
    }

    pub(super) fn last(&self) -> HeldNumber {
        self.last
    }

    /// Up to which each shard has committed what was for it.
    pub(super) fn committed_by(&self) -> &[HeldNumber] {
        &self.committed
    }

    #[cfg(any(test, feature = "testing"))]
    pub(in crate::shard) fn audit(&self) -> Result<(), String> {
        let bytes: usize = self.entries.values().map(|entry| entry.it.cost()).sum();
        let of: usize = self.of.iter().map(VecDeque::len).sum();
        let waiting: u32 = self.topics.values().sum();
        if bytes != self.bytes || of != self.entries.len() || waiting as usize != self.waiting.len()
        {
            let count = self.entries.len();
            return Err(format!(
                "{count} publications of {bytes} bytes are held for shards, {of} of {} are counted; {waiting} wait",
                self.bytes
            ));
        }
        Ok(())
    }
}
