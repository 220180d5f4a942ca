//! Frames: bytes ↔ data and control frames, RFC 6455 section 5.
//!
//! Payload of data frames streams through, whatever the length of the frame; what is kept between
//! two calls is an incomplete header, or the at most 125 bytes of a control frame.

use std::io::IoSlice;

use super::mask::Mask;
use crate::image::{ImageError, Reader, Writer};

/// Longest header: two bytes, a length of eight, a key of four.
const HEADER_MAX: usize = 14;
/// Longest payload of a control frame.
pub(super) const CONTROL_MAX: usize = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// What a frame is, by its opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    fn is_control(self) -> bool {
        self as u8 >= Self::Close as u8
    }
}

/// Violation of the protocol: a close code of section 7.4.1 and a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    pub code: u16,
    pub text: &'static str,
}

pub(super) const PROTOCOL_ERROR: u16 = 1002;
const UNSUPPORTED_DATA: u16 = 1003;

pub(super) const fn violation(text: &'static str) -> Violation {
    Violation {
        code: PROTOCOL_ERROR,
        text,
    }
}

/// A piece of what arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes of a data frame, unmasked.
    Data(&'a [u8]),
    /// A whole control frame.
    Control(Opcode, Vec<u8>),
}

/// Cuts frames out of a stream of bytes.
#[derive(Debug)]
pub struct Decoder {
    /// Frames of a client are masked, those of a server are not [5.1].
    masked: bool,
    header: [u8; HEADER_MAX],
    /// Bytes of a header that has not arrived whole.
    header_len: u8,
    /// A message has begun and its last frame has not.
    in_message: bool,
    /// Frame whose payload comes now.
    opcode: Opcode,
    /// Bytes of payload still to come.
    left: u64,
    mask: Mask,
    /// Payload of a control frame so far.
    control: Vec<u8>,
}

impl Decoder {
    /// `masked`: the peer is a client.
    #[must_use]
    pub fn new(masked: bool) -> Self {
        Self {
            masked,
            header: [0; HEADER_MAX],
            header_len: 0,
            in_message: false,
            opcode: Opcode::Binary,
            left: 0,
            mask: Mask::default(),
            control: Vec::new(),
        }
    }

    /// Appends its image.
    pub(super) fn image(&self, out: &mut Writer<'_>) {
        out.bytes(&self.header[..usize::from(self.header_len)]);
        out.flag(self.in_message);
        out.byte(self.opcode as u8);
        out.long(self.left);
        self.mask.0.into_iter().for_each(|byte| out.byte(byte));
        out.bytes(&self.control);
    }

    /// Of the broker's end.
    ///
    /// # Errors
    /// The bytes are cut or garbled.
    pub(super) fn restore(it: &mut Reader<'_>) -> Result<Self, ImageError> {
        let mut decoder = Self::new(true);
        let header = it.bytes()?;
        let invalid = ImageError::invalid("a frame of WebSocket");
        let start = decoder.header.get_mut(..header.len()).ok_or(invalid)?;
        start.copy_from_slice(header);
        decoder.header_len = header.len() as u8;
        decoder.in_message = it.flag()?;
        decoder.opcode = Opcode::from_bits(it.byte()?).ok_or(invalid)?;
        decoder.left = it.long()?;
        for byte in &mut decoder.mask.0 {
            *byte = it.byte()?;
        }
        decoder.control = it.bytes()?.to_vec();
        let is_control = decoder.opcode.is_control() && decoder.left > 0;
        let most = CONTROL_MAX as u64;
        let fits = match is_control {
            true => decoder.left <= most && decoder.left + decoder.control.len() as u64 <= most,
            false => decoder.control.is_empty(),
        };
        // A header that is whole was taken; between a frame's bytes there is none.
        let is_whole = decoder.header_len > 0
            && (decoder.left > 0 || usize::from(decoder.header_len) >= decoder.header_needed());
        (fits && !is_whole).then_some(decoder).ok_or(invalid)
    }

    #[cfg(test)]
    pub(super) fn holds_memory(&self) -> bool {
        self.control.capacity() > 0
    }

