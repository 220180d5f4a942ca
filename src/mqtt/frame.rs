//! The fixed header: where a control packet begins and ends, MQTT 5.0 section 2.1.

use super::packet_type::PacketType;
use super::primitives::{put_variable, variable_len, VARIABLE_MAX};
use super::violation::Violation;

/// The remaining length is a variable byte integer.
pub const REMAINING_LENGTH_MAX: u32 = VARIABLE_MAX;

/// Largest control packet the protocol can express, fixed header included.
pub const PACKET_SIZE_MAX: u32 = REMAINING_LENGTH_MAX + 5;

/// One whole control packet, still encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Type and flags.
    pub first: u8,
    /// What follows the fixed header: as many bytes as the remaining length says.
    pub body: &'a [u8],
    /// Bytes of the whole packet, fixed header included.
    pub length: usize,
}

impl Frame<'_> {
    /// `None` for the reserved type 0, which [`next_frame`] never lets through.
    #[must_use]
    #[inline]
    pub fn packet_type(&self) -> Option<PacketType> {
        PacketType::from_bits(self.first >> 4)
    }

    /// The packet as bytes, for a person to look at: its length in as few bytes as it needs.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.first];
        put_variable(&mut bytes, self.body.len() as u32);
        bytes.extend_from_slice(self.body);
        bytes
    }

    /// True when the remaining length takes more bytes than needed: malformed in 5.0
    /// [MQTT-1.5.5-1], while 3.1 and 3.1.1 do not forbid it.
    #[must_use]
    #[inline]
    pub fn is_padded(&self) -> bool {
        let header_len = self.length - self.body.len();
        header_len > 2 && header_len > 1 + variable_len(self.body.len() as u32)
    }
}

/// Flags of PUBREL, SUBSCRIBE and UNSUBSCRIBE [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1].
const FLAGS_0010: u8 = 0b0010;
/// The same with DUP: MQTT 3.1 sets DUP when it sends one of these three again. [`super::decode`]
/// refuses it in the later versions.
const FLAGS_0010_DUP: u8 = 0b1010;

const fn first_byte_is_valid(first: u8) -> bool {
    let flags = first & 0x0F;
    match first >> 4 {
        0 => false,
        3 => {
            let dup = flags & 0b1000 != 0;
            let qos = (flags >> 1) & 0b11;
            // QoS 3 [MQTT-3.3.1-4]; DUP on QoS 0 [MQTT-3.3.1-2].
            qos != 3 && !(dup && qos == 0)
        }
        6 | 8 | 10 => flags == FLAGS_0010 || flags == FLAGS_0010_DUP,
        // CONNECT of 3.1 may have any; what it is of is only known from what is in it.
        1 => true,
        // [MQTT-2.1.3-1]
        _ => flags == 0,
    }
}

/// One lookup instead of the branches above: this runs for every packet received.
static FIRST_BYTE_VALID: [bool; 256] = {
    let mut valid = [false; 256];
    let mut first = 0;
    while first < 256 {
        valid[first] = first_byte_is_valid(first as u8);
        first += 1;
    }
    valid
};

#[cold]
fn first_byte_error(first: u8) -> Violation {
    match first >> 4 {
        0 => Violation::PacketTypeReserved,
        3 if first & 0b0110 == 0b0110 => Violation::Qos3,
        3 => Violation::DupOfQos0,
        _ => Violation::WrongFlags,
    }
}

/// A readable fixed header.
struct Header {
    /// Bytes of the fixed header, 2 to 5.
    header_len: usize,
    remaining_length: u32,
}

/// Reads the remaining length; `bytes[0]` is the packet's first byte. `None`: more bytes needed.
#[inline]
fn header(bytes: &[u8]) -> Result<Option<Header>, Violation> {
    match bytes.get(1) {
        None => Ok(None),
        Some(&length) if length < 0x80 => Ok(Some(Header {
            header_len: 2,
            remaining_length: u32::from(length),
        })),
        Some(_) => long_header(bytes),
    }
}

/// A remaining length of two to four bytes; `Ok(None)`: it has not arrived whole.
fn long_header(bytes: &[u8]) -> Result<Option<Header>, Violation> {
    let mut value = 0u32;
    for index in 0..4 {
        let Some(&byte) = bytes.get(1 + index) else {
            return Ok(None);
        };
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte < 0x80 {
            return Ok(Some(Header {
                header_len: 2 + index,
                remaining_length: value,
            }));
        }
    }
    Err(Violation::RemainingLengthTooLong)
}

