//! A deterministic world that drives the very shards that run in production: virtual time, tiny
//! rings, partial reads and writes, connections cut at any byte, takeovers and hand-offs in any
//! order. Everything is drawn from one seed; a model without shards says what must arrive.

mod client;
mod random;
mod world;

use std::collections::{BTreeMap, BTreeSet};

pub use client::{Client, Planned};
pub use random::Random;
pub use world::{Parameters, World};

use crate::limits::Limits;
use crate::mqtt::{topic, Qos};

/// Steps of one run before it must finish undisturbed.
const STEPS: usize = 6_000;
/// Rounds without a packet after which everything has been said.
const QUIET_ROUNDS: usize = 4;
const GROUP: &str = "$share/g/s";

/// What a run was and, when it failed, why.
#[derive(Debug)]
pub struct Outcome {
    pub parameters: Parameters,
    pub deliveries: usize,
    pub failures: Vec<String>,
    /// Of everything every client saw, in order.
    pub hash: u64,
}

/// Runs one seed.
#[must_use]
pub fn run(seed: u64) -> Outcome {
    let mut random = Random::new(seed);
    let parameters = Parameters {
        shards: 1 + random.below(5) as u16,
        ring_blocks: 1 + random.below(3),
        piece_max: [1, 7, 60, 2_000][random.below(4)],
    };
    let limits = Limits {
        queue_messages_max: 100_000,
        queue_bytes_max: 1 << 30,
        ..Limits::default()
    };
    let mut world = World::new(&parameters, limits, seed);
    let (mut clients, mut plan) = plan(&mut random);
    let mut clock = 0;
    for _ in 0..STEPS {
        disturb(&mut world, &mut clients, &mut plan, &mut random, &mut clock);
        world.step(&mut random);
    }
    let mut failures = finish(&mut world, &mut clients, &mut plan, &mut random, &mut clock);
    let retained = last_retained(
        &mut world,
        &mut plan,
        &mut random,
        &mut clock,
        &mut failures,
    );
    failures.extend(
        clients
            .iter()
            .flat_map(|client| client.failures.iter().cloned()),
    );
    if failures.is_empty() {
        failures.extend(judge(&clients, &plan));
    }
    if !failures.is_empty() {
        failures.extend(clients.iter().map(Client::describe));
    }
    let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
    let seen: Vec<(usize, u8)> = clients
        .iter()
        .chain(&retained)
        .flat_map(|client| client.arrivals.iter().map(|a| (a.publication, a.qos as u8)))
        .collect();
    Outcome {
        parameters,
        deliveries: seen.len(),
        failures,
        hash: hasher.hash_one(&seen),
    }
}

/// Clients, their subscriptions, and who publishes what.
fn plan(random: &mut Random) -> (Vec<Client>, Vec<Planned>) {
    let qos = |random: &mut Random| {
        [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][random.below(3)]
    };
    let mut clients: Vec<Client> = (0..2 + random.below(5))
        .map(|n| Client::new(format!("c{n}"), random))
        .collect();
    for client in &mut clients {
        for filter in ["t0", "t1", "+", "t2/#", "r/+", GROUP] {
            if random.once_in(3) {
                client.filters.push((filter.into(), qos(random)));
            }
        }
    }
    let mut planned = Vec::new();
    for _ in 0..20 + random.below(60) {
        let publisher = random.below(clients.len());
        let retain = random.once_in(5);
        let topic = match random.below(5) {
            _ if retain => format!("r/{publisher}"),
            0 => "s".into(),
            1 => "t2/x".into(),
            n => format!("t{}", n % 2),
        };
        // A repeat at QoS 1 is a new message to the broker and would set an older value again.
        let qos = if retain {
            Qos::ExactlyOnce
        } else {
            qos(random)
        };
        clients[publisher].to_publish.push_back(planned.len());
        planned.push(Planned {
            publisher,
            topic,
            qos,
            retain,
            sent_at: None,
        });
    }
    (clients, planned)
}

/// Something happens to one client.
fn disturb(
    world: &mut World,
    clients: &mut [Client],
    plan: &mut [Planned],
    random: &mut Random,
    clock: &mut u64,
) {
    let index = random.below(clients.len());
    let client = &mut clients[index];
    if !client.is_online() {
        if random.once_in(20) {
            client.connect(world, random);
        }
    } else if random.once_in(150) {
        client.connect(world, random); // taken over, or cut and back
    } else if random.once_in(200) {
        client.cut(world);
    } else {
        client.act(world, random, plan, clock);
    }
}

/// Everybody comes back and finishes; what does not come to rest is a deadlock.
fn finish(
    world: &mut World,
    clients: &mut [Client],
    plan: &mut [Planned],
    random: &mut Random,
    clock: &mut u64,
) -> Vec<String> {
    let mut quiet = 0;
    for _ in 0..400 {
        for client in clients.iter_mut() {
            if !client.is_online() {
                client.connect(world, random);
            }
            for _ in 0..60 {
                client.act(world, random, plan, clock);
            }
        }
        if !world.settle(random) {
            return vec!["the shards do not come to rest".into()];
        }
        let before: usize = clients.iter().map(|client| client.packets).sum();
        for client in clients.iter_mut() {
            for _ in 0..200 {
                client.act(world, random, plan, clock);
            }
        }
        let after: usize = clients.iter().map(|client| client.packets).sum();
        let is_quiet = before == after && clients.iter().all(|c| c.is_done() && c.is_online());
        quiet = if is_quiet { quiet + 1 } else { 0 };
        if quiet == QUIET_ROUNDS {
            return Vec::new();
        }
    }
    vec!["the clients do not finish".into()]
}

