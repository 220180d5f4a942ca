//! One worker: its clients, their sockets, and the turns it takes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::Arc;

use super::backoff::Reconnects;
use super::clock::{now_ns, thread_cpu_ns};
use super::control::{Control, Interval};
use super::slot::Slot;
use super::work::Work;
use ringmq::ids::ConnectionId;
use ringmq::io::poller::Event;
use ringmq::mqtt::Qos;
use ringmq::time::Span;
use ringmq::transport::Scratch;

use super::deadlines::Deadlines;
use crate::client::{Client, Context, OwnPayloads, Published};
use crate::flows::Flow;
use crate::meter::{Count, Meter, Timings};
use crate::payload::Pattern;
use crate::plan::Plan;
use crate::poller::{Backend, Poller};
use crate::transport::Connector;

/// One buffer per worker; the beginning of a packet is kept by its client.
pub(super) const READ_BUFFER: usize = 256 << 10;

/// Report of a worker at its end.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) meter: Meter,
    /// By number of the receiving client.
    pub(crate) flows: Vec<(u32, Vec<Flow>)>,
    /// Messages published, and those not acknowledged, by number of the client.
    pub(crate) published: Vec<(u32, u64, u64)>,
    /// Clients, by number, that were not subscribed for a time through no fault of the broker's.
    pub(crate) missed: Vec<u32>,
    /// What else is to be known of clients, by number.
    pub(crate) remarks: Vec<(u32, Remark)>,
    /// Clients whose lost connections were not opened again.
    pub(crate) away: u64,
    /// CPU and wall time spent in load steps.
    pub(crate) load_cpu_ns: u64,
    pub(crate) load_wall_ns: u64,
    /// Of the wall time: asleep, with nothing to do.
    pub(crate) load_asleep_ns: u64,
}

/// What the audit must know of one client beside flows and messages published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Remark {
    /// Messages received without a header, and with one that was altered.
    pub(crate) unproven: u64,
    pub(crate) altered: u64,
    /// Messages published that the broker refused.
    pub(crate) refused: u64,
    /// Not all subscriptions were granted.
    pub(crate) lacks_subscriptions: bool,
    /// Highest QoS granted, when it is below that asked for.
    pub(crate) granted_below: Option<u8>,
    /// The connection was there, and PINGREQ was not answered.
    pub(crate) is_mute: bool,
}

impl Remark {
    fn of(client: &Client, plan: &Plan) -> Self {
        let subscriptions = &plan.groups[usize::from(client.group)].subscriptions;
        let asked = subscriptions.iter().map(|subscription| subscription.qos);
        let granted = client
            .granted()
            .filter(|granted| Some(*granted) < asked.max());
        Self {
            granted_below: granted.map(|granted| granted as u8),
            unproven: client.unproven,
            altered: client.altered,
            refused: client.refused(),
            lacks_subscriptions: client.lacks_subscriptions(),
            is_mute: client.is_mute,
        }
    }

    fn is_due(&self) -> bool {
        *self != Self::default()
    }
}

/// Channels for the timings of each second: full ones out, empty ones back.
pub(crate) struct Exchange {
    pub(crate) full: Sender<Interval>,
    pub(crate) empty: Receiver<Timings>,
}

pub(crate) struct Worker {
    pub(super) control: Arc<Control>,
    pub(super) id: usize,
    pub(super) poller: Poller,
    pub(super) slots: Vec<Slot>,
    /// First slot of each group.
    pub(super) firsts: Vec<usize>,
    pub(super) readable: VecDeque<u32>,
    pub(super) writable: Vec<u32>,
    /// Clients with bytes to send, each once.
    pub(super) dirty: Vec<u32>,
    /// Slow readers, by the time they may read again.
    pub(super) resting: BinaryHeap<Reverse<(u64, u32)>>,
    pub(super) reconnects: Reconnects,
    /// Clients whose silence is looked for, by time.
    pub(super) pings: BinaryHeap<Reverse<(u64, ConnectionId)>>,
    /// Buffers not in use, so that idle clients hold none.
    pub(super) pool: Vec<Vec<u8>>,
    pub(super) buffer: Box<[u8]>,
    /// Makes links; `None` when the transport is plain TCP.
    pub(super) connector: Connector,
    pub(super) scratch: Scratch,
    pattern: Pattern,
    properties: Box<[Published]>,
    own_payloads: OwnPayloads,
    pub(super) deadlines: Deadlines,
    pub(super) meter: Meter,
    pub(super) work: Work,
    exchange: Exchange,
    second_ends_ns: u64,
    pub(super) report: Report,
}

