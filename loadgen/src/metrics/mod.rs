//! Figures of a run that is under way: OpenMetrics and a page, over HTTP.
//!
//! The run hands over a few numbers each second and never waits for who reads them: [`Live`] holds them,
//! and a thread of its own serves a bounded number of clients (`server.rs`).

mod exposition;
mod live;
mod server;

use std::net::SocketAddr;
use std::sync::Arc;

pub use exposition::{exposition, Format};
pub use live::{Live, Snapshot, BOUNDS_S};

/// Serves `live` on this address until the process ends; the address that it is.
///
/// # Errors
/// A sentence when it cannot listen.
pub fn serve(address: SocketAddr, live: Arc<Live>) -> Result<SocketAddr, String> {
    server::start(address, live)
        .map_err(|error| format!("--metrics {address}: cannot listen: {error}"))
}

/// ADDRESS:PORT, or a port of this host alone.
///
/// # Errors
/// A sentence when it is none.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    text.parse()
        .map_err(|_| "give an address with a port like 0.0.0.0:9464, or a port of 127.0.0.1".into())
}
