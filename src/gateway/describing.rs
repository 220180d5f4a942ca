//! Descriptions of clients, for operators.

use super::busy::Awaited;
use super::peer::{Peer, State};
use super::{Gateway, Stats};
use crate::shard::{Answer, ClientRow, RemoteEnd, SensorRow, Shard};
use crate::time::{Span, Time};

impl Gateway {
    /// Adds what is known here to what the shard says of its clients.
    pub fn describe(&self, shard: &Shard, answer: &mut Answer, now: Time) {
        match answer {
            Answer::Clients { rows, .. } => {
                for row in rows {
                    self.describe_row(shard, row, now);
                }
            }
            Answer::Client(Some(detail)) => {
                let Some(index) = self.describe_row(shard, &mut detail.row, now) else {
                    return;
                };
                let peer = self.peers.get(index);
                detail.silent_for = Some(now.since(peer.heard));
                detail.keep_alive = Some(Span::from_secs(u64::from(peer.keep_alive_s())));
                if let Some((sensor, link)) = detail.row.sensor.as_mut().zip(peer.link) {
                    sensor.unanswered += shard.messages_on(link);
                }
            }
            _ => {}
        }
    }

    /// Its peer, if it is connected.
    fn describe_row(&self, shard: &Shard, row: &mut ClientRow, now: Time) -> Option<u32> {
        let sensor = row.sensor.as_deref_mut()?;
        let link = shard.connection_of_client(&row.client_id);
        let Some(index) = link.and_then(|link| self.peers.of_link(link)) else {
            if let Some(kept) = self.kept.get(&*row.client_id) {
                sensor.topic_ids = kept.topics.len();
                sensor.predefined_ids = kept.predefined().len();
            }
            return None;
        };
        let peer = self.peers.get(index);
        *sensor = describe_peer(peer, now);
        let address = peer.key.address();
        row.peer = Some(RemoteEnd::Ip(
            (address.ip().to_canonical(), address.port()).into(),
        ));
        Some(index)
    }
}

fn describe_peer(peer: &Peer, now: Time) -> SensorRow {
    let sleeps = peer.state == State::Asleep;
    let until = |end: Time| Span(end.0.saturating_sub(now.0));
    let wakes_at = peer.heard + Span::from_secs(u64::from(peer.sleep_s));
    let is_message = |what: &Awaited| matches!(what, Awaited::Publication { .. });
    let outstanding = peer.busy.outstanding.as_deref();
    SensorRow {
        state: Stats::STATES[usize::from(peer.state.place())],
        node: peer.key.node.clone(),
        sleep_s: matches!(peer.state, State::Asleep | State::Awake).then_some(peer.sleep_s),
        wakes_in: sleeps.then(|| until(wakes_at)),
        lost_in: peer.lost_at().map(until),
        topic_ids: peer.kept.topics.len(),
        predefined_ids: peer.kept.predefined().len(),
        unanswered: peer.busy.deliveries.len()
            + usize::from(outstanding.is_some_and(|one| is_message(&one.what))),
    }
}