/// A newcomer must find the last retained message of every publisher.
fn last_retained(
    world: &mut World,
    plan: &mut [Planned],
    random: &mut Random,
    clock: &mut u64,
    failures: &mut Vec<String>,
) -> Vec<Client> {
    if !failures.is_empty() {
        return Vec::new();
    }
    let mut newcomer = Client::new("newcomer".into(), random);
    newcomer.filters.push(("r/+".into(), Qos::AtLeastOnce));
    newcomer.connect(world, random);
    for _ in 0..200 {
        world.settle(random);
        for _ in 0..100 {
            newcomer.act(world, random, plan, clock);
        }
    }
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, planned) in plan
        .iter()
        .enumerate()
        .filter(|(_, planned)| planned.retain)
    {
        last.insert(&planned.topic, index);
    }
    let found: BTreeSet<usize> = newcomer.arrivals.iter().map(|a| a.publication).collect();
    let expected: BTreeSet<usize> = last.into_values().collect();
    if found != expected {
        failures.push(format!(
            "retained at the end: {found:?} instead of {expected:?}"
        ));
    }
    failures.append(&mut newcomer.failures);
    vec![newcomer]
}

/// The model without shards: what each client must and may have seen.
fn judge(clients: &[Client], plan: &[Planned]) -> Vec<String> {
    let mut failures = Vec::new();
    for client in clients {
        let granted = |planned: &Planned| {
            let matching = client.filters.iter().filter(|(filter, _)| *filter != GROUP);
            let matching = matching.filter(|(filter, _)| topic::matches(filter, &planned.topic));
            matching
                .map(|(_, qos)| *qos)
                .max()
                .map(|qos| qos.min(planned.qos))
        };
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        let mut latest: BTreeMap<(usize, &str, Qos), usize> = BTreeMap::new();
        for arrival in client.arrivals.iter().filter(|arrival| !arrival.retain) {
            let planned = &plan[arrival.publication];
            let count = counts.entry(arrival.publication).or_default();
            *count += 1;
            // A publisher may repeat at QoS 1 what it had sent before this client subscribed.
            let after = client
                .subscribed_at
                .zip(planned.sent_at)
                .is_some_and(|(sub, sent)| sent > sub);
            let repeats = planned.qos == Qos::AtLeastOnce && arrival.qos == Qos::AtMostOnce;
            if *count > 1 || planned.topic == "s" || !after || repeats {
                continue;
            }
            let key = (planned.publisher, &*planned.topic, arrival.qos);
            let latest = latest.entry(key).or_insert(arrival.publication);
            if *latest > arrival.publication {
                failures.push(format!(
                    "{}: {} after {latest}",
                    client.name, arrival.publication
                ));
            }
            *latest = arrival.publication;
        }
        for (index, planned) in plan.iter().enumerate().filter(|(_, p)| p.topic != "s") {
            let count = counts.get(&index).copied().unwrap_or(0);
            let after = client
                .subscribed_at
                .zip(planned.sent_at)
                .is_some_and(|(sub, sent)| sent > sub);
            let wrong = match granted(planned) {
                None => count > 0,
                Some(Qos::AtMostOnce) => count > 1 && planned.qos != Qos::AtLeastOnce,
                Some(Qos::AtLeastOnce) => after && count == 0,
                Some(Qos::ExactlyOnce) => count > 1 || (after && count == 0),
            };
            if wrong {
                failures.push(format!(
                    "{}: {index} ({:?} on {}) arrived {count} times, granted {:?}",
                    client.name,
                    planned.qos,
                    planned.topic,
                    granted(planned)
                ));
            }
        }
    }
    failures.extend(judge_group(clients, plan));
    failures
}

/// Each publication reaches one member of a shared group; more only by repeats at QoS 1.
fn judge_group(clients: &[Client], plan: &[Planned]) -> Vec<String> {
    let members: Vec<&Client> = clients
        .iter()
        .filter(|c| c.filters.iter().any(|(filter, _)| filter == GROUP))
        .collect();
    let ready = members
        .iter()
        .filter_map(|client| client.subscribed_at)
        .min();
    let mut failures = Vec::new();
    for (index, planned) in plan.iter().enumerate().filter(|(_, p)| p.topic == "s") {
        // Members may also be subscribed to `+`, which brings a copy of its own.
        let plain = members
            .iter()
            .any(|c| c.filters.iter().any(|(filter, _)| filter == "+"));
        let lowest = members
            .iter()
            .flat_map(|c| &c.filters)
            .filter(|(filter, _)| filter == GROUP);
        let is_acked = lowest
            .map(|(_, qos)| *qos)
            .min()
            .is_some_and(|qos| qos > Qos::AtMostOnce);
        let after = ready
            .zip(planned.sent_at)
            .is_some_and(|(ready, sent)| sent > ready);
        let seen = |client: &&Client| client.arrivals.iter().any(|a| a.publication == index);
        let count = members.iter().filter(|client| seen(client)).count();
        if after && is_acked && !plain && planned.qos > Qos::AtMostOnce && count == 0 {
            failures.push(format!("{index} reached no member of the group"));
        }
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn seeds_pass_and_replay() {
        for seed in 0..300 {
            let outcome = run(seed);
            assert!(outcome.failures.is_empty(), "seed {seed}: {outcome:#?}");
            assert_eq!(outcome.hash, run(seed).hash, "seed {seed} does not replay");
        }
    }
}
