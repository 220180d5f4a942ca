//! A deterministic world that drives the very shards that run in production: virtual time, tiny
//! rings, partial reads and writes, readers that stop, connections cut at any byte, takeovers and
//! hand-offs in any order, time that jumps, shutdown at any step, crashes at any step and restarts from
//! torn disks. Everything is drawn from one seed; a model without shards decides what must and may arrive.

mod bridge;
mod client;
mod groups;
mod history;
mod oracle;
mod over_crash;
mod parameters;
mod person;
mod plan;
mod plant;
mod random;
mod rules;
mod sensors;
mod world;

pub use bridge::{run_bridge, run_bridge_cut_at, BridgeOutcome};
pub use parameters::Parameters;
pub use plant::{run_plant, PlantOutcome};
pub use random::{Purpose, Random};
pub use sensors::{run_sensors, SensorsOutcome};
pub use world::World;

use client::Client;
use history::Planned;
use oracle::History;
use over_crash::Crashes;
use parameters::RunParameters;
use rules::RuleSet;

use crate::time::Span;

/// Steps of one run before it must finish undisturbed.
const STEPS: usize = 10_000;
/// Rounds without a packet after which none is expected any more.
const QUIET_ROUNDS: usize = 4;
/// Rounds of the end; a run that needs more does not finish.
const ROUNDS_MAX: usize = 600;
/// Longer than any session's or will's time in a run that loses sessions.
const LONG: Span = Span::from_secs(20);

/// What a run was and, when it failed, why.
#[derive(Debug)]
pub struct Outcome {
    /// What the seed decided.
    pub parameters: String,
    pub deliveries: usize,
    /// Sessions that were continued from their images.
    pub handed_over: usize,
    /// How many processes have taken over from another one that was alive.
    pub upgraded: usize,
    /// How often the process ended and another one continued.
    pub crashes: usize,
    pub failures: Vec<String>,
    /// The last events, when they were asked for.
    pub trace: Vec<String>,
    /// Of everything that happened: every read, write, action, block, timer, and what every client saw.
    pub hash: u64,
}

/// A process has other rules than the one before once in so many times, if there are rules.
const RULES_OF_NEXT_ONCE_IN: usize = 2;
/// Time that passes when rate limits let no client send for a while.
const RATE_PAUSE: Span = Span::from_millis(100);

/// The shards of this seed's run have journals.
#[must_use]
pub fn has_journals(seed: u64) -> bool {
    let drawn = RunParameters::draw(&mut Random::of(seed, Purpose::Parameters), STEPS);
    World::new(&drawn.world, drawn.limits(), seed).has_journals()
}

struct Run {
    drawn: RunParameters,
    world: World,
    /// When something happens to clients, and to which of them.
    disturbances: Random,
    /// What clients do.
    random: Random,
    rules: Random,
    crashes: Crashes,
    clients: Vec<Client>,
    plan: Vec<Planned>,
    /// `None`: operators ask nothing.
    queries: Option<Random>,
}

/// Runs one seed and keeps this many of its last events.
#[must_use]
pub fn run(seed: u64, events: usize) -> Outcome {
    run_asked(seed, events, true)
}

/// Operators ask, or do not: the same happens.
fn run_asked(seed: u64, events: usize, asks: bool) -> Outcome {
    let drawn = RunParameters::draw(&mut Random::of(seed, Purpose::Parameters), STEPS);
    let mut rules = Random::of(seed, Purpose::Rules);
    let mut world = World::new(&drawn.world, drawn.limits(), seed);
    world.trace(events);
    if drawn.has_accounts {
        world.start_rules(RuleSet::draw(&mut rules));
    }
    let crashes = Crashes { count: 0 };
    let (clients, plan) = plan::draw(&drawn, &mut Random::of(seed, Purpose::Plan));
    let mut run = Run {
        drawn,
        world,
        disturbances: Random::of(seed, Purpose::Disturbances),
        random: Random::of(seed, Purpose::Clients),
        rules,
        crashes,
        clients,
        plan,
        queries: asks.then(|| Random::of(seed, Purpose::Queries)),
    };
    let failures = run.play();
    run.outcome(failures)
}

