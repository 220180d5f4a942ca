//! What is fuzzed: fourteen bodies, each a function of bytes that panics when something does not hold.
//!
//! The same bodies run under the runner of this package (stable toolchain, `src/main.rs`) and under
//! cargo-fuzz (`fuzz/fuzz_targets`).

mod broker;
mod choices;
pub mod chunks;
pub mod datagrams;
pub mod decode;
pub mod features;
pub mod fold;
pub mod image;
pub mod layers;
pub mod matcher;
mod packets;
pub mod quic;
pub mod recovery;
pub mod round_trip;
pub mod session;
mod session_image;
pub mod sparkplug;
pub mod steps;
pub mod tls;
mod values;
pub mod world;

/// A body under its name.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    /// What its input is, for the runner to make some.
    pub input: Input,
    /// One input of it stands for so many: some take as long as a hundred of others.
    pub cost: u64,
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

const fn target(name: &'static str, input: Input, body: fn(&[u8])) -> Target {
    let cost = 1;
    Target {
        name,
        input,
        cost,
        body,
    }
}

/// All bodies.
pub const TARGETS: &[Target] = &[
    target("decode", Input::Stream, decode::body),
    target("chunks", Input::Stream, chunks::body),
    target("round_trip", Input::Choices, round_trip::body),
    target("matcher", Input::Choices, matcher::body),
    target("session", Input::Choices, session::body),
    target("image", Input::Choices, image::body),
    target("fold", Input::Choices, fold::body),
    target("recovery", Input::Choices, recovery::body),
    target("sparkplug", Input::Choices, sparkplug::body),
    target("layers", Input::Choices, layers::body),
    Target {
        cost: 20, // a handshake is arithmetic with large numbers
        ..target("tls", Input::Choices, tls::body)
    },
    Target {
        cost: 25, // each input is a broker of two shards
        ..target("datagrams", Input::Choices, datagrams::body)
    },
    Target {
        cost: 25, // each input is a client's handshake
        ..target("quic", Input::Choices, quic::body)
    },
    target("world", Input::Steps, world::body),
];
