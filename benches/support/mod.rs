//! What benches share.

pub(crate) mod cases;
mod growth;
mod layers;
pub(crate) mod packets;
pub(crate) mod world;