impl Run {
    fn play(&mut self) -> Vec<String> {
        for step in 0..STEPS {
            for _ in 0..self.drawn.acts {
                self.disturb();
            }
            self.world.fill_disks(step);
            self.world.step();
            self.crash_at(step);
            self.world.hand_over_some();
            self.world.upgrade_some();
            if let Some(random) = &mut self.queries {
                self.world.ask_some(random);
            }
            self.heed_rules();
            if self.drawn.shutdown_at == Some(step) {
                return self.shut_down();
            }
        }
        let mut failures = self.finish();
        if failures.is_empty() {
            failures = self.judge(true);
        }
        if failures.is_empty() && !self.drawn.is_tight {
            failures = self.meet_newcomer();
        }
        failures
    }

    /// The process of the broker may end here, and the next one begin with other rules.
    fn crash_at(&mut self, step: usize) {
        let rules = self.world.timeline().newest_rules().cloned();
        let random = &mut self.rules;
        let changed = || {
            let rules = rules.filter(|_| random.once_in(RULES_OF_NEXT_ONCE_IN))?;
            Some(rules.changed(random))
        };
        let versions = self.world.timeline().len();
        let ends_at = self.world.now();
        if !self.world.crash_at(step, changed) {
            return;
        }
        let at = self.world.tick();
        self.crashes.count += 1;
        for client in &mut self.clients {
            client.crashed(ends_at, at.now);
            if self.world.timeline().len() > versions {
                client.rules_changed(&self.world, at);
            }
        }
    }

    /// Something happens to one client, or to time.
    fn disturb(&mut self) {
        let jump_max_ms = self.drawn.jump_max_ms;
        if jump_max_ms > 0 && self.disturbances.once_in(400) {
            let span = Span::from_millis(self.disturbances.draw() % jump_max_ms);
            self.jump(span);
        }
        self.change_rules();
        let index = self.disturbances.below(self.clients.len());
        let Self {
            drawn,
            world,
            disturbances,
            random,
            clients,
            plan,
            ..
        } = self;
        let client = &mut clients[index];
        if !client.is_online() {
            if disturbances.once_in(20) {
                client.connect(world, random, plan);
            }
        } else if !disturbances.once_in(drawn.rest) {
            client.act(world, random, plan, drawn);
        } else {
            match disturbances.below(3) {
                0 => client.connect(world, random, plan), // taken over, or cut and back
                1 => client.cut(world),
                _ => client.leave(world),
            }
        }
    }

    /// The rules of one user change now and then.
    fn change_rules(&mut self) {
        let once_in = self.drawn.rules_change_once_in;
        let Some(rules) = self.world.timeline().newest_rules() else {
            return;
        };
        if once_in > 0 && self.rules.once_in(once_in) {
            let changed = rules.changed(&mut self.rules);
            self.world.change_rules(changed);
            let at = self.world.tick();
            for client in &mut self.clients {
                client.rules_changed(&self.world, at);
            }
        }
    }

    /// Clients learn that the newest rules have come to hold everywhere.
    fn heed_rules(&mut self) {
        if self.world.take_settled() {
            let at = self.world.tick();
            for client in &mut self.clients {
                client.rules_settled(&self.world, at);
            }
        }
    }

    /// Time jumps: the broker was late. A client that was silent too long must then be given up, and none
    /// that has sent in time.
    fn jump(&mut self, span: Span) {
        let clients = self.clients.iter();
        let in_time: Vec<bool> = clients
            .map(|client| client.has_sent_in_time(&self.world))
            .collect();
        self.world.jump_and_hand_over(span);
        for (client, in_time) in self.clients.iter_mut().zip(in_time) {
            let in_time = in_time && !client.may_wait_for_room(&self.world);
            if in_time && !client.is_shutdown && client.is_given_up(&self.world) {
                let text = format!("{}: given up although it had sent in time", client.name);
                client.failures.push(text);
            }
            if client.is_overdue(&self.world) && !client.is_given_up(&self.world) {
                let text = format!("{}: silent too long and not given up", client.name);
                client.failures.push(text);
            }
        }
    }

    /// Shutdown, shard by shard: all must come to their end.
    fn shut_down(&mut self) -> Vec<String> {
        self.world.mend_disks();
        for client in &mut self.clients {
            client.is_shutdown = true;
            client.awake();
        }
        for shard in 0..self.world.shards() {
            self.world.shut_down(shard);
            for _ in 0..self.disturbances.below(40) {
                self.disturb();
                self.world.step();
            }
        }
        for _ in 0..200_000 {
            if self.world.is_stopped() {
                return self.judge(false);
            }
            self.world.step();
            self.disturb();
        }
        vec!["the broker does not stop".into()]
    }

