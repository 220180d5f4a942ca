//! The life of a connection.

use crate::ids::SessionId;

/// Phase of a connection's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Phase {
    /// The layers below MQTT have not finished their handshakes.
    AwaitLayers,
    AwaitConnect,
    /// A CONNECT waits for authentication of its client.
    Authenticating,
    Live(SessionId),
    /// An error, a DISCONNECT or a takeover ended it: no further bytes are accepted.
    Closing,
}

impl Phase {
    /// Counted among the connections that have not been accepted by a CONNACK.
    pub(in crate::shard) fn is_half_open(self) -> bool {
        matches!(
            self,
            Self::AwaitLayers | Self::AwaitConnect | Self::Authenticating
        )
    }
}
