//! Options as data: what the command line and scenario files have in common, with their values and bounds.
//! `cli` parses and dispatches; scenarios and files make plans of what is here.

mod common;
mod fit;
mod own_data;
mod setup;
mod sweep;
mod target;
mod traffic;
mod values;

pub use common::Common;
pub(crate) use fit::check_password;
pub use own_data::ClientsFrom;
pub(crate) use own_data::{check_own_data, check_rows, give, ALL_TOPICS};
pub use setup::Setup;
pub(crate) use sweep::Sweep;
pub(crate) use target::resolve;
pub use traffic::Traffic;
pub use values::duration as parse_duration;
pub(crate) use values::{
    at_least_one, rate as parse_rate, version as parse_version, CLOSED_WINDOW, IN_FLIGHT,
    WINDOW_MAX,
};
