//! Plain counters of one shard.

use crate::auth::Refusal;
use crate::mqtt::Violations;

/// Counters, by name. What is added here is shown to operators without anything else to do.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Lives on: each shard its own. Every drop is counted with its reason.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
            /// Rules that clients have broken, each by itself.
            pub violations: Violations,
        }

        impl Stats {
            /// Name and count, in the order of the list below; [`Stats::violations`] are not among them.
            pub fn rows(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }

            /// Adds those of another shard.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
                self.violations.add(&other.violations);
            }
        }
    };
}

counters! {
    connections_opened,
    connections_refused,
    /// At half-open-max.
    refused_half_open,
    /// At memory-max: CONNECTs, subscriptions, messages to be retained.
    refused_memory,
    /// CONNECTs while turns take too long.
    refused_turns,
    /// Pauses in reading a client, and in sending to one, because of a rate.
    reads_paused,
    sends_paused,
    handed_off,
    connects_accepted,
    connects_refused,
    /// Failed authentications, in all and by reason: wrong credentials, an address with too many failures,
    /// a full queue, a service that is down.
    logins_refused,
    logins_wrong,
    logins_banned,
    logins_busy,
    logins_unavailable,
    /// Requests to the authorization service.
    authz_requested,
    takeovers,
    keep_alive_timeouts,
    malformed_packets,
    protocol_errors,
    /// Connections that a layer below MQTT ended.
    transport_errors,
    publications_received,
    /// The authorization service was down; QoS 0 is dropped.
    authz_unavailable,
    /// Not authorized; wills included.
    publications_refused,
    /// Not authorized.
    subscriptions_refused,
    /// Subscriptions that changed rules have ended.
    subscriptions_ended,
    deliveries_sent,
    /// Deliveries queued for lack of room in the window or for an absent client.
    deliveries_queued,
    /// QoS 0 for a client whose outgoing bytes are at their limit.
    dropped_slow_reader,
    /// QoS 0 for a client over its rate, or its listener's.
    dropped_over_rate,
    /// QoS 0 for a session without a connection.
    dropped_away,
    /// By the policy of a full queue.
    dropped_queue_full,
    /// Larger than the client's Maximum Packet Size [MQTT-3.1.2-25].
    dropped_too_large,
    /// Its receiver is not authorized to read it (`acl-check-delivery`).
    dropped_not_authorized,
    /// Message expiry [MQTT-3.3.2-5].
    dropped_expired,
    /// No member of a shared group could take it.
    dropped_no_member,
    /// Topics whose subscribers were sent the retained message again, since publishers of several shards
    /// had written it at the same time.
    retained_races,
    /// Refused by the retained limits.
    retained_refused,
    redispatched,
    wills_published,
    sessions_expired,
}

impl Stats {
    pub(super) fn count_refused_login(&mut self, why: Refusal) {
        self.logins_refused += 1;
        match why {
            Refusal::Wrong => self.logins_wrong += 1,
            Refusal::Banned => self.logins_banned += 1,
            Refusal::Busy => self.logins_busy += 1,
            Refusal::Unavailable => self.logins_unavailable += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_shards_are_added_by_name() {
        let mut one = Stats {
            connections_opened: 1,
            sessions_expired: 2,
            ..Stats::default()
        };
        one.count_refused_login(Refusal::Busy);
        let mut sum = one;
        sum.add(&one);
        let rows: Vec<_> = sum.rows().filter(|(_, count)| *count > 0).collect();
        let expected = [
            ("connections_opened", 2),
            ("logins_refused", 2),
            ("logins_busy", 2),
            ("sessions_expired", 4),
        ];
        assert_eq!(rows, expected);
    }
}
