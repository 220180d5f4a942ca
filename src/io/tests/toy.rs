//! A layer of a few lines: what the driver does with layers is seen without TLS.

use std::io::IoSlice;
use std::sync::{Arc, Mutex};

use crate::transport::{ConnectionInfo, Layer, LayerError};

/// On the wire: the client sends hello, the layer answers, every byte after that is XORed with a key.
pub(super) const HELLO: u8 = b'H';
pub(super) const ANSWER: u8 = b'h';
/// Nothing more comes.
pub(super) const GOODBYE: u8 = 0xFF;
/// What the layer cannot understand.
pub(super) const NONSENSE: u8 = 0xEE;

pub(super) struct Toy {
    key: u8,
    open: bool,
    ended: bool,
}

impl Toy {
    pub(super) fn new(key: u8) -> Self {
        Self {
            key,
            open: false,
            ended: false,
        }
    }
}

impl Layer for Toy {
    fn receive(
        &mut self,
        bytes: &mut [u8],
        up: &mut Vec<u8>,
        down: &mut Vec<u8>,
    ) -> Result<(), LayerError> {
        for byte in bytes {
            match *byte {
                HELLO if !self.open => {
                    self.open = true;
                    down.push(ANSWER);
                }
                GOODBYE => self.ended = true,
                NONSENSE => return Err(LayerError("nonsense".into())),
                other => up.push(other ^ self.key),
            }
        }
        Ok(())
    }

    fn send(&mut self, slices: &[IoSlice<'_>], down: &mut Vec<u8>) -> Result<(), LayerError> {
        for slice in slices {
            down.extend(slice.iter().map(|byte| byte ^ self.key));
        }
        Ok(())
    }

    fn close(&mut self, down: &mut Vec<u8>) {
        down.push(GOODBYE);
    }

    fn is_open(&self) -> bool {
        self.open
    }

    fn is_ended(&self) -> bool {
        self.ended
    }

    fn tell(&mut self, learned: &mut ConnectionInfo) {
        learned.identity = Some(format!("toy {}", self.key).into());
    }
}

/// What a [`Slow`] layer has seen, of all connections.
#[derive(Default)]
pub(super) struct Seen {
    /// The first byte of each read, in order.
    pub(super) firsts: Mutex<Vec<u8>>,
    /// A hello takes as long as a test holds this.
    pub(super) gate: Mutex<()>,
}

/// A layer whose hello takes its time. What comes before is discarded, everything else passes through.
pub(super) struct Slow {
    pub(super) seen: Arc<Seen>,
    pub(super) open: bool,
}

impl Layer for Slow {
    fn receive(
        &mut self,
        bytes: &mut [u8],
        up: &mut Vec<u8>,
        down: &mut Vec<u8>,
    ) -> Result<(), LayerError> {
        self.seen.firsts.lock().unwrap().push(bytes[0]);
        for byte in bytes {
            if *byte == HELLO && !self.open {
                drop(self.seen.gate.lock().unwrap());
                self.open = true;
                down.push(ANSWER);
            } else if self.open {
                up.push(*byte);
            }
        }
        Ok(())
    }

    fn send(&mut self, slices: &[IoSlice<'_>], down: &mut Vec<u8>) -> Result<(), LayerError> {
        slices
            .iter()
            .for_each(|slice| down.extend_from_slice(slice));
        Ok(())
    }

    fn close(&mut self, _: &mut Vec<u8>) {}

    fn is_open(&self) -> bool {
        self.open
    }

    fn is_ended(&self) -> bool {
        false
    }

    fn tell(&mut self, _: &mut ConnectionInfo) {}
}
