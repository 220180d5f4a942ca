//! Audit of deliveries: messages published against messages received, by QoS.

use std::collections::{HashMap, HashSet};

use crate::audience::{granted, has_shared_subscription, is_missing, Audience, Source};
use crate::breaches;
use crate::engine::{Remark, Report};
use crate::flows::Flow;
use crate::plan::{Plan, Share};
use crate::results::DeliveryAudit;

/// Losses, duplicates and overtaking over all flows, but for those that begin or end at a client of the
/// shares in `missing`, of which there is no report.
///
/// When the run was cut off while messages were on their way, those that may yet have come are not lost.
pub(crate) fn delivery(
    plan: &Plan,
    reports: &[Report],
    missing: &[Share],
    is_cut_off: bool,
) -> DeliveryAudit {
    let mut audit = Audit::new(plan, reports, missing);
    audit.is_cut_off = is_cut_off;
    breaches::add(plan, reports, &mut audit.result);
    for (group, described) in plan.groups.iter().enumerate() {
        let first = plan.first_client(group);
        let mut members = first..first + described.clients;
        if described.comes_and_goes {
            continue; // what was due to it is not known
        }
        if has_shared_subscription(described) {
            // The others' messages say nothing about those of all members.
            if !members.any(|member| is_missing(missing, member)) {
                audit.add_shared(group);
            }
            continue;
        }
        for (index, receiver) in (0..).zip(members) {
            if !is_missing(missing, receiver) {
                audit.add_receiver(group, index, receiver);
            }
        }
    }
    audit.into_result()
}

/// Counts so far, and the reports by client.
struct Audit<'a> {
    plan: &'a Plan,
    audience: Audience<'a>,
    /// Messages published, and those of unknown fate, by publisher.
    published: HashMap<u32, (u64, u64)>,
    flows: HashMap<u32, &'a [Flow]>,
    /// Clients that were not subscribed for a time.
    missed: HashSet<u32>,
    remarks: HashMap<u32, Remark>,
    is_cut_off: bool,
    result: DeliveryAudit,
    /// Of the lost ones, by QoS: the broker may never have had them.
    uncertain: [u64; 3],
    /// Came after a later one of the same topic, by QoS.
    overtaken: [u64; 3],
    wills_doubled: u64,
    /// Received beyond what was published.
    unasked: u64,
    /// Came to clients that had not subscribed to their topics.
    misdirected: u64,
    /// Came to more than one member of a shared subscription.
    shared_doubled: u64,
}

/// Counts of a flow.
#[derive(Clone, Copy, Default)]
struct Counts {
    distinct: u64,
    duplicates: u64,
    reordered: u64,
    holes: u64,
}

impl Counts {
    fn of(flow: Option<&Flow>) -> Self {
        flow.map_or_else(Self::default, |flow| Self {
            distinct: flow.distinct(),
            duplicates: flow.duplicates,
            reordered: flow.reordered,
            holes: flow.holes(),
        })
    }
}

/// Messages that did not come, by reason.
#[derive(Clone, Copy, Default)]
struct Missing {
    lost: u64,
    cut_off: u64,
    refused: u64,
    never_subscribed: u64,
}

impl<'a> Audit<'a> {
    fn new(plan: &'a Plan, reports: &'a [Report], missing: &[Share]) -> Self {
        let published = reports.iter().flat_map(|report| &report.published);
        let flows = reports.iter().flat_map(|report| &report.flows);
        let missed = reports.iter().flat_map(|report| &report.missed);
        let remarks = reports.iter().flat_map(|report| &report.remarks);
        Self {
            plan,
            audience: Audience::new(plan, missing),
            published: published
                .map(|(number, sent, open)| (*number, (*sent, *open)))
                .collect(),
            flows: flows.map(|(number, flows)| (*number, &flows[..])).collect(),
            missed: missed.copied().collect(),
            remarks: remarks.copied().collect(),
            is_cut_off: false,
            result: DeliveryAudit::default(),
            uncertain: [0; 3],
            overtaken: [0; 3],
            wills_doubled: 0,
            unasked: 0,
            misdirected: 0,
            shared_doubled: 0,
        }
    }

