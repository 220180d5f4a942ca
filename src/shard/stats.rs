//! Plain counters of one shard.

/// Lives on: each shard its own. Every drop is counted with its reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub connections_opened: u64,
    pub connections_refused: u64,
    /// At half-open-max.
    pub refused_half_open: u64,
    /// CONNECTs at memory-max.
    pub refused_memory: u64,
    /// CONNECTs while turns take too long.
    pub refused_turns: u64,
    /// Pauses in reading a client, and in sending to one, because of a rate.
    pub reads_paused: u64,
    pub sends_paused: u64,
    pub handed_off: u64,
    pub connects_accepted: u64,
    pub connects_refused: u64,
    /// Logins that were judged and refused.
    pub logins_refused: u64,
    pub takeovers: u64,
    pub keep_alive_timeouts: u64,
    pub malformed_packets: u64,
    pub protocol_errors: u64,
    /// Connections that a layer below MQTT ended.
    pub transport_errors: u64,
    pub publications_received: u64,
    /// Not authorized; wills included.
    pub publications_refused: u64,
    /// Not authorized.
    pub subscriptions_refused: u64,
    /// Subscriptions that changed rules have ended.
    pub subscriptions_ended: u64,
    pub deliveries_sent: u64,
    /// Deliveries queued for lack of room in the window or for an absent client.
    pub deliveries_queued: u64,
    /// QoS 0 for a client whose outgoing bytes are at their limit.
    pub dropped_slow_reader: u64,
    /// QoS 0 for a client over its rate, or its listener's.
    pub dropped_over_rate: u64,
    /// QoS 0 for a client that is away.
    pub dropped_away: u64,
    /// By the policy of a full queue.
    pub dropped_queue_full: u64,
    /// Larger than the client's Maximum Packet Size [MQTT-3.1.2-25].
    pub dropped_too_large: u64,
    /// Its receiver may not read it (`acl-check-delivery`).
    pub dropped_not_authorized: u64,
    /// Message expiry [MQTT-3.3.2-5].
    pub dropped_expired: u64,
    /// No member of a shared group could take it.
    pub dropped_no_member: u64,
    /// Refused by the retained limits.
    pub retained_refused: u64,
    pub redispatched: u64,
    pub wills_published: u64,
    pub sessions_expired: u64,
}