impl Worker {
    /// Call on the thread that will run it.
    pub(crate) fn new(
        control: Arc<Control>,
        id: usize,
        backend: Backend,
        exchange: Exchange,
    ) -> std::io::Result<Self> {
        let poller = Poller::new(backend, control.wake_descriptor(id))?;
        let plan = &control.plan;
        let (turn, workers) = plan.share.worker(id, control.workers());
        fastrand::seed(plan.seed.wrapping_add(turn as u64));
        let own = (plan.clients() as usize).div_ceil(workers);
        // Exactly as many as needed: doubling would cost as much as the clients themselves.
        let (mut slots, mut firsts) = (Vec::with_capacity(own), Vec::new());
        for (group, described) in plan.groups.iter().enumerate() {
            firsts.push(slots.len());
            let first = plan.first_client(group);
            let own = (0..described.clients).filter(|index| {
                let client = first + index;
                let place = plan.share.place(client) as usize;
                plan.share.holds(client) && place % control.workers() == id
            });
            slots.extend(own.map(|index| Slot::new(Client::new(plan, group, index))));
        }
        firsts.push(slots.len());
        let publishing = plan
            .groups
            .iter()
            .filter_map(|group| group.publishing.as_ref());
        let mut qos = publishing.clone().map(|publishing| publishing.qos);
        let promises_acks = qos.any(|qos| qos != Qos::AtMostOnce);
        let payload_max = publishing.map(|publishing| publishing.payload.max()).max();
        Ok(Self {
            id,
            poller,
            slots,
            firsts,
            readable: VecDeque::new(),
            writable: Vec::new(),
            dirty: Vec::new(),
            resting: BinaryHeap::new(),
            reconnects: Reconnects::default(),
            pings: BinaryHeap::new(),
            pool: Vec::new(),
            buffer: vec![0; READ_BUFFER].into(),
            connector: Connector::new(&control.plan.connection.transport, own),
            scratch: Scratch::default(),
            pattern: Pattern::new(payload_max.unwrap_or(0)),
            properties: Published::of(plan),
            own_payloads: OwnPayloads::of(plan),
            deadlines: Deadlines::new(plan.connection.timeout, promises_acks),
            meter: Meter::default(),
            work: Work::default(),
            exchange,
            second_ends_ns: control.second_ends_ns(now_ns()),
            report: Report::default(),
            control,
        })
    }

    /// Runs until the coordinator says that it is over.
    pub(crate) fn run(mut self) -> Report {
        loop {
            let now = now_ns();
            let busy = self.turn(now);
            self.control.boards[self.id].publish(&self.meter.counts);
            if self.work.finished {
                return self.finish();
            }
            if !busy {
                self.park();
            }
        }
    }

    /// One pass over everything; true when there was something to do.
    fn turn(&mut self, now: u64) -> bool {
        let mut busy = self.reap() > 0;
        busy |= self.take_order(now);
        busy |= self.step(now);
        busy |= self.read();
        busy |= self.ping(now);
        busy |= self.reconnect(now);
        busy |= self.look_at_deadlines(now);
        for slot in std::mem::take(&mut self.writable) {
            self.handle_writable(slot as usize, now);
        }
        busy |= self.flush(now);
        self.poller.submit();
        if now >= self.second_ends_ns {
            self.end_second(now);
        }
        busy
    }

    fn reap(&mut self) -> usize {
        let Self {
            poller,
            slots,
            readable,
            writable,
            ..
        } = self;
        let mut rearm = Vec::new();
        let count = poller.reap(|event| match event {
            Event::Readable {
                id,
                hangup,
                watched,
            } => {
                let slot = &mut slots[id.index as usize];
                if slot.generation != id.generation || slot.socket.is_none() {
                    return;
                }
                if !watched {
                    rearm.push(id);
                }
                slot.ended |= hangup;
                if !slot.listed {
                    slot.listed = true;
                    readable.push_back(id.index);
                }
            }
            Event::Writable(id) => {
                let slot = &mut slots[id.index as usize];
                if slot.generation == id.generation && slot.socket.is_some() {
                    slot.blocked = false;
                    writable.push(id.index);
                }
            }
            Event::Acceptable(_) => {}
        });
        for id in rearm {
            if let Some(socket) = &self.slots[id.index as usize].socket {
                self.poller.watch_readable(socket.as_fd(), id);
            }
        }
        count
    }

