//! The route cache: routes already found, by topic.
//!
//! A change of a filter without wildcards concerns one topic: its route is removed. A change of a
//! filter with wildcards concerns the topics that begin with the levels before the first of them:
//! they are not sought, their routes are found to be older than the change when asked for. So under
//! a churn of subscriptions only routes that may have changed are found again.

use std::rc::Rc;

use hashbrown::HashTable;

use super::route::{Route, Target};

/// Topics remembered. Above it (and below 7,168, at which the table would double) the one that was not
/// asked for lately goes. Not more, because a route that is out of the processor's cache takes longer to
/// read than most take to find anew: with 40,000 remembered, 340 to 480 ns, found anew 150 to 680.
const ROUTES_MAX: usize = 7_000;
/// Bytes of topics and routes remembered.
const BYTES_MAX: usize = 64 << 20;
/// A route to every session of a broker of a million fits.
const _: () = assert!(1_000_000 * size_of::<Target>() < BYTES_MAX / 2);
/// First levels of a topic by which changes are distinguished: tenant, site, device. A filter whose
/// first wildcard comes later counts as one that begins with this many.
const PREFIX_LEVELS: usize = 3;
/// Prefixes are distinguished by this many counters; two that share one only cost a route found again.
const PREFIXES: usize = 1_024;
/// Routes passed over at most in the search for one not asked for lately.
const PASSED_MAX: usize = 32;

/// Topics remembered as asked for once when the cache is full, two bytes each: about as many as it holds.
/// With more, topics of which each comes too seldom to stay would push each other out.
const SEEN: usize = 1 << 13;

/// Counts changes of the index.
type Generation = u64;

#[derive(Debug)]
struct Cached {
    topic: Rc<str>,
    route: Rc<Route>,
    hash: u64,
    found_at: Generation,
    bytes: u32,
    /// Counters of the topic's beginnings of one, two and three levels.
    prefixes: [u16; PREFIX_LEVELS],
    asked_lately: bool,
}

/// Lives on: each shard its own.
#[derive(Debug)]
pub(super) struct RouteCache {
    routes: HashTable<Cached>,
    hasher: ahash::RandomState,
    bytes: usize,
    /// Where the search for a route to evict continues: a bucket of the table.
    hand: usize,
    generation: Generation,
    /// Of a publisher that may continue with its topic. One, however wide, beside those that are counted.
    last: Option<(Generation, Rc<Route>)>,
    /// Parts of the hashes of topics that found no room lately; empty until the cache is full.
    seen: Vec<u16>,
    /// When a filter with this beginning last changed.
    changed: Box<[Generation; PREFIXES]>,
    /// When a filter that begins with a wildcard last changed.
    all_changed: Generation,
}

impl RouteCache {
    pub(super) fn new(hasher: &ahash::RandomState) -> Self {
        Self {
            routes: HashTable::new(),
            hasher: hasher.clone(),
            bytes: 0,
            hand: 0,
            generation: 0,
            last: None,
            seen: Vec::new(),
            changed: Box::new([0; PREFIXES]),
            all_changed: 0,
        }
    }

    /// Rises with each change that may concern a route.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The hash of a topic, for `get` and `insert`.
    #[inline]
    pub(super) fn hash(&self, topic: &str) -> u64 {
        self.hasher.hash_one(topic.as_bytes())
    }

    /// The route remembered last, if it is of this topic and current.
    #[inline]
    pub(super) fn last(&self, topic: &str) -> Option<Rc<Route>> {
        let (found_at, route) = self.last.as_ref()?;
        let is_it = *found_at == self.generation && *route.topic == *topic;
        is_it.then(|| Rc::clone(route))
    }

    #[inline]
    pub(super) fn set_last(&mut self, route: &Rc<Route>) {
        self.last = Some((self.generation, Rc::clone(route)));
    }

    /// Whether there is a route of this topic, current or not.
    #[inline]
    pub(super) fn has(&self, hash: u64, topic: &str) -> bool {
        let found = self.routes.find(hash, |one| *one.topic == *topic);
        found.is_some()
    }

    #[inline]
    pub(super) fn get(&mut self, hash: u64, topic: &str) -> Option<Rc<Route>> {
        let cached = self.routes.find_mut(hash, |one| *one.topic == *topic)?;
        let is_current = cached.found_at >= self.all_changed
            && cached
                .prefixes
                .iter()
                .all(|prefix| cached.found_at >= self.changed[usize::from(*prefix)]);
        if is_current {
            cached.asked_lately = true;
            return Some(Rc::clone(&cached.route));
        }
        self.remove(hash, topic);
        None
    }

