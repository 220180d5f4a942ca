//! Directory: the reader's side. Whose a datagram is, and what strangers are answered.
//!
//! A peer that has not sent a CONNECT has no entry, and what it is answered is never longer than what it sent.

use std::net::{IpAddr, SocketAddr};

use ahash::RandomState;
use hashbrown::HashTable;

use super::outbox::{Crossing, PeerKey};
use super::{run, Gateway};
use crate::ids::{ListenerId, ShardId};
use crate::mqtt_sn::{decode, unwrap_forwarded, AddressChange, Connect, Message, ReturnCode};
use crate::mqtt_sn::{ClientIds, Settings, PROTOCOL_ID};
use crate::shard::Shard;
use crate::time::{Span, Time};

/// Longest id of a node behind a forwarder: its frame has the short form of a length.
const NODE_MAX: usize = 251;
/// Strangers whose last DISCONNECT is remembered, by the hash of their address.
const PLACES: usize = 1_024;
/// A stranger is sent one DISCONNECT in this time, however much it sends: two gateways that take each other
/// for clients do not answer endlessly.
const DISCONNECT_EVERY: Span = Span::from_secs(1);

/// Whether a listener takes one more peer from an address.
pub type Admit<'a> = &'a mut dyn FnMut(ListenerId, IpAddr) -> bool;

/// Where a peer's home is. The key itself is there: of two peers with the same hash, of 64 bits with a secret, one is
/// passed on to the home of the other, where it is a stranger.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Of its key.
    hash: u64,
    home: ShardId,
    /// Of this entry, so that a peer that has left is not confused with its successor.
    number: u32,
}

pub(super) struct Directory {
    entries: HashTable<Entry>,
    next_number: u32,
    /// When a stranger with this hash was last sent a DISCONNECT.
    answered: Vec<(u64, Time)>,
    state: RandomState,
}

/// A datagram of a peer, on its way to its home.
pub(super) struct Source {
    pub(super) key: PeerKey,
    /// Of the key, here.
    pub(super) hash: u64,
    pub(super) reader: ShardId,
    pub(super) number: u32,
}

impl Directory {
    pub(super) fn new(state: RandomState) -> Self {
        Self {
            entries: HashTable::new(),
            next_number: 0,
            answered: Vec::new(),
            state,
        }
    }

    fn enter(&mut self, key: &PeerKey, home: ShardId) -> Entry {
        self.next_number = self.next_number.wrapping_add(1);
        let hash = self.state.hash_one(key);
        let entry = Entry {
            hash,
            home,
            number: self.next_number,
        };
        let is_it = |other: &Entry| other.hash == hash;
        match self.entries.find_mut(hash, is_it) {
            Some(before) => *before = entry,
            None => {
                self.entries.insert_unique(hash, entry, |one| one.hash);
            }
        }
        entry
    }

    fn hash(&self, key: &PeerKey) -> u64 {
        self.state.hash_one(key)
    }

    fn entry(&self, hash: u64) -> Option<Entry> {
        self.entries.find(hash, |entry| entry.hash == hash).copied()
    }

    /// True when the entry was there.
    fn leave(&mut self, key: &PeerKey, number: u32) -> bool {
        let hash = self.state.hash_one(key);
        let is_it = |entry: &Entry| entry.hash == hash && entry.number == number;
        let found = self.entries.find_entry(hash, is_it);
        found.is_ok_and(|found| {
            found.remove();
            true
        })
    }

    /// A stranger may be sent a DISCONNECT now.
    fn may_answer(&mut self, address: SocketAddr, now: Time) -> bool {
        if self.answered.is_empty() {
            self.answered = vec![(0, Time::ZERO); PLACES];
        }
        let hash = self.state.hash_one(address);
        let (last, at) = &mut self.answered[hash as usize % PLACES];
        if *last == hash && now.since(*at) < DISCONNECT_EVERY {
            return false;
        }
        (*last, *at) = (hash, now);
        true
    }
}

impl Gateway {
    /// A datagram has come from an address. [`Gateway::handle_batch_end`] follows those received together.
    pub fn handle_datagram(
        &mut self,
        shard: &mut Shard,
        (listener, address): (ListenerId, SocketAddr),
        datagram: &[u8],
        admit: Admit<'_>,
        now: Time,
    ) {
        self.stats.received += 1;
        let Some(Some(settings)) = self.settings.get(listener.index()).cloned() else {
            return; // it was removed with a datagram on its way
        };
        let Ok(forwarded) = unwrap_forwarded(datagram) else {
            self.stats.malformed += 1;
            return;
        };
        let (node, bytes) = match forwarded {
            Some(inner) if settings.forwarders && inner.node.len() <= NODE_MAX => {
                (Some(inner.node.into()), inner.message)
            }
            Some(_) => {
                self.stats.out_of_order += 1;
                return;
            }
            None => (None, datagram),
        };
        let message = match decode(bytes) {
            Ok(message) if bytes.len() <= usize::from(settings.datagram_max) => message,
            _ => {
                self.stats.malformed += 1;
                return;
            }
        };
        if !run::joins(&message) {
            self.end_run(shard, now);
        }
        let key = PeerKey::new(listener, address, node);
        let hash = self.directory.hash(&key);
        let Some(entry) = self.directory.entry(hash) else {
            self.stranger(shard, key, (&message, bytes), &settings, admit, now);
            return;
        };
        let home = match message {
            // The peer at this address is now another client.
            Message::Connect(connect) => shard.home_of(connect.client_id),
            _ => entry.home,
        };
        if home != entry.home {
            self.replaced(shard, entry.home, key.clone(), entry.number, now);
        }
        // The client before may have left, with word of that on its way: it is not meant for this one.
        let entry = match message {
            Message::Connect(_) => self.directory.enter(&key, home),
            _ => entry,
        };
        self.pass_on(shard, key, entry, (&message, bytes), now);
    }

