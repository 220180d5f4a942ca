//! Counters of a shard's connections of QUIC, for metrics.

/// Counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuicStats {
    /// Datagrams.
    pub received: u64,
    pub sent: u64,
    /// Clients that were asked to show their address.
    pub retries: u64,
    /// Handshakes that were finished, and that were not.
    pub opened: u64,
    pub failed: u64,
    /// Attempts for which there was no room.
    pub refused: u64,
    /// Connections whose client had another address from some packet on.
    pub moved: u64,
}

impl QuicStats {
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.sent += other.sent;
        self.retries += other.retries;
        self.opened += other.opened;
        self.failed += other.failed;
        self.refused += other.refused;
        self.moved += other.moved;
    }
}
