//! Invariants of a shard between turns, for the simulator and the fuzzers.

use std::collections::BTreeMap;

use super::{Shard, ANSWER_BYTES};
use crate::ids::ConnectionId;
use crate::limits::{
    CONTROL_BYTES_HIGH_WATER, CONTROL_HIGH_WATER, DATA_HIGH_WATER, TICKETS_MAX, TURN_BYTES,
};
use crate::mqtt::topic;
use crate::routing::{Interest, Member};
use crate::session::subscription_cost;
use crate::shard::clients::hold::Hold;
use crate::shard::clients::live::Live;
use crate::shard::clients::phase::Phase;
use crate::shard::durable::full::WAITING_SLACK;
use crate::shard::turn::budget::{ANNOUNCE, COPIED_BYTES, UNLINK};

impl Shard {
    /// Checks the bounds of memory and the references between connections and sessions.
    ///
    /// # Errors
    /// A sentence about the first invariant that does not hold.
    pub fn audit(&self) -> Result<(), String> {
        let durable = self.durable.as_deref();
        let estates = durable.map_or(0, |durable| durable.estates.len());
        if self.clients.by_client_id.len() + estates != self.clients.sessions.len() {
            return Err("a session has no client id, or two".into());
        }
        self.audit_sessions()?;
        self.audit_connections()?;
        let (remembered, max) = self.outbox.notices.remembered();
        if remembered > max {
            return Err(format!("{remembered} things are remembered for the log"));
        }
        self.audit_peers()?;
        self.audit_commits()?;
        let held = self.durable.as_deref().map(|durable| &durable.held);
        held.map_or(Ok(()), |held| held.audit())?;
        let sparkplug = self.routes.sparkplug.as_deref();
        sparkplug.map_or(Ok(()), |own| own.installation.audit())?;
        self.replay.races.audit()
    }

    fn audit_sessions(&self) -> Result<(), String> {
        let limits = self.limits();
        let mut members = 0;
        for id in self.clients.sessions.ids() {
            let entry = self.clients.session(id);
            let session = &entry.session;
            let name = &session.client_id;
            let is_known = |member| self.clients.members.session(member) == Some(id);
            if !entry.member.is_none_or(is_known) {
                return Err(format!("shared groups do not find {name}"));
            }
            members += usize::from(entry.member.is_some());
            let terms = self.config.terms(name);
            let (messages_max, bytes_max, _) = terms.queue(limits);
            let is_bounded = !entry.is_estate(); // each was, when it was left
            if is_bounded && session.queue.len() > messages_max as usize {
                let len = session.queue.len();
                return Err(format!("the queue of {name} holds {len} messages"));
            }
            if is_bounded && session.queue.bytes() as u64 > bytes_max {
                let bytes = session.queue.bytes();
                return Err(format!("the queue of {name} holds {bytes} bytes"));
            }
            if session.subscriptions.len() > limits.subscriptions_max as usize {
                return Err(format!("{name} has more subscriptions than it may"));
            }
            let bytes = session.subscriptions.bytes();
            let counted = session
                .subscriptions
                .keys()
                .map(|filter| subscription_cost(filter));
            if bytes as u64 > limits.subscription_bytes_max || bytes != counted.sum::<usize>() {
                return Err(format!("the filters of {name} take {bytes} bytes"));
            }
            let connection = session
                .connection
                .map(|id| self.clients.connections.get(id));
            let is_tied = connection.is_none_or(|connection| {
                connection.is_some_and(|connection| connection.phase == Phase::Live(id))
            });
            if !is_tied {
                return Err(format!("the connection of {name} is not its own"));
            }
        }
        if self.clients.members.len() != members {
            return Err("a session has ended and is a member of shared groups".into());
        }
        Ok(())
    }

    fn audit_connections(&self) -> Result<(), String> {
        let outgoing_max = self.limits().outgoing_bytes_max as usize + ANSWER_BYTES + TURN_BYTES;
        let mut half_open = 0;
        let mut live = Live::default();
        for id in self.clients.connections.ids() {
            let connection = self.clients.connection(id);
            half_open += u32::from(connection.phase.is_half_open());
            if connection.session().is_some() {
                live.enter(connection.version);
            }
            if connection.outgoing.len() > outgoing_max {
                let bytes = connection.outgoing.len();
                return Err(format!("{bytes} bytes wait for a connection"));
            }
            let incoming = connection
                .rare
                .get()
                .aliases_in
                .as_ref()
                .map_or(0, |a| a.bytes());
            let outgoing = connection
                .rare
                .get()
                .aliases_out
                .as_ref()
                .map_or(0, |a| a.bytes());
            if incoming.max(outgoing) > self.limits().topic_alias_bytes_max as usize {
                return Err(format!("aliases take {incoming} and {outgoing} bytes"));
            }
            let tied = connection.session().is_none_or(|session| {
                let entry = self.clients.sessions.get(session);
                entry.is_some_and(|entry| entry.session.connection == Some(id))
            });
            if !tied {
                return Err("a live connection's session does not know it".into());
            }
        }
        if live != self.clients.live {
            let counted = self.clients.live;
            return Err(format!("{live:?} are connected, {counted:?} are counted"));
        }
        let counted = self.admission.half_open.counts();
        if (half_open, half_open) != counted {
            return Err(format!(
                "{half_open} connections are half open, {counted:?} are counted"
            ));
        }
        Ok(())
    }