    /// Takes bytes off the front of `bytes` until there is a piece; `None`: more are needed.
    ///
    /// # Errors
    /// The peer breaks the protocol.
    pub fn next<'a>(&mut self, bytes: &mut &'a mut [u8]) -> Result<Option<Piece<'a>>, Violation> {
        while !bytes.is_empty() {
            if self.left == 0 {
                if !self.take_header(bytes)? {
                    return Ok(None);
                }
                if self.left > 0 {
                    continue;
                }
                if self.opcode.is_control() {
                    return Ok(Some(Piece::Control(self.opcode, Vec::new())));
                }
                continue;
            }
            let count =
                usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
            let payload = take_front(bytes, count);
            self.left -= count as u64;
            if self.masked {
                self.mask.apply(payload);
            }
            if !self.opcode.is_control() {
                return Ok(Some(Piece::Data(payload)));
            }
            self.control.extend_from_slice(payload);
            if self.left == 0 {
                let control = std::mem::take(&mut self.control);
                return Ok(Some(Piece::Control(self.opcode, control)));
            }
        }
        Ok(None)
    }

    /// Takes the rest of a header; true when it is whole. What is wrong with its first bytes shows
    /// before the others are there.
    fn take_header(&mut self, bytes: &mut &mut [u8]) -> Result<bool, Violation> {
        loop {
            let have = usize::from(self.header_len);
            if have == 2 {
                self.check_start()?;
            }
            let needed = self.header_needed();
            if have == needed {
                self.header_len = 0;
                self.begin_frame()?;
                return Ok(true);
            }
            let count = bytes.len().min(needed - have);
            if count == 0 {
                return Ok(false);
            }
            let taken = take_front(bytes, count);
            self.header[have..have + count].copy_from_slice(taken);
            self.header_len += count as u8;
        }
    }

    /// Length of the header by the bytes that have arrived; at first the two that every header has.
    fn header_needed(&self) -> usize {
        if self.header_len < 2 {
            return 2;
        }
        let length_len = match self.header[1] & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length_len + if self.masked { 4 } else { 0 }
    }

    /// Checks the first two bytes of a header [5.2, 5.4, 5.5].
    fn check_start(&self) -> Result<(), Violation> {
        let [first, second, ..] = self.header;
        if first & RESERVED != 0 {
            return Err(violation("a reserved bit of a frame is set")); // [5.2], no extension agreed
        }
        let Some(opcode) = Opcode::from_bits(first & 0x0F) else {
            return Err(violation("a frame has a reserved opcode"));
        };
        if (second & MASKED != 0) != self.masked {
            return Err(violation(if self.masked {
                "a frame of a client is not masked" // [5.1]
            } else {
                "a frame of a server is masked"
            }));
        }
        let is_final = first & FIN != 0;
        match opcode {
            Opcode::Text => Err(Violation {
                code: UNSUPPORTED_DATA, // [MQTT-6.0.0-1]
                text: "a text frame, where MQTT needs binary ones",
            }),
            Opcode::Binary if self.in_message => {
                Err(violation("a message begins inside another")) // [5.4]
            }
            Opcode::Continuation if !self.in_message => {
                Err(violation("a continuation frame continues nothing"))
            }
            _ if !opcode.is_control() => Ok(()),
            _ if !is_final => Err(violation("a control frame is fragmented")), // [5.5]
            _ if usize::from(second & !MASKED) > CONTROL_MAX => {
                Err(violation("a control frame is longer than 125 bytes"))
            }
            _ => Ok(()),
        }
    }

    /// The header is whole: notes what comes.
    fn begin_frame(&mut self) -> Result<(), Violation> {
        let [first, second, ..] = self.header;
        let opcode = Opcode::from_bits(first & 0x0F).unwrap_or(Opcode::Binary); // checked before
        let (length, key_at) = match second & !MASKED {
            126 => (
                u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
                4,
            ),
            127 => {
                let mut length = [0; 8];
                length.copy_from_slice(&self.header[2..10]);
                (u64::from_be_bytes(length), 10)
            }
            short => (u64::from(short), 2),
        };
        let is_minimal = match key_at {
            4 => length > 125,
            10 => length > 0xFFFF,
            _ => true,
        };
        if length > u64::MAX >> 1 {
            // [5.2]: the most significant bit MUST be 0.
            return Err(violation("the length of a frame is above 2^63"));
        }
        if !is_minimal {
            return Err(violation(
                "the length of a frame is not in its shortest form",
            )); // [5.2]
        }
        if self.masked {
            self.mask
                .0
                .copy_from_slice(&self.header[key_at..key_at + 4]);
        }
        if !opcode.is_control() {
            self.in_message = first & FIN == 0;
        }
        self.opcode = opcode;
        self.left = length;
        Ok(())
    }
}

/// Cuts the first `count` bytes off a slice; there must be as many.
fn take_front<'a>(bytes: &mut &'a mut [u8], count: usize) -> &'a mut [u8] {
    let (front, rest) = std::mem::take(bytes).split_at_mut(count);
    *bytes = rest;
    front
}

/// Appends one final frame with this payload to `down`, masked if there is a key.
pub fn encode(opcode: Opcode, payload: &[IoSlice<'_>], key: Option<[u8; 4]>, down: &mut Vec<u8>) {
    let length: usize = payload.iter().map(|slice| slice.len()).sum();
    down.reserve(HEADER_MAX + length);
    let mask_bit = if key.is_some() { MASKED } else { 0 };
    down.push(FIN | opcode as u8);
    match length {
        0..=125 => down.push(mask_bit | length as u8),
        126..=0xFFFF => {
            down.push(mask_bit | 126);
            down.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            down.push(mask_bit | 127);
            down.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    if let Some(key) = key {
        down.extend_from_slice(&key);
    }
    let start = down.len();
    for slice in payload {
        down.extend_from_slice(slice);
    }
    if let Some(key) = key {
        Mask(key).apply(&mut down[start..]);
    }
}
