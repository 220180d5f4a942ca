//! What benches share.

pub(crate) mod cases;
pub(crate) mod world;
