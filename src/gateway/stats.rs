//! Counters of a gateway.

/// Since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub received: u64,
    pub sent: u64,
    /// Not a message of MQTT-SN 1.2, or one that only a gateway sends.
    pub malformed: u64,
    /// Of an address that is no client.
    pub unknown_peer: u64,
    /// Not valid in the state its client is in.
    pub out_of_order: u64,
    /// A topic id that stands for nothing, or a topic that is none.
    pub unknown_topic: u64,
    /// What the broker had no time for when it came.
    pub held_back: u64,
    /// Repeats of what a client has not answered.
    pub retransmitted: u64,
    /// Clients that were silent too long, or did not answer.
    pub lost: u64,
    /// Messages that do not fit a datagram.
    pub too_large: u64,
    /// Messages of topics that their client refused, or that found no topic id.
    pub muted: u64,
    /// What the way to another shard had no room for.
    pub crossing_full: u64,
    /// QoS -1 where it is not taken.
    pub minus_one_refused: u64,
}

impl Stats {
    /// States of clients, as they are counted.
    pub const STATES: [&str; 4] = ["connecting", "active", "asleep", "awake"];

    /// Adds those of another shard.
    pub fn add(&mut self, other: &Self) {
        let Self {
            received,
            sent,
            malformed,
            unknown_peer,
            out_of_order,
            unknown_topic,
            held_back,
            retransmitted,
            lost,
            too_large,
            muted,
            crossing_full,
            minus_one_refused,
        } = *other;
        self.received += received;
        self.sent += sent;
        self.malformed += malformed;
        self.unknown_peer += unknown_peer;
        self.out_of_order += out_of_order;
        self.unknown_topic += unknown_topic;
        self.held_back += held_back;
        self.retransmitted += retransmitted;
        self.lost += lost;
        self.too_large += too_large;
        self.muted += muted;
        self.crossing_full += crossing_full;
        self.minus_one_refused += minus_one_refused;
    }

    /// Names and values.
    #[must_use]
    pub fn rows(&self) -> [(&'static str, u64); 13] {
        [
            ("received", self.received),
            ("sent", self.sent),
            ("malformed", self.malformed),
            ("unknown_peer", self.unknown_peer),
            ("out_of_order", self.out_of_order),
            ("unknown_topic", self.unknown_topic),
            ("held_back", self.held_back),
            ("retransmitted", self.retransmitted),
            ("lost", self.lost),
            ("too_large", self.too_large),
            ("muted", self.muted),
            ("crossing_full", self.crossing_full),
            ("minus_one_refused", self.minus_one_refused),
        ]
    }
}
