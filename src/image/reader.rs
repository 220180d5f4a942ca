//! Reading the fields of an image.

use super::{ImageError, Kind, FORMAT, OLDEST_READ};
use crate::time::WallTime;

/// Takes fields one after the other. Nothing it returns is larger than the bytes it reads from.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Of what is read.
    format: u8,
}

impl<'a> Reader<'a> {
    /// Checks format and kind.
    ///
    /// # Errors
    /// Another format or kind.
    pub fn begin(bytes: &'a [u8], expected: Kind) -> Result<Self, ImageError> {
        Self::begin_within(bytes, expected, (OLDEST_READ, FORMAT))
    }

    /// The same with formats of its caller's.
    pub(super) fn begin_within(
        bytes: &'a [u8],
        expected: Kind,
        (oldest, newest): (u8, u8),
    ) -> Result<Self, ImageError> {
        let mut reader = Self::fields(bytes);
        reader.format = reader.byte()?;
        if !(oldest..=newest).contains(&reader.format) {
            let found = reader.format;
            return Err(ImageError::Format { found });
        }
        match reader.byte()? {
            found if found == expected as u8 => Ok(reader),
            found => Err(ImageError::Kind { found, expected }),
        }
    }

    /// Fields without a beginning: what they are part of says what they are.
    #[must_use]
    pub fn fields(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            format: FORMAT,
        }
    }

    /// A field that images have since a format; of an older one it is `before`.
    ///
    /// # Errors
    /// What `take` says.
    pub fn since<T>(
        &mut self,
        format: u8,
        before: T,
        take: impl FnOnce(&mut Self) -> Result<T, ImageError>,
    ) -> Result<T, ImageError> {
        match self.format >= format {
            true => take(self),
            false => Ok(before),
        }
    }

    /// What has not been read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The image ends here.
    ///
    /// # Errors
    /// Bytes are left.
    pub fn end(self) -> Result<(), ImageError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(ImageError::Trailing { bytes }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ImageError> {
        let split = self.rest.split_first_chunk::<N>();
        let (array, rest) = split.ok_or(ImageError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    /// # Errors
    /// The bytes end here; so for all fields.
    pub fn byte(&mut self) -> Result<u8, ImageError> {
        self.array().map(|[byte]| byte)
    }

    /// # Errors
    /// A byte that is neither 0 nor 1.
    pub fn flag(&mut self) -> Result<bool, ImageError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(ImageError::invalid("a flag")),
        }
    }

    /// # Errors
    /// The bytes end here.
    pub fn short(&mut self) -> Result<u16, ImageError> {
        self.array().map(u16::from_le_bytes)
    }

    /// # Errors
    /// The bytes end here.
    pub fn number(&mut self) -> Result<u32, ImageError> {
        self.array().map(u32::from_le_bytes)
    }

    /// # Errors
    /// The bytes end here.
    pub fn long(&mut self) -> Result<u64, ImageError> {
        self.array().map(u64::from_le_bytes)
    }

    /// # Errors
    /// The bytes end here.
    pub fn time(&mut self) -> Result<WallTime, ImageError> {
        self.long().map(WallTime)
    }

    /// A count of things that take at least `least` bytes each: no more than there can be.
    ///
    /// # Errors
    /// There are too few bytes for so many, or the count is not written in the shortest way.
    pub fn count(&mut self, least: usize) -> Result<usize, ImageError> {
        let mut value = 0_u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                if byte == 0 && shift > 0 {
                    return Err(ImageError::invalid("a count"));
                }
                let max = self.rest.len() / least.max(1);
                let count = usize::try_from(value).ok().filter(|count| *count <= max);
                return count.ok_or(ImageError::Truncated);
            }
        }
        Err(ImageError::invalid("a count"))
    }

    /// # Errors
    /// There are fewer bytes than their length says.
    pub fn bytes(&mut self) -> Result<&'a [u8], ImageError> {
        let count = self.count(1)?;
        let (bytes, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(bytes)
    }

    /// Text of at most as many bytes as any text of MQTT has; `what` names it in the error.
    ///
    /// # Errors
    /// It is longer, or not UTF-8.
    pub fn text(&mut self, what: &'static str) -> Result<&'a str, ImageError> {
        let bytes = self.bytes()?;
        let text = std::str::from_utf8(bytes).ok();
        text.filter(|text| text.len() <= usize::from(u16::MAX))
            .ok_or(ImageError::invalid(what))
    }

    /// # Errors
    /// What `take` says, or a flag that is none.
    pub fn option<T>(
        &mut self,
        take: impl FnOnce(&mut Self) -> Result<T, ImageError>,
    ) -> Result<Option<T>, ImageError> {
        match self.flag()? {
            true => take(self).map(Some),
            false => Ok(None),
        }
    }

    /// A list of things that take at least `least` bytes each.
    ///
    /// # Errors
    /// What `take` says, or a count of more things than there are bytes for.
    pub fn list<T>(
        &mut self,
        least: usize,
        mut take: impl FnMut(&mut Self) -> Result<T, ImageError>,
    ) -> Result<Vec<T>, ImageError> {
        let count = self.count(least)?;
        (0..count).map(|_| take(self)).collect()
    }
}
