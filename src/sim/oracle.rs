//! The model without shards: what each client must and may have seen, from the history alone.

use std::collections::{BTreeMap, BTreeSet};

use super::client::Client;
use super::groups::Members;
use super::history::{Arrival, Fate, Planned, Subscribed};
use super::over_crash::Crashes;
use super::plan::CONTESTED;
use super::rules::{Answer, Timeline};
use crate::mqtt::{topic, Qos};

/// What the oracle is given.
pub(super) struct History<'a> {
    pub(super) clients: &'a [Client],
    pub(super) plan: &'a [Planned],
    pub(super) timeline: &'a Timeline,
    /// The run came to its end undisturbed; else only what must not happen is checked.
    pub(super) is_complete: bool,
    /// Messages dropped, as counted by the broker.
    pub(super) dropped: u64,
    /// Retained messages sent again because their topic came from two shards, or was kept in another order.
    pub(super) races: u64,
    pub(super) crashes: Crashes,
}

impl History<'_> {
    /// What the rules decided about a delivery, up to a tick.
    fn may_receive(&self, client: &Client, planned: &Planned, until: u64) -> Answer {
        let sent = planned.sent.map_or(planned.left, |at| at.tick);
        let user = client.profile.user;
        let ticks = (sent, until);
        self.timeline.may_receive(user, &planned.topic, ticks)
    }

    /// Nothing but the rules can keep a publication from a client.
    fn is_for(&self, client: &Client, planned: &Planned) -> bool {
        self.may_receive(client, planned, u64::MAX) == Answer::Yes
    }
}

/// A publication that did not arrive where it was promised.
pub(super) struct Missing {
    /// A client, or a group.
    pub(super) receiver: String,
    pub(super) publication: usize,
    pub(super) text: String,
}

impl Missing {
    fn key(&self) -> (&str, usize) {
        (&self.receiver, self.publication)
    }
}

/// Everything that is wrong with a run.
pub(super) fn judge(history: &History<'_>) -> Vec<String> {
    let mut failures = Vec::new();
    let mut missing = Vec::new();
    for client in history.clients {
        check_arrivals(client, history, &mut failures);
        check_counts(client, history, &mut failures);
        check_order(client, history, history.dropped, &mut failures);
        if history.is_complete {
            missing.extend(missing_live(client, history));
            missing.extend(missing_retained(client, history));
        }
    }
    failures.extend(
        history
            .plan
            .iter()
            .enumerate()
            .filter_map(|(index, planned)| {
                let is_right = planned
                    .lacked_room
                    .is_none_or(|at| needs_room(planned, at, history.clients));
                (!is_right)
                    .then(|| format!("{index} on {} was refused and needs no disk", planned.topic))
            }),
    );
    for group in ["$share/g/s/+", "$share/h/u/#"] {
        let members = Members::of(group, history.clients);
        failures.extend(members.too_many(history));
        if history.is_complete {
            missing.extend(members.missing(history));
        }
    }
    // Each message dropped is missed by one client.
    let distinct: BTreeSet<(&str, usize)> = missing.iter().map(Missing::key).collect();
    if distinct.len() as u64 > history.dropped {
        failures.extend(missing.into_iter().map(|missing| missing.text));
    }
    failures
}

/// It is kept as retained, its identifier is kept, or a session that outlives its connection may take it.
fn needs_room(planned: &Planned, at: u64, clients: &[Client]) -> bool {
    let is_durable = |client: &Client| client.profile.lifetime_s > 0;
    let publisher = clients.get(planned.publisher).is_some_and(is_durable);
    let takes = |client: &Client| {
        let mut subscribed = client.subscribed.iter();
        subscribed.any(|s| s.matches(&planned.topic) && s.asked.tick < at)
    };
    (planned.retain && !planned.is_clear)
        || (publisher && planned.qos == Qos::ExactlyOnce)
        || clients
            .iter()
            .any(|client| is_durable(client) && takes(client))
}

