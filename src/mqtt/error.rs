//! Why bytes were refused, sorted by culprit. The only map to reason codes.

use super::reason::ReasonCode;

/// A packet was refused; the connection ends and accepts no further bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes do not parse (0x81). The text names the rule.
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
    /// The bytes parse but are not allowed here (0x82). The text names the rule.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// Another rule with a reason code of its own (alias, size, topic name, version ...).
    #[error("{1} (reason code {0:?})")]
    Refused(ReasonCode, &'static str),
    /// More than somebody takes: what, how much, and how much there may be.
    #[error("{what}: {is}, at most {max}")]
    OverLimit {
        reason: ReasonCode,
        what: &'static str,
        is: u32,
        max: u32,
    },
    /// CONNECT names a protocol level this broker does not speak; the level is kept because the
    /// answer differs (v3: CONNACK 0x01, v5: CONNACK 0x84).
    #[error("protocol level {0} is not supported")]
    UnsupportedVersion(u8),
}

impl DecodeError {
    #[must_use]
    pub fn reason(self) -> ReasonCode {
        match self {
            Self::Malformed(_) => ReasonCode::MalformedPacket,
            Self::Protocol(_) => ReasonCode::ProtocolError,
            Self::Refused(reason, _) | Self::OverLimit { reason, .. } => reason,
            Self::UnsupportedVersion(_) => ReasonCode::UnsupportedProtocolVersion,
        }
    }
}
