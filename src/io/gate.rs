//! Admission of connections by a listener's limits, before anything is read or sent.
//!
//! Shared by all shards and touched once when a connection opens and once when it closes. Nothing in
//! it waits: a rate is one number, the time at which everything admitted so far is paid for.

use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::Arc;

use crate::listener::Listener;
use crate::time::{Span, Time};
use crate::transport::Trusted;

/// A rate allows so many connections at once as it does in this time.
const BURST: Span = Span::from_secs(1);
/// Independent places of one source; it is over its limit when all of them are.
const ROWS: usize = 4;
/// Places in a row.
const CELLS: usize = 4_096;

/// The limit for which a connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    ConnectionsMax,
    ConnectRate,
    ConnectRateSource,
}

pub(super) const REFUSALS: usize = Refusal::ALL.len();

/// The limits of one listener.
pub(super) struct Gate {
    /// The address of the listener.
    name: String,
    /// Shared with the gate it has replaced, whose connections are still open.
    open: Arc<AtomicU32>,
    connections_max: u32,
    /// As configured, by reason; for messages.
    limits: [Option<u32>; REFUSALS],
    rate: Option<(Rate, AtomicU64)>,
    sources: Option<Sources>,
    /// Of datagrams.
    datagrams: Option<Sources>,
    /// Trusted proxies: the address they name counts, not theirs.
    proxies: Trusted,
    /// By reason, since the start.
    refused: Arc<[AtomicU64; REFUSALS]>,
    tls: Option<Arc<TlsCounts>>,
}

/// Handshakes of a listener with TLS, and when its first certificate in force ends. Shared with the gate it has replaced.
#[derive(Default)]
struct TlsCounts {
    completed: AtomicU64,
    failed: AtomicU64,
    /// Seconds since 1970; 0: not known.
    certificate_until_s: AtomicI64,
}

/// A rate, as the time one connection costs, in nanoseconds.
#[derive(Clone, Copy)]
struct Rate(u64);

/// Sources by the hash of their address. A source has a place in each row; others may have the same,
/// and that all of its places are taken up by others is improbable until many thousands connect at
/// their full rate. So memory is bounded and no source can evict the record of another.
struct Sources {
    rate: Rate,
    cells: Box<[AtomicU64]>,
    hash: ahash::RandomState,
}

impl Gate {
    pub(super) fn new(listener: &Listener, name: String) -> Self {
        let rate = |per_s: Option<u32>| per_s.map(|n| Rate(BURST.0 / u64::from(n.max(1))));
        Self {
            name,
            limits: [
                listener.connections_max,
                listener.connect_rate,
                listener.connect_rate_source,
            ],
            open: Arc::default(),
            connections_max: listener.connections_max.unwrap_or(u32::MAX),
            rate: rate(listener.connect_rate).map(|rate| (rate, AtomicU64::new(0))),
            sources: rate(listener.connect_rate_source)
                .map(|rate| Sources::new(rate, ahash::RandomState::new())),
            datagrams: rate(listener.mqtt_sn.datagram_rate_source)
                .map(|rate| Sources::new(rate, ahash::RandomState::new())),
            proxies: proxies_of(listener),
            refused: Arc::default(),
            tls: listener.transport.has_tls().then(Arc::default),
        }
    }

    /// Other limits, and what was counted.
    pub(super) fn renewed(&self, listener: &Listener) -> Self {
        let fresh = Self::new(listener, self.name.clone());
        let tls = fresh.tls.map(|none| self.tls.clone().unwrap_or(none));
        Self {
            open: Arc::clone(&self.open),
            refused: Arc::clone(&self.refused),
            tls,
            ..fresh
        }
    }