    /// What has crossed from another shard. [`Gateway::handle_batch_end`] follows.
    pub fn handle_crossing(
        &mut self,
        shard: &mut Shard,
        from: ShardId,
        crossing: Crossing,
        now: Time,
    ) {
        match crossing {
            Crossing::Datagram { key, number, bytes } => {
                let source = Source {
                    hash: self.directory.hash(&key),
                    key,
                    reader: from,
                    number,
                };
                // It was read once where it came in.
                if let Ok(message) = decode(&bytes) {
                    if !run::joins(&message) {
                        self.end_run(shard, now);
                    }
                    self.take(shard, source, &message, now);
                }
            }
            Crossing::Replaced { key, number } => {
                self.end_run(shard, now);
                self.replaced(shard, self.own, key, number, now);
            }
            Crossing::Left { key, number } => self.left_here(&key, number),
        }
    }

    /// To the home of its client.
    fn pass_on(
        &mut self,
        shard: &mut Shard,
        key: PeerKey,
        entry: Entry,
        (message, bytes): (&Message<'_>, &[u8]),
        now: Time,
    ) {
        let number = entry.number;
        if entry.home == self.own {
            let source = Source {
                key,
                hash: entry.hash,
                reader: self.own,
                number,
            };
            self.take(shard, source, message, now);
            return;
        }
        let bytes = bytes.into();
        let crossing = Crossing::Datagram { key, number, bytes };
        if !self.outbox.cross(entry.home, crossing) {
            self.stats.crossing_full += 1;
        }
    }

    /// The client at an address is another one now: the one before is lost.
    fn replaced(&mut self, shard: &mut Shard, home: ShardId, key: PeerKey, number: u32, now: Time) {
        if home != self.own {
            self.outbox.cross(home, Crossing::Replaced { key, number });
            return;
        }
        let found = self.peers.of_key(self.directory.hash(&key), &key);
        if let Some(index) = found.filter(|index| self.peers.get(*index).number == number) {
            self.lose(shard, index, now);
        }
    }

    /// A peer has left its home.
    pub(super) fn report_left(&mut self, reader: ShardId, key: PeerKey, number: u32) {
        if reader == self.own {
            self.left_here(&key, number);
        } else {
            self.outbox.cross(reader, Crossing::Left { key, number });
        }
    }

    fn left_here(&mut self, key: &PeerKey, number: u32) {
        if self.directory.leave(key, number) {
            self.outbox.left.push(key.listener);
        }
    }

    /// A message of an address that is no client.
    fn stranger(
        &mut self,
        shard: &mut Shard,
        key: PeerKey,
        (message, bytes): (&Message<'_>, &[u8]),
        settings: &Settings,
        admit: Admit<'_>,
        now: Time,
    ) {
        let client_id = match message {
            Message::Connect(connect) => match refusal(connect, settings) {
                None => connect.client_id,
                Some(code) => {
                    self.outbox.send(&key, &Message::ConnAck(code));
                    return;
                }
            },
            Message::PingReq(id)
                if !id.is_empty() && settings.address_change == AddressChange::Asleep =>
            {
                id
            }
            Message::Publish(publish) if publish.qos.is_none() => {
                // Never answered, section 6.8.
                self.publish_connectionless(shard, key.listener, publish, settings, now);
                return;
            }
            _ => {
                self.answer_stranger(&key, message, settings, now);
                return;
            }
        };
        if !admit(key.listener, key.address().ip()) {
            if matches!(message, Message::Connect(_)) {
                let code = ReturnCode::Congestion;
                self.outbox.send(&key, &Message::ConnAck(code));
            }
            return;
        }
        let entry = self.directory.enter(&key, shard.home_of(client_id));
        self.pass_on(shard, key, entry, (message, bytes), now);
    }

    /// What needs no client, and all that needs one: that is to connect again.
    fn answer_stranger(
        &mut self,
        key: &PeerKey,
        message: &Message<'_>,
        settings: &Settings,
        now: Time,
    ) {
        match message {
            Message::SearchGw { .. } => {
                self.answer_search(key, settings, now);
            }
            Message::Register { .. }
            | Message::Publish(_)
            | Message::Subscribe(_)
            | Message::Unsubscribe(_)
            | Message::PingReq(_)
            | Message::Disconnect(_)
            | Message::WillTopicUpd(_)
            | Message::WillMsgUpd(_) => {
                self.stats.unknown_peer += 1;
                if self.directory.may_answer(key.address(), now) {
                    self.outbox.send(key, &Message::Disconnect(None));
                }
            }
            _ => self.stats.unknown_peer += 1,
        }
    }
}

/// Why a CONNECT is refused, from any source.
pub(super) fn refusal(connect: &Connect<'_>, settings: &Settings) -> Option<ReturnCode> {
    let may_come = |clients: &ClientIds| clients.contains(connect.client_id);
    let is_bad = connect.protocol_id != PROTOCOL_ID
        || connect.client_id.is_empty()
        || !settings.clients.as_deref().is_none_or(may_come);
    is_bad.then_some(ReturnCode::NotSupported)
}
