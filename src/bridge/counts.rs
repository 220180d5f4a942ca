//! Counters of a bridge.

/// Why a message was not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drop {
    /// No topic line is about it.
    NoLine,
    /// It would have no valid topic at the other end.
    InvalidTopic,
    TooLarge,
    /// It has been here, or has passed more brokers than `hops-max`.
    Loop,
}

impl Drop {
    pub const ALL: [Self; 4] = [Self::NoLine, Self::InvalidTopic, Self::TooLarge, Self::Loop];

    /// As a label of a metric.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NoLine => "no_line",
            Self::InvalidTopic => "invalid_topic",
            Self::TooLarge => "too_large",
            Self::Loop => "loop",
        }
    }
}

/// Since the link began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub messages_out: u64,
    pub messages_in: u64,
    pub bytes_out: u64,
    pub bytes_in: u64,
    /// By reason.
    pub dropped: [u64; Drop::ALL.len()],
    /// Answered by the remote with a failure.
    pub refused_there: u64,
    /// Answered by our own broker with a failure.
    pub refused_here: u64,
    /// Keep alive periods in which the remote has acknowledged nothing of what was in flight.
    pub stalls: u64,
}
