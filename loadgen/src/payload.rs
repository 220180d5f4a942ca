//! Payloads that prove themselves: a header with publisher, sequence, intended send time and a check over
//! these and the payload's length, and behind it bytes that follow from the header.
//!
//! Header, big endian, 16 bytes: tag (1 byte), check (2), publisher (3), sequence (36 bits), time in units
//! of 8 ns (44 bits). Shorter payloads carry nothing and are only counted.

/// Bytes of the header; payloads shorter than this go without.
pub const HEADER_BYTES: usize = 16;
/// Marks payloads of mqload. No UTF-8 text begins with it, so text of other programs is not taken for one.
const TAG: u8 = 0xA7;
/// Publishers that have different numbers.
pub const PUBLISHERS_MAX: u32 = 1 << 24;
const TIME_SHIFT: u32 = 3;
const TIME_MASK: u64 = (1 << 44) - 1;
const SEQUENCE_MASK: u64 = (1 << 36) - 1;
/// Bytes behind headers begin at one of so many places of the pattern.
const PLACES: usize = 256;
/// Least bytes of a pattern, for those who receive what others publish.
const PATTERN_MIN: usize = 64 << 10;

/// Where a message comes from and when it should have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub publisher: u32,
    pub sequence: u64,
    /// Lower bits of the intended send time, in units of 8 ns.
    time: u64,
}

/// What a payload proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Too short for a header.
    Short,
    /// Another program's.
    Foreign,
    /// It has the tag, and header or length are not what they were.
    Altered,
    /// Sound; the bytes behind the header begin at this place of the pattern.
    Sound(Header, u8),
}

impl Header {
    #[must_use]
    pub fn new(publisher: u32, sequence: u64, intended_ns: u64) -> Self {
        Self {
            publisher: publisher & (PUBLISHERS_MAX - 1),
            sequence: sequence & SEQUENCE_MASK,
            time: intended_ns >> TIME_SHIFT & TIME_MASK,
        }
    }

    #[inline]
    fn value(self) -> u128 {
        u128::from(self.publisher) << 80 | u128::from(self.sequence) << 44 | u128::from(self.time)
    }

    /// The header of a payload with so many bytes in all, and the place of the pattern that follows.
    #[must_use]
    #[inline]
    pub fn to_bytes(self, payload_bytes: usize) -> ([u8; HEADER_BYTES], u8) {
        let value = self.value();
        let check = check(value, payload_bytes);
        let whole = u128::from(TAG) << 120 | u128::from(check) << 104 | value;
        (whole.to_be_bytes(), check as u8)
    }

    /// Reads the beginning of a payload of `payload_bytes`.
    #[must_use]
    #[inline]
    pub fn read(payload: &[u8], payload_bytes: usize) -> Reading {
        let head = payload.get(..HEADER_BYTES);
        let Some(Ok(bytes)) = head.map(<[u8; HEADER_BYTES]>::try_from) else {
            return Reading::Short;
        };
        let whole = u128::from_be_bytes(bytes);
        if (whole >> 120) as u8 != TAG {
            return Reading::Foreign;
        }
        let value = whole & ((1 << 104) - 1);
        let found = (whole >> 104) as u16;
        if found != check(value, payload_bytes) {
            return Reading::Altered;
        }
        let header = Self {
            publisher: (value >> 80) as u32,
            sequence: (value >> 44) as u64 & SEQUENCE_MASK,
            time: value as u64 & TIME_MASK,
        };
        Reading::Sound(header, found as u8)
    }

    /// False for what was written long before it was due, such as wills: its time is 0.
    #[must_use]
    #[inline]
    pub fn is_timed(self) -> bool {
        self.time != 0
    }

    /// Nanoseconds from the intended send time to `now_ns`; right for delays up to 19 hours.
    #[must_use]
    #[inline]
    pub fn latency_ns(self, now_ns: u64) -> u64 {
        let difference = (now_ns >> TIME_SHIFT).wrapping_sub(self.time) & TIME_MASK;
        // A message may be sent a little ahead of its time: that is no delay, not 39 hours of it.
        if difference > TIME_MASK / 2 {
            0
        } else {
            difference << TIME_SHIFT
        }
    }
}

/// Both halves of the product depend on all bits of both factors.
#[inline]
fn check(value: u128, payload_bytes: usize) -> u16 {
    let (low, high) = (value as u64, (value >> 64) as u64);
    let other = (high << 20 ^ payload_bytes as u64).wrapping_mul(0xA24B_AED4_963E_E407);
    let product =
        u128::from(low ^ 0x9E37_79B9_7F4A_7C15) * u128::from(other ^ 0xD6E8_FEB8_6659_FD93);
    let folded = product as u64 ^ (product >> 64) as u64;
    (folded ^ folded >> 32) as u16 ^ (folded >> 16) as u16
}

/// Messages whose content is compared: one of so many, spread evenly over each publisher's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub one_of: u32,
    /// Hashes of 63 bits below this are in it.
    below: u64,
}

impl Sample {
    pub const ALL: Self = Self::one_of(1);

    /// 0: of none.
    #[must_use]
    pub const fn one_of(one_of: u32) -> Self {
        let below = match one_of {
            0 => 0,
            one_of => (1 << 63) / one_of as u64,
        };
        Self { one_of, below }
    }

    /// Every receiver says the same of a message.
    #[must_use]
    #[inline]
    pub fn has(self, header: Header) -> bool {
        // Multiples of the golden ratio are the most evenly spread; a step would meet the same topics each time.
        let number = u64::from(header.publisher) << 36 | header.sequence;
        number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 1 < self.below
    }
}