    /// The handshakes of a connection are done, or have failed; TLS is not always among them.
    pub(super) fn shaken(&self, is_open: bool) {
        if let Some(tls) = &self.tls {
            let count = if is_open { &tls.completed } else { &tls.failed };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Completed and failed, of a listener with TLS.
    pub(super) fn handshakes(&self) -> Option<[u64; 2]> {
        let tls = self.tls.as_ref()?;
        Some([&tls.completed, &tls.failed].map(|count| count.load(Ordering::Relaxed)))
    }

    /// Certificates are in force, the first of which ends then.
    pub(super) fn certified_until(&self, until_s: Option<i64>) {
        if let Some(tls) = &self.tls {
            let until_s = until_s.unwrap_or(0);
            tls.certificate_until_s.store(until_s, Ordering::Relaxed);
        }
    }

    pub(super) fn certificate_until_s(&self) -> Option<i64> {
        let tls = self.tls.as_ref()?;
        let until_s = tls.certificate_until_s.load(Ordering::Relaxed);
        (until_s != 0).then_some(until_s)
    }

    /// This is the address of a trusted proxy: nothing that happens on its connections counts against it,
    /// or all its clients would pay for one.
    pub(super) fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.contains(Some(address))
    }

    /// Counts a connection in, or a refusal. `None`: from a Unix socket.
    pub(super) fn admit(&self, from: Option<IpAddr>, now: Time) -> Result<(), Refusal> {
        let result = self.judge(from, now);
        match result {
            Ok(()) => {}
            Err(reason) => {
                self.leave();
                self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
            }
        }
        result
    }

    /// Checks limits in this order: a source beyond its own limit uses up nothing of all others'.
    fn judge(&self, from: Option<IpAddr>, now: Time) -> Result<(), Refusal> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.connections_max {
            return Err(Refusal::ConnectionsMax);
        }
        if let Some(from) = from {
            self.judge_source(from, now)?;
        }
        match &self.rate {
            Some((rate, paid_at)) if !rate.take(paid_at, now) => Err(Refusal::ConnectRate),
            _ => Ok(()),
        }
    }