    /// A publisher of this run, and not one of a generator that was lost.
    fn is_known(&self, publisher: u32) -> bool {
        self.published.contains_key(&publisher)
    }

    fn remark(&self, client: u32) -> Remark {
        self.remarks.get(&client).copied().unwrap_or_default()
    }

    /// One receiver's flows from all publishers that match its subscriptions.
    fn add_receiver(&mut self, group: usize, index: u32, receiver: u32) {
        let own = self.flows.get(&receiver).copied().unwrap_or_default();
        let arrived: HashMap<u32, &Flow> = own.iter().map(|flow| (flow.publisher, flow)).collect();
        let (mut remark, mut last) = (self.remark(receiver), None);
        let matching = self.audience.matching(group, index);
        self.misdirected += own
            .iter()
            .filter(|flow| {
                matching
                    .iter()
                    .all(|(publisher, ..)| *publisher != flow.publisher)
            })
            .filter(|flow| self.is_known(flow.publisher))
            .map(|flow| flow.received)
            .sum::<u64>();
        let whole = matching.into_iter().filter(|(.., is_whole)| *is_whole);
        for (publisher, from, subscribed, _) in whole {
            let Some(source) = Source::of(&self.plan.groups[from]) else {
                continue;
            };
            let granted = granted(self.plan, from, subscribed) as usize;
            let qos = remark
                .granted_below
                .map_or(granted, |most| granted.min(most.into()));
            let flow = arrived.get(&publisher).copied();
            let (sent, _) = self.published.get(&publisher).copied().unwrap_or_default();
            let mut counts = Counts::of(flow);
            if source.is_unproven {
                // Which they are is not known: so many have come.
                let more = remark.unproven.min(sent.saturating_sub(counts.distinct));
                remark.unproven -= more;
                counts.distinct += more;
                counts.holes = 0;
            }
            self.add_flow(qos, &source, receiver, publisher, counts, &mut remark);
            last = Some(qos);
        }
        if let Some(qos) = last {
            // More than were published.
            self.result.duplicates[qos] += remark.unproven;
        }
    }

    fn add_flow(
        &mut self,
        qos: usize,
        source: &Source<'_>,
        receiver: u32,
        publisher: u32,
        counts: Counts,
        remark: &mut Remark,
    ) {
        let (sent, open) = self.published.get(&publisher).copied().unwrap_or_default();
        let missing = sent.saturating_sub(counts.distinct);
        self.result.expected[qos] += sent;
        self.result.received[qos] += counts.distinct;
        self.result.duplicates[qos] += counts.duplicates;
        self.result.reordered[qos] += counts.reordered;
        let refused = self.remark(publisher).refused;
        let mut why = self.why_missing(missing, refused, counts.holes, remark);
        // Those that came with a header that was altered have come.
        let altered = remark.altered.min(why.lost);
        remark.altered -= altered;
        why.lost -= altered;
        self.result.received[qos] += altered;
        self.result.lost[qos] += why.lost;
        self.result.cut_off[qos] += why.cut_off;
        self.result.refused[qos] += why.refused;
        self.result.never_subscribed[qos] += why.never_subscribed;
        let has_missed = self.missed.contains(&receiver);
        self.uncertain[qos] += if has_missed {
            why.lost
        } else {
            open.min(why.lost)
        };
        if source.is_will {
            self.wills_doubled += counts.duplicates;
        }
        self.unasked += counts.distinct.saturating_sub(sent);
        // Order is promised by topic, and so is it counted.
        self.overtaken[qos] += counts.reordered;
    }

