//! STATE: the words of a host application about itself, as JSON.

use serde_json::Value;

use super::payload::NotSparkplug;

/// Longer texts are no STATE: two short keys and two short values are.
const BYTES_MAX: usize = 1_024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostState {
    pub online: bool,
    /// Milliseconds since the epoch, as the host says.
    pub timestamp: u64,
}

impl HostState {
    /// `{"online": true, "timestamp": 1700000000000}`; other keys are passed over.
    ///
    /// # Errors
    /// It is something else.
    pub fn read(payload: &[u8]) -> Result<Self, NotSparkplug> {
        if payload.len() > BYTES_MAX {
            return Err(NotSparkplug);
        }
        let read: Value = serde_json::from_slice(payload).map_err(|_| NotSparkplug)?;
        let (online, timestamp) = (read["online"].as_bool(), read["timestamp"].as_u64());
        Ok(Self {
            online: online.ok_or(NotSparkplug)?,
            timestamp: timestamp.ok_or(NotSparkplug)?,
        })
    }
}
