//! Stack of transport layers: several layers as one.

use std::io::IoSlice;
use std::net::SocketAddr;

use super::{websocket, ConnectionInfo, Farewell, Layer, LayerError};
use crate::image::{ImageError, Reader, Writer};

/// Buffers that all stacks of a shard use in turn, so that an idle connection has none.
#[derive(Default)]
pub struct Scratch {
    /// Bytes for MQTT that the last [`Stack::receive`] found.
    pub up: Vec<u8>,
    /// Bytes for the socket of the last call.
    pub down: Vec<u8>,
    spare: Vec<u8>,
    answer: Vec<u8>,
    spare_answer: Vec<u8>,
}

/// A buffer that grew larger than this for one connection is not kept for all, in bytes.
const KEPT_BYTES: usize = 256 << 10;

/// Kinds of layers that have an image.
pub(super) const WEBSOCKET_SERVER: u8 = 1;

fn restore_layer(it: &mut Reader<'_>) -> Result<Box<dyn Layer>, ImageError> {
    match it.byte()? {
        WEBSOCKET_SERVER => Ok(Box::new(websocket::Server::restore(it)?)),
        _ => Err(ImageError::invalid("a kind of layers")),
    }
}

/// The layers of one connection. Goes with it when it moves to another shard.
pub struct Stack {
    /// The one next to the socket first.
    layers: Vec<Box<dyn Layer>>,
    /// Number of layers whose [`ConnectionInfo`] was collected; those that were spent are counted.
    told: usize,
    /// Number of layers whose opening bytes were sent; `None` on the end that accepts.
    started: Option<usize>,
    learned: Option<Box<ConnectionInfo>>,
    /// The address in it that was asked for.
    announced: Option<SocketAddr>,
}

impl Stack {
    #[must_use]
    pub fn new(layers: Vec<Box<dyn Layer>>) -> Self {
        Self {
            layers,
            told: 0,
            started: None,
            learned: Some(Box::default()),
            announced: None,
        }
    }

    /// The layers of the end that connects: each sends first once those below it are open.
    #[must_use]
    pub fn connecting(layers: Vec<Box<dyn Layer>>) -> Self {
        Self {
            started: Some(0),
            ..Self::new(layers)
        }
    }

    /// Puts the opening bytes of the end that connects into `down` of `scratch`.
    ///
    /// # Errors
    /// One of the layers can send nothing more.
    pub fn start(&mut self, scratch: &mut Scratch) -> Result<(), LayerError> {
        scratch.clear();
        let result = self.start_layers(scratch);
        self.report(result)
    }

    /// Takes bytes of the socket. What comes of them is in `up` and `down` of `scratch`, also when
    /// this fails.
    ///
    /// # Errors
    /// One of the layers has failed.
    pub fn receive(&mut self, bytes: &mut [u8], scratch: &mut Scratch) -> Result<(), LayerError> {
        scratch.clear();
        let Some((first, _)) = self.layers.split_first_mut() else {
            scratch.up.extend_from_slice(bytes);
            return Ok(());
        };
        let mut result = first.receive(bytes, &mut scratch.up, &mut scratch.down);
        for at in 1..self.layers.len() {
            if scratch.up.is_empty() {
                break;
            }
            std::mem::swap(&mut scratch.up, &mut scratch.spare);
            scratch.up.clear();
            scratch.answer.clear();
            let (up, answer) = (&mut scratch.up, &mut scratch.answer);
            let found = self.layers[at].receive(&mut scratch.spare, up, answer);
            // What failed further up did so with earlier bytes.
            let wrapped = self.wrap(at, scratch);
            result = found.and(wrapped).and(result);
        }
        self.hear();
        let result = result.and_then(|()| self.start_layers(scratch));
        self.report(result)
    }