    /// Why messages are missing. `holes` are those after which others of the same topic came.
    fn why_missing(&self, missing: u64, refused: u64, holes: u64, receiver: &Remark) -> Missing {
        if receiver.lacks_subscriptions {
            return Missing {
                never_subscribed: missing,
                ..Missing::default()
            };
        }
        let refused = refused.min(missing);
        let missing = missing - refused;
        let may_come = self.is_cut_off || receiver.is_mute;
        let lost = if may_come {
            holes.min(missing)
        } else {
            missing
        };
        Missing {
            refused,
            lost,
            cut_off: missing - lost,
            never_subscribed: 0,
        }
    }

    /// A shared subscription's members are counted together: each message goes to one of them.
    fn add_shared(&mut self, group: usize) {
        let (mut arrived, mut again): (HashMap<u32, u64>, u64) = Default::default();
        let first = self.plan.first_client(group);
        let members = first..first + self.plan.groups[group].clients;
        let mut together = Remark {
            lacks_subscriptions: true,
            ..Remark::default()
        };
        for member in members.clone() {
            let own = self.remark(member);
            together.altered += own.altered;
            together.unproven += own.unproven;
            together.is_mute |= own.is_mute;
            together.lacks_subscriptions &= own.lacks_subscriptions;
            for flow in self.flows.get(&member).copied().unwrap_or_default() {
                *arrived.entry(flow.publisher).or_default() += flow.received;
                again += flow.duplicates;
            }
        }
        let has_missed = members.clone().any(|member| self.missed.contains(&member));
        let mut doubled = 0;
        for (publisher, from, subscribed) in self.audience.publishers(group, 0) {
            let qos = granted(self.plan, from, subscribed) as usize;
            let (sent, unknown) = self.published.get(&publisher).copied().unwrap_or_default();
            let received = arrived.get(&publisher).copied().unwrap_or_default();
            let more = together.unproven.min(sent.saturating_sub(received));
            together.unproven -= more;
            let received = received + more;
            let refused = self.remark(publisher).refused;
            let missing = sent.saturating_sub(received);
            let why = self.why_missing(missing, refused, 0, &together);
            self.result.expected[qos] += sent;
            self.result.received[qos] += received.min(sent);
            self.result.lost[qos] += why.lost;
            self.result.cut_off[qos] += why.cut_off;
            self.result.refused[qos] += why.refused;
            self.result.never_subscribed[qos] += why.never_subscribed;
            self.result.duplicates[qos] += received.saturating_sub(sent);
            doubled += received.saturating_sub(sent);
            self.uncertain[qos] += if has_missed {
                why.lost
            } else {
                unknown.min(why.lost)
            };
        }
        // To another member after a connection was lost is no harm, nor is the same one again at QoS 1.
        if !has_missed {
            self.shared_doubled += doubled.saturating_sub(again);
        }
    }

    fn into_result(self) -> DeliveryAudit {
        let mut result = self.result;
        let broken = broken(&result, self.uncertain, self.overtaken);
        result.broken_promises.splice(0..0, broken);
        if self.wills_doubled > 0 {
            result.broken_promises.push(format!(
                "{} wills came more than once [MQTT-3.1.2-10]",
                self.wills_doubled
            ));
        }
        if self.misdirected > 0 {
            result.broken_promises.push(format!(
                "{} messages came to clients that had not subscribed to their topics",
                self.misdirected
            ));
        }
        if self.shared_doubled > 0 {
            result.broken_promises.push(format!(
                "{} messages came to more than one member of a shared subscription (MQTT 5, 4.8.2)",
                self.shared_doubled
            ));
        }
        if self.unasked > 0 {
            result.broken_promises.push(format!(
                "{} messages came that were not published: wills of clients that had sent DISCONNECT \
                 [MQTT-3.1.2-10], or messages made up",
                self.unasked
            ));
        }
        result
    }
}

