//! Discovery of this gateway by clients: SEARCHGW is answered with GWINFO, and ADVERTISE is sent from time to time, section 6.1.
//! What is "broadcast" goes to a multicast group, where its listener has one.

use std::net::SocketAddr;
use std::rc::Rc;

use super::outbox::PeerKey;
use super::Gateway;
use crate::ids::{ListenerId, ShardId};
use crate::mqtt_sn::{decode, Message, Settings};
use crate::time::{Span, Time};

/// Searches answered in a second, of all listeners: their senders may be forged, and the answer goes to many.
const ANSWERS_PER_S: u32 = 20;

/// Lives on: its gateway.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    /// When ADVERTISE is due on each listener; only the first shard sends it.
    due: Vec<Option<Time>>,
    /// The second in which these were answered.
    second: u64,
    answered: u32,
}

impl Discovery {
    pub(super) fn next(&self) -> Option<Time> {
        self.due.iter().flatten().min().copied()
    }

    fn may_answer(&mut self, now: Time) -> bool {
        let second = now.0 / Span::from_secs(1).0;
        if second != self.second {
            (self.second, self.answered) = (second, 0);
        }
        self.answered += 1;
        self.answered <= ANSWERS_PER_S
    }
}

/// All members of the group of a listener.
fn all_of(listener: ListenerId, settings: &Settings) -> Option<PeerKey> {
    let group = settings.multicast;
    group.map(|address| PeerKey::new(listener, address, None))
}

impl Gateway {
    /// One shard has the groups of all listeners.
    #[must_use]
    pub fn has_groups(&self) -> bool {
        self.own == ShardId(0)
    }

    /// A datagram has come to the group of a listener.
    pub fn handle_group_datagram(
        &mut self,
        (listener, address): (ListenerId, SocketAddr),
        datagram: &[u8],
        now: Time,
    ) {
        self.stats.received += 1;
        match decode(datagram) {
            Ok(Message::SearchGw { .. }) => {
                let asker = PeerKey::new(listener, address, None);
                let settings = self.settings_of(listener);
                self.answer_search(&asker, &settings, now);
            }
            // Of other gateways, our own come back, and of clients that answer for a gateway (SN-22).
            Ok(Message::GwInfo { .. } | Message::Advertise { .. }) => {}
            Ok(_) => self.stats.out_of_order += 1,
            Err(_) => self.stats.malformed += 1,
        }
    }

    /// GWINFO, to the group and to who has asked: there are clients that wait on their own socket only.
    pub(super) fn answer_search(&mut self, asker: &PeerKey, settings: &Settings, now: Time) {
        if !self.discovery.may_answer(now) {
            self.stats.held_back += 1;
            return;
        }
        let info = Message::GwInfo {
            gateway_id: settings.gateway_id,
            address: &[],
        };
        self.outbox.send(asker, &info);
        if let Some(all) = all_of(asker.listener, settings) {
            self.outbox.send(&all, &info);
        }
    }

    /// The listeners are others than before: those that are to advertise do so at once.
    pub(super) fn plan_advertising(&mut self) {
        let before = std::mem::take(&mut self.discovery.due);
        let plan = |(index, settings): (usize, &Option<_>)| {
            let settings: &Rc<Settings> = settings.as_ref()?;
            let is_on = settings.multicast.is_some() && settings.advertise_s.is_some();
            let known = before.get(index).copied().flatten();
            (is_on && self.has_groups()).then(|| known.unwrap_or(Time::ZERO))
        };
        self.discovery.due = self.settings.iter().enumerate().map(plan).collect();
    }

    /// Sends each ADVERTISE that is due.
    pub(super) fn advertise(&mut self, now: Time) {
        for index in 0..self.discovery.due.len() {
            if self.discovery.due[index].is_none_or(|due| due > now) {
                continue;
            }
            let listener = ListenerId(index as u16);
            let settings = self.settings_of(listener);
            let Some((all, seconds)) = all_of(listener, &settings).zip(settings.advertise_s) else {
                continue;
            };
            let message = Message::Advertise {
                gateway_id: settings.gateway_id,
                duration_s: seconds,
            };
            self.outbox.send(&all, &message);
            self.discovery.due[index] = Some(now + Span::from_secs(u64::from(seconds)));
        }
    }
}
