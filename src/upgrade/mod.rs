//! A process gives its clients to another one: what the two say to each other, and who may do what when.
//!
//! The old process ([`Giver`]) starts the new one ([`Taker`]), comes to rest, and gives everything as images. Until it
//! commits, by one message for the whole process, nothing has changed: it ends the new process and continues. From then
//! on it touches no client. When it dies before that, a new process that has everything takes over: an old one that
//! gives up has ended the new one first, so there is never more than one that serves, and never none while one of them
//! is whole.

mod giver;
mod message;
mod pauses;
mod rest;
mod taker;
#[cfg(test)]
mod tests;

pub use giver::{Giver, Next};
pub use message::{
    ClientParcel, Counts, Hello, Message, ParcelLayers, SocketName, SocketUse, TicketKeys, PROTOCOL,
};
pub use pauses::Pauses;
pub use rest::{Rest, Seen, Verdict, REST_PATIENCE};
pub use taker::{Heard, Taker};
