//! Publishers and the subscribers that must receive what they publish.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{poll, PollFd, Timespec};

use super::client::{Client, Disorder};
use super::publisher::Publisher;
use super::seen::Seen;
use super::subscriber::{Arrival, Subscriber};

/// A wait without events ends after this.
const WAIT_MAX: Duration = Duration::from_millis(200);

/// What a flow is made of.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) qos: u8,
    pub(crate) publishers: u32,
    pub(crate) subscribers: u32,
    /// The subscribers are one shared group: each message goes to one of them.
    pub(crate) is_shared: bool,
    /// Messages a publisher publishes at most.
    pub(crate) messages: u64,
    /// Messages published and not yet arrived everywhere, at most: less than a session's queue.
    pub(crate) outstanding_max: u64,
    pub(crate) payload_bytes_max: u64,
}

pub(crate) struct Flow {
    number: u32,
    shape: Shape,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    /// What each subscriber, or the shared group, has received of each publisher.
    arrived: Vec<BTreeMap<u32, Seen>>,
    /// Messages that subscribers in other processes have received.
    elsewhere: Vec<Arc<AtomicU64>>,
    pub(crate) is_publishing: bool,
}

impl Flow {
    /// The publishers of flow `number` publish to `flow/<number>/<n>`; its subscribers receive all
    /// of them. `process` tells apart the clients of several processes on one flow.
    pub(crate) fn new(port: u16, number: u32, process: &str, shape: Shape, seed: u64) -> Self {
        let client = |role: &str, n: u32| {
            let salt = u64::from(number) << 8 | u64::from(n) << 1 | u64::from(role == "s");
            let is_v5 = (u64::from(number + n) + salt) % 2 == 1;
            let id = format!("{role}{process}-{number}-{n}");
            Client::new(port, id, is_v5, seed ^ salt << 16)
        };
        let share = if shape.is_shared { "$share/group/" } else { "" };
        let (qos, bytes_max) = (shape.qos, shape.payload_bytes_max);
        let publishers = (0..shape.publishers).map(|n| {
            let topic = format!("flow/{number}/{n}");
            Publisher::new(client("p", n), n, topic, qos, bytes_max)
        });
        let subscribers = (0..shape.subscribers).map(|n| {
            let filter = format!("{share}flow/{number}/+");
            Subscriber::new(client("s", n), filter, qos)
        });
        let judges = if shape.is_shared {
            1
        } else {
            shape.subscribers
        };
        Self {
            number,
            shape,
            publishers: publishers.collect(),
            subscribers: subscribers.collect(),
            arrived: (0..judges).map(|_| BTreeMap::new()).collect(),
            elsewhere: Vec::new(),
            is_publishing: true,
        }
    }

    /// Publishers wait for these subscribers, too: the number of messages they have received.
    pub(crate) fn also_arrives(&mut self, count: Arc<AtomicU64>) {
        self.elsewhere.push(count);
    }

    pub(crate) fn set_disorder(&mut self, disorder: Disorder) {
        self.clients_mut()
            .for_each(|client| client.set_disorder(disorder));
    }

    pub(crate) fn set_resubscribing(&mut self, one_in: u64) {
        for subscriber in &mut self.subscribers {
            subscriber.resubscribe_one_in = one_in;
        }
    }

    pub(crate) fn clients_mut(&mut self) -> impl Iterator<Item = &mut Client> {
        let publishers = self.publishers.iter_mut().map(|end| &mut end.client);
        let subscribers = self.subscribers.iter_mut().map(|end| &mut end.client);
        publishers.chain(subscribers)
    }

    fn clients(&self) -> impl Iterator<Item = &Client> {
        let publishers = self.publishers.iter().map(|end| &end.client);
        let subscribers = self.subscribers.iter().map(|end| &end.client);
        publishers.chain(subscribers)
    }

    pub(crate) fn is_subscribed(&self) -> bool {
        self.subscribers.iter().all(|end| end.is_subscribed)
    }

    pub(crate) fn published(&self) -> u64 {
        self.publishers.iter().map(|end| end.next).sum()
    }

    /// Messages that have arrived everywhere, in number.
    pub(crate) fn arrived(&self) -> u64 {
        let here = self.arrived.iter();
        let here = here.map(|of| of.values().map(Seen::count).sum());
        let elsewhere = self.elsewhere.iter();
        let elsewhere = elsewhere.map(|count| count.load(Ordering::Relaxed));
        here.chain(elsewhere).min().unwrap_or(0)
    }

