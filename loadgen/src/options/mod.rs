//! Options as data: what the command line and scenario files have in common, with their values and bounds.
//! `cli` parses and dispatches; scenarios and files make plans of what is here.

mod common;
mod fit;
mod setup;
mod sweep;
mod target;
mod traffic;
mod values;

pub use common::Common;
pub use setup::Setup;
pub(crate) use sweep::Sweep;
pub(crate) use target::resolve;
pub use traffic::Traffic;
pub use values::duration as parse_duration;
pub(crate) use values::{version as parse_version, CLOSED_WINDOW, IN_FLIGHT, WINDOW_MAX};
