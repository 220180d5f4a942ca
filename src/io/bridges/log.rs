//! Lines of the log about one bridge: what repeats is written once in a while.

use std::time::{Duration, Instant};

/// A sentence that is like the last one is written again after this time only.
const SAME_AGAIN: Duration = Duration::from_secs(60);

/// Lives on: the thread of a bridge.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The last one, when, and how many like it were left out since.
    last: Option<(String, Instant, u64)>,
}

impl Lines {
    /// A warning, unless it is like the last one.
    pub(super) fn warn(&mut self, name: &str, text: &str) {
        let now = Instant::now();
        // Pauses differ.
        let alike = text.split("; next attempt").next().unwrap_or_default();
        let mut left_out = 0;
        if let Some((last, at, suppressed)) = &mut self.last {
            if last == alike && now.duration_since(*at) < SAME_AGAIN {
                *suppressed += 1;
                return;
            }
            left_out = *suppressed;
        }
        self.last = Some((alike.to_owned(), now, 0));
        match left_out {
            0 => tracing::warn!("bridge {name}: {text}"),
            suppressed => tracing::warn!(suppressed, "bridge {name}: {text}"),
        }
    }
}
