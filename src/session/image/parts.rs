//! Images of the in-flight window and of the identifiers received.

use super::stored::{put_stored, take_stored};
use super::DeliveryImage;
use crate::image::{ImageError, Reader, Writer};
use crate::mqtt::Qos;
use crate::session::window::{Entry, IDS};
use crate::session::{Received, StoredDelivery, Subscriptions, Waiting, Window};
use crate::time::Clocks;

/// What is in flight, and the send quota of the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WindowImage {
    /// Packet identifier of the first entry, or of the next one when there is none; zero-based.
    pub first: u16,
    /// Entries that need not be sent again on the connection.
    pub resent: u16,
    pub quota: u16,
    /// Receive Maximum; 0 without a connection.
    pub quota_max: u16,
    /// Of consecutive packet identifiers.
    pub entries: Vec<EntryImage>,
}

impl WindowImage {
    /// What was sent and not acknowledged, as far as it is in memory.
    #[must_use]
    pub fn publications(self) -> Vec<WaitingImage> {
        let entries = self.entries.into_iter();
        let sent = entries.filter_map(|entry| match entry {
            EntryImage::Publish(delivery) => Some(WaitingImage::Here(delivery)),
            _ => None,
        });
        sent.collect()
    }
}

/// What became of one packet identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryImage {
    /// PUBLISH sent, not acknowledged.
    Publish(DeliveryImage),
    /// The same, and its publication is in the log.
    Stored(StoredDelivery),
    /// PUBREL sent; whether its PUBLISH took quota of this connection.
    Release { took_quota: bool },
    /// Acknowledged, while one before it is not.
    Done,
}

/// What waits in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitingImage {
    Here(DeliveryImage),
    /// Its publication is in the log.
    Stored(StoredDelivery),
}

/// In place of the flags of a message that is here.
const STORED: u8 = 0x80;

impl WaitingImage {
    pub(super) fn of(one: &Waiting, clocks: Clocks) -> Self {
        match one {
            Waiting::Here(delivery) => Self::Here(DeliveryImage::of(delivery, clocks)),
            Waiting::Stored(stored) => Self::Stored(stored.clone()),
        }
    }

    pub(super) fn restore(self, held: &Subscriptions, clocks: Clocks) -> Waiting {
        match self {
            Self::Here(image) => Waiting::Here(image.restore(held, clocks)),
            Self::Stored(stored) => Waiting::Stored(stored),
        }
    }

    pub(super) fn put(&self, out: &mut Writer<'_>) {
        match self {
            Self::Here(image) => image.put(out),
            Self::Stored(stored) => {
                out.byte(STORED);
                put_stored(out, stored);
            }
        }
    }

    pub(super) fn take(it: &mut Reader<'_>) -> Result<Self, ImageError> {
        if it.rest().first() != Some(&STORED) {
            return DeliveryImage::take(it).map(Self::Here);
        }
        it.byte()?;
        take_stored(it).map(Self::Stored)
    }

    /// The message, if it is here.
    #[must_use]
    pub fn here(&self) -> Option<&DeliveryImage> {
        match self {
            Self::Here(image) => Some(image),
            Self::Stored(_) => None,
        }
    }
}

impl From<DeliveryImage> for WaitingImage {
    fn from(image: DeliveryImage) -> Self {
        Self::Here(image)
    }
}

impl WindowImage {
    pub(super) fn put(&self, out: &mut Writer<'_>) {
        for value in [self.first, self.resent, self.quota, self.quota_max] {
            out.short(value);
        }
        out.list(self.entries.iter(), |out, entry| match entry {
            EntryImage::Done => out.byte(0),
            EntryImage::Release { took_quota } => out.byte(1 + u8::from(*took_quota)),
            EntryImage::Publish(delivery) => {
                out.byte(3);
                delivery.put(out);
            }
            EntryImage::Stored(stored) => {
                out.byte(4);
                put_stored(out, stored);
            }
        });
    }

