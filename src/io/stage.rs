//! The stages of the process's life.

/// A stage of the process's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// What was kept is read; no client is let in yet.
    Starting,
    Ready,
    Stopping,
}
