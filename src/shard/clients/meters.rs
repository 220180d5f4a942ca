//! Meters: messages and bytes per second, of one client and of all clients of a listener.
//!
//! A meter says when what has passed would be over if it had come evenly. While that is further ahead
//! than the burst, a client is not read, QoS 1 and 2 messages for it wait in its queue, and QoS 0
//! messages for it are dropped. Without limits a connection has no meters, which costs one look at a
//! field per read and per delivery.

use crate::ids::ListenerId;
use crate::limits::{Limits, Rate, Rates};
use crate::listener::ListenerPolicy;
use crate::shard::turn::timer_key::TimerKey;
use crate::shard::turn::timer_wheel::{TimerId, TimerWheel};
use crate::time::{Span, Time};

const NS_PER_S: u64 = 1_000_000_000;
/// What may be sent at once to a client with a rate of its own: it is to be sent evenly.
const PACE_BURST: Span = Span::from_millis(100);

/// Messages and bytes of one direction: when each would be over at its rate.
#[derive(Clone, Copy, Debug, Default)]
struct Meters {
    messages: Time,
    bytes: Time,
}

impl Meters {
    fn count(&mut self, rate: Rate, messages: u64, bytes: u64, now: Time) {
        advance(&mut self.messages, rate.messages_per_s, messages, now);
        advance(&mut self.bytes, rate.bytes_per_s, bytes, now);
    }

    /// When no more than the burst is ahead of its time.
    fn ready_at(&self, burst: Span) -> Time {
        Time(self.messages.max(self.bytes).0.saturating_sub(burst.0))
    }
}

