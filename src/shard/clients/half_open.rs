//! Half-open connections, not accepted by a CONNACK yet: limits on their number, of the broker and of a
//! listener.

use crate::ids::ListenerId;
use crate::limits::share_of;
use crate::shard::ShardConfig;

/// Lives on: each shard its own, with its part of the limits.
#[derive(Debug)]
pub(in crate::shard) struct HalfOpen {
    count: u32,
    max: u32,
    /// By [`ListenerId`]: how many there are, and may be.
    listeners: Vec<(u32, u32)>,
}

impl HalfOpen {
    pub(in crate::shard) fn new(config: &ShardConfig) -> Self {
        let part = |max: Option<u32>| share_of(max.unwrap_or(u32::MAX), config.shards.into());
        let listeners = config.listeners.iter();
        Self {
            count: 0,
            max: part(config.limits.half_open_max),
            listeners: listeners
                .map(|policy| (0, part(policy.half_open_max)))
                .collect(),
        }
    }

    /// Other limits, the same connections. Listeners are added behind those there are.
    pub(in crate::shard) fn renew(&mut self, config: &ShardConfig) {
        let limits = Self::new(config);
        self.max = limits.max;
        let rows = limits.listeners.into_iter().enumerate();
        for (index, (none, max)) in rows {
            match self.listeners.get_mut(index) {
                Some(row) => row.1 = max,
                None => self.listeners.push((none, max)),
            }
        }
    }

    /// Counts one more half-open connection.
    ///
    /// # Errors
    /// There may be no more: which option says so, and how many.
    pub(in crate::shard) fn enter(&mut self, listener: ListenerId) -> Result<(), String> {
        let mut of_bridges = (0, u32::MAX);
        let of_listener = self.listeners.get_mut(listener.index());
        let (count, max) = of_listener.unwrap_or(&mut of_bridges);
        let (whose, max) = if *count >= *max {
            (" of its listener", *max)
        } else if self.count >= self.max {
            ("", self.max)
        } else {
            *count += 1;
            self.count += 1;
            return Ok(());
        };
        Err(format!(
            "half-open-max{whose} is reached: {max} connections of this shard have not sent CONNECT"
        ))
    }

    pub(in crate::shard) fn leave(&mut self, listener: ListenerId) {
        if let Some((count, _)) = self.listeners.get_mut(listener.index()) {
            *count -= 1;
        }
        self.count -= 1;
    }

    pub(in crate::shard) fn count(&self) -> u32 {
        self.count
    }

    /// All of them, counted both ways.
    #[cfg(any(test, feature = "testing"))]
    pub(in crate::shard) fn counts(&self) -> (u32, u32) {
        let each = self.listeners.iter().map(|(count, _)| count);
        (self.count, each.sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::listener::ListenerPolicy;
    use crate::shard::PlacementSeed;

    fn config(max: u32, of_listeners: &[Option<u32>]) -> ShardConfig {
        let policy = |half_open_max: &Option<u32>| ListenerPolicy {
            half_open_max: *half_open_max,
            ..ListenerPolicy::default()
        };
        ShardConfig {
            shards: 1,
            limits: Limits {
                half_open_max: Some(max),
                ..Limits::default()
            },
            listeners: of_listeners.iter().map(policy).collect(),
            placement_seed: PlacementSeed([0; 16]),
            hash_seed: 0,
            own_terms: Default::default(),
        }
    }

    #[test]
    fn other_limits_count_those_that_are_there() {
        let mut half_open = HalfOpen::new(&config(3, &[None]));
        for _ in 0..3 {
            assert_eq!(half_open.enter(ListenerId(0)), Ok(()));
        }
        assert!(half_open.enter(ListenerId(0)).is_err());
        half_open.renew(&config(5, &[Some(4), None]));
        assert_eq!(half_open.enter(ListenerId(0)), Ok(()));
        assert!(
            half_open.enter(ListenerId(0)).is_err(),
            "its own limit is 4"
        );
        assert_eq!(half_open.enter(ListenerId(1)), Ok(()));
        assert!(half_open.enter(ListenerId(1)).is_err(), "the broker's is 5");
        // A lower limit ends none of them.
        half_open.renew(&config(1, &[None, None]));
        for _ in 0..4 {
            half_open.leave(ListenerId(0));
            assert!(half_open.enter(ListenerId(1)).is_err() || half_open.counts().0 == 1);
        }
        assert_eq!(half_open.counts(), (1, 1));
    }
}
