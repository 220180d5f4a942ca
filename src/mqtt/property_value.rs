//! Data types of properties: how their values are read and checked, and written. A row of the table in
//! [`super::property`] names one of these modules.

use super::packet::Qos;
use super::primitives::{put_binary, put_string, put_variable, Reader};
use super::topic;
use super::violation::Violation;
use std::num::NonZeroU16;

/// A byte that is 0 or 1.
pub(super) mod boolean {
    use super::*;

    #[inline]
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<(bool,), Violation> {
        match reader.byte()? {
            0 => Ok((false,)),
            1 => Ok((true,)),
            _ => Err(Violation::PropertyNotBoolean),
        }
    }

    pub(crate) fn put(out: &mut Vec<u8>, value: bool) {
        out.push(u8::from(value));
    }
}

/// Maximum QoS: 0 or 1.
pub(super) mod maximum_qos {
    use super::*;

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<(Qos,), Violation> {
        Ok(match boolean::read(reader)? {
            (true,) => (Qos::AtLeastOnce,),
            (false,) => (Qos::AtMostOnce,),
        })
    }

    pub(crate) fn put(out: &mut Vec<u8>, value: Qos) {
        boolean::put(out, value != Qos::AtMostOnce);
    }
}

pub(super) mod two_bytes {
    use super::*;

    #[inline]
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<(u16,), Violation> {
        Ok((reader.two_bytes()?,))
    }

    pub(crate) fn put(out: &mut Vec<u8>, value: u16) {
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub(super) mod receive_maximum {
    use super::*;

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<(NonZeroU16,), Violation> {
        let value = NonZeroU16::new(reader.two_bytes()?);
        Ok((value.ok_or(Violation::ReceiveMaximumZero)?,))
    }

    pub(crate) fn put(out: &mut Vec<u8>, value: NonZeroU16) {
        two_bytes::put(out, value.get());
    }
}

pub(super) mod topic_alias {
    use super::*;

    #[inline]
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<(NonZeroU16,), Violation> {
        let value = NonZeroU16::new(reader.two_bytes()?);
        Ok((value.ok_or(Violation::TopicAliasZero)?,))
    }

    pub(crate) fn put(out: &mut Vec<u8>, value: NonZeroU16) {
        two_bytes::put(out, value.get());
    }
}

pub(super) mod four_bytes {
    use super::*;

    #[inline]
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<(u32,), Violation> {
        Ok((reader.four_bytes()?,))
    }

    pub(crate) fn put(out: &mut Vec<u8>, value: u32) {
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub(super) mod maximum_packet_size {
    use super::*;

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<(u32,), Violation> {
        match reader.four_bytes()? {
            0 => Err(Violation::MaximumPacketSizeZero),
            size => Ok((size,)),
        }
    }

    pub(crate) fn put(out: &mut Vec<u8>, value: u32) {
        four_bytes::put(out, value);
    }
}

pub(super) mod subscription_identifier {
    use super::*;

    #[inline]
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<(u32,), Violation> {
        match reader.variable()? {
            0 => Err(Violation::SubscriptionIdentifierZero),
            identifier => Ok((identifier,)),
        }
    }

    pub(crate) fn put(out: &mut Vec<u8>, value: u32) {
        put_variable(out, value);
    }
}

pub(super) mod string {
    use super::*;

    #[inline]
    pub(crate) fn read<'a>(reader: &mut Reader<'a>) -> Result<(&'a str,), Violation> {
        Ok((reader.string()?,))
    }

    pub(crate) fn put(out: &mut Vec<u8>, value: &str) {
        put_string(out, value);
    }
}

/// A topic name.
pub(super) mod response_topic {
    use super::*;

    #[inline]
    pub(crate) fn read<'a>(reader: &mut Reader<'a>) -> Result<(&'a str,), Violation> {
        let name = reader.string()?;
        if topic::is_valid_name(name) {
            Ok((name,))
        } else {
            Err(Violation::ResponseTopicInvalid)
        }
    }

    pub(crate) fn put(out: &mut Vec<u8>, value: &str) {
        put_string(out, value);
    }
}

pub(super) mod binary {
    use super::*;

    #[inline]
    pub(crate) fn read<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8],), Violation> {
        Ok((reader.binary()?,))
    }

    pub(crate) fn put(out: &mut Vec<u8>, value: &[u8]) {
        put_binary(out, value);
    }
}

pub(super) mod pair {
    use super::*;

    #[inline]
    pub(crate) fn read<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, &'a str), Violation> {
        Ok((reader.string()?, reader.string()?))
    }

    pub(crate) fn put(out: &mut Vec<u8>, name: &str, value: &str) {
        put_string(out, name);
        put_string(out, value);
    }
}
