//! Pauses of clients: the time in which they were not read while one process took over from another.

/// Of all clients that were carried over, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pauses {
    pub clients: u32,
    pub median_us: u32,
    /// Of 99 in 100 at most.
    pub p99_us: u32,
    pub longest_us: u32,
}

impl Pauses {
    /// `each`: one of each client, in microseconds.
    #[must_use]
    pub fn of(mut each: Vec<u32>) -> Self {
        each.sort_unstable();
        // The nearest rank: so many hundredths of all are not above it.
        let rank = |hundredths: usize| (each.len() * hundredths).div_ceil(100).max(1) - 1;
        let at = |hundredths| each.get(rank(hundredths)).copied().unwrap_or(0);
        Self {
            clients: each.len() as u32,
            median_us: at(50),
            p99_us: at(99),
            longest_us: at(100),
        }
    }
}

impl std::fmt::Display for Pauses {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |us: u32| f64::from(us) / 1_000.0;
        write!(
            out,
            "{} clients were not read for {:.1} ms (median), {:.1} ms (p99), {:.1} ms (at most)",
            self.clients,
            ms(self.median_us),
            ms(self.p99_us),
            ms(self.longest_us)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_of_clients() {
        assert_eq!(Pauses::of(Vec::new()), Pauses::default());
        let of = |count: u32| {
            let Pauses {
                clients,
                median_us,
                p99_us,
                longest_us,
            } = Pauses::of((1..=count).rev().collect());
            [clients, median_us, p99_us, longest_us]
        };
        assert_eq!(of(1), [1, 1, 1, 1]);
        assert_eq!(of(2), [2, 1, 2, 2]);
        assert_eq!(of(100), [100, 50, 99, 100]);
        assert_eq!(of(1_000), [1_000, 500, 990, 1_000]);
        let said = Pauses::of(vec![1_500, 2_000]).to_string();
        assert_eq!(
            said,
            "2 clients were not read for 1.5 ms (median), 2.0 ms (p99), 2.0 ms (at most)"
        );
    }
}
