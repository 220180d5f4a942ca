//! Routes already found, by topic.
//!
//! A change of a filter without wildcards concerns one topic: its route is forgotten. A wildcard
//! filter with a literal first level concerns topics of that first level; one that starts with a
//! wildcard concerns all. These count up a generation, and a route of an older one is found again.

use std::collections::HashMap;
use std::rc::Rc;

use super::route::{Route, Target};

/// Topics remembered: more than most shards see in a minute, 20 MB at the worst.
const ROUTES_MAX: usize = 65_536;
/// Bytes of topics and targets remembered.
const BYTES_MAX: usize = 64 << 20;
/// First levels are told apart by this many counters.
const FIRST_LEVELS: usize = 256;

#[derive(Debug)]
struct Cached {
    route: Rc<Route>,
    first_level: u8,
    generation: u32,
    all: u32,
    bytes: usize,
}

/// Lives on: each shard its own.
#[derive(Debug)]
pub(super) struct RouteCache {
    routes: HashMap<Box<str>, Cached, ahash::RandomState>,
    bytes: usize,
    hasher: ahash::RandomState,
    generations: [u32; FIRST_LEVELS],
    all: u32,
}

impl RouteCache {
    pub(super) fn new(hasher: &ahash::RandomState) -> Self {
        Self {
            routes: HashMap::with_hasher(hasher.clone()),
            bytes: 0,
            hasher: hasher.clone(),
            generations: [0; FIRST_LEVELS],
            all: 0,
        }
    }

    #[inline]
    pub(super) fn get(&self, topic: &str) -> Option<&Rc<Route>> {
        let cached = self.routes.get(topic)?;
        let is_current = cached.all == self.all
            && cached.generation == self.generations[usize::from(cached.first_level)];
        is_current.then_some(&cached.route)
    }

    pub(super) fn insert(&mut self, topic: &str, route: Rc<Route>) {
        let bytes = topic.len() + route.targets.len() * size_of::<Target>();
        if bytes > BYTES_MAX / 2 {
            return; // found again each time rather than pushing everything else out
        }
        if self.routes.len() >= ROUTES_MAX || self.bytes + bytes > BYTES_MAX {
            self.routes.clear();
            self.bytes = 0;
        }
        let first_level = self.first_level(topic);
        let generation = self.generations[usize::from(first_level)];
        let cached = Cached {
            route,
            first_level,
            generation,
            all: self.all,
            bytes,
        };
        self.bytes += bytes;
        if let Some(old) = self.routes.insert(topic.into(), cached) {
            self.bytes -= old.bytes;
        }
    }

    /// Who matches `filter` has changed.
    pub(super) fn forget(&mut self, filter: &str) {
        if !filter.contains(['+', '#']) {
            if let Some(old) = self.routes.remove(filter) {
                self.bytes -= old.bytes;
            }
        } else if filter.starts_with(['+', '#']) {
            self.all = self.all.wrapping_add(1);
        } else {
            let first_level = usize::from(self.first_level(filter));
            self.generations[first_level] = self.generations[first_level].wrapping_add(1);
        }
    }

    fn first_level(&self, topic: &str) -> u8 {
        let first = topic.split('/').next().unwrap_or(topic);
        self.hasher.hash_one(first.as_bytes()) as u8
    }
}