fn advance(over_at: &mut Time, per_s: Option<u32>, count: u64, now: Time) {
    if let Some(per_s) = per_s {
        let takes = count.saturating_mul(NS_PER_S) / u64::from(per_s.max(1));
        *over_at = now.max(*over_at) + Span(takes);
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct BothWays {
    incoming: Meters,
    outgoing: Meters,
}

/// The rates of a shard. Lives on: the shard.
#[derive(Debug)]
pub(in crate::shard) struct Metering {
    /// By [`ListenerId`].
    listeners: Vec<ListenerMeters>,
}

/// The rates of a listener, and what all its clients have sent and were sent.
#[derive(Debug)]
struct ListenerMeters {
    /// Of each client.
    client: Rates,
    /// Of all together, the shard's part.
    all: Rates,
    burst: Span,
    meters: BothWays,
}

/// The meters of a client. Lives on: its connection.
#[derive(Debug, Default)]
pub(in crate::shard) struct ClientMeters {
    own: BothWays,
    /// A rate of its own for what it is sent; its listener's do not hold for it then.
    pace: Option<Rate>,
    pub(in crate::shard) input_timer: Option<TimerId>,
    pub(in crate::shard) output_timer: Option<TimerId>,
}

impl Metering {
    /// `None`: nothing is limited.
    pub(in crate::shard) fn new(
        limits: &Limits,
        listeners: &[ListenerPolicy],
        shards: u16,
    ) -> Option<Box<Self>> {
        let metering = Self::of(limits, listeners, shards);
        let limits_any = metering.listeners.iter().any(ListenerMeters::limits);
        limits_any.then(|| Box::new(metering))
    }

    /// For clients that have a rate of their own, whatever is limited besides.
    pub(in crate::shard) fn for_paces(
        limits: &Limits,
        listeners: &[ListenerPolicy],
        shards: u16,
    ) -> Box<Self> {
        Box::new(Self::of(limits, listeners, shards))
    }

    /// Other rates, and what was counted. It stays when nothing is limited any more: connections that are paused
    /// resume by it.
    pub(in crate::shard) fn renewed(
        before: Option<Box<Self>>,
        limits: &Limits,
        listeners: &[ListenerPolicy],
        shards: u16,
    ) -> Option<Box<Self>> {
        let Some(before) = before else {
            return Self::new(limits, listeners, shards);
        };
        let mut metering = Self::of(limits, listeners, shards);
        for (row, counted) in metering.listeners.iter_mut().zip(before.listeners) {
            row.meters = counted.meters;
        }
        Some(Box::new(metering))
    }

    fn of(limits: &Limits, listeners: &[ListenerPolicy], shards: u16) -> Self {
        let part = |per_s: Option<u32>| per_s.map(|per_s| (per_s / u32::from(shards)).max(1));
        let part = |rate: Rate| Rate {
            messages_per_s: part(rate.messages_per_s),
            bytes_per_s: part(rate.bytes_per_s),
        };
        let listeners = listeners.iter().map(|policy| {
            let own = policy.quotas;
            let all = own.listener.over(limits.listener_rates);
            ListenerMeters {
                client: own.client.over(limits.client_rates),
                all: Rates {
                    incoming: part(all.incoming),
                    outgoing: part(all.outgoing),
                },
                burst: Span::from_secs(own.burst_s.unwrap_or(limits.rate_burst_s).into()),
                meters: BothWays::default(),
            }
        });
        Self {
            listeners: listeners.collect(),
        }
    }

    /// Whether the clients of a listener have a rate.
    pub(in crate::shard) fn limits(&self, listener: ListenerId) -> bool {
        let listener = self.listeners.get(listener.index());
        listener.is_some_and(ListenerMeters::limits)
    }

    pub(in crate::shard) fn count_input(
        &mut self,
        of: (ListenerId, &mut ClientMeters),
        counts: (u64, u64),
        now: Time,
    ) {
        let ((listener, client), (messages, bytes)) = (of, counts);
        if let Some(listener) = self.listeners.get_mut(listener.index()) {
            let own = &mut client.own.incoming;
            own.count(listener.client.incoming, messages, bytes, now);
            let all = &mut listener.meters.incoming;
            all.count(listener.all.incoming, messages, bytes, now);
        }
    }

    /// Counts one message sent.
    pub(in crate::shard) fn count_output(
        &mut self,
        of: (ListenerId, &mut ClientMeters),
        bytes: usize,
        now: Time,
    ) {
        let ((listener, client), bytes) = (of, bytes as u64);
        if let Some(pace) = client.pace {
            client.own.outgoing.count(pace, 1, bytes, now);
            return;
        }
        if let Some(listener) = self.listeners.get_mut(listener.index()) {
            let own = &mut client.own.outgoing;
            own.count(listener.client.outgoing, 1, bytes, now);
            let all = &mut listener.meters.outgoing;
            all.count(listener.all.outgoing, 1, bytes, now);
        }
    }

    /// When what a client sends is read again.
    pub(in crate::shard) fn input_ready_at(&self, of: (ListenerId, &ClientMeters)) -> Time {
        self.ready_at(of, |ways| &ways.incoming)
    }

    /// When more is sent to a client.
    pub(in crate::shard) fn output_ready_at(&self, of: (ListenerId, &ClientMeters)) -> Time {
        self.ready_at(of, |ways| &ways.outgoing)
    }

    fn ready_at(
        &self,
        (listener, client): (ListenerId, &ClientMeters),
        way: fn(&BothWays) -> &Meters,
    ) -> Time {
        if client.pace.is_some() {
            return way(&client.own).ready_at(PACE_BURST);
        }
        let Some(listener) = self.listeners.get(listener.index()) else {
            return Time::ZERO;
        };
        let own = way(&client.own).ready_at(listener.burst);
        own.max(way(&listener.meters).ready_at(listener.burst))
    }
}

impl ListenerMeters {
    fn limits(&self) -> bool {
        self.client != Rates::default() || self.all != Rates::default()
    }
}

impl ClientMeters {
    /// When its messages and bytes would be over, incoming and outgoing.
    pub(in crate::shard) fn times(&self) -> [Time; 4] {
        let BothWays { incoming, outgoing } = self.own;
        [
            incoming.messages,
            incoming.bytes,
            outgoing.messages,
            outgoing.bytes,
        ]
    }

    /// Of a client that is sent so many messages per second.
    pub(in crate::shard) fn paced(messages_per_s: u32) -> Self {
        Self {
            pace: Some(Rate {
                messages_per_s: Some(messages_per_s),
                bytes_per_s: None,
            }),
            ..Self::default()
        }
    }

    /// Of [`ClientMeters::times`].
    pub(in crate::shard) fn of_times(
        [messages, bytes, out_messages, out_bytes]: [Time; 4],
    ) -> Self {
        let incoming = Meters { messages, bytes };
        let outgoing = Meters {
            messages: out_messages,
            bytes: out_bytes,
        };
        Self {
            own: BothWays { incoming, outgoing },
            ..Self::default()
        }
    }

    /// The connection ends, or is about to.
    pub(in crate::shard) fn release(meters: Option<Box<Self>>, timers: &mut TimerWheel<TimerKey>) {
        let Some(meters) = meters else { return };
        for timer in [meters.input_timer, meters.output_timer]
            .into_iter()
            .flatten()
        {
            timers.cancel(timer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = NS_PER_S;

    #[test]
    fn a_meter_lets_a_burst_and_then_the_rate_pass() {
        let rate = Rate {
            messages_per_s: Some(10),
            bytes_per_s: None,
        };
        let burst = Span::from_secs(1);
        let mut meters = Meters::default();
        let start = Time(100 * S);
        meters.count(rate, 10, 1 << 40, start);
        assert!(meters.ready_at(burst) <= start, "a whole burst at once");
        meters.count(rate, 1, 0, start);
        assert_eq!(meters.ready_at(burst), start + Span(S / 10));
        meters.count(rate, 100, 0, start);
        assert_eq!(meters.ready_at(burst), start + Span(101 * S / 10));
        // What was not used is not saved up beyond the burst.
        let later = Time(1_000 * S);
        meters.count(rate, 11, 0, later);
        assert_eq!(meters.ready_at(burst), later + Span(S / 10));
    }

    #[test]
    fn the_slower_of_messages_and_bytes_counts() {
        let rate = Rate {
            messages_per_s: Some(1_000),
            bytes_per_s: Some(100),
        };
        let mut meters = Meters::default();
        meters.count(rate, 1, 500, Time(0));
        assert_eq!(meters.ready_at(Span::ZERO), Time(5 * S));
        meters.count(rate, u64::MAX, u64::MAX, Time(0));
        assert!(meters.ready_at(Span::ZERO) > Time(100 * S), "no overflow");
    }

    /// Also where nothing else is limited, as on the connections of bridges.
    #[test]
    fn a_client_may_have_a_pace_of_its_own() {
        let limits = Limits::default();
        let mut metering = Metering::for_paces(&limits, &[ListenerPolicy::default()], 1);
        let mut client = ClientMeters::paced(100);
        let start = Time(100 * S);
        for _ in 0..10 {
            let of = (ListenerId::BRIDGES, &client);
            assert!(
                metering.output_ready_at(of) <= start,
                "a tenth of a second at once"
            );
            metering.count_output((ListenerId::BRIDGES, &mut client), 1 << 20, start);
        }
        metering.count_output((ListenerId::BRIDGES, &mut client), 1, start);
        let of = (ListenerId::BRIDGES, &client);
        assert_eq!(metering.output_ready_at(of), start + Span(S / 100));
        assert!(metering.input_ready_at(of) <= start);
    }

    #[test]
    fn shards_share_the_rate_of_a_listener() {
        let mut limits = Limits::default();
        let plain: [_; 3] = std::array::from_fn(|_| ListenerPolicy::default());
        assert!(Metering::new(&limits, &plain, 1).is_none());
        limits.listener_rates.outgoing.bytes_per_s = Some(1_000);
        limits.listener_rates.outgoing.messages_per_s = Some(2);
        let metering = Metering::new(&limits, &plain, 4).unwrap();
        assert_eq!(metering.listeners.len(), 3);
        for ListenerMeters { client, all, .. } in &metering.listeners {
            assert_eq!(all.outgoing.bytes_per_s, Some(250));
            assert_eq!(all.outgoing.messages_per_s, Some(1), "at least 1");
            assert_eq!((all.incoming, *client), (Rate::default(), Rates::default()));
        }
    }

    #[test]
    fn a_listener_may_have_rates_of_its_own() {
        let mut limits = Limits::default();
        limits.client_rates.incoming.messages_per_s = Some(10);
        limits.client_rates.outgoing.bytes_per_s = Some(20);
        let mut own = ListenerPolicy::default();
        own.quotas.client.incoming.messages_per_s = Some(Some(5));
        own.quotas.client.outgoing.bytes_per_s = Some(None);
        own.quotas.burst_s = Some(7);
        let mut free = ListenerPolicy::default();
        free.quotas.client.incoming.messages_per_s = Some(None);
        free.quotas.client.outgoing.bytes_per_s = Some(None);
        let policies = [ListenerPolicy::default(), own, free];
        let metering = Metering::new(&limits, &policies, 1).unwrap();
        let [broker, own, free] = &metering.listeners[..] else {
            panic!("{metering:?}");
        };
        assert_eq!(
            (broker.client, broker.burst),
            (limits.client_rates, Span::from_secs(1))
        );
        assert_eq!(own.client.incoming.messages_per_s, Some(5));
        assert_eq!(own.client.outgoing, Rate::default());
        assert_eq!(own.burst, Span::from_secs(7));
        assert!(own.limits() && !free.limits());
        assert!(metering.limits(ListenerId(0)) && !metering.limits(ListenerId(2)));
    }

    /// A connection that is paused resumes by its listener's meters, also when nothing is limited any more.
    #[test]
    fn other_rates_keep_what_was_counted() {
        let limited = |per_s| Limits {
            listener_rates: Rates {
                incoming: Rate {
                    messages_per_s: per_s,
                    bytes_per_s: None,
                },
                outgoing: Rate::default(),
            },
            ..Limits::default()
        };
        let plain = [(); 2].map(|()| ListenerPolicy::default());
        let none = Metering::renewed(None, &limited(None), &plain[..1], 1);
        assert!(none.is_none());
        let mut metering = Metering::renewed(none, &limited(Some(1)), &plain[..1], 1).unwrap();
        let mut client = ClientMeters::default();
        let (listener, now) = (ListenerId(0), Time::ZERO);
        metering.count_input((listener, &mut client), (10, 0), now);
        let ready_at = metering.input_ready_at((listener, &client));
        assert!(ready_at > now);
        let metering = Metering::renewed(Some(metering), &limited(None), &plain, 1).unwrap();
        assert!(!metering.limits(listener) && metering.listeners.len() == 2);
        assert_eq!(metering.input_ready_at((listener, &client)), ready_at);
    }
}
