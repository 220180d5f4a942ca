//! Writing the fields of an image.

use super::{Kind, FORMAT};
use crate::time::WallTime;

/// Appends fields one after the other.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Begins an image with its format and kind.
    pub fn begin(out: &'a mut Vec<u8>, kind: Kind) -> Self {
        out.extend_from_slice(&[FORMAT, kind as u8]);
        Self { out }
    }

    /// Fields without a beginning: what they are part of says what they are.
    pub fn fields(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Something that writes itself, to the end.
    pub fn rest(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        put(self.out);
    }

    pub fn byte(&mut self, value: u8) {
        self.out.push(value);
    }

    pub fn flag(&mut self, value: bool) {
        self.byte(value.into());
    }

    pub fn short(&mut self, value: u16) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    pub fn number(&mut self, value: u32) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    pub fn long(&mut self, value: u64) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    pub fn time(&mut self, value: WallTime) {
        self.long(value.0);
    }

    /// A length or count: seven bits in each byte, the lowest first.
    pub fn count(&mut self, value: usize) {
        let mut rest = value;
        while rest >= 0x80 {
            self.out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.out.push(rest as u8);
    }

    pub fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.out.extend_from_slice(value);
    }

    pub fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// A flag, and the value where there is one.
    pub fn option<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            put(self, value);
        }
    }

    pub fn list<T>(
        &mut self,
        values: impl ExactSizeIterator<Item = T>,
        mut put: impl FnMut(&mut Self, T),
    ) {
        self.count(values.len());
        for value in values {
            put(self, value);
        }
    }
}