/// Each arrival by itself: subscribed, RETAIN, No Local, identifiers, wills.
fn check_arrivals(client: &Client, history: &History<'_>, failures: &mut Vec<String>) {
    for arrival in &client.arrivals {
        let planned = &history.plan[arrival.publication];
        let mut fail = |text: &str| {
            let (name, index) = (&client.name, arrival.publication);
            failures.push(format!("{name}: {index} on {} {text}", planned.topic));
        };
        let own = planned.publisher == client.index;
        let bringers: Vec<&Subscribed> = client
            .subscribed
            .iter()
            .filter(|s| s.may_bring(planned, arrival.tick))
            .filter(|s| !(own && s.options.no_local && !arrival.retain))
            .collect();
        if planned.will == Some(Fate::MustNot) {
            fail("is a will that must not be sent");
        }
        if planned.permission == Answer::No {
            fail("was not allowed");
        }
        if history.may_receive(client, planned, arrival.tick) == Answer::No {
            fail("is not for this client");
        }
        if bringers.is_empty() {
            fail("arrived without a subscription");
            continue;
        }
        if arrival.retain && !planned.retain {
            fail("arrived with RETAIN");
        }
        let keeps_retain = |s: &&Subscribed| s.options.retain_as_published;
        if arrival.retain && !bringers.iter().any(|s| keeps_retain(s) || s.walks()) {
            fail("arrived as retained, nobody asked for it");
        }
        if !arrival.retain && planned.retain && bringers.iter().all(keeps_retain) {
            fail("arrived without RETAIN");
        }
        let most = bringers.iter().map(|s| s.options.qos).max();
        let granted = most.map_or(Qos::AtMostOnce, |most| most.min(planned.qos));
        if arrival.qos > granted as u8 {
            fail("arrived at a QoS that was not granted");
        }
        check_identifiers(client, planned, arrival, &bringers, &mut fail);
    }
}

fn check_identifiers(
    client: &Client,
    planned: &Planned,
    arrival: &Arrival,
    bringers: &[&Subscribed],
    fail: &mut impl FnMut(&str),
) {
    if !client.profile.version.is_v5() {
        return;
    }
    let known = |identifier: &u32| bringers.iter().any(|s| s.identifier == Some(*identifier));
    if !arrival.identifiers.iter().all(known) {
        fail("arrived with an identifier of no subscription");
    }
    let steady = bringers
        .iter()
        .filter(|s| s.covers(planned) && !s.is_shared());
    for identifier in steady.filter_map(|s| s.identifier) {
        if !arrival.retain && !arrival.identifiers.contains(&identifier) {
            fail("arrived without the identifier of its subscription"); // [MQTT-3.3.4-3]
        }
    }
}

/// No delivery twice: a repeat has DUP, and QoS 2 never repeats.
fn check_counts(client: &Client, history: &History<'_>, failures: &mut Vec<String>) {
    let mut counts: BTreeMap<usize, u32> = BTreeMap::new();
    for arrival in client.arrivals.iter().filter(|a| !a.retain) {
        let planned = &history.plan[arrival.publication];
        let is_grouped = planned.topic.starts_with(['s', 'u']);
        // The winner of a race is sent again.
        let is_contested = planned.topic == CONTESTED;
        if (arrival.dup && arrival.qos < 2) || is_grouped || is_contested {
            continue;
        }
        let count = counts.entry(arrival.publication).or_default();
        *count += 1;
        // A retained message that subscribers were perhaps not sent last is sent again (`shard/retained/races.rs`).
        let races = history.races.min(u64::from(planned.retain)) as u32;
        let repeats = history.crashes.repeats(client, planned, arrival) + races;
        if *count > deliveries_max(planned) + repeats {
            failures.push(format!(
                "{}: {} arrived {count} times at QoS {}",
                client.name, arrival.publication, arrival.qos
            ));
        }
    }
}

