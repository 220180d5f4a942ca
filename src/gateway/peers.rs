//! The peers of a shard, by index, by address and by link.

use ahash::RandomState;
use hashbrown::HashTable;

use super::outbox::PeerKey;
use super::peer::Peer;
use crate::ids::ConnectionId;

/// Why a peer is there.
const PRESENT: &str = "a peer stays while its address, its link or its timer names it";

/// A connection of the shard that a gateway speaks on.
#[derive(Clone, Copy, Debug)]
struct Link {
    generation: u32,
    /// `None`: its client has another one.
    peer: Option<u32>,
}

/// A place for a peer.
#[derive(Default)]
struct Place {
    /// How many it has had.
    generation: u32,
    peer: Option<Box<Peer>>,
}

pub(super) struct Peers {
    places: Vec<Place>,
    free: Vec<u32>,
    /// By the key of each.
    by_key: HashTable<u32>,
    hasher: RandomState,
    /// How many are counted under each state.
    states: [u64; 4],
    /// By the index of a connection.
    links: Vec<Option<Link>>,
}

impl Peers {
    pub(super) fn new(state: RandomState) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            by_key: HashTable::new(),
            hasher: state,
            states: [0; 4],
            links: Vec::new(),
        }
    }

    pub(super) fn insert(&mut self, peer: Peer) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            (self.places.len() - 1) as u32
        });
        let hash = self.hasher.hash_one(&peer.key);
        self.states[usize::from(peer.counted)] += 1;
        self.places[index as usize].peer = Some(Box::new(peer));
        self.enter(hash, index);
        index
    }

    pub(super) fn remove(&mut self, index: u32) -> Peer {
        let place = &mut self.places[index as usize];
        place.generation = place.generation.wrapping_add(1);
        let peer = *place.peer.take().expect(PRESENT);
        self.states[usize::from(peer.counted)] -= 1;
        self.free.push(index);
        self.forget_key(&peer.key, index);
        peer
    }

    /// The state of a peer may be another one now.
    pub(super) fn count_state(&mut self, index: u32) {
        let peer = self.places[index as usize].peer.as_mut().expect(PRESENT);
        let place = peer.state.place();
        self.states[usize::from(peer.counted)] -= 1;
        self.states[usize::from(place)] += 1;
        peer.counted = place;
    }

    pub(super) fn states(&self) -> [u64; 4] {
        self.states
    }

    /// A peer is at another address now.
    pub(super) fn moved(&mut self, index: u32, key: PeerKey) -> PeerKey {
        let before = std::mem::replace(&mut self.get_mut(index).key, key.clone());
        self.forget_key(&before, index);
        self.enter(self.hasher.hash_one(&key), index);
        before
    }

    #[track_caller]
    pub(super) fn get(&self, index: u32) -> &Peer {
        self.places[index as usize].peer.as_ref().expect(PRESENT)
    }

    #[track_caller]
    pub(super) fn get_mut(&mut self, index: u32) -> &mut Peer {
        self.places[index as usize].peer.as_mut().expect(PRESENT)
    }

    /// The generation of a place, while there is a peer in it.
    pub(super) fn generation(&self, index: u32) -> Option<u32> {
        let place = self.places.get(index as usize)?;
        place.peer.is_some().then_some(place.generation)
    }

    pub(super) fn of_key(&self, key: &PeerKey) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        let is_it = |index: &u32| self.get(*index).key == *key;
        self.by_key.find(hash, is_it).copied()
    }

    /// No other peer has the key of this one.
    fn enter(&mut self, hash: u64, index: u32) {
        let Self {
            by_key,
            places,
            hasher,
            ..
        } = self;
        let hash_of = |index: &u32| {
            let peer = places[*index as usize].peer.as_ref().expect(PRESENT);
            hasher.hash_one(&peer.key)
        };
        by_key.insert_unique(hash, index, hash_of);
    }

    fn forget_key(&mut self, key: &PeerKey, index: u32) {
        let hash = self.hasher.hash_one(key);
        if let Ok(found) = self.by_key.find_entry(hash, |one| *one == index) {
            found.remove();
        }
    }

    /// All of them.
    pub(super) fn ids(&self) -> Vec<u32> {
        let places = (0..).zip(&self.places);
        let taken = places.filter(|(_, place)| place.peer.is_some());
        taken.map(|(index, _)| index).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// A link is a peer's from now on.
    pub(super) fn join(&mut self, link: ConnectionId, index: u32) {
        let place = link.index as usize;
        if self.links.len() <= place {
            self.links.resize(place + 1, None);
        }
        self.links[place] = Some(Link {
            generation: link.generation,
            peer: Some(index),
        });
    }

    /// A link without a peer.
    pub(super) fn join_alone(&mut self, link: ConnectionId) {
        self.join(link, 0);
        self.part(link);
    }

    /// A link stays open without a peer until the shard closes it.
    pub(super) fn part(&mut self, link: ConnectionId) {
        if let Some(Some(found)) = self.links.get_mut(link.index as usize) {
            if found.generation == link.generation {
                found.peer = None;
            }
        }
    }

    pub(super) fn is_link(&self, connection: ConnectionId) -> bool {
        let link = self.links.get(connection.index as usize).copied().flatten();
        link.is_some_and(|link| link.generation == connection.generation)
    }

    /// The peer of a link.
    pub(super) fn of_link(&self, connection: ConnectionId) -> Option<u32> {
        let link = self
            .links
            .get(connection.index as usize)
            .copied()
            .flatten()?;
        link.peer
            .filter(|_| link.generation == connection.generation)
    }

    pub(super) fn close(&mut self, link: ConnectionId) {
        if self.is_link(link) {
            self.links[link.index as usize] = None;
        }
    }
}