    /// Remembers a route found just now, after `get` had none.
    pub(super) fn insert(&mut self, hash: u64, topic: &str, route: &Rc<Route>) {
        let bytes = topic.len()
            + size_of::<Cached>()
            + size_of::<Route>()
            + route.targets.bytes()
            + size_of_val(&*route.groups);
        if bytes > BYTES_MAX / 2 {
            return; // found again each time rather than pushing everything else out
        }
        if self.is_full_for(bytes) && !self.was_seen(hash) {
            return;
        }
        while self.is_full_for(bytes) {
            self.push_one_out();
        }
        self.bytes += bytes;
        let cached = Cached {
            topic: Rc::clone(&route.topic),
            route: Rc::clone(route),
            hash,
            found_at: self.generation,
            bytes: bytes as u32, // at most half of BYTES_MAX
            prefixes: self.prefixes(topic),
            asked_lately: false,
        };
        self.routes.insert_unique(hash, cached, |one| one.hash);
    }

    fn is_full_for(&self, bytes: usize) -> bool {
        self.routes.len() >= ROUTES_MAX || self.bytes + bytes > BYTES_MAX
    }

    /// Whether a topic that found no room asks again. So topics used once, such as those of answers
    /// to requests, evict no route and cost no more than the match: half of what remembering them
    /// does.
    fn was_seen(&mut self, hash: u64) -> bool {
        self.seen.resize(SEEN, 0);
        // The table goes by the low and the highest bits.
        let seen = &mut self.seen[(hash >> 16) as usize % SEEN];
        let tag = (hash >> 32) as u16 | 1; // not 0, which is an empty slot
        std::mem::replace(seen, tag) == tag
    }

    /// Invalidates the routes of topics that match `filter`: its receivers have changed.
    pub(super) fn forget(&mut self, filter: &str) {
        self.generation += 1;
        let Some(wildcard) = filter.find(['+', '#']) else {
            self.remove(self.hash(filter), filter);
            return;
        };
        // The separator before the wildcard belongs to neither.
        match wildcard.checked_sub(1) {
            None => self.all_changed = self.generation,
            Some(end) => {
                let prefixes = self.prefixes(&filter[..end]);
                self.changed[usize::from(prefixes[PREFIX_LEVELS - 1])] = self.generation;
            }
        }
    }

    /// Counters of the first level, the first two and so on; the last is repeated when there are no
    /// more levels.
    fn prefixes(&self, topic: &str) -> [u16; PREFIX_LEVELS] {
        let mut prefixes = [0; PREFIX_LEVELS];
        let mut separators = topic.bytes().enumerate().filter(|(_, byte)| *byte == b'/');
        let mut end = 0;
        for at in 0..PREFIX_LEVELS {
            if at > 0 && end == topic.len() {
                prefixes[at] = prefixes[at - 1];
                continue;
            }
            end = separators.next().map_or(topic.len(), |(end, _)| end);
            prefixes[at] = (self.hash(&topic[..end]) % PREFIXES as u64) as u16;
        }
        prefixes
    }

    fn remove(&mut self, hash: u64, topic: &str) {
        if let Ok(entry) = self.routes.find_entry(hash, |one| *one.topic == *topic) {
            let (old, _) = entry.remove();
            self.bytes -= old.bytes as usize;
        }
    }

    /// Drops the first route behind the hand that was not asked for since the hand last passed it: a
    /// route asked for often stays, and no order of use need be kept. One at a time, so that a full
    /// cache costs no pause.
    fn push_one_out(&mut self) {
        let mut passed = 0;
        // Twice round at most: the first time every route may have been asked for.
        for _ in 0..2 * self.routes.num_buckets() {
            self.hand = (self.hand + 1) % self.routes.num_buckets();
            let Ok(mut entry) = self.routes.get_bucket_entry(self.hand) else {
                continue;
            };
            let cached = entry.get_mut();
            if cached.asked_lately && passed < PASSED_MAX {
                cached.asked_lately = false;
                passed += 1;
                continue;
            }
            let (old, _) = entry.remove();
            self.bytes -= old.bytes as usize;
            return;
        }
    }

    #[cfg(test)]
    pub(super) fn len_and_bytes(&self) -> (usize, usize) {
        (self.routes.len(), self.bytes)
    }
}
