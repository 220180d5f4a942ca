//! Header of a payload: publisher, sequence and intended send time, in 16 bytes.
//!
//! Layout, big endian: tag (2 bytes), publisher (3), sequence (5), time in nanoseconds (6). Shorter
//! payloads carry nothing and are only counted.

/// Bytes of the header; payloads shorter than this go without.
pub const HEADER_BYTES: usize = 16;
/// Marks payloads of mqload. A payload that does not begin with it was published by another program.
pub const TAG: u16 = 0x4D51;
/// Publishers that have different numbers.
pub const PUBLISHERS_MAX: u32 = 1 << 24;
const TIME_MASK: u64 = (1 << 48) - 1;
const SEQUENCE_MASK: u64 = (1 << 40) - 1;

/// Where a message comes from and when it should have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub publisher: u32,
    pub sequence: u64,
    /// Lower 48 bits of the intended send time.
    time_ns: u64,
}

impl Header {
    #[must_use]
    pub fn new(publisher: u32, sequence: u64, intended_ns: u64) -> Self {
        Self {
            publisher: publisher & (PUBLISHERS_MAX - 1),
            sequence: sequence & SEQUENCE_MASK,
            time_ns: intended_ns & TIME_MASK,
        }
    }

    #[must_use]
    #[inline]
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let value = u128::from(TAG) << 112
            | u128::from(self.publisher) << 88
            | u128::from(self.sequence) << 48
            | u128::from(self.time_ns);
        value.to_be_bytes()
    }

    /// `None` when the payload is too short or not ours.
    #[must_use]
    #[inline]
    pub fn read(payload: &[u8]) -> Option<Self> {
        let bytes: [u8; HEADER_BYTES] = payload.get(..HEADER_BYTES)?.try_into().ok()?;
        let value = u128::from_be_bytes(bytes);
        if (value >> 112) as u16 != TAG {
            return None;
        }
        Some(Self {
            publisher: (value >> 88) as u32 & (PUBLISHERS_MAX - 1),
            sequence: (value >> 48) as u64 & SEQUENCE_MASK,
            time_ns: value as u64 & TIME_MASK,
        })
    }

    /// False for what was written long before it was due, such as wills: its time is 0.
    #[must_use]
    #[inline]
    pub fn is_timed(self) -> bool {
        self.time_ns != 0
    }

    /// Nanoseconds from the intended send time to `now_ns`; right for delays up to 39 hours.
    #[must_use]
    #[inline]
    pub fn latency_ns(self, now_ns: u64) -> u64 {
        let difference = (now_ns & TIME_MASK).wrapping_sub(self.time_ns) & TIME_MASK;
        // A message may be sent a little ahead of its time: that is no delay, not 78 hours of it.
        if difference > TIME_MASK / 2 {
            0
        } else {
            difference
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_wire() {
        let header = Header::new(0xABCDEF, 0x12_3456_789A, u64::MAX - 5);
        assert_eq!(Header::read(&header.to_bytes()), Some(header));
        assert_eq!(Header::read(&header.to_bytes()[..15]), None);
        assert_eq!(Header::read(&[0; 16]), None);
    }

    #[test]
    fn latency_wraps_and_is_never_negative() {
        let header = Header::new(1, 1, TIME_MASK);
        assert_eq!(header.latency_ns(TIME_MASK + 10), 10);
        assert_eq!(header.latency_ns(TIME_MASK - 1), 0);
    }
}
