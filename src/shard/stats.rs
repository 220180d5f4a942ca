//! Plain counters of one shard.

use crate::auth::Refusal;
use crate::mqtt::{PacketType, Publish, Qos, Violations};

/// Control packets by their type, which is four bits.
type Packets = [u64; 16];

/// Counters, by name. What is added here is shown to operators without anything else to do.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Lives on: each shard its own. Every drop is counted with its reason.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
            /// Rules that clients have broken, each by itself.
            pub violations: Violations,
            /// Control packets received; PUBLISH is counted in `publications_received`.
            pub packets: Packets,
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
                for (sum, count) in self.packets.iter_mut().zip(other.packets) {
                    *sum += count;
                }
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
    /// On a full disk: publications, subscriptions and sessions that need room on it.
    refused_disk,
    /// Of publishers that wait for room in a queue.
    publications_waited,
    /// CONNECTs while turns take too long.
    refused_turns,
    /// Pauses in reading a client, and in sending to one, because of a rate.
    reads_paused,
    sends_paused,
    handed_off,
    /// Passed on to the node that serves their client id.
    relayed,
    connects_accepted,
    connects_refused,
    /// Of CONNECTs accepted: the session is new, or was there.
    sessions_created,
    sessions_resumed,
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
    /// Among them, by QoS; the rest has QoS 0.
    publications_qos1,
    publications_qos2,
    /// Of MQTT, without what lies below it.
    bytes_received,
    bytes_sent,
    /// Of messages.
    payload_bytes_received,
    payload_bytes_sent,
    /// The authorization service was down; QoS 0 is dropped.
    authz_unavailable,
    /// Not authorized; wills included.
    publications_refused,
    /// Not authorized.
    subscriptions_refused,
    /// Subscriptions that changed rules have ended.
    subscriptions_ended,
    deliveries_sent,
    /// Among them, by QoS; the rest has QoS 0.
    deliveries_qos1,
    deliveries_qos2,
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
    /// In the namespace of Sparkplug; among them those under a topic that has no meaning, and those whose payload
    /// is none.
    sparkplug_messages,
    sparkplug_not_topic,
    sparkplug_not_payload,
    /// Births retained as certificates.
    sparkplug_certificates,
    /// What the messages of edge nodes say, counted where their state is.
    sparkplug_gaps,
    sparkplug_births_without_death,
    sparkplug_stale_deaths,
    sparkplug_before_birth,
    /// At sparkplug-states-max.
    sparkplug_states_refused,
    /// DISCONNECT and AUTH packets; all others answer what is counted.
    disconnects_sent,
    auths_sent,
}

impl Stats {
    #[inline]
    pub(super) fn count_publication(&mut self, publish: &Publish<'_>) {
        self.publications_received += 1;
        self.payload_bytes_received += publish.payload.len() as u64;
        self.publications_qos1 += u64::from(publish.qos == Qos::AtLeastOnce);
        self.publications_qos2 += u64::from(publish.qos == Qos::ExactlyOnce);
    }

    /// One that has been counted waits, and is counted again when it is taken.
    pub(super) fn count_later(&mut self, publish: &Publish<'_>) {
        self.publications_received -= 1;
        self.payload_bytes_received -= publish.payload.len() as u64;
        self.publications_qos1 -= u64::from(publish.qos == Qos::AtLeastOnce);
        self.publications_qos2 -= u64::from(publish.qos == Qos::ExactlyOnce);
    }

    #[inline]
    pub(super) fn count_delivery(&mut self, qos: Qos, payload: usize) {
        self.deliveries_sent += 1;
        self.payload_bytes_sent += payload as u64;
        self.deliveries_qos1 += u64::from(qos == Qos::AtLeastOnce);
        self.deliveries_qos2 += u64::from(qos == Qos::ExactlyOnce);
    }

    /// Those of QoS 0.
    #[must_use]
    pub fn publications_qos0(&self) -> u64 {
        self.publications_received
            .saturating_sub(self.publications_qos1 + self.publications_qos2)
    }

    /// Those of QoS 0.
    #[must_use]
    pub fn deliveries_qos0(&self) -> u64 {
        self.deliveries_sent
            .saturating_sub(self.deliveries_qos1 + self.deliveries_qos2)
    }

    /// Control packets of clients, by type.
    #[must_use]
    pub fn packets_in(&self) -> [(&'static str, u64); 11] {
        let of = |packet: PacketType| self.packets[packet as usize];
        [
            // One that moves to its home with its connection is read there, too.
            (
                "connect",
                of(PacketType::Connect).saturating_sub(self.handed_off),
            ),
            ("publish", self.publications_received),
            ("puback", of(PacketType::PubAck)),
            ("pubrec", of(PacketType::PubRec)),
            ("pubrel", of(PacketType::PubRel)),
            ("pubcomp", of(PacketType::PubComp)),
            ("subscribe", of(PacketType::Subscribe)),
            ("unsubscribe", of(PacketType::Unsubscribe)),
            ("pingreq", of(PacketType::PingReq)),
            ("disconnect", of(PacketType::Disconnect)),
            ("auth", of(PacketType::Auth)),
        ]
    }

    /// Control packets to clients, by type: an answer is counted as what it answers.
    #[must_use]
    pub fn packets_out(&self) -> [(&'static str, u64); 11] {
        let of = |packet: PacketType| self.packets[packet as usize];
        [
            ("connack", self.connects_accepted + self.connects_refused),
            ("publish", self.deliveries_sent),
            ("puback", self.publications_qos1),
            ("pubrec", self.publications_qos2),
            ("pubrel", of(PacketType::PubRec)),
            ("pubcomp", of(PacketType::PubRel)),
            ("suback", of(PacketType::Subscribe)),
            ("unsuback", of(PacketType::Unsubscribe)),
            ("pingresp", of(PacketType::PingReq)),
            ("disconnect", self.disconnects_sent),
            ("auth", self.auths_sent),
        ]
    }

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