    /// Wraps bytes of MQTT into `down` of `scratch`. Call only while the stack is open.
    ///
    /// # Errors
    /// One of the layers can send nothing more.
    pub fn send(
        &mut self,
        slices: &[IoSlice<'_>],
        scratch: &mut Scratch,
    ) -> Result<(), LayerError> {
        scratch.clear();
        match &mut self.layers[..] {
            [] => slices
                .iter()
                .for_each(|slice| scratch.down.extend_from_slice(slice)),
            [one] => one.send(slices, &mut scratch.down)?,
            [below @ .., top] => {
                let at = below.len();
                top.send(slices, &mut scratch.answer)?;
                self.wrap(at, scratch)?;
            }
        }
        Ok(())
    }

    /// Puts bytes for MQTT that have come about while others were sent into `up` of `scratch`.
    pub fn owed(&mut self, scratch: &mut Scratch) {
        scratch.clear();
        if let Some(top) = self.layers.last_mut() {
            top.owed(&mut scratch.up);
        }
    }

    /// How often [`Stack::look`] is to be called, in milliseconds.
    #[must_use]
    pub fn look_every_ms(&self) -> Option<u32> {
        let periods = self.layers.iter().filter_map(|l| l.look_every_ms());
        periods.min()
    }

    /// Has the layers look at the connection; what they send is in `down` of `scratch`.
    ///
    /// # Errors
    /// One of them has given it up.
    pub fn look(&mut self, scratch: &mut Scratch) -> Result<(), LayerError> {
        scratch.clear();
        let result = self.look_at_layers(scratch);
        self.report(result)
    }

    fn look_at_layers(&mut self, scratch: &mut Scratch) -> Result<(), LayerError> {
        for at in 0..self.layers.len() {
            // One below that is not open has nothing above it that has begun.
            if self.started.is_some_and(|started| at >= started) {
                break;
            }
            scratch.answer.clear();
            self.layers[at].look(&mut scratch.answer)?;
            self.wrap(at, scratch)?;
        }
        Ok(())
    }

    /// Passes the close reason to all layers, before [`Stack::close`].
    pub fn explain(&mut self, why: Farewell) {
        self.layers.iter_mut().for_each(|layer| layer.explain(why));
    }

    /// Puts the close messages of all layers into `down` of `scratch`, the topmost first.
    pub fn close(&mut self, scratch: &mut Scratch) {
        scratch.clear();
        for at in (0..self.layers.len()).rev() {
            scratch.answer.clear();
            self.layers[at].close(&mut scratch.answer);
            // A close message that can no longer be wrapped is left out.
            let _ = self.wrap(at, scratch);
        }
    }

    /// All handshakes are done.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.layers.iter().all(|layer| layer.is_open())
    }

    /// The remote end has sent its close message.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.layers.iter().any(|layer| layer.is_ended())
    }

    /// The stream has ended without a close message.
    ///
    /// # Errors
    /// That was in the middle of something.
    pub fn end_of_stream(&mut self) -> Result<(), LayerError> {
        let mut layers = self.layers.iter();
        let result = layers.try_for_each(|layer| layer.end_of_stream());
        self.report(result)
    }

    fn report(&mut self, result: Result<(), LayerError>) -> Result<(), LayerError> {
        if let (Err(error), Some(top)) = (&result, self.layers.last_mut()) {
            top.failed(error);
        }
        result
    }

    /// Appends images of all layers of a connection that is open; false: one of them has none.
    pub fn image(&self, out: &mut Vec<u8>) -> bool {
        let out = &mut Writer::fields(out);
        out.count(self.layers.len());
        self.is_open() && !self.is_ended() && self.layers.iter().all(|layer| layer.image(out))
    }

    /// The layers that these bytes are images of.
    ///
    /// # Errors
    /// The bytes are cut, garbled, or of layers that are not known.
    pub fn restore(bytes: &[u8]) -> Result<Self, ImageError> {
        let mut it = Reader::fields(bytes);
        let layers = it.list(1, restore_layer)?;
        it.end()?;
        Ok(Self {
            told: layers.len(),
            learned: None,
            ..Self::new(layers)
        })
    }

    /// Nothing is left to do for it: the connection is a plain one.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.layers.is_empty()
    }

    /// The address of the client, as soon as a proxy has named it, and again when another has.
    pub fn take_address(&mut self) -> Option<SocketAddr> {
        let address = self.learned.as_ref()?.address?;
        (self.announced.replace(address) != Some(address)).then_some(address)
    }

    /// What the layers have learned about the client: once, when all are open.
    pub fn take_learned(&mut self) -> Option<ConnectionInfo> {
        if self.told < self.layers.len() {
            return None;
        }
        self.learned.take().map(|learned| *learned)
    }

    /// Collects the information of layers that have opened, and drops those that are spent.
    fn hear(&mut self) {
        let Some(learned) = &mut self.learned else {
            return;
        };
        while let Some(layer) = self.layers.get_mut(self.told).filter(|l| l.is_open()) {
            layer.tell(learned);
            if layer.is_spent() {
                self.layers.remove(self.told);
                self.started = self.started.map(|started| started.saturating_sub(1));
            } else {
                self.told += 1;
            }
        }
    }

    /// Starts layers of the end that connects, each once the one below it is open.
    fn start_layers(&mut self, scratch: &mut Scratch) -> Result<(), LayerError> {
        while let Some(at) = self.started.filter(|at| *at < self.layers.len()) {
            if at > 0 && !self.layers[at - 1].is_open() {
                break;
            }
            self.started = Some(at + 1);
            scratch.answer.clear();
            self.layers[at].start(&mut scratch.answer);
            self.wrap(at, scratch)?;
        }
        Ok(())
    }

    /// Sends `answer` of the layer at `at` through those below it, into `down`.
    fn wrap(&mut self, at: usize, scratch: &mut Scratch) -> Result<(), LayerError> {
        if scratch.answer.is_empty() {
            return Ok(());
        }
        for layer in self.layers[..at].iter_mut().rev() {
            scratch.spare_answer.clear();
            let slices = [IoSlice::new(&scratch.answer)];
            layer.send(&slices, &mut scratch.spare_answer)?;
            std::mem::swap(&mut scratch.answer, &mut scratch.spare_answer);
        }
        scratch.down.extend_from_slice(&scratch.answer);
        Ok(())
    }
}