    fn audit_commits(&self) -> Result<(), String> {
        let durable = self.durable.as_deref();
        let tickets = durable.map_or(0, |durable| durable.commits.in_flight());
        if tickets > TICKETS_MAX + 1 {
            return Err(format!("{tickets} turns wait for commits"));
        }
        let waiting = durable.map_or(0, |durable| durable.full.waiting());
        if waiting > 2 * self.clients.connections.len() + WAITING_SLACK + 1 {
            return Err(format!("{waiting} connections wait for the disk"));
        }
        let waiting = self.admission.full_queues.waiting();
        if waiting > 2 * self.clients.connections.len() + WAITING_SLACK + 1 {
            return Err(format!("{waiting} connections wait for a queue"));
        }
        Ok(())
    }

    fn audit_peers(&self) -> Result<(), String> {
        let (data, control) = self.mesh.peers.most_waiting();
        if data > DATA_HIGH_WATER + TURN_BYTES || control > 2 * CONTROL_HIGH_WATER {
            return Err(format!("{data} bytes, {control} messages wait for a peer"));
        }
        if self.mesh.peers.is_alone() && self.mesh.barriers_open() > 0 {
            return Err("barriers wait for nobody".into());
        }
        let bytes = self.mesh.peers.most_control_bytes();
        let packet = self.limits().packet_size_max as usize;
        if bytes > CONTROL_BYTES_HIGH_WATER + TURN_BYTES + packet {
            return Err(format!("{bytes} bytes of filters wait for a peer"));
        }
        // What is begun is finished: the longest filter, all groups of one session, its filters sorted.
        let (done, measure) = self.clients.leaving.last;
        let one = self.limits().subscriptions_max as usize * ANNOUNCE + UNLINK + COPIED_BYTES;
        if done > measure + one {
            return Err(format!("{done} units of work to forget filters in a turn"));
        }
        Ok(())
    }
}

impl Shard {
    /// The replicas of the index agree with the sessions of each home, when nothing is on its way between
    /// shards: each filter's interest, and each member of each group and its state.
    ///
    /// # Errors
    /// A sentence about the first subscription that a replica has otherwise than its home.
    pub fn audit_replicas(shards: &[Self]) -> Result<(), String> {
        for home in shards {
            let mut interests = BTreeMap::new();
            for id in home.clients.sessions.ids() {
                let entry = home.clients.session(id);
                let durable = entry.session.is_durable();
                for filter in entry.session.subscriptions.keys() {
                    let Ok(Some(share)) = topic::share(filter) else {
                        let interest: &mut Interest =
                            interests.entry(filter).or_insert(Interest::Absent);
                        *interest = (*interest).max(Interest::of_some(durable));
                        continue;
                    };
                    let Some(member_id) = entry.member else {
                        return Err(format!("{filter}: its session is no member"));
                    };
                    let member = Member {
                        shard: home.id,
                        id: member_id,
                        connected: entry.session.connection.is_some(),
                        durable,
                    };
                    for shard in shards {
                        let index = &shard.routes.index;
                        let known = index.member(share.name, share.filter, home.id, member_id);
                        if known != Some(member) {
                            let shard = shard.id.0;
                            return Err(format!(
                                "{filter}: {member:?}, shard {shard} knows {known:?}"
                            ));
                        }
                    }
                }
            }
            for (filter, interest) in interests {
                for shard in shards {
                    let known = shard.routes.index.interest(filter, home.id.into());
                    if known != interest {
                        let (home, shard) = (home.id.0, shard.id.0);
                        return Err(format!(
                            "{filter}: {interest:?} on shard {home}, {known:?} as shard {shard} knows it"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// True while packets of a connection that were read wait for the next turn.
    #[must_use]
    pub fn is_paused(&self, connection: ConnectionId) -> bool {
        let connection = self.clients.connections.get(connection);
        connection.is_some_and(|connection| connection.holds.contains(Hold::NextTurn))
    }

    /// True while subscriptions made under other rules have not all been rechecked.
    #[must_use]
    pub fn is_rechecking(&self) -> bool {
        self.access.has_rechecks()
    }

    /// What waits for each session, for a failure's report.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for id in self.clients.sessions.ids() {
            let entry = self.clients.session(id);
            let session = &entry.session;
            let connection = session
                .connection
                .and_then(|id| self.clients.connections.get(id));
            let outgoing = connection.map(|connection| connection.outgoing.len());
            lines.push(format!(
                "shard {}: {}: {} in flight, {} queued, bytes unsent {outgoing:?}, walks {}",
                self.id.0,
                session.client_id,
                session.window.len(),
                session.queue.len(),
                entry.walks.is_some(),
            ));
        }
        lines
    }
}
