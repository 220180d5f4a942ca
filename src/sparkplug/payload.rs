//! Payloads as far as a broker reads them: fields of protobuf, in place, one after the other.
//!
//! Of a payload the times and numbers at its top are read, and of its metrics the few that are about the node
//! itself. Data sets, templates and properties are passed over by their length: nothing is allocated for what a
//! payload claims to hold, and nothing in it makes the reader call itself but groups, which end at prost's limit.

use prost::encoding::{decode_key, decode_varint, skip_field, DecodeContext, WireType};

/// The number of the session of an edge node, in its birth and in its death.
const BD_SEQ: &[u8] = b"bdSeq";
/// The command that asks an edge node for its births.
const REBIRTH: &[u8] = b"Node Control/Rebirth";

/// It is no message of protobuf, or a field that is read has another type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("it is no payload of Sparkplug")]
pub struct NotSparkplug;

/// What is read of a payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// Milliseconds since the epoch, as its sender says.
    pub timestamp: Option<u64>,
    pub seq: Option<u64>,
    /// How many metrics there are.
    pub metrics: u32,
    pub bd_seq: Option<u64>,
    /// A metric asks for a rebirth.
    pub asks_rebirth: bool,
}

impl Outline {
    /// With what metrics say of the node itself.
    ///
    /// # Errors
    /// It is no payload of Sparkplug.
    pub fn read(payload: &[u8]) -> Result<Self, NotSparkplug> {
        let mut outline = Self::default();
        for field in Fields(payload) {
            let field = field?;
            match field.tag {
                1 => outline.timestamp = Some(field.number()?),
                2 => outline.take_metric(field.bytes()?)?,
                3 => outline.seq = Some(field.number()?),
                _ => {}
            }
        }
        Ok(outline)
    }

    fn take_metric(&mut self, metric: &[u8]) -> Result<(), NotSparkplug> {
        self.metrics = self.metrics.saturating_add(1);
        let (mut name, mut value) = (&[][..], None);
        for field in Fields(metric) {
            let field = field?;
            match field.tag {
                1 => name = field.bytes()?,
                10 | 11 | 14 => value = Some(field.number()?), // int, long, boolean
                _ => {}
            }
        }
        if name == BD_SEQ {
            self.bd_seq = value.or(self.bd_seq);
        } else if name == REBIRTH {
            self.asks_rebirth |= value == Some(1);
        }
        Ok(())
    }
}

/// The payload with another timestamp, in milliseconds since the epoch. All other fields stay as they are, in their
/// order.
///
/// # Errors
/// It is no payload of Sparkplug.
pub fn stamped(payload: &[u8], timestamp: u64) -> Result<Vec<u8>, NotSparkplug> {
    const LONGEST: usize = 11; // the key and ten octets
    let mut out = Vec::with_capacity(payload.len() + LONGEST);
    prost::encoding::uint64::encode(1, &timestamp, &mut out);
    for field in Fields(payload) {
        let field = field?;
        match field.tag {
            1 => {
                field.number()?;
            }
            _ => out.extend_from_slice(field.whole),
        }
    }
    Ok(out)
}

/// One field of a message.
struct Field<'a> {
    tag: u32,
    wire_type: WireType,
    /// With its key.
    whole: &'a [u8],
    /// Behind its key, and behind its length if it has one.
    value: &'a [u8],
}

impl<'a> Field<'a> {
    fn number(&self) -> Result<u64, NotSparkplug> {
        match self.wire_type {
            WireType::Varint => decode_varint(&mut &*self.value).map_err(|_| NotSparkplug),
            _ => Err(NotSparkplug),
        }
    }

    fn bytes(&self) -> Result<&'a [u8], NotSparkplug> {
        match self.wire_type {
            WireType::LengthDelimited => Ok(self.value),
            _ => Err(NotSparkplug),
        }
    }
}

/// The fields of a message that have not been read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn read(&mut self) -> Result<Field<'a>, prost::DecodeError> {
        let mut rest = self.0;
        let (tag, wire_type) = decode_key(&mut rest)?;
        let behind_key = rest;
        skip_field(wire_type, tag, &mut rest, DecodeContext::default())?;
        let mut value = &behind_key[..behind_key.len() - rest.len()];
        if wire_type == WireType::LengthDelimited {
            decode_varint(&mut value)?;
        }
        let whole = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Ok(Field {
            tag,
            wire_type,
            whole,
            value,
        })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, NotSparkplug>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field.map_err(|_| NotSparkplug))
    }
}