    /// Packets received, as a measure of progress.
    pub(crate) fn packets(&self) -> u64 {
        self.clients().map(Client::packets).sum()
    }

    pub(crate) fn connections(&self) -> usize {
        self.clients().map(Client::connections).sum()
    }

    /// Everything published so far has arrived and is acknowledged; everybody is connected.
    pub(crate) fn is_settled(&self) -> bool {
        let published = self.published();
        let is_all_here = self.publishers.is_empty() || self.arrived() == published;
        is_all_here
            && self.publishers.iter().all(Publisher::is_finished)
            && self.subscribers.iter().all(Subscriber::is_finished)
    }

    /// Everything it will ever publish is settled.
    pub(crate) fn is_complete(&self) -> bool {
        let ended = |end: &Publisher| end.next == self.shape.messages;
        self.publishers.iter().all(ended) && self.is_settled()
    }

    /// Handles what has come.
    fn step(&mut self) {
        let mut arrivals = Vec::new();
        for index in 0..self.subscribers.len() {
            self.subscribers[index].step(&mut arrivals);
            let judge = if self.shape.is_shared { 0 } else { index };
            for arrival in arrivals.drain(..) {
                self.judge(judge, &arrival);
            }
        }
        self.publishers.iter_mut().for_each(Publisher::step);
    }

    fn judge(&mut self, judge: usize, arrival: &Arrival) {
        let (number, n, qos) = (self.number, arrival.n, self.shape.qos);
        let seen = self.arrived[judge].entry(arrival.publisher).or_default();
        let is_first = seen.insert(n);
        assert!(is_first || qos == 1, "flow {number}: {n} came twice");
        // A shared group has no order among its members.
        if let (false, Some(gap)) = (self.shape.is_shared, seen.gap()) {
            panic!("flow {number}, QoS {qos}: {n} came before {gap}, or {gap} is lost");
        }
    }

    /// Publishes as much as may be outstanding.
    fn publish(&mut self) {
        if !self.is_publishing || !self.is_subscribed() {
            return;
        }
        let outstanding = self.published().saturating_sub(self.arrived());
        let mut room = self.shape.outstanding_max.saturating_sub(outstanding);
        for publisher in &mut self.publishers {
            let before = publisher.next;
            publisher.publish(room.min(self.shape.messages - before));
            room -= publisher.next - before;
        }
    }

    pub(crate) fn state(&self) -> String {
        let publishers = self.publishers.iter().map(Publisher::state);
        let subscribers = self.subscribers.iter().map(Subscriber::state);
        let ends: Vec<String> = publishers.chain(subscribers).collect();
        format!(
            "flow {}, QoS {}: {} published, {} arrived; {}",
            self.number,
            self.shape.qos,
            self.published(),
            self.arrived(),
            ends.join("; ")
        )
    }
}

/// Waits for events of any flow and handles them.
pub(crate) fn turn(flows: &mut [Flow]) {
    let is_ready = wait(flows);
    for (flow, is_ready) in flows.iter_mut().zip(is_ready) {
        if is_ready {
            flow.step();
        }
        flow.publish();
    }
}

/// Which flows have something to handle.
fn wait(flows: &[Flow]) -> Vec<bool> {
    let mut fds: Vec<PollFd<'_>> = Vec::new();
    let mut ends = Vec::with_capacity(flows.len());
    for flow in flows {
        flow.clients().for_each(|client| client.wait_for(&mut fds));
        ends.push(fds.len());
    }
    let now = Instant::now();
    let wakes = flows.iter().flat_map(Flow::clients);
    let wake = wakes.filter_map(Client::wakes_at).min();
    let patience = wake.map_or(WAIT_MAX, |wake| wake.saturating_duration_since(now));
    let patience = Timespec::try_from(patience.min(WAIT_MAX)).expect("a short time");
    poll(&mut fds, Some(&patience)).expect("poll");
    let now = Instant::now();
    let mut start = 0;
    let is_ready = flows.iter().zip(ends).map(|(flow, end)| {
        let has_event = fds[start..end].iter().any(|fd| !fd.revents().is_empty());
        start = end;
        let mut wakes = flow.clients().filter_map(Client::wakes_at);
        has_event || wakes.any(|wake| wake <= now)
    });
    is_ready.collect()
}
