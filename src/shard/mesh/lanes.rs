//! Lanes at a shard: which CONNECTs are served here, wait, or belong to another node.

use std::rc::Rc;
use std::sync::Arc;

use crate::cluster::lanes::{LaneTable, Peer, Place};
use crate::ids::{ConnectionId, ListenerId, SessionId};
use crate::mqtt::{Connect, PacketType, ReasonCode, Violation};
use crate::shard::clients::activity::Ending;
use crate::shard::clients::flow::Flow;
use crate::shard::clients::hold::Hold;
use crate::shard::clients::teardown::WillFate;
use crate::shard::mesh::block::Control;
use crate::shard::Shard;
use crate::time::Time;

/// Nodes that pass a connection on, at most. More than one do when a group has just got another owner.
const HOPS_MAX: u8 = 3;

/// Where a CONNECT is served.
enum Served {
    Here,
    /// No node serves it now.
    Nowhere,
    By(Arc<Peer>),
}

impl Shard {
    /// What becomes of a CONNECT whose client id this node does not serve now. `None`: it does.
    #[inline]
    pub(in crate::shard) fn served_elsewhere(
        &mut self,
        id: ConnectionId,
        connect: &Connect<'_>,
        now: Time,
    ) -> Option<Flow> {
        if self.mesh.cluster.is_none() || connect.client_id.is_empty() {
            return None;
        }
        match self.served(id, connect.client_id, now) {
            Served::Here => None,
            Served::Nowhere => Some(self.await_owner(id, connect)),
            Served::By(peer) => match &peer.clients {
                Some(address) if connect.version.is_v5() => {
                    self.send_elsewhere(id, connect.client_id, address, now);
                    Some(Flow::Stop)
                }
                _ => {
                    let cluster = self.mesh.cluster.as_deref_mut();
                    cluster.expect("there are other nodes").relays_to = Some(peer);
                    self.outbox.stats.packets[PacketType::Connect as usize] -= 1; // it is its owner's
                    Some(Flow::Relay)
                }
            },
        }
    }

    fn served(&self, id: ConnectionId, client_id: &str, now: Time) -> Served {
        let Some(cluster) = self.mesh.cluster.as_deref() else {
            return Served::Here;
        };
        if self.is_bound_here(id) {
            return Served::Here;
        }
        let origin = &self.clients.connection(id).origin;
        let place = cluster.lanes.as_deref().map(|table| table.place(client_id));
        match place {
            Some(Place::Here) if !self.lacks_lease(now) => Served::Here,
            // A session of before it was another node's stays where it is.
            Some(Place::There(_)) if self.clients.by_client_id.contains_key(client_id) => {
                match self.lacks_lease(now) {
                    true => Served::Nowhere,
                    false => Served::Here,
                }
            }
            // Nodes do not agree: soon they will.
            Some(Place::There(_)) if origin.hops >= HOPS_MAX => Served::Nowhere,
            Some(Place::There(peer)) => Served::By(Arc::clone(peer)),
            Some(Place::Here | Place::Nowhere) | None => Served::Nowhere,
        }
    }

    /// It is looked at again when lanes or the lease of this node change, until connect-timeout.
    fn await_owner(&mut self, id: ConnectionId, connect: &Connect<'_>) -> Flow {
        let connection = self.clients.connection_mut(id);
        connection.holds.insert(Hold::Lane);
        connection.version = connect.version; // what it is refused in
        let cluster = self.mesh.cluster.as_deref_mut();
        cluster.expect("it may have owners").waiting.push(id);
        self.outbox.stats.packets[PacketType::Connect as usize] -= 1; // it is handled again
        Flow::Wait
    }

    /// A client was authenticated meanwhile: is it still this node's?
    pub(in crate::shard) fn check_lane(
        &self,
        id: ConnectionId,
        connect: &Connect<'_>,
        now: Time,
    ) -> Result<(), Violation> {
        if self.mesh.cluster.is_none() || connect.client_id.is_empty() {
            return Ok(());
        }
        match self.served(id, connect.client_id, now) {
            Served::Here => Ok(()),
            Served::Nowhere | Served::By(_) => Err(Violation::NoOwner),
        }
    }

