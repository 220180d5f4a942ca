//! Bytes to control packets and back, MQTT 3.1, 3.1.1 and 5.0. Pure: no clock, no socket, no state
//! beyond the bytes given. Shared with `mqload`.

pub mod error;
pub mod packet;
pub mod publication;
pub mod reason;

pub use error::DecodeError;
pub use packet::*;
pub use publication::Publication;
pub use reason::ReasonCode;