/// A PUBLISH repeated at QoS 1 is a new message to the broker.
pub(super) fn deliveries_max(planned: &Planned) -> u32 {
    if planned.qos == Qos::AtLeastOnce {
        planned.sends
    } else {
        1
    }
}

/// [MQTT-4.6.0-6]: one publisher, one topic, one QoS: in the order of sending.
fn check_order(client: &Client, history: &History<'_>, dropped: u64, failures: &mut Vec<String>) {
    let mut latest: BTreeMap<(usize, &str, u8, Option<Qos>), usize> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for arrival in &client.arrivals {
        let planned = &history.plan[arrival.publication];
        let is_grouped = planned.topic.starts_with(['s', 'u']);
        if arrival.retain || is_grouped || planned.will.is_some() {
            continue;
        }
        // What this client missed, since it subscribed later or at QoS 0 or it expired, may come out
        // of order when its publisher repeats it.
        let repeats = planned.qos == Qos::AtLeastOnce && planned.sends > 1;
        let keeps = |s: &Subscribed| !repeats || s.options.qos > Qos::AtMostOnce;
        let covered = client
            .subscribed
            .iter()
            .any(|s| s.covers(planned) && keeps(s));
        // Refused at first, and the acknowledgement that refused it was lost: the repeat may be allowed.
        let may_be_late = planned.sends > 1 && planned.permission != Answer::Yes;
        let loose = may_be_late
            || repeats && (arrival.qos == 0 || dropped > 0 || planned.expiry_s.is_some());
        if !seen.insert(arrival.publication) || !covered || loose {
            continue;
        }
        let order = history.crashes.order(planned);
        let key = (planned.publisher, &*planned.topic, arrival.qos, order);
        let latest = latest.entry(key).or_insert(arrival.publication);
        if *latest > arrival.publication {
            let (name, index) = (&client.name, arrival.publication);
            failures.push(format!("{name}: {index} arrived after {latest}"));
        }
        *latest = arrival.publication;
    }
}

/// Too large, or too old: it need not arrive.
pub(super) fn may_be_left_out(client: &Client, planned: &Planned) -> bool {
    let is_large = planned.padding > 0 && client.profile.packet_size_max.is_some();
    is_large || planned.expiry_s.is_some()
}

/// Promised at QoS 1 or 2 and not arrived.
fn missing_live(client: &Client, history: &History<'_>) -> Vec<Missing> {
    let promised = |planned: &Planned| {
        let own = planned.publisher == client.index;
        let mut subscribed = client.subscribed.iter();
        subscribed.any(|s| {
            s.covers(planned)
                && !s.is_shared()
                && s.options.qos > Qos::AtMostOnce
                && !(own && s.options.no_local)
        })
    };
    let mut missing = Vec::new();
    for (index, planned) in history.plan.iter().enumerate() {
        let is_owed = planned.is_certain()
            && planned.qos > Qos::AtMostOnce
            && !planned.is_clear
            && history.is_for(client, planned)
            && !may_be_left_out(client, planned)
            && promised(planned);
        if is_owed && !client.arrivals.iter().any(|a| a.publication == index) {
            let (name, topic) = (&client.name, &planned.topic);
            missing.push(Missing {
                receiver: name.clone(),
                publication: index,
                text: format!("{name}: {index} on {topic} is missing"),
            });
        }
    }
    missing
}

/// A steady subscription has seen the last retained message of each topic since it began.
fn missing_retained(client: &Client, history: &History<'_>) -> Vec<Missing> {
    let mut missing = Vec::new();
    for (name, index) in last_retained(history.plan) {
        let planned = &history.plan[index];
        if !history.is_for(client, planned) {
            continue;
        }
        for s in client.subscribed.iter().filter(|s| {
            s.is_steady()
                && s.walks()
                && s.matches(&name)
                && s.options.qos > Qos::AtMostOnce
                && !(s.options.no_local && planned.publisher == client.index)
        }) {
            let mut arrivals = client.arrivals.iter();
            let seen = arrivals.any(|a| a.publication == index && a.tick > s.asked.tick);
            if !seen && !may_be_left_out(client, planned) {
                let (client, filter) = (&client.name, &s.filter);
                missing.push(Missing {
                    receiver: client.clone(),
                    publication: index,
                    text: format!("{client}: retained {index} on {name} for {filter}"),
                });
            }
        }
    }
    missing
}