/// Cuts the first control packet off `bytes`. `Ok(None)`: it has not arrived whole, ask again with
/// more bytes. `packet_size_max` is in bytes of the whole packet.
///
/// # Errors
/// As soon as the bytes that show it are there: a reserved packet type, wrong flags, a remaining
/// length of more than four bytes, or a packet over `packet_size_max`.
#[inline]
pub fn next_frame(bytes: &[u8], packet_size_max: u32) -> Result<Option<Frame<'_>>, Violation> {
    let Some(&first) = bytes.first() else {
        return Ok(None);
    };
    if !FIRST_BYTE_VALID[usize::from(first)] {
        return Err(first_byte_error(first));
    }
    let Some(header) = header(bytes)? else {
        return Ok(None);
    };
    let length = header.header_len + header.remaining_length as usize;
    if length > packet_size_max as usize {
        return Err(Violation::PacketTooLarge {
            size: length as u32, // at most PACKET_SIZE_MAX
            max: packet_size_max,
        });
    }
    Ok(bytes.get(header.header_len..length).map(|body| Frame {
        first,
        body,
        length,
    }))
}

/// Bytes of the whole packet that `bytes` begins with, once its fixed header is readable.
#[must_use]
#[inline]
pub fn needed(bytes: &[u8]) -> Option<usize> {
    let header = header(bytes).ok()??;
    Some(header.header_len + header.remaining_length as usize)
}

#[cfg(test)]
mod tests {
    use super::super::reason::ReasonCode;
    use super::*;

    fn error(bytes: &[u8]) -> ReasonCode {
        next_frame(bytes, PACKET_SIZE_MAX).unwrap_err().reason()
    }

    #[test]
    fn cuts_packets() {
        let bytes = [0xC0, 0, 0x40, 2, 0, 1, 0x30];
        let ping = next_frame(&bytes, 100).unwrap().unwrap();
        assert_eq!((ping.first, ping.body, ping.length), (0xC0, &[][..], 2));
        let ack = next_frame(&bytes[2..], 100).unwrap().unwrap();
        assert_eq!((ack.first, ack.body, ack.length), (0x40, &[0, 1][..], 4));
        assert_eq!(next_frame(&bytes[6..], 100), Ok(None));
        assert_eq!(next_frame(&[], 100), Ok(None));
        assert_eq!(needed(&bytes[2..]), Some(4));
        assert_eq!(needed(&bytes[6..]), None);
    }

    #[test]
    fn every_length_of_the_remaining_length() {
        for (encoded, value) in [
            (&[0x7Fu8][..], 127usize),
            (&[0x80, 0x01], 128),
            (&[0xFF, 0x7F], 16_383),
            (&[0x80, 0x80, 0x01], 16_384),
            (&[0xFF, 0xFF, 0x7F], 2_097_151),
            (&[0x80, 0x80, 0x80, 0x01], 2_097_152),
            (&[0xFF, 0xFF, 0xFF, 0x7F], 268_435_455),
        ] {
            let mut bytes = vec![0x30];
            bytes.extend_from_slice(encoded);
            assert_eq!(needed(&bytes), Some(1 + encoded.len() + value));
            assert_eq!(next_frame(&bytes, PACKET_SIZE_MAX), Ok(None));
        }
    }

    #[test]
    fn refuses_bad_lengths_at_once() {
        let malformed = ReasonCode::MalformedPacket;
        assert_eq!(error(&[0x30, 0x80, 0x80, 0x80, 0x80]), malformed);
        assert_eq!(error(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]), malformed);
        assert_eq!(needed(&[0x30, 0x80, 0x80, 0x80, 0x80]), None);
    }

    #[test]
    fn knows_a_length_of_more_bytes_than_needed() {
        let is_padded = |bytes: &[u8]| {
            let frame = next_frame(bytes, PACKET_SIZE_MAX).unwrap().unwrap();
            assert_eq!(needed(bytes), Some(bytes.len()));
            frame.is_padded()
        };
        assert!(!is_padded(&[0xC0, 0]));
        assert!(is_padded(&[0xC0, 0x80, 0]));
        assert!(is_padded(&[0x40, 0x82, 0x80, 0x80, 0, 0, 1]));
        let mut long = vec![0x30, 0x80, 1];
        long.resize(3 + 128, 0);
        assert!(!is_padded(&long));
        long.splice(1..3, [0x80, 0x81, 0]);
        assert!(is_padded(&long));
    }

    #[test]
    fn refuses_large_packets_at_the_header() {
        // 128 bytes of body and 3 of header.
        assert_eq!(next_frame(&[0x30, 0x80, 0x01], 131), Ok(None));
        assert_eq!(
            next_frame(&[0x30, 0x80, 0x01], 130).unwrap_err().reason(),
            ReasonCode::PacketTooLarge
        );
    }

    #[test]
    fn first_byte_table() {
        let allowed: Vec<u8> = (0..=255)
            .filter(|&first| next_frame(&[first], 100).is_ok())
            .collect();
        assert_eq!(
            allowed,
            [
                0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x1D,
                0x1E, 0x1F, 0x20, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x3A, 0x3B, 0x3C, 0x3D, 0x40,
                0x50, 0x62, 0x6A, 0x70, 0x82, 0x8A, 0x90, 0xA2, 0xAA, 0xB0, 0xC0, 0xD0, 0xE0, 0xF0
            ]
        );
    }
}
