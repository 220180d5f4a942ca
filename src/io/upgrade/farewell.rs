//! Last bytes of connections that do not go on in the new process: as much as the socket has room for.

use std::io::IoSlice;
use std::os::fd::OwnedFd;

use crate::io::layered::farewell;
use crate::io::layers::{push, Layers};
use crate::mqtt::ReasonCode;
use crate::transport::Scratch;

/// Sends the words, wrapped by the layers, whose close messages follow.
pub(super) fn say(
    socket: &OwnedFd,
    layers: Option<Box<Layers>>,
    (words, reason): (&[u8], ReasonCode),
    scratch: &mut Scratch,
) {
    let Some(mut layers) = layers else {
        push(socket, words);
        return;
    };
    if layers.is_broken || !layers.stack.is_open() {
        return;
    }
    let mut bytes = std::mem::take(&mut layers.unsent);
    if !words.is_empty() {
        if layers.stack.send(&[IoSlice::new(words)], scratch).is_err() {
            return;
        }
        bytes.extend_from_slice(&scratch.down);
    }
    layers.stack.explain(farewell(Some(reason)));
    layers.stack.close(scratch);
    bytes.extend_from_slice(&scratch.down);
    push(socket, &bytes);
}
