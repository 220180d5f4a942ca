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
    /// Its peer, or one of the two that follow.
    peer: u32,
}

/// A link whose client has another one.
const ALONE: u32 = u32::MAX - 1;
/// No link.
const NONE: u32 = u32::MAX;

/// A place for a peer.
#[derive(Default)]
struct Place {
    /// How many it has had.
    generation: u32,
    peer: Option<Peer>,
}

/// Places behind each other, which stay where they are: as many as fill 32 KiB, a class of the allocator.
const CHUNK: usize = (32 << 10) / size_of::<Place>();

pub(super) struct Peers {
    chunks: Vec<Box<[Place]>>,
    free: Vec<u32>,
    /// By the key of each.
    by_key: HashTable<u32>,
    hasher: RandomState,
    /// How many are counted under each state.
    states: [u64; 4],
    /// By the index of a connection.
    links: Vec<Link>,
}

impl Peers {
    pub(super) fn new(state: RandomState) -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
            by_key: HashTable::new(),
            hasher: state,
            states: [0; 4],
            links: Vec::new(),
        }
    }

    pub(super) fn insert(&mut self, peer: Peer) -> u32 {
        if self.free.is_empty() {
            let first = (self.chunks.len() * CHUNK) as u32;
            let places = (0..CHUNK).map(|_| Place::default());
            self.chunks.push(places.collect());
            self.free.extend((first..first + CHUNK as u32).rev());
        }
        let index = self.free.pop().expect("some were added");
        let hash = self.hasher.hash_one(&peer.key);
        self.states[usize::from(peer.counted)] += 1;
        self.place_mut(index).peer = Some(peer);
        self.enter(hash, index);
        index
    }

    pub(super) fn remove(&mut self, index: u32) -> Peer {
        let place = self.place_mut(index);
        place.generation = place.generation.wrapping_add(1);
        let peer = place.peer.take().expect(PRESENT);
        self.states[usize::from(peer.counted)] -= 1;
        self.free.push(index);
        self.forget_key(&peer.key, index);
        peer
    }

    /// The state of a peer may be another one now.
    pub(super) fn count_state(&mut self, index: u32) {
        let peer = self.get_mut(index);
        let place = peer.state.place();
        let before = std::mem::replace(&mut peer.counted, place);
        self.states[usize::from(before)] -= 1;
        self.states[usize::from(place)] += 1;
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
        let place = &self.chunks[index as usize / CHUNK][index as usize % CHUNK];
        place.peer.as_ref().expect(PRESENT)
    }

    #[track_caller]
    pub(super) fn get_mut(&mut self, index: u32) -> &mut Peer {
        self.place_mut(index).peer.as_mut().expect(PRESENT)
    }

    fn place_mut(&mut self, index: u32) -> &mut Place {
        &mut self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }

    /// The generation of a place, while there is a peer in it.
    pub(super) fn generation(&self, index: u32) -> Option<u32> {
        let place = &self.chunks.get(index as usize / CHUNK)?[index as usize % CHUNK];
        place.peer.is_some().then_some(place.generation)
    }

    /// `hash` is the key's, with the same keys of hashing as all peers' are.
    pub(super) fn of_key(&self, hash: u64, key: &PeerKey) -> Option<u32> {
        debug_assert_eq!(hash, self.hasher.hash_one(key));
        let is_it = |index: &u32| self.get(*index).key == *key;
        self.by_key.find(hash, is_it).copied()
    }

    /// No other peer has the key of this one.
    fn enter(&mut self, hash: u64, index: u32) {
        let Self {
            by_key,
            chunks,
            hasher,
            ..
        } = self;
        let hash_of = |index: &u32| {
            let place = &chunks[*index as usize / CHUNK][*index as usize % CHUNK];
            let peer = place.peer.as_ref().expect(PRESENT);
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
        let places = (0..).zip(self.chunks.iter().flatten());
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
            let none = Link {
                generation: 0,
                peer: NONE,
            };
            let more = place + 1 - self.links.len();
            make_room(&mut self.links, more);
            self.links.resize(place + 1, none);
        }
        self.links[place] = Link {
            generation: link.generation,
            peer: index,
        };
    }

    /// A link without a peer.
    pub(super) fn join_alone(&mut self, link: ConnectionId) {
        self.join(link, ALONE);
    }

    /// A link stays open without a peer until the shard closes it.
    pub(super) fn part(&mut self, link: ConnectionId) {
        if self.is_link(link) {
            self.links[link.index as usize].peer = ALONE;
        }
    }

    fn link(&self, connection: ConnectionId) -> Option<Link> {
        let link = self.links.get(connection.index as usize)?;
        (link.peer != NONE && link.generation == connection.generation).then_some(*link)
    }

    pub(super) fn is_link(&self, connection: ConnectionId) -> bool {
        self.link(connection).is_some()
    }

    /// The peer of a link.
    pub(super) fn of_link(&self, connection: ConnectionId) -> Option<u32> {
        let link = self.link(connection)?;
        (link.peer != ALONE).then_some(link.peer)
    }

    pub(super) fn close(&mut self, link: ConnectionId) {
        if self.is_link(link) {
            self.links[link.index as usize].peer = NONE;
        }
    }
}

/// Makes room in a list that is mostly as long as it ever was: an eighth more at a time, not twice as much.
fn make_room<T>(list: &mut Vec<T>, more: usize) {
    if list.capacity() - list.len() < more {
        list.reserve_exact(more.max(list.len() / 8));
    }
}