    /// The rate of a source alone: of the one that a proxy has named. A refusal is counted; the
    /// connection is still open.
    pub(super) fn admit_named(&self, client: IpAddr, now: Time) -> Result<(), Refusal> {
        let result = self.judge_source(client, now);
        if let Err(reason) = result {
            self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// The rate of a source; trusted proxies are exempt.
    fn judge_source(&self, from: IpAddr, now: Time) -> Result<(), Refusal> {
        match &self.sources {
            Some(sources) if !self.is_proxy(from) && !sources.admit(from, now) => {
                Err(Refusal::ConnectRateSource)
            }
            _ => Ok(()),
        }
    }

    /// A datagram of this source is read; else it is dropped.
    pub(super) fn takes_datagram(&self, from: IpAddr, now: Time) -> bool {
        let sources = self.datagrams.as_ref();
        sources.is_none_or(|sources| sources.admit(from, now))
    }

    /// Open now.
    pub(super) fn connections(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts in a connection that another process has admitted.
    pub(super) fn enter(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// An admitted connection is closed.
    pub(super) fn leave(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Which limit is reached, for a line about a refusal.
    pub(super) fn describe(&self, reason: Refusal) -> String {
        let limit = self.limits[reason as usize].unwrap_or(u32::MAX);
        let per = match reason {
            Refusal::ConnectionsMax => "",
            Refusal::ConnectRate => " a second",
            Refusal::ConnectRateSource => " a second and address",
        };
        format!(
            "{} of its listener is reached: {limit}{per}",
            reason.option()
        )
    }

    /// How often this was the reason.
    pub(super) fn refused(&self, reason: Refusal) -> u64 {
        self.refused[reason as usize].load(Ordering::Relaxed)
    }
}

/// The trusted proxies of a listener.
fn proxies_of(listener: &Listener) -> Trusted {
    if !(listener.proxy_protocol || listener.transport.has_websocket()) {
        return Trusted::default();
    }
    // Checked with the configuration; a list that cannot be read trusts no proxy.
    Trusted::from_list(listener.trusted_proxies.iter().map(String::as_str)).unwrap_or_default()
}

impl Refusal {
    pub(super) const ALL: [Self; 3] = [
        Self::ConnectionsMax,
        Self::ConnectRate,
        Self::ConnectRateSource,
    ];

    /// The option that sets this limit.
    pub(super) fn option(self) -> &'static str {
        match self {
            Self::ConnectionsMax => "connections-max",
            Self::ConnectRate => "connect-rate",
            Self::ConnectRateSource => "connect-rate-source",
        }
    }
}

impl Rate {
    /// True when one more is within the rate; then it is paid for.
    fn take(self, paid_at: &AtomicU64, now: Time) -> bool {
        let next = |paid: u64| self.next(paid, now);
        paid_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_ok()
    }

    /// Time up to which connections are paid for after one more; `None`: over the rate.
    fn next(self, paid: u64, now: Time) -> Option<u64> {
        let next = paid.max(now.0) + self.0;
        (next <= now.0 + BURST.0).then_some(next)
    }
}

impl Sources {
    fn new(rate: Rate, hash: ahash::RandomState) -> Self {
        Self {
            rate,
            cells: (0..ROWS * CELLS).map(|_| AtomicU64::new(0)).collect(),
            hash,
        }
    }

    /// True when one more of this source is within its rate.
    fn admit(&self, from: IpAddr, now: Time) -> bool {
        let places = self.places(from);
        let paid = places.map(|place| self.cells[place].load(Ordering::Relaxed));
        let least = paid.iter().copied().min().unwrap_or(0);
        let Some(next) = self.rate.next(least, now) else {
            return false;
        };
        for place in places {
            self.cells[place].fetch_max(next, Ordering::Relaxed);
        }
        true
    }

    /// One place in each row. Of IPv6 the first half counts: a host has all of the other.
    fn places(&self, from: IpAddr) -> [usize; ROWS] {
        let source = match from.to_canonical() {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64 | 1 << 63,
        };
        let hash = self.hash.hash_one(source);
        std::array::from_fn(|row| {
            let part = (hash >> (16 * row)) as usize % CELLS;
            row * CELLS + part
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(change: impl FnOnce(&mut Listener)) -> Gate {
        let mut listener = Listener::default();
        change(&mut listener);
        Gate::new(&listener, "here".into())
    }

    fn at(ms: u64) -> Time {
        Time::ZERO + Span::from_secs(100) + Span::from_millis(ms)
    }

    fn source(n: u32) -> Option<IpAddr> {
        Some(IpAddr::V4((0x0A00_0000 + n).into()))
    }

    #[test]
    fn connections_are_counted_in_and_out() {
        let gate = gate(|listener| listener.connections_max = Some(2));
        assert_eq!(gate.admit(None, at(0)), Ok(()));
        assert_eq!(gate.admit(source(1), at(0)), Ok(()));
        for _ in 0..3 {
            assert_eq!(gate.admit(source(1), at(0)), Err(Refusal::ConnectionsMax));
        }
        gate.leave();
        assert_eq!(gate.admit(source(1), at(0)), Ok(()));
        assert_eq!(gate.refused(Refusal::ConnectionsMax), 3);
        assert_eq!(gate.refused(Refusal::ConnectRate), 0);
        assert_eq!(
            gate.describe(Refusal::ConnectionsMax),
            "connections-max of its listener is reached: 2"
        );
    }

    #[test]
    fn a_rate_has_a_burst_of_a_second_and_then_its_pace() {
        let gate = gate(|listener| listener.connect_rate = Some(10));
        let admitted = |ms: u64, tries: usize| {
            let results = (0..tries).map(|_| gate.admit(source(1), at(ms)));
            results.filter(Result::is_ok).count()
        };
        assert_eq!(admitted(0, 50), 10);
        assert_eq!(admitted(99, 5), 0);
        assert_eq!(admitted(100, 5), 1);
        assert_eq!(admitted(450, 5), 3);
        assert_eq!(admitted(60_000, 50), 10, "no more after a quiet hour");
    }

    #[test]
    fn a_source_beyond_its_rate_takes_nothing_of_others() {
        let gate = gate(|listener| {
            listener.connect_rate = Some(20);
            listener.connect_rate_source = Some(2);
        });
        for n in 0..100 {
            let expected = if n < 2 {
                Ok(())
            } else {
                Err(Refusal::ConnectRateSource)
            };
            assert_eq!(gate.admit(source(7), at(0)), expected);
        }
        for n in 100..109 {
            assert_eq!(gate.admit(source(n), at(0)), Ok(()));
            assert_eq!(gate.admit(source(n), at(0)), Ok(()));
        }
        assert_eq!(gate.admit(source(200), at(0)), Err(Refusal::ConnectRate));
        // One network of IPv6 is one source.
        let [a, b, other] = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"]
            .map(|text| Some(text.parse::<IpAddr>().unwrap()));
        assert_eq!(gate.admit(a, at(5_000)), Ok(()));
        assert_eq!(gate.admit(b, at(5_000)), Ok(()));
        assert_eq!(gate.admit(a, at(5_000)), Err(Refusal::ConnectRateSource));
        assert_eq!(gate.admit(other, at(5_000)), Ok(()));
    }

    #[test]
    fn behind_a_proxy_the_client_it_names_is_the_source() {
        let gate = gate(|listener| {
            listener.connect_rate_source = Some(2);
            listener.proxy_protocol = true;
            listener.trusted_proxies = vec!["10.0.0.1".into()];
        });
        let client = |n| source(n).unwrap();
        for n in 100..200 {
            assert_eq!(gate.admit(source(1), at(0)), Ok(()), "the proxy");
            assert_eq!(gate.admit_named(client(n), at(0)), Ok(()));
        }
        assert_eq!(gate.admit_named(client(100), at(0)), Ok(()));
        assert_eq!(
            gate.admit_named(client(100), at(0)),
            Err(Refusal::ConnectRateSource)
        );
        assert_eq!(gate.refused(Refusal::ConnectRateSource), 1);
        let others = [(); 3].map(|()| gate.admit(source(2), at(0)).is_ok());
        assert_eq!(
            others,
            [true, true, false],
            "who is no proxy counts for itself"
        );
        assert_eq!(gate.open.load(Ordering::Relaxed), 102);
    }

    /// A proxy that names itself, or another one, is as much a proxy as one that names no client.
    #[test]
    fn an_address_of_a_proxy_is_no_source_however_it_is_named() {
        let gate = gate(|listener| {
            listener.connect_rate_source = Some(1);
            listener.proxy_protocol = true;
            listener.trusted_proxies = vec!["10.0.0.0/30".into()];
        });
        let proxy = source(1).unwrap();
        for _ in 0..100 {
            assert_eq!(gate.admit(Some(proxy), at(0)), Ok(()));
            assert_eq!(gate.admit_named(proxy, at(0)), Ok(()));
        }
        assert!(gate.is_proxy(proxy) && !gate.is_proxy(source(9).unwrap()));
        assert_eq!(gate.refused(Refusal::ConnectRateSource), 0);
    }

    /// A thousand sources at their limit do not stop another one. They take up a fifth of each row, so that
    /// one source in five hundred would find all of its places taken: the seeds are ones with which
    /// none of these does.
    #[test]
    fn many_busy_sources_do_not_stand_in_the_way_of_a_quiet_one() {
        let mut gate = gate(|listener| listener.connect_rate_source = Some(1));
        let seeded = ahash::RandomState::with_seeds(1, 2, 3, 4);
        gate.sources = Some(Sources::new(Rate(BURST.0), seeded));
        for n in 0..1_000 {
            let _ = gate.admit(source(n), at(0));
        }
        let quiet = (5_000..5_100).filter(|n| gate.admit(source(*n), at(1)).is_err());
        assert_eq!(quiet.count(), 0);
    }
}
