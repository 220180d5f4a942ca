//! Integers, strings and binary data as MQTT writes them, MQTT 5.0 section 1.5.

use super::packet::PacketId;
use super::violation::Violation;

/// Largest variable byte integer, section 1.5.5.
pub(crate) const VARIABLE_MAX: u32 = 268_435_455;

const TRUNCATED: Violation = Violation::Truncated;

/// Reads fields one after the other; every method fails when the bytes end too early.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Violation> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(*array)
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, Violation> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn two_bytes(&mut self) -> Result<u16, Violation> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn four_bytes(&mut self) -> Result<u32, Violation> {
        self.array().map(u32::from_be_bytes)
    }

    /// A variable byte integer, section 1.5.5.
    #[inline]
    pub(crate) fn variable(&mut self) -> Result<u32, Violation> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u32::from(*byte))
            }
            _ => self.variable_long(),
        }
    }

    fn variable_long(&mut self) -> Result<u32, Violation> {
        let mut value = 0;
        for index in 0..4 {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7F) << (7 * index);
            if byte < 0x80 {
                if byte == 0 && index > 0 {
                    return Err(Violation::IntegerPadded);
                }
                return Ok(value);
            }
        }
        Err(Violation::IntegerTooLong)
    }

    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Violation> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], Violation> {
        let length = self.two_bytes()?;
        self.take(usize::from(length))
    }

    #[inline]
    pub(crate) fn string(&mut self) -> Result<&'a str, Violation> {
        checked_string(self.binary()?)
    }

    #[inline]
    pub(crate) fn packet_id(&mut self) -> Result<PacketId, Violation> {
        PacketId::new(self.two_bytes()?).ok_or(Violation::PacketIdZero)
    }

    /// Fails unless all bytes have been read.
    #[inline]
    pub(crate) fn finish(self) -> Result<(), Violation> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Violation::BytesLeft)
        }
    }
}

/// Checks the rules of every UTF-8 string: well formed, no surrogates [MQTT-1.5.4-1], no U+0000
/// [MQTT-1.5.4-2]. A byte order mark stays what it is [MQTT-1.5.4-3].
#[inline]
pub(crate) fn checked_string(bytes: &[u8]) -> Result<&str, Violation> {
    plain_text(bytes).map_or_else(|| checked_any_string(bytes), Ok)
}

#[cold]
fn checked_any_string(bytes: &[u8]) -> Result<&str, Violation> {
    if bytes.contains(&0) {
        return Err(Violation::StringWithNul);
    }
    std::str::from_utf8(bytes).map_err(|_| Violation::StringNotUtf8)
}

/// The bytes as text if they are ASCII without U+0000, `+` and `#`, which nearly all strings are:
/// one pass, eight bytes at a time, in place of three (UTF-8, U+0000, wildcards). It takes a
/// PUBLISH with a topic of 20 bytes from 21 ns to 7 ns (`benches/codec.rs`).
#[inline]
pub(crate) fn plain_text(bytes: &[u8]) -> Option<&str> {
    let special = if let Some(last) = bytes.last_chunk::<8>() {
        // The last eight bytes may be looked at twice.
        bytes
            .chunks_exact(8)
            .filter_map(|chunk| chunk.first_chunk::<8>())
            .fold(special_bytes(*last), |special, chunk| {
                special | special_bytes(*chunk)
            })
            != 0
    } else {
        bytes
            .iter()
            .any(|&byte| byte == 0 || byte >= 0x80 || byte == b'+' || byte == b'#')
    };
    if special {
        return None;
    }
    // SAFETY: no byte is 0x80 or above, so the text is ASCII, which is well-formed UTF-8.
    Some(unsafe { std::str::from_utf8_unchecked(bytes) })
}

/// Not zero exactly when one of the eight bytes is 0, `+`, `#` or not ASCII.
#[inline]
fn special_bytes(bytes: [u8; 8]) -> u64 {
    const EACH_BYTE: u64 = 0x0101_0101_0101_0101;
    /// For any word: the upper bit of some byte is set exactly when some byte is zero.
    fn zero_bytes(word: u64) -> u64 {
        word.wrapping_sub(EACH_BYTE) & !word
    }
    let word = u64::from_le_bytes(bytes);
    // `#` is 0x23 and `+` is 0x2B: without bit 3 they are the same.
    let wildcards = (word & !(EACH_BYTE * 0x08)) ^ (EACH_BYTE * 0x23);
    (zero_bytes(word) | zero_bytes(wildcards) | word) & (EACH_BYTE * 0x80)
}