    pub(super) fn take(it: &mut Reader<'_>) -> Result<Self, ImageError> {
        let image = Self {
            first: it.short()?,
            resent: it.short()?,
            quota: it.short()?,
            quota_max: it.short()?,
            entries: it.list(1, |it| match it.byte()? {
                0 => Ok(EntryImage::Done),
                byte @ 1..=2 => Ok(EntryImage::Release {
                    took_quota: byte == 2,
                }),
                3 => DeliveryImage::take(it).map(EntryImage::Publish),
                4 => take_stored(it).map(EntryImage::Stored),
                _ => Err(ImageError::invalid("an entry of a window")),
            })?,
        };
        let is_acknowledged = |entry: &EntryImage| match entry {
            EntryImage::Publish(delivery) => delivery.qos > Qos::AtMostOnce,
            EntryImage::Stored(stored) => stored.qos() > Qos::AtMostOnce,
            _ => true,
        };
        let is_valid = u32::from(image.first) < IDS
            && image.entries.len() <= IDS as usize
            && usize::from(image.resent) <= image.entries.len()
            && image.quota <= image.quota_max
            && image.entries.first() != Some(&EntryImage::Done)
            && image.entries.iter().all(is_acknowledged);
        let invalid = ImageError::invalid("a window");
        is_valid.then_some(image).ok_or(invalid)
    }
}

impl Window {
    #[must_use]
    pub fn image(&self, clocks: Clocks) -> WindowImage {
        let entries = self.entries.iter().map(|entry| match entry {
            Entry::Publish(delivery) => EntryImage::Publish(DeliveryImage::of(delivery, clocks)),
            Entry::Stored(stored) => EntryImage::Stored(stored.clone()),
            Entry::Release(took_quota) => EntryImage::Release {
                took_quota: *took_quota,
            },
            Entry::Done => EntryImage::Done,
        });
        WindowImage {
            first: self.first as u16, // below 65,535
            resent: self.resent as u16,
            quota: self.quota,
            quota_max: self.quota_max,
            entries: entries.collect(),
        }
    }

    pub(super) fn restore(image: WindowImage, held: &Subscriptions, clocks: Clocks) -> Self {
        let (mut bytes, mut stored_bytes) = (0, 0);
        let entries = image.entries.into_iter().map(|entry| match entry {
            EntryImage::Publish(delivery) => {
                let delivery = delivery.restore(held, clocks);
                bytes += delivery.cost_bytes();
                Entry::Publish(delivery)
            }
            EntryImage::Stored(stored) => {
                bytes += stored.cost_bytes();
                stored_bytes += stored.cost_bytes();
                Entry::Stored(stored)
            }
            EntryImage::Release { took_quota } => Entry::Release(took_quota),
            EntryImage::Done => Entry::Done,
        });
        Self {
            entries: entries.collect(),
            first: image.first.into(),
            resent: image.resent.into(),
            quota: image.quota,
            quota_max: image.quota_max,
            bytes,
            stored_bytes,
            recorder: None,
        }
    }
}

/// Identifiers of QoS 2 publications that were received and not released, each list rising.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceivedImage {
    /// Of the connection that is there, or was the last.
    pub open: Vec<u16>,
    /// Of those before it.
    pub earlier: Vec<u16>,
}

impl ReceivedImage {
    pub(super) fn put(&self, out: &mut Writer<'_>) {
        for ids in [&self.open, &self.earlier] {
            out.list(ids.iter().copied(), Writer::short);
        }
    }

    pub(super) fn take(it: &mut Reader<'_>) -> Result<Self, ImageError> {
        let image = Self {
            open: it.list(2, Reader::short)?,
            earlier: it.list(2, Reader::short)?,
        };
        let is_valid = [&image.open, &image.earlier]
            .into_iter()
            .all(|ids| ids.first() != Some(&0) && ids.windows(2).all(|pair| pair[0] < pair[1]));
        let invalid = ImageError::invalid("identifiers received");
        is_valid.then_some(image).ok_or(invalid)
    }
}

impl Received {
    #[must_use]
    pub fn image(&self) -> ReceivedImage {
        let (open, earlier) = self.lists();
        ReceivedImage {
            open: open.collect(),
            earlier: earlier.collect(),
        }
    }
}