impl Scratch {
    /// Empties the buffers and frees what is beyond [`KEPT_BYTES`].
    fn clear(&mut self) {
        for buffer in [
            &mut self.up,
            &mut self.down,
            &mut self.spare,
            &mut self.answer,
            &mut self.spare_answer,
        ] {
            buffer.clear();
            buffer.shrink_to(KEPT_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `hello` first and is open when that comes back; marks what it sends.
    struct Echoed {
        hello: u8,
        is_open: bool,
    }

    impl Layer for Echoed {
        fn start(&mut self, down: &mut Vec<u8>) {
            down.push(self.hello);
        }

        fn receive(
            &mut self,
            bytes: &mut [u8],
            up: &mut Vec<u8>,
            _: &mut Vec<u8>,
        ) -> Result<(), LayerError> {
            let (hello, rest) = if self.is_open {
                (None, &bytes[..])
            } else {
                (bytes.first(), &bytes[1..])
            };
            self.is_open |= hello == Some(&self.hello);
            up.extend_from_slice(rest);
            Ok(())
        }

        fn send(&mut self, slices: &[IoSlice<'_>], down: &mut Vec<u8>) -> Result<(), LayerError> {
            down.push(self.hello.to_ascii_uppercase());
            slices
                .iter()
                .for_each(|slice| down.extend_from_slice(slice));
            Ok(())
        }

        fn close(&mut self, _: &mut Vec<u8>) {}

        fn is_open(&self) -> bool {
            self.is_open
        }

        fn is_ended(&self) -> bool {
            false
        }
    }

    fn layers() -> Vec<Box<dyn Layer>> {
        let layer = |hello| -> Box<dyn Layer> {
            Box::new(Echoed {
                hello,
                is_open: false,
            })
        };
        vec![layer(b'a'), layer(b'b')]
    }

    #[test]
    fn layers_of_the_end_that_connects_start_one_after_the_other() {
        let (mut stack, mut scratch) = (Stack::connecting(layers()), Scratch::default());
        stack.start(&mut scratch).unwrap();
        assert_eq!(scratch.down, b"a");
        stack.receive(&mut b"a".to_vec(), &mut scratch).unwrap();
        assert_eq!(
            scratch.down, b"Ab",
            "the second through the first, once it is open"
        );
        assert!(!stack.is_open());
        stack.receive(&mut b"bx".to_vec(), &mut scratch).unwrap();
        assert!(stack.is_open() && scratch.down.is_empty());
        assert_eq!(scratch.up, b"x");
    }

    #[test]
    fn layers_of_the_end_that_accepts_do_not_speak_first() {
        let (mut stack, mut scratch) = (Stack::new(layers()), Scratch::default());
        stack.receive(&mut b"a".to_vec(), &mut scratch).unwrap();
        assert!(scratch.down.is_empty());
    }
}