/// Bytes a variable byte integer takes.
#[must_use]
#[inline]
pub(crate) fn variable_len(value: u32) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Appends a variable byte integer; `value` is at most 268,435,455.
#[inline]
pub(crate) fn put_variable(out: &mut Vec<u8>, mut value: u32) {
    debug_assert!(value <= VARIABLE_MAX);
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends binary data. What is over 65,535 bytes is cut off: the length has two bytes.
#[inline]
pub(crate) fn put_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&bytes[..usize::from(length)]);
}

/// Appends a string. What is over 65,535 bytes is cut off, between characters.
#[inline]
pub(crate) fn put_string(out: &mut Vec<u8>, text: &str) {
    put_binary(out, &text.as_bytes()[..string_len(text)]);
}

/// Bytes of `text` that [`put_string`] writes after the length.
#[inline]
pub(crate) fn string_len(text: &str) -> usize {
    if text.len() <= usize::from(u16::MAX) {
        return text.len();
    }
    let mut end = usize::from(u16::MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

/// Appends what `write` appends, with its length before it as a variable byte integer.
pub(crate) fn put_with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    // Nearly always the length fits one byte; otherwise the written bytes are moved up.
    out.push(0);
    write(out);
    let written = out.len() - start - 1;
    let length = u32::try_from(written).unwrap_or(u32::MAX);
    let extra = variable_len(length) - 1;
    if extra > 0 {
        out.extend_from_slice(&[0; 3][..extra]);
        out.copy_within(start + 1..start + 1 + written, start + 1 + extra);
    }
    let mut value = length;
    for byte in &mut out[start..start + extra] {
        *byte = (value & 0x7F) as u8 | 0x80;
        value >>= 7;
    }
    out[start + extra] = value as u8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_byte_integers() {
        for value in [
            0,
            1,
            127,
            128,
            16_383,
            16_384,
            2_097_151,
            2_097_152,
            268_435_455,
        ] {
            let mut out = Vec::new();
            put_variable(&mut out, value);
            assert_eq!(out.len(), variable_len(value));
            let mut reader = Reader::new(&out);
            assert_eq!(reader.variable(), Ok(value));
            assert!(reader.is_empty());
            for cut in 0..out.len() {
                assert!(Reader::new(&out[..cut]).variable().is_err());
            }
        }
        assert!(Reader::new(&[0x80, 0]).variable().is_err());
        assert!(Reader::new(&[0x80, 0x80, 0x80, 0x80, 1])
            .variable()
            .is_err());
    }

    #[test]
    fn strings() {
        assert_eq!(
            checked_string("aä€𝄞\u{FEFF}".as_bytes()),
            Ok("aä€𝄞\u{FEFF}")
        );
        for bad in [
            &b"a\0b"[..],
            b"\0",
            b"\xED\xA0\x80", // U+D800
            b"\xC0\x80",     // overlong U+0000
            b"\xF4\x90\x80\x80",
            b"\xFF",
            b"a\xE2\x82",
        ] {
            assert_eq!(
                checked_string(bad).unwrap_err().reason(),
                crate::mqtt::ReasonCode::MalformedPacket
            );
        }
    }

    /// Every byte value at every place of texts of every small length.
    #[test]
    fn plain_texts() {
        for length in 1..=25 {
            for place in 0..length {
                for byte in 0..=255 {
                    let mut bytes = vec![b'/'; length];
                    bytes[place] = byte;
                    let plain = byte < 0x80 && !matches!(byte, 0 | b'+' | b'#');
                    assert_eq!(plain_text(&bytes).is_some(), plain, "{byte} at {place}");
                }
            }
        }
        assert_eq!(plain_text(b""), Some(""));
        assert_eq!(plain_text(b"plant/4/line/7"), Some("plant/4/line/7"));
    }

    #[test]
    fn length_before_content() {
        for size in [0usize, 1, 127, 128, 16_383, 16_384, 2_097_152] {
            let mut out = vec![9];
            put_with_length(&mut out, |out| out.resize(out.len() + size, 7));
            let mut reader = Reader::new(&out[1..]);
            assert_eq!(reader.variable(), Ok(size as u32));
            assert_eq!(reader.rest().len(), size);
            assert!(reader.rest().iter().all(|&byte| byte == 7));
            assert_eq!(out[0], 9);
        }
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let text = "ä".repeat(40_000);
        let mut out = Vec::new();
        put_string(&mut out, &text);
        let mut reader = Reader::new(&out);
        assert_eq!(reader.string().unwrap().len(), 65_534);
        assert!(reader.is_empty());
    }
}
