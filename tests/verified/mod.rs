//! Clients that check what the broker promises them, for the tests against the real process.
//!
//! They are written out by hand, not with the broker's own codec: a mistake in that must not hide
//! itself.

pub(crate) mod client;
pub(crate) mod flow;
pub(crate) mod frames;
pub(crate) mod link;
mod publisher;
pub(crate) mod random;
pub(crate) mod seen;
pub(crate) mod subscriber;
