//! What benches share.

pub(crate) mod cases;
pub(crate) mod packets;
pub(crate) mod world;
