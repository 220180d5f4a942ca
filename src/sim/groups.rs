//! Checks of a shared group as a whole: what it must and may have received.

use super::client::Client;
use super::history::{Planned, Subscribed};
use super::oracle::{deliveries_max, may_be_left_out, History, Missing};
use crate::mqtt::Qos;

/// The members of one shared group.
pub(super) struct Members<'a> {
    clients: &'a [Client],
    subscribed: Vec<(&'a Client, &'a Subscribed)>,
}

impl<'a> Members<'a> {
    pub(super) fn of(group: &str, clients: &'a [Client]) -> Self {
        let subscribed = clients
            .iter()
            .flat_map(|client| client.subscribed.iter().map(move |s| (client, s)))
            .filter(|(_, s)| s.filter == group)
            .collect();
        Self {
            clients,
            subscribed,
        }
    }

    fn covers(&self, planned: &Planned) -> bool {
        let mut members = self.subscribed.iter();
        members.any(|(_, s)| s.covers(planned))
    }

    fn matching<'p>(&self, plan: &'p [Planned]) -> Vec<(usize, &'p Planned)> {
        let Some((_, any)) = self.subscribed.first() else {
            return Vec::new();
        };
        let is_theirs = |p: &Planned| any.matches(&p.topic) && p.qos > Qos::AtMostOnce;
        let of_theirs = plan.iter().enumerate();
        of_theirs.filter(|(_, p)| is_theirs(p)).collect()
    }

    /// Every publication reaches a member that is there to stay.
    pub(super) fn missing(&self, history: &History<'_>) -> Vec<Missing> {
        let acknowledge = self
            .subscribed
            .iter()
            .all(|(_, s)| s.options.qos > Qos::AtMostOnce);
        // Begun at QoS 2 with a member whose session ended, it goes to no other member [MQTT-4.8.2-5].
        let lost = |client: &Client| client.subscribed.iter().any(|s| s.lost.is_some());
        let is_lost = history.crashes.count > 0 && self.subscribed.iter().any(|(c, _)| lost(c));
        let may_end = |planned: &Planned| {
            let mut members = self.subscribed.iter();
            // It may have been with one that did not outlive the process.
            is_lost
                || planned.qos == Qos::ExactlyOnce
                    && members.any(|(client, s)| s.options.qos == Qos::ExactlyOnce && lost(client))
        };
        let mut missing = Vec::new();
        for (index, planned) in self.matching(history.plan) {
            let may_be_left_out = self
                .subscribed
                .iter()
                .any(|(client, _)| may_be_left_out(client, planned));
            let is_owed = planned.is_certain() && acknowledge && self.covers(planned);
            let seen = |client: &Client| client.arrivals.iter().any(|a| a.publication == index);
            if is_owed && !may_be_left_out && !may_end(planned) && !self.clients.iter().any(seen) {
                missing.push(Missing {
                    receiver: planned.topic.clone(),
                    publication: index,
                    text: format!("{index} reached no member of the group"),
                });
            }
        }
        missing
    }

    fn count(&self, index: usize) -> usize {
        let arrivals = self.clients.iter().flat_map(|client| &client.arrivals);
        arrivals
            .filter(|a| a.publication == index && !a.dup)
            .count()
    }

    /// QoS 2 to members that all stay goes to one of them; else only a member that lost a connection or
    /// its session may have passed a message on. A broker that stops ends every connection.
    pub(super) fn too_many(&self, history: &History<'_>) -> Vec<String> {
        let exact = |s: &Subscribed| s.options.qos == Qos::ExactlyOnce && s.is_steady();
        let is_exact = self.subscribed.iter().all(|(_, s)| exact(s));
        let mut names: Vec<&str> = self.subscribed.iter().map(|(c, _)| &*c.name).collect();
        names.dedup();
        let members = self.clients.iter().filter(|c| names.contains(&&*c.name));
        let endings: usize = members
            .map(|client| client.cuts + client.connects - usize::from(history.is_complete))
            .sum();
        let unsubscribed = self.subscribed.iter().filter(|(_, s)| !s.is_had()).count();
        let mut failures = Vec::new();
        for (index, planned) in self.matching(history.plan) {
            let repeats = history.crashes.count * self.clients.len();
            let passed_on = if is_exact && planned.qos == Qos::ExactlyOnce {
                0
            } else {
                endings + unsubscribed
            };
            let most = deliveries_max(planned) as usize + passed_on + repeats;
            let count = self.count(index);
            if count > most {
                failures.push(format!("{index} reached {count} members of the group"));
            }
        }
        failures
    }
}
