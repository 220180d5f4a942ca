//! Choices out of an input. An input that is used up goes on with zeros.

use std::num::NonZeroU16;

use arbitrary::Unstructured;
use ringmq::mqtt::{PacketId, Qos, Version};

/// Text longer than any string of the protocol.
static LONG: [u8; 65_535] = [b'y'; 65_535];

/// See the module.
#[derive(Debug)]
pub(crate) struct Choices<'a>(Unstructured<'a>);

impl<'a> Choices<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self(Unstructured::new(input))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.0.bytes(1).map_or(0, |byte| byte[0])
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub(crate) fn short(&mut self) -> u16 {
        self.0.arbitrary().unwrap_or(0)
    }

    pub(crate) fn number(&mut self) -> u32 {
        self.0.arbitrary().unwrap_or(0)
    }

    /// Below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    pub(crate) fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| make(self))
    }

    pub(crate) fn qos(&mut self) -> Qos {
        self.one_of(&[Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce])
    }

    pub(crate) fn version(&mut self) -> Version {
        self.one_of(&[Version::V5, Version::V311, Version::V31])
    }

    pub(crate) fn non_zero(&mut self) -> NonZeroU16 {
        NonZeroU16::new(self.short()).unwrap_or(NonZeroU16::MIN)
    }

    pub(crate) fn packet_id(&mut self) -> PacketId {
        PacketId(self.non_zero())
    }

    /// Bytes: few, or a length at a border of the protocol.
    pub(crate) fn data(&mut self) -> &'a [u8] {
        let length = match self.byte() {
            short @ 0..=243 => return self.0.bytes(usize::from(short % 16)).unwrap_or(&[]),
            244..=251 => 100 + self.below(60),
            252..=254 => 128,
            // Long ones seldom: they cost as much as a thousand others.
            255 => match self.byte() {
                0..=1 => 65_535,
                2..=5 => 16_300 + self.below(160),
                _ => 127,
            },
        };
        &LONG[..length]
    }

    /// Text as the protocol allows it: UTF-8 without U+0000.
    pub(crate) fn text(&mut self) -> &'a str {
        let bytes = self.data();
        let end = bytes.iter().position(|&byte| byte == 0);
        valid_start(&bytes[..end.unwrap_or(bytes.len())])
    }

    /// A topic name: not empty, without wildcards.
    pub(crate) fn topic(&mut self) -> &'a str {
        const TOPICS: [&str; 8] = ["t", "a/b", "/", "a//b", "$SYS/x", "ä/€", "a/b/c", "$x"];
        let common = self.one_of(&TOPICS);
        if self.flag() {
            return common;
        }
        let text = self.text();
        let end = text.find(['+', '#']).unwrap_or(text.len());
        if end == 0 || text.starts_with("$share/") {
            common
        } else {
            &text[..end]
        }
    }
}

fn valid_start(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).expect("valid up to there")
        }
    }
}
