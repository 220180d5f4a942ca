//! Control packets: one file for each that clients send, and CONNACK.

mod ack;
mod connack;
pub(in crate::shard) mod connect;
mod disconnect;
mod ping;
pub(in crate::shard) mod publish;
#[cfg(test)]
mod reserved_tests;
mod status;
pub(in crate::shard) mod subscribe;
#[cfg(test)]
mod violation_tests;
