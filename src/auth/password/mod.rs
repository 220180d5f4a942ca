//! Passwords: their hashes and the file that holds them, in Mosquitto's format.

mod file;
mod hash;

pub use file::Passwords;
pub use hash::{Hash, HashKind};