/// Promises of MQTT that were broken.
fn broken(audit: &DeliveryAudit, uncertain: [u64; 3], overtaken: [u64; 3]) -> Vec<String> {
    let mut sentences = Vec::new();
    for (qos, uncertain) in uncertain.iter().enumerate().skip(1) {
        let lost = audit.lost[qos].saturating_sub(*uncertain);
        if lost > 0 {
            sentences.push(format!("QoS {qos}: {lost} acknowledged messages were lost"));
        }
    }
    for qos in [0, 2] {
        let doubled = audit.duplicates[qos];
        if doubled > 0 {
            sentences.push(format!("QoS {qos}: {doubled} messages came more than once"));
        }
    }
    for (qos, reordered) in overtaken
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
    {
        sentences.push(format!(
            "QoS {qos}: {reordered} messages came after a later one [MQTT-4.6.0-6]"
        ));
    }
    sentences
}

#[cfg(test)]
mod tests {
    use ringmq::mqtt::Qos;

    use super::*;
    use crate::plan::{Connection, Group, Subscription, Template, Will};

    /// A watcher (client 0) and three clients with wills, of which two are due.
    fn wills(arrived: &[(u32, u64)]) -> DeliveryAudit {
        wills_without(arrived, &[])
    }

    fn wills_without(arrived: &[(u32, u64)], missing: &[Share]) -> DeliveryAudit {
        let mut watcher = Group::new("watcher", 1, Template("w".into()));
        watcher.subscriptions.push(Subscription {
            filter: Template("will/#".into()),
            qos: Qos::AtLeastOnce,
        });
        let mut breaking = Group::new("breaking", 3, Template("b{i}".into()));
        breaking.will = Some(Will {
            topic: Template("will/{i}".into()),
            qos: Qos::AtLeastOnce,
        });
        let plan = Plan {
            scenario: "wills".into(),
            groups: vec![watcher, breaking],
            steps: Vec::new(),
            connection: Connection {
                targets: Vec::new(),
                fails_over: false,
                transport: Default::default(),
                sources: Vec::new(),
                version: ringmq::mqtt::Version::V311,
                keep_alive_s: 0,
                user: None,
                password: None,
                timeout: std::time::Duration::ZERO,
                reconnect_per_s: None,
                in_flight_max: 1,
                sample: crate::payload::Sample::ALL,
            },
            seed: 0,
            unix_ahead_ns: 0,
            share: Share::WHOLE,
        };
        let mut flows = crate::flows::Flows::default();
        for (publisher, sequence) in arrived {
            flows.of(*publisher, Default::default).record(*sequence);
        }
        let report = Report {
            flows: vec![(0, flows.into_flows())],
            published: vec![(1, 1, 0), (2, 1, 0)],
            ..Report::default()
        };
        delivery(&plan, &[report], missing, false)
    }

    #[test]
    fn of_lost_generators_nothing_is_claimed() {
        // Client 2 was theirs: its will is not missed.
        let share = |index| [Share { index, count: 4 }];
        let without = wills_without(&[(1, 0)], &share(2));
        assert_eq!((without.expected[1], without.lost[1]), (1, 0));
        assert_eq!(without.broken_promises, [""; 0]);
        // The watcher was: nothing is known.
        let blind = wills_without(&[], &share(0));
        assert_eq!((blind.expected[1], blind.lost[1]), (0, 0));
    }

    #[test]
    fn every_will_due_arrives_exactly_once() {
        let all = wills(&[(1, 0), (2, 0)]);
        assert_eq!((all.expected[1], all.received[1]), (2, 2));
        assert_eq!(all.broken_promises, [""; 0]);
        let lost = wills(&[(2, 0)]);
        assert_eq!(lost.lost[1], 1);
        assert!(lost.broken_promises[0].contains("1 acknowledged messages were lost"));
        let twice = wills(&[(1, 0), (2, 0), (2, 0)]);
        assert!(twice.broken_promises[0].contains("1 wills came more than once"));
        let not_due = wills(&[(1, 0), (2, 0), (3, 0)]);
        assert!(not_due.broken_promises[0].contains("1 messages came that were not published"));
    }
}
