//! Places of connections: a bound for all, and a smaller one for each address, so that one client cannot
//! shut out the others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections open at once.
const ALL_MAX: usize = 64;
/// From one address.
const EACH_MAX: usize = 32;

#[derive(Default)]
pub(super) struct Places(Mutex<HashMap<Option<IpAddr>, usize>>);

/// A connection's place; free when it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    source: Option<IpAddr>,
}

impl Places {
    /// `None`: all are taken. A Unix socket counts as one address.
    pub(super) fn take(self: &Arc<Self>, source: Option<IpAddr>) -> Option<Place> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let own = open.get(&source).copied().unwrap_or(0);
        if all >= ALL_MAX || own >= EACH_MAX {
            return None;
        }
        open.insert(source, own + 1);
        Some(Place {
            places: Arc::clone(self),
            source,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.remove(&self.source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_places_for_others() {
        let places = Arc::new(Places::default());
        let from = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
        let mut held: Vec<Place> = (0..EACH_MAX)
            .map(|_| places.take(from(1)).unwrap())
            .collect();
        assert!(places.take(from(1)).is_none());
        held.extend((EACH_MAX..ALL_MAX).map(|_| places.take(from(2)).unwrap()));
        assert!(places.take(from(3)).is_none());
        held.truncate(ALL_MAX - 1);
        held.push(places.take(None).unwrap());
        drop(held);
        assert!(places.0.lock().unwrap().is_empty());
    }
}