/// Bytes that follow headers.
#[derive(Debug, Default)]
pub struct Pattern(Box<[u8]>);

impl Pattern {
    /// For payloads of up to `payload_bytes_max`.
    #[must_use]
    pub fn new(payload_bytes_max: usize) -> Self {
        let bytes = payload_bytes_max.max(PATTERN_MIN) + PLACES;
        let mut random = fastrand::Rng::with_seed(0x6D71_6C6F_6164);
        Self((0..bytes).map(|_| random.u8(..)).collect())
    }

    /// `bytes` behind a header, or of a payload without one.
    #[must_use]
    #[inline]
    pub fn body(&self, place: u8, bytes: usize) -> &[u8] {
        &self.0[usize::from(place)..][..bytes]
    }

    /// True when `bytes`, which begin `at` bytes behind the header, are those of the pattern, as far as
    /// it reaches.
    #[must_use]
    #[inline]
    pub fn matches(&self, place: u8, at: usize, bytes: &[u8]) -> bool {
        let own = self.0.get(usize::from(place) + at..).unwrap_or_default();
        let known = bytes.len().min(own.len());
        bytes[..known] == own[..known]
    }

    /// Appends a payload.
    #[inline]
    pub fn put(&self, out: &mut Vec<u8>, header: Header, payload_bytes: usize) {
        if payload_bytes < HEADER_BYTES {
            return out.extend_from_slice(self.body(0, payload_bytes));
        }
        let (bytes, place) = header.to_bytes(payload_bytes);
        out.extend_from_slice(&bytes);
        out.extend_from_slice(self.body(place, payload_bytes - HEADER_BYTES));
    }
}

/// A topic name's hash: names that differ have the same in one of four thousand million cases.
#[must_use]
#[inline]
pub fn topic_hash(name: &[u8]) -> u32 {
    let mut hash = name.len() as u64 ^ 0x9E37_79B9_7F4A_7C15;
    let fold = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word) * 0xA24B_AED4_963E_E407_u128;
        product as u64 ^ (product >> 64) as u64
    };
    let mut words = name.chunks_exact(8);
    for word in &mut words {
        hash = fold(
            hash,
            u64::from_le_bytes(word.try_into().unwrap_or_default()),
        );
    }
    let mut last = [0; 8];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    hash = fold(hash, u64::from_le_bytes(last));
    (hash ^ hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_wire() {
        let header = Header::new(0xABCDEF, 0x3_3456_789A, u64::MAX - 5);
        let (bytes, place) = header.to_bytes(99);
        assert_eq!(Header::read(&bytes, 99), Reading::Sound(header, place));
        assert_eq!(Header::read(&bytes[..15], 15), Reading::Short);
        assert_eq!(Header::read(&[0; 16], 16), Reading::Foreign);
        assert_eq!(Header::read(&bytes, 98), Reading::Altered);
    }

    #[test]
    fn every_bit_of_a_header_is_checked() {
        let mut unnoticed = 0;
        for sequence in 0..200 {
            let (bytes, _) = Header::new(3, sequence, sequence * 1_000_003).to_bytes(64);
            for bit in 8..128 {
                let mut bytes = bytes;
                bytes[bit / 8] ^= 1 << (bit % 8);
                unnoticed += u32::from(Header::read(&bytes, 64) != Reading::Altered);
            }
        }
        assert!(unnoticed <= 5, "{unnoticed} of 24,000");
    }

    #[test]
    fn bodies_follow_from_their_headers() {
        let pattern = Pattern::new(200_000);
        let mut out = Vec::new();
        let header = Header::new(1, 2, 3);
        pattern.put(&mut out, header, 100_000);
        let Reading::Sound(_, place) = Header::read(&out, out.len()) else {
            panic!("no header");
        };
        assert!(pattern.matches(place, 0, &out[HEADER_BYTES..]));
        assert!(pattern.matches(place, 500, &out[HEADER_BYTES + 500..]));
        assert!(!pattern.matches(place.wrapping_add(1), 0, &out[HEADER_BYTES..]));
        out[99_999] ^= 1;
        assert!(!pattern.matches(place, 0, &out[HEADER_BYTES..]));
    }

    #[test]
    fn a_sample_is_one_of_so_many_of_each_publisher() {
        let count = |sample: Sample, publisher| {
            let headers = (0..10_000).map(|sequence| Header::new(publisher, sequence, 1));
            headers.filter(|header| sample.has(*header)).count()
        };
        for publisher in [0, 1, 77, PUBLISHERS_MAX - 1] {
            assert_eq!(count(Sample::ALL, publisher), 10_000);
            assert_eq!(count(Sample::one_of(0), publisher), 0);
            for (one_of, expected) in [(2, 5_000), (10, 1_000), (100, 100)] {
                let found = count(Sample::one_of(one_of), publisher);
                assert!(found.abs_diff(expected) <= 3, "{one_of}: {found}");
            }
        }
    }

    #[test]
    fn topics_differ_in_their_hashes() {
        let names = [
            "a",
            "b",
            "a/b",
            "a/bx",
            "pairs/000001/1",
            "pairs/000001/11",
            "",
        ];
        let mut hashes: Vec<u32> = names.map(|name| topic_hash(name.as_bytes())).into();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), names.len());
    }

    #[test]
    fn latency_wraps_and_is_never_negative() {
        let last = TIME_MASK << TIME_SHIFT;
        let header = Header::new(1, 1, last);
        assert_eq!(header.latency_ns(last + 80), 80);
        assert_eq!(header.latency_ns(last - 8), 0);
    }
}
