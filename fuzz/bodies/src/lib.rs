//! What is fuzzed: six bodies, each a function of bytes that panics when something does not hold.
//!
//! The same bodies run under the runner of this package (stable toolchain, `src/main.rs`) and under
//! cargo-fuzz (`fuzz/fuzz_targets`).

pub mod decode;
pub mod features;
mod packets;
pub mod steps;

/// A body under its name.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    /// What its input is, for the runner to make some.
    pub input: Input,
    pub body: fn(&[u8]),
}

/// What a body reads its bytes as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Control packets one after the other.
    Stream,
    /// Choices, see [`arbitrary::Unstructured`].
    Choices,
    /// Steps of a world, see [`world`].
    Steps,
}

/// All bodies.
pub const TARGETS: &[Target] = &[Target {
    name: "decode",
    input: Input::Stream,
    body: decode::body,
}];
