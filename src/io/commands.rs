//! Commands of services, carried out by the driver of their shard.

use super::driver::Driver;
use super::inbox::{ShardCommand, TURN_COMMANDS};
use super::logging;
use crate::histogram::Histogram;
use crate::metrics::{DriverReport, ShardReport};
use crate::time::Time;

impl Driver {
    /// Carries out what services have for this shard; true when there was something.
    pub(super) fn drain_inbox(&mut self, now: Time) -> bool {
        for taken in 0..TURN_COMMANDS {
            let Some(command) = self.mesh.shared().inbox(self.id).take() else {
                return taken > 0;
            };
            let Some(command) = self.defers(command) else {
                continue;
            };
            let is_query = matches!(command, ShardCommand::Query(..));
            self.carry_out(command, now);
            if is_query {
                return true; // one answer costs a turn enough
            }
        }
        true
    }

    pub(super) fn carry_out(&mut self, command: ShardCommand, now: Time) {
        match command {
            ShardCommand::Verdict(id, verdict) => {
                self.shard.handle_authenticated(id, verdict, now);
            }
            ShardCommand::Decisions(id, decisions) => {
                self.shard.handle_authorized(id, decisions, now);
            }
            ShardCommand::Rules(rules) => self.shard.handle_rules(rules),
            ShardCommand::Config(config, done) => {
                if logging::tells_connections() {
                    self.shard.trace_connections();
                }
                self.shard.handle_config(config);
                let shared = self.mesh.shared();
                self.turns.set_max(shared.options().turn_max());
                self.memory.set(shared.memory());
                let _ = done.send(()); // the reload thread waits for it
            }
            ShardCommand::Segment(number, made) => {
                if let Some(commits) = &mut self.commits {
                    commits.segment_made(&mut self.shard, (number, made), now);
                }
            }
            ShardCommand::Copied(through) => self.shard.handle_copied(through, now),
            ShardCommand::Adopt(logs, done) => self.adopting.begin(logs, done),
            ShardCommand::MemoryShort(is_short) => self.memory.told(is_short),
            ShardCommand::GiveBack => {
                let held = self.shard.connections() + self.shard.sessions();
                self.memory.asked_back(held);
            }
            ShardCommand::ReportCounters(request) => {
                // What a stopped shard has counted was handed over when it stopped.
                if !self.counted {
                    self.report_counters(request);
                }
            }
            ShardCommand::Status(values) => self.shard.handle_status(&values, now),
            ShardCommand::LogLine(topic, line) => self.shard.handle_log_line(topic, &line, now),
            ShardCommand::Report(take) => take(self.report()),
            ShardCommand::Kept(from, take) => take(self.shard.kept(from)),
            ShardCommand::Query(query, reply) => {
                let mut answer = self.shard.handle_query(&query, now);
                self.gateway.describe(&self.shard, &mut answer, now);
                reply(answer);
            }
            ShardCommand::Answer(question) => self.mesh.shared().answer(self.id, question),
            ShardCommand::Upgrade(order) => self.carry_out_upgrade(order, now),
            ShardCommand::Dialled(dialled) => self.take_dialled(*dialled, now),
            ShardCommand::Returned(moved) => self.receive_socket(*moved, now),
            ShardCommand::Relayed(relayed) => self.take_relayed(*relayed, now),
            ShardCommand::Listen(listeners) => self.listen(listeners),
            ShardCommand::Stop => self.begin_stop(now),
            ShardCommand::AllStopped => {} // it has woken the shard, which looks by itself
        }
    }

    fn report(&self) -> ShardReport {
        let measures = &self.measures;
        let commits = self.commits.as_ref();
        ShardReport {
            shard: self.shard.snapshot(),
            kept: self.shard.kept(0),
            driver: DriverReport {
                banned: self.driver_stats.banned,
                connections_max: self.driver_stats.connections_max,
                accept_failed: self.driver_stats.accept_failed,
                sockets: self.shard.connections() as u64,
                gateway: *self.gateway.stats(),
                gateway_states: self.gateway.states(),
                quic: self.quics.stats(),
                busy: measures.busy,
                turn_length: measures.turn_length.clone(),
                ring_depth: measures.ring_depth.clone(),
                commit: commits.map_or_else(Histogram::default, |own| own.latency.clone()),
            },
        }
    }
}