    /// A client id that this node gives is of its own lanes, if it has any: then it is served here for good.
    pub(in crate::shard) fn may_assign(&self, client_id: &str) -> bool {
        let cluster = self.mesh.cluster.as_deref();
        let table = cluster.and_then(|cluster| cluster.lanes.as_deref());
        table.is_none_or(|table| !table.owns_some() || *table.place(client_id) == Place::Here)
    }

    /// Other owners.
    pub(in crate::shard) fn on_lanes(&mut self, table: Arc<LaneTable>, now: Time) {
        let Some(cluster) = self.mesh.cluster.as_deref_mut() else {
            return;
        };
        let before = cluster.lanes.replace(Arc::clone(&table));
        if let Some(before) = before.filter(|before| table.has_lost(before)) {
            self.end_strangers((&before, &table), now);
        }
        self.look_at_lanes_again(now);
        self.answer_offers(&table);
    }

    /// CONNECTs that wait are handled again.
    pub(in crate::shard) fn look_at_lanes_again(&mut self, now: Time) {
        let Some(cluster) = self.mesh.cluster.as_deref_mut() else {
            return;
        };
        for id in std::mem::take(&mut cluster.waiting) {
            let Some(connection) = self.clients.connections.get_mut(id) else {
                continue; // closed meanwhile
            };
            if connection.holds.remove(Hold::Lane) {
                connection.last_packet = now; // it was not read because of us
                self.resume_if_decided(id);
            }
        }
    }

    /// Clients that another node serves now connect again. This one was taken for dead, or would have asked.
    fn end_strangers(&mut self, (before, table): (&LaneTable, &LaneTable), now: Time) {
        let text = "another node of the cluster serves its client id now";
        for (session, id) in self.strangers(before, table) {
            self.close_connection(id, Some(ReasonCode::UseAnotherServer), text, now);
            let ending = Ending::Broker(Some(ReasonCode::UseAnotherServer));
            self.clients.note_ending(session, ending, now);
            // Its client connects to another node: it has not died.
            self.detach(session, WillFate::Discard, now);
        }
    }

    /// Another node had taken this one for dead: who has subscriptions may lack what was acknowledged meanwhile, and learns it
    /// by the end of its connection.
    pub(in crate::shard) fn on_missed(&mut self, now: Time) {
        let text = "messages may be missing: its node was taken for dead for a moment";
        let sessions = self.clients.by_client_id.values();
        let connected = sessions.filter_map(|session| {
            let session = &self.clients.session(*session).session;
            let id = session.connection?;
            let is_bound = self.is_bound_here(id) || session.subscriptions.is_empty();
            (!is_bound).then_some(id)
        });
        for id in connected.collect::<Vec<_>>() {
            self.end_connection(id, Some(ReasonCode::UnspecifiedError), text, now);
        }
    }

    /// Bridges and clients of MQTT-SN are of one node.
    fn is_bound_here(&self, id: ConnectionId) -> bool {
        let origin = &self.clients.connection(id).origin;
        origin.listener == ListenerId::BRIDGES || origin.keeps_will
    }

    /// Those that are connected, whose groups have become another node's.
    fn strangers(&self, before: &LaneTable, table: &LaneTable) -> Vec<(SessionId, ConnectionId)> {
        let sessions = self.clients.by_client_id.iter();
        let is_theirs =
            |table: &LaneTable, name: &str| matches!(table.place(name), Place::There(_));
        let theirs =
            sessions.filter(|(name, _)| is_theirs(table, name) && !is_theirs(before, name));
        let connected = theirs.filter_map(|(_, session)| {
            let id = self.clients.session(*session).session.connection?;
            (!self.is_bound_here(id)).then_some((*session, id))
        });
        connected.collect()
    }

    /// Groups that this node would give: a session of one keeps it here.
    fn answer_offers(&mut self, table: &LaneTable) {
        let Some(cluster) = self.mesh.cluster.as_deref() else {
            return;
        };
        let exchange = cluster.exchange;
        for (group, epoch) in table.offers() {
            let mut names = self.clients.by_client_id.keys().map(Rc::as_ref);
            let is_free = !names.any(|name| table.key.group(name) == group);
            let control = Control::GroupUse {
                group,
                epoch,
                is_free,
            };
            self.mesh.peers.send(exchange, control);
        }
    }
}
