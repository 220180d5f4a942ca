//! Records: what they say, and their serial form.
//!
//! All records of one turn count or none does, so that what was received and what became of it are never
//! parted: the first one and the last one are flagged. Publications are numbered within their turn and are
//! written once, however many sessions take them.

use std::rc::Rc;

use super::crossing_records::{take_held, take_number, CrossingNumbers};
use super::held::HeldPublication;
pub(super) use super::kind;
use super::pieces::{take_begins, PiecesOfQueue};
use super::ticket::HeldNumber;
use crate::image::{ImageError, Reader, Writer};
use crate::journal::Position;
use crate::mqtt::Publication;
use crate::session::{
    take_change, take_publication, ApplyError, AttributesImage, Change, SessionImage, SessionKey,
};
use crate::time::{Clocks, Time, WallTime};

/// Flag of the first record of a turn.
pub(super) const FIRST: u8 = 1;
/// Flag of the last record of a turn.
pub(super) const LAST: u8 = 2;

/// Time that is read back before there is a process it could belong to: nanoseconds since the Unix epoch.
pub(super) const READ_BACK: Clocks = Clocks {
    monotonic: Time::ZERO,
    wall: WallTime(0),
};

/// No shard counts so far.
const KEYS_END: u64 = 1 << 63;

/// A record, read back.
#[derive(Debug)]
pub(super) enum Entry {
    Publication(u32, Rc<Publication>),
    /// The whole state of a session.
    Image(SessionKey, Box<SessionImage>),
    Attributes(SessionKey, Box<AttributesImage>),
    Changes(SessionKey, Vec<Change>),
    /// Some of what waits for a session, and whether its queue begins with it.
    Piece(SessionKey, (bool, Vec<Change>)),
    /// The queue of the image before it begins with pieces.
    Pieces(SessionKey, PiecesOfQueue),
    Ended(SessionKey),
    /// The retained message of a topic, or that it has none.
    Retained(Rc<str>, Option<Rc<Publication>>),
    /// A publication that is held for another shard.
    Held(HeldNumber, HeldPublication),
    Crossings(CrossingNumbers),
}

/// Why a record cannot be what a shard has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record at {at}: {problem}")]
pub struct RecordError {
    pub at: Position,
    pub problem: Problem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("kind {0} is not known")]
    Kind(u8),
    #[error("{0}")]
    Body(#[from] ImageError),
    #[error("{0}")]
    Change(#[from] ApplyError),
    #[error("it is of no turn")]
    NoTurn,
    #[error("it does not fit what was written of its queue before")]
    Piece,
}

/// Reads the body of a record. `publication` finds one of its turn by its number.
pub(super) fn decode(
    kind: u8,
    body: &[u8],
    publication: &dyn Fn(u32) -> Option<Rc<Publication>>,
) -> Result<Entry, Problem> {
    let it = &mut Reader::fields(body);
    let entry = match kind {
        kind::PUBLICATION => Entry::Publication(it.number()?, take_publication(it, READ_BACK)?),
        kind::IMAGE => {
            let key = take_key(it)?;
            let image = SessionImage::decode(it.rest())?;
            return Ok(Entry::Image(key, Box::new(image)));
        }
        kind::ATTRIBUTES => Entry::Attributes(take_key(it)?, Box::new(AttributesImage::take(it)?)),
        kind::CHANGES => {
            let key = take_key(it)?;
            Entry::Changes(key, take_changes(it, publication)?)
        }
        kind::PIECE => {
            let (key, begins) = (take_key(it)?, take_begins(it)?);
            Entry::Piece(key, (begins, take_changes(it, publication)?))
        }
        kind::PIECES => Entry::Pieces(take_key(it)?, PiecesOfQueue::take(it)?),
        kind::ENDED => Entry::Ended(take_key(it)?),
        kind::RETAINED => {
            let unknown = ImageError::invalid("the number of a message");
            match it.option(Reader::number)? {
                Some(number) => {
                    let publication = publication(number).ok_or(unknown)?;
                    Entry::Retained(Rc::clone(&publication.topic), Some(publication))
                }
                None => Entry::Retained(it.text("a topic")?.into(), None),
            }
        }
        kind::HELD => Entry::Held(take_number(it)?, take_held(it, publication)?),
        kind::CROSSINGS => Entry::Crossings(CrossingNumbers::take(it)?),
        other => return Err(Problem::Kind(other)),
    };
    it.clone().end()?;
    Ok(entry)
}

fn take_changes(
    it: &mut Reader<'_>,
    publication: &dyn Fn(u32) -> Option<Rc<Publication>>,
) -> Result<Vec<Change>, ImageError> {
    let mut changes = Vec::new();
    while !it.rest().is_empty() {
        changes.push(take_change(it, publication)?);
    }
    Ok(changes)
}

pub(super) fn put_key(out: &mut Writer<'_>, key: SessionKey) {
    out.long(key.0);
}

fn take_key(it: &mut Reader<'_>) -> Result<SessionKey, ImageError> {
    let key = it.long()?;
    let invalid = ImageError::invalid("the key of a session");
    (key < KEYS_END).then_some(SessionKey(key)).ok_or(invalid)
}
