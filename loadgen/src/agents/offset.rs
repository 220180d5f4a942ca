//! Clock offset between an agent and the coordinator, from exchanges of both times.

/// One exchange: asked at `sent_ns` and answered at `received_ns` on the coordinator's clock; the agent
/// read its own in between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    pub(super) sent_ns: u64,
    pub(super) agent_ns: u64,
    pub(super) received_ns: u64,
}

/// The agent's clock less the coordinator's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offset {
    pub(super) offset_ns: i64,
    /// Half the round trip: the answer may have taken all of it or nothing.
    pub(super) uncertainty_ns: u64,
}

impl Exchange {
    fn offset(self) -> Offset {
        let round_trip = self.received_ns.saturating_sub(self.sent_ns);
        let middle = self.sent_ns + round_trip / 2;
        Offset {
            offset_ns: self.agent_ns.wrapping_sub(middle) as i64, // two's complement
            uncertainty_ns: round_trip.div_ceil(2),
        }
    }
}

/// The estimate of the exchange with the shortest round trip, which waited the least on its way.
pub(super) fn estimate(exchanges: &[Exchange]) -> Option<Offset> {
    let offsets = exchanges.iter().map(|exchange| exchange.offset());
    offsets.min_by_key(|offset| offset.uncertainty_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exchanges over channels of these lengths there and back, with a clock that is off by `offset_ns`.
    fn exchanges(offset_ns: i64, ways_ns: &[(u64, u64)]) -> Vec<Exchange> {
        let mut now: u64 = 5_000_000_000;
        let mut made = Vec::new();
        for (there, back) in ways_ns {
            made.push(Exchange {
                sent_ns: now,
                agent_ns: (now + there).wrapping_add_signed(offset_ns),
                received_ns: now + there + back,
            });
            now += 1_000_000;
        }
        made
    }

    #[test]
    fn the_shortest_round_trip_counts_and_bounds_the_error() {
        let channels = [
            (90_000, 400_000),
            (30_000, 20_000),
            (25_000, 26_000),
            (2_000_000, 10),
        ];
        for real in [0, 1, -4_000_000_000, 86_400_000_000_000, -1] {
            let found = estimate(&exchanges(real, &channels)).unwrap();
            assert_eq!(found.uncertainty_ns, 25_000);
            let error = (found.offset_ns - real).unsigned_abs();
            assert_eq!(error, 5_000, "half of what the channels differ");
        }
    }

    #[test]
    fn even_ways_give_the_offset_itself() {
        let found = estimate(&exchanges(-77, &[(40, 40)])).unwrap();
        assert_eq!((found.offset_ns, found.uncertainty_ns), (-77, 40));
        assert_eq!(estimate(&[]), None);
    }

    #[test]
    fn one_way_roads_stay_within_the_uncertainty() {
        for way in [(10_000, 0), (0, 10_000), (1, 0)] {
            let found = estimate(&exchanges(123, &[way])).unwrap();
            assert!((found.offset_ns - 123).unsigned_abs() <= found.uncertainty_ns);
        }
    }
}
