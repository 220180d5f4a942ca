//! What benches share.

pub mod cases;
pub mod world;
