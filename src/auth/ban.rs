//! Addresses from which too many logins failed.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::time::{Span, Time};

/// When an address is banned, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BanTerms {
    /// Failed logins that ban an address; 0: no address is banned.
    pub failures: u32,
    /// Within this time.
    pub within: Span,
    pub span: Span,
}

/// Addresses remembered; with more, those that failed longest ago are dropped first.
const ADDRESSES_MAX: usize = 65_536;

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    since: Time,
    banned_until: Option<Time>,
}

/// Failed logins by source: an IPv4 address, or the first 64 bits of an IPv6 address, because a
/// host has all addresses below them. At most `ADDRESSES_MAX` entries of 64 bytes.
#[derive(Debug)]
pub struct BanTable {
    terms: BanTerms,
    by_source: HashMap<IpAddr, Failures, ahash::RandomState>,
}

impl BanTable {
    #[must_use]
    pub fn new(terms: BanTerms, seed: u64) -> Self {
        Self {
            terms,
            by_source: HashMap::with_hasher(ahash::RandomState::with_seeds(seed, 1, 2, 3)),
        }
    }

    /// Counts by other terms from now on; who is banned stays so until then.
    pub fn set_terms(&mut self, terms: BanTerms) {
        self.terms = terms;
    }

    #[must_use]
    pub fn is_banned(&self, address: IpAddr, now: Time) -> bool {
        let found = self.by_source.get(&source(address));
        found.is_some_and(|failures| failures.banned_until.is_some_and(|until| now < until))
    }

    /// Lets a source in again; false: it was not banned.
    pub fn lift(&mut self, address: IpAddr, now: Time) -> bool {
        let is_banned = self.is_banned(address, now);
        self.by_source.remove(&source(address));
        is_banned
    }

    /// Counts a failed login; true when it is the one that bans its source. A login that succeeds
    /// takes nothing back, or a client with an account could guess at others without limit.
    pub fn failed(&mut self, address: IpAddr, now: Time) -> bool {
        if self.terms.failures == 0 {
            return false;
        }
        if self.by_source.len() >= ADDRESSES_MAX {
            self.make_room(now);
        }
        let fresh = Failures {
            count: 0,
            since: now,
            banned_until: None,
        };
        let entry = self.by_source.entry(source(address)).or_insert(fresh);
        if now.since(entry.since) > self.terms.within && entry.banned_until.is_none_or(|t| t <= now)
        {
            *entry = fresh;
        }
        entry.count += 1;
        let bans =
            entry.count >= self.terms.failures && entry.banned_until.is_none_or(|t| t <= now);
        if bans {
            entry.count = 0;
            entry.since = now;
            entry.banned_until = Some(now + self.terms.span);
        }
        bans
    }

    /// Drops expired entries, and if that frees no room, the older half.
    fn make_room(&mut self, now: Time) {
        let within = self.terms.within;
        self.by_source
            .retain(|_, failures| match failures.banned_until {
                Some(until) => now < until,
                None => now.since(failures.since) <= within,
            });
        if self.by_source.len() >= ADDRESSES_MAX {
            let mut times: Vec<Time> = self.by_source.values().map(|f| f.since).collect();
            let middle = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(middle);
            let median = *median;
            self.by_source.retain(|_, failures| failures.since > median);
        }
    }
}

fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: BanTerms = BanTerms {
        failures: 3,
        within: Span::from_secs(60),
        span: Span::from_secs(300),
    };

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn bans_after_failures_in_a_row() {
        let mut table = BanTable::new(TERMS, 1);
        let (eve, ann) = (ip("192.0.2.1"), ip("192.0.2.2"));
        assert!(!table.failed(eve, at(0)));
        assert!(!table.failed(eve, at(1)));
        assert!(!table.is_banned(eve, at(1)));
        assert!(table.failed(eve, at(2)), "the third bans");
        assert!(table.is_banned(eve, at(301)));
        assert!(table.is_banned(ip("::ffff:192.0.2.1"), at(3)));
        assert!(!table.is_banned(ann, at(3)));
        assert!(!table.is_banned(eve, at(302)));
        assert!(!table.failed(eve, at(400)), "and begins anew");
        assert!(!table.failed(eve, at(400)) && table.failed(eve, at(400)));
        assert!(table.lift(eve, at(401)) && !table.is_banned(eve, at(401)));
        assert!(!table.lift(eve, at(401)) && !table.failed(eve, at(401)));
        // Slow failures do not add up.
        for second in [0, 61, 122, 183] {
            assert!(!table.failed(ann, at(second)));
        }
    }

    #[test]
    fn one_host_has_many_ipv6_addresses() {
        let mut table = BanTable::new(TERMS, 1);
        for last in ["1", "2", "3"] {
            table.failed(ip(&format!("2001:db8:0:1::{last}")), at(0));
        }
        assert!(table.is_banned(ip("2001:db8:0:1:ffff::"), at(1)));
        assert!(!table.is_banned(ip("2001:db8:0:2::1"), at(1)));
    }

    #[test]
    fn is_bounded_and_may_be_off() {
        let mut table = BanTable::new(TERMS, 1);
        for n in 0..200_000_u32 {
            table.failed(IpAddr::from(n.to_be_bytes()), Time(u64::from(n)));
            assert!(table.by_source.len() <= ADDRESSES_MAX);
        }
        let off = BanTerms {
            failures: 0,
            ..TERMS
        };
        let mut table = BanTable::new(off, 1);
        assert!((0..10).all(|_| !table.failed(ip("::1"), at(0))));
    }
}