/// The retained message of each topic at the end, where that is certain. Cleared topics are left out.
pub(super) fn last_retained(plan: &[Planned]) -> BTreeMap<String, usize> {
    let mut last: BTreeMap<String, Option<usize>> = BTreeMap::new();
    let is_retained = |p: &Planned| p.retain && p.permission != Answer::No && p.topic != CONTESTED;
    for (index, planned) in plan.iter().enumerate().filter(|(_, p)| is_retained(p)) {
        let entry = last.entry(planned.topic.clone()).or_insert(Some(index));
        *entry = entry.filter(|_| planned.is_certain()).map(|_| index);
    }
    last.into_iter()
        .filter_map(|(topic, index)| Some((topic, index?)))
        .filter(|(_, index)| !plan[*index].is_clear)
        .collect()
}

/// Newcomers find exactly the retained messages that are there.
pub(super) fn judge_newcomer(newcomer: &Client, plan: &[Planned]) -> Vec<String> {
    let mut failures = Vec::new();
    let certain = last_retained(plan);
    for (name, index) in &certain {
        if !newcomer.arrivals.iter().any(|a| a.publication == *index) {
            failures.push(format!(
                "retained {index} on {name} is not found at the end"
            ));
        }
    }
    for arrival in &newcomer.arrivals {
        let planned = &plan[arrival.publication];
        let mut later = plan[arrival.publication + 1..]
            .iter()
            .filter(|_| planned.topic != CONTESTED);
        let later = later.any(|p| p.retain && p.topic == planned.topic && p.is_certain());
        if later || !topic::matches("r/+", &planned.topic) {
            let index = arrival.publication;
            failures.push(format!(
                "retained {index} is found although it was replaced"
            ));
        }
        if planned.permission == Answer::No {
            let index = arrival.publication;
            failures.push(format!("retained {index} is found and was not allowed"));
        }
    }
    failures
}

/// Every subscriber of a retained topic was sent last what is retained, in whatever order its
/// publishers' shards have handed it on. The retained one is the one that a new client has found.
pub(super) fn judge_contested(
    newcomer: &Client,
    clients: &[Client],
    history: &History<'_>,
) -> Vec<String> {
    let is_contested = |a: &&Arrival| history.plan[a.publication].topic == CONTESTED;
    let Some(kept) = newcomer.arrivals.iter().rev().find(is_contested) else {
        return Vec::new();
    };
    let kept = kept.publication;
    let mut failures = Vec::new();
    for client in clients {
        let is_told = |s: &Subscribed| {
            s.is_steady()
                && s.matches(CONTESTED)
                && s.walks()
                && s.options.qos > Qos::AtMostOnce
                && !s.options.no_local
        };
        // No Local of another subscription of the same client changes nothing: this one brings it.
        if !client.subscribed.iter().any(is_told) || !history.is_for(client, &history.plan[kept]) {
            continue;
        }
        let seen: Vec<&Arrival> = client.arrivals.iter().filter(is_contested).collect();
        // One that is sent again because its acknowledgement was lost is no evidence of order.
        let mut known = BTreeSet::new();
        let fresh = seen
            .iter()
            .filter(|a| known.insert(a.publication) || !a.dup);
        let last_fresh = fresh.last().map(|a| a.publication);
        let last = seen.last().map(|a| a.publication);
        if last != Some(kept) && last_fresh != Some(kept) {
            let name = &client.name;
            failures.push(format!(
                "{name}: {last:?} came last on {CONTESTED}, {kept} is retained"
            ));
        }
    }
    failures
}
