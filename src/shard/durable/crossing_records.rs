//! Records of what crosses between shards, and the state that they leave.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::held::{HeldOp, HeldPublication};
use super::kind;
use super::ticket::HeldNumber;
use super::Durable;
use crate::ids::ShardId;
use crate::image::{ImageError, Reader, Writer};
use crate::journal::SegmentNumber;
use crate::mqtt::{topic, Publication};
use crate::time::Clocks;

/// Numbers below this one are given.
const NUMBERS_END: u64 = 1 << 63;

/// The numbers of a shard: of what it holds, and of what it has taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CrossingNumbers {
    pub(super) last_held: HeldNumber,
    /// By shard: up to which it has committed what is held for it.
    pub(super) committed: Vec<(ShardId, HeldNumber)>,
    /// By shard: up to which this one has taken what that holds.
    pub(super) taken: Vec<(ShardId, HeldNumber)>,
}

impl CrossingNumbers {
    fn put(&self, out: &mut Writer<'_>) {
        out.long(self.last_held.0);
        for numbers in [&self.committed, &self.taken] {
            out.list(numbers.iter(), |out, (shard, number)| {
                out.short(shard.0);
                out.long(number.0);
            });
        }
    }

    pub(super) fn take(it: &mut Reader<'_>) -> Result<Self, ImageError> {
        let last_held = take_number(it)?;
        let mut list = || it.list(10, |it| Ok((ShardId(it.short()?), take_number(it)?)));
        Ok(Self {
            last_held,
            committed: list()?,
            taken: list()?,
        })
    }
}

/// What a log has kept of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KeptCrossings {
    pub(super) numbers: CrossingNumbers,
    /// Where the record of the numbers is.
    pub(super) segment: Option<SegmentNumber>,
    pub(super) held: BTreeMap<HeldNumber, (HeldPublication, SegmentNumber)>,
}

impl KeptCrossings {
    pub(super) fn set_numbers(&mut self, numbers: CrossingNumbers, segment: SegmentNumber) {
        for (shard, through) in &numbers.committed {
            (self.held).retain(|number, (it, _)| it.to != *shard || number > through);
        }
        self.numbers = numbers;
        self.segment = Some(segment);
    }

    /// A shard had taken something that this number names, in a log with these numbers.
    pub(super) fn has_taken(&self, from: ShardId, number: HeldNumber) -> bool {
        let mut taken = self.numbers.taken.iter();
        taken.any(|(shard, through)| *shard == from && *through >= number)
    }
}

pub(super) fn take_number(it: &mut Reader<'_>) -> Result<HeldNumber, ImageError> {
    let number = it.long()?;
    let invalid = ImageError::invalid("the number of a publication held");
    let number = (number < NUMBERS_END).then_some(HeldNumber(number));
    number.ok_or(invalid)
}

/// `publication` finds one by its number within the turn.
pub(super) fn take_held(
    it: &mut Reader<'_>,
    publication: &dyn Fn(u32) -> Option<Rc<Publication>>,
) -> Result<HeldPublication, ImageError> {
    let to = ShardId(it.short()?);
    let unknown = ImageError::invalid("the number of a message");
    let publication = publication(it.number()?).ok_or(unknown)?;
    let op = match it.byte()? {
        0 => HeldOp::FanOut,
        1 => HeldOp::Retain,
        2 => HeldOp::FanOutAndRetain,
        3 => {
            let group = it.text("a shared group")?;
            let is_group = matches!(topic::share(group), Ok(Some(_)));
            if !is_group {
                return Err(ImageError::invalid("a shared group"));
            }
            HeldOp::Member {
                group: group.into(),
                member: None,
                hops: 0,
            }
        }
        _ => return Err(ImageError::invalid("what is to be done with a message")),
    };
    Ok(HeldPublication {
        to,
        publication,
        op,
    })
}

fn put_op(out: &mut Writer<'_>, op: &HeldOp) {
    match op {
        HeldOp::FanOut => out.byte(0),
        HeldOp::Retain => out.byte(1),
        HeldOp::FanOutAndRetain => out.byte(2),
        HeldOp::Member { group, .. } => {
            out.byte(3);
            out.text(group); // no member outlives the process
        }
    }
}

impl Durable {
    /// A publication that is held.
    pub(super) fn put_held(&mut self, number: HeldNumber, clocks: Clocks) {
        let it = self.held.get(number).expect("what is written is held");
        let records = &mut self.ledger.records;
        records.add(kind::HELD, 0, clocks, |out, number_of| {
            out.long(number.0);
            out.short(it.to.0);
            out.number(number_of(&it.publication));
            put_op(out, &it.op);
        });
    }

    /// The numbers, as they are now.
    pub(super) fn put_crossing_numbers(&mut self) {
        let numbers = CrossingNumbers {
            last_held: self.held.last(),
            committed: given(self.held.committed_by()),
            taken: given(self.cursors.all()),
        };
        let clocks = Clocks::default(); // it holds no publication
        let records = &mut self.ledger.records;
        records.add(kind::CROSSINGS, 0, clocks, |out, _| numbers.put(out));
    }
}

/// Those that are above 0.
fn given(numbers: &[HeldNumber]) -> Vec<(ShardId, HeldNumber)> {
    let all = (0..).map(ShardId).zip(numbers.iter().copied());
    all.filter(|(_, number)| number.0 > 0).collect()
}