    fn end_second(&mut self, now: u64) {
        self.second_ends_ns = self.control.second_ends_ns(now);
        self.hand_over_timings();
    }

    /// Hands the timings since the last time to the coordinator.
    pub(super) fn hand_over_timings(&mut self) {
        let empty = self.exchange.empty.try_recv().unwrap_or_default();
        let timings = std::mem::replace(&mut self.meter.timings, empty);
        // The coordinator lives as long as its workers unless it panicked.
        let _ = self.exchange.full.send(Interval {
            worker: self.id,
            timings,
            counts: self.meter.counts,
        });
    }

    /// Calls `act` with a client, and notes what it has to send and whether it is settled.
    pub(super) fn with<R>(
        &mut self,
        slot: usize,
        now_ns: u64,
        act: impl FnOnce(&mut Client, &mut Context<'_>) -> R,
    ) -> R {
        let place = &mut self.slots[slot];
        if place.client.out.capacity() == 0 {
            place.client.out = self.pool.pop().unwrap_or_default();
        }
        let was_settled = place.client.settled;
        let mut cx = Context {
            plan: &self.control.plan,
            meter: &mut self.meter,
            pattern: &self.pattern,
            own_payloads: self.own_payloads,
            properties: &self.properties,
            now_ns,
            asked: None,
        };
        let result = act(&mut place.client, &mut cx);
        if let Some(promise) = cx.asked {
            self.deadlines.add(place.id(slot), promise, now_ns);
        }
        if place.client.settled && !was_settled {
            self.work.unsettled -= 1;
        }
        if place.client.out.is_empty() {
            self.pool.push(std::mem::take(&mut place.client.out));
        } else if !place.dirty && !place.blocked {
            place.dirty = true;
            self.dirty.push(slot as u32);
        }
        result
    }

    fn finish(mut self) -> Report {
        self.end_second(now_ns());
        let mut report = self.report;
        for slot in &mut self.slots {
            let client = &mut slot.client;
            let remark = Remark::of(client, &self.control.plan);
            if remark.is_due() {
                report.remarks.push((client.number, remark));
            }
            let unacknowledged = client.uncertain();
            let group = &self.control.plan.groups[usize::from(client.group)];
            // Without a session, a lost connection ends the subscription.
            if client.is_away || client.was_lost && group.session.clean_start {
                report.missed.push(client.number);
            }
            report.away += u64::from(client.is_away);
            if client.sequence() > 0 {
                report
                    .published
                    .push((client.number, client.sequence(), unacknowledged));
            }
            let flows = std::mem::take(&mut client.flows).into_flows();
            if !flows.is_empty() {
                report.flows.push((client.number, flows));
            }
        }
        self.meter.timings = Timings(Vec::new());
        report.meter = self.meter;
        report
    }

    /// Sleeps until a completion, an order or a due time.
    fn park(&mut self) {
        let pings = self.pings.peek().map(|ping| ping.0 .0);
        let resting = self.resting.peek().map(|resting| resting.0 .0);
        let due = [
            pings,
            resting,
            self.reconnects.due_ns(),
            self.work.due_ns(),
            self.deadlines.due_ns(),
            Some(self.second_ends_ns),
        ];
        let deadline = due.into_iter().flatten().min().unwrap_or(u64::MAX);
        let now = now_ns();
        if deadline > now {
            self.poller.wait(Some(Span(deadline - now)));
            if self.work.load_began.is_some() {
                self.report.load_asleep_ns += now_ns() - now;
            }
        }
    }

    /// Starts or ends counting the CPU time of a load step.
    pub(super) fn count_cpu(&mut self, begins: bool) {
        let (cpu, wall) = (thread_cpu_ns(), now_ns());
        if begins {
            self.work.load_began = Some((cpu, wall));
        } else if let Some((cpu_before, wall_before)) = self.work.load_began.take() {
            self.report.load_cpu_ns += cpu - cpu_before;
            self.report.load_wall_ns += wall - wall_before;
        }
    }

    /// Slots of a group.
    pub(super) fn group(&self, group: usize) -> std::ops::Range<usize> {
        self.firsts[group]..self.firsts[group + 1]
    }

    pub(super) fn error(&mut self, sentence: String) {
        self.meter.error(sentence);
    }

    pub(super) fn count(&mut self, count: Count) {
        self.meter.count(count);
    }
}