    /// All clients reconnect and finish; what does not come to rest is a deadlock.
    fn finish(&mut self) -> Vec<String> {
        self.world.mend_disks();
        let mut quiet = 0;
        for _ in 0..ROUNDS_MAX {
            let before = self.round(60);
            if !self.world.settle() {
                return vec!["the shards do not come to rest".into()];
            }
            let after = self.round(200);
            let is_rested = |client: &Client| client.is_done() && client.is_online();
            let is_quiet =
                before == after && self.world.is_delivered() && self.clients.iter().all(is_rested);
            if before == after && self.drawn.has_rates() {
                self.world.jump(RATE_PAUSE);
            }
            quiet = if is_quiet { quiet + 1 } else { 0 };
            if quiet == QUIET_ROUNDS {
                return Vec::new();
            }
        }
        let clients = self.clients.iter().filter(|client| !client.is_done());
        let names: Vec<&str> = clients.map(|client| &*client.name).collect();
        vec![format!("clients do not finish: {names:?}")]
    }

    /// Every client acts; returns how many packets they have read so far.
    fn round(&mut self, acts: usize) -> usize {
        self.heed_rules();
        let Self {
            world,
            random,
            clients,
            plan,
            ..
        } = self;
        for client in clients.iter_mut() {
            client.awake();
            if !client.is_online() {
                client.connect(world, random, plan);
            }
            for _ in 0..acts {
                client.finish(world, random, plan);
            }
        }
        clients.iter().map(|client| client.packets).sum()
    }

    fn judge(&mut self, is_complete: bool) -> Vec<String> {
        if is_complete {
            for client in &self.clients {
                client.keep_will(&mut self.plan);
            }
        }
        for planned in &mut self.plan {
            planned.judge(self.world.timeline());
        }
        let mut failures = self.world.take_failures();
        let clients = &mut self.clients;
        failures.extend(
            clients
                .iter_mut()
                .flat_map(|c| std::mem::take(&mut c.failures)),
        );
        let world = &self.world;
        failures.extend(oracle::judge(&History {
            clients: &self.clients,
            plan: &self.plan,
            timeline: self.world.timeline(),
            is_complete,
            dropped: world.counted(|stats| stats.dropped_queue_full),
            races: world.counted(|stats| stats.retained_races),
            crashes: self.crashes,
        }));
        failures
    }

    /// A new client must find the last retained message of every topic.
    fn meet_newcomer(&mut self) -> Vec<String> {
        let Self {
            drawn,
            world,
            random,
            clients,
            plan,
            ..
        } = self;
        world.jump(LONG);
        let mut newcomer = plan::newcomer(drawn, random);
        newcomer.connect(world, random, plan);
        for _ in 0..300 {
            if !world.settle() {
                return vec!["the shards do not come to rest".into()];
            }
            if !newcomer.is_online() {
                newcomer.connect(world, random, plan); // refused: too many logins waited
            }
            for _ in 0..100 {
                newcomer.finish(world, random, plan);
            }
        }
        let mut failures = oracle::judge_newcomer(&newcomer, plan);
        if self.crashes.count > 0 {
            // One that was sent and not acknowledged may be forgotten, with its publisher.
            failures.append(&mut newcomer.failures);
            return failures;
        }
        failures.extend(oracle::judge_contested(
            &newcomer,
            clients,
            &History {
                clients,
                plan,
                timeline: world.timeline(),
                is_complete: true,
                dropped: 0,
                races: 0,
                crashes: self.crashes,
            },
        ));
        failures.append(&mut newcomer.failures);
        failures
    }

    fn outcome(mut self, mut failures: Vec<String>) -> Outcome {
        if !failures.is_empty() {
            failures.extend(self.clients.iter().map(Client::describe));
            failures.extend(self.world.describe());
        }
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        let seen: Vec<_> = self.clients.iter().map(|client| &client.arrivals).collect();
        Outcome {
            handed_over: self.world.handed_over(),
            upgraded: self.world.upgraded(),
            crashes: self.crashes.count,
            deliveries: seen.iter().map(|arrivals| arrivals.len()).sum(),
            hash: hasher.hash_one((self.world.hash(), &seen)),
            parameters: format!("{:?}", self.drawn),
            trace: self.world.take_trace(),
            failures,
        }
    }
}

#[cfg(test)]
mod tests;
