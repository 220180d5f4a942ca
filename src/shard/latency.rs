//! Times and depths that a shard measures, without reading a clock: a turn's start is the time of all that
//! happens in it, and the driver, which reads its clock at its end anyway, reports that.
//!
//! Samples are taken of each turn, not of each message: one delivery, whose bytes are watched until the last
//! has been handed to the kernel, and one queue. So a message costs a branch.

use crate::histogram::Histogram;
use crate::ids::ConnectionId;
use crate::time::Time;

/// Deliveries watched at once: those to connections whose sockets are full stay for some time.
const WATCHED_MAX: usize = 8;
/// CONNACKs of one turn that are measured.
const CONNACKS_MAX: usize = 256;

/// Turns whose acknowledgements leave with one turn, as they were committed together, that are measured.
const ANSWERED_MAX: usize = 64;

/// A delivery whose last bytes have not been written.
#[derive(Clone, Copy, Debug)]
struct Watched {
    connection: ConnectionId,
    /// Bytes up to its end.
    left: usize,
    read_at: Time,
}

/// Lives on: the shard.
#[derive(Debug, Default)]
pub(super) struct Latency {
    /// One delivery of this turn is to be watched, and one queue looked at.
    wants_delivery: bool,
    wants_depth: bool,
    /// When the first publication of the block was read that is being applied.
    block_read_at: Option<Time>,
    watched: Vec<Watched>,
    /// When those were read whose last byte was written in this turn.
    written: Vec<Time>,
    /// When the CONNECTs came that were answered in this turn.
    connects: Vec<Time>,
    /// QoS 1 and 2 publications counted when the turn began.
    acknowledged: u64,
    /// When turns began whose acknowledgements were sent in this turn.
    answered: Vec<Time>,
    pub(super) delivery: Histogram,
    pub(super) publish_ack: Histogram,
    pub(super) connack: Histogram,
    pub(super) queue_depth: Histogram,
}

impl Latency {
    #[inline]
    pub(super) fn wants_delivery(&self) -> bool {
        self.wants_delivery
    }

    /// A delivery ends `left` bytes behind what the connection has written.
    #[cold]
    pub(super) fn watch(&mut self, connection: ConnectionId, left: usize, now: Time) {
        self.wants_delivery = false;
        let read_at = self.block_read_at.unwrap_or(now);
        self.watched.push(Watched {
            connection,
            left,
            read_at,
        });
    }

    #[inline]
    pub(super) fn is_watching(&self) -> bool {
        !self.watched.is_empty()
    }

    #[cold]
    pub(super) fn written(&mut self, connection: ConnectionId, count: usize) {
        let written = &mut self.written;
        self.watched.retain_mut(|watched| {
            if watched.connection != connection {
                return true;
            }
            watched.left = watched.left.saturating_sub(count);
            if watched.left == 0 {
                written.push(watched.read_at);
            }
            watched.left > 0
        });
    }

    /// The connection is closed: what it had not written it never will.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.watched
            .retain(|watched| watched.connection != connection);
    }

    /// A block is being applied, or no more.
    pub(super) fn applies(&mut self, read_at: Option<Time>) {
        self.block_read_at = read_at;
    }

    #[inline]
    pub(super) fn wants_depth(&self) -> bool {
        self.wants_depth
    }

    #[cold]
    pub(super) fn saw_queue(&mut self, depth: usize) {
        self.wants_depth = false;
        self.queue_depth.record(depth as u64);
    }

    /// A CONNACK is sent for a CONNECT that came then.
    pub(super) fn connected(&mut self, came_at: Time) {
        if self.connects.len() < CONNACKS_MAX {
            self.connects.push(came_at);
        }
    }

    /// The inputs of a turn are done, and so many QoS 1 and 2 publications were counted: true when some of them
    /// are of this turn.
    pub(super) fn acknowledges(&mut self, count: u64) -> bool {
        std::mem::replace(&mut self.acknowledged, count) != count
    }

    /// The acknowledgements of a turn that began then leave with this one.
    pub(super) fn answers(&mut self, read_at: Time) {
        if self.answered.len() < ANSWERED_MAX {
            self.answered.push(read_at);
        }
    }

    pub(super) fn turn_over(&mut self, now: Time) {
        for read_at in self.answered.drain(..) {
            self.publish_ack.record_span(now.since(read_at));
        }
        for read_at in self.written.drain(..) {
            self.delivery.record_span(now.since(read_at));
        }
        for came_at in self.connects.drain(..) {
            self.connack.record_span(now.since(came_at));
        }
        self.wants_delivery = self.watched.len() < WATCHED_MAX;
        self.wants_depth = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    fn at(ms: u64) -> Time {
        Time::ZERO + Span::from_millis(ms)
    }

    fn connection(index: u32) -> ConnectionId {
        ConnectionId {
            index,
            generation: 0,
        }
    }

    #[test]
    fn a_delivery_is_measured_until_its_last_byte_is_written() {
        let mut latency = Latency::default();
        assert!(!latency.wants_delivery(), "before the first turn is over");
        latency.turn_over(at(1));
        assert!(latency.wants_delivery());
        latency.watch(connection(1), 10, at(1));
        assert!(!latency.wants_delivery());
        latency.written(connection(2), 100);
        latency.written(connection(1), 9);
        latency.turn_over(at(5));
        assert_eq!(latency.delivery.count(), 0);
        latency.written(connection(1), 4);
        assert!(!latency.is_watching());
        latency.turn_over(at(8));
        assert_eq!(
            (latency.delivery.count(), latency.delivery.sum()),
            (1, 7_000)
        );
        // One of another shard began when it was read there.
        latency.applies(Some(at(3)));
        latency.watch(connection(3), 1, at(8));
        latency.applies(None);
        latency.written(connection(3), 1);
        latency.turn_over(at(9));
        assert_eq!(latency.delivery.sum(), 7_000 + 6_000);
    }

    #[test]
    fn acknowledgements_are_measured_once_per_turn() {
        let mut latency = Latency::default();
        assert!(!latency.acknowledges(0));
        latency.turn_over(at(1));
        assert!(latency.acknowledges(3));
        latency.answers(at(1));
        latency.turn_over(at(3));
        assert!(!latency.acknowledges(3));
        latency.turn_over(at(9));
        let measured = &latency.publish_ack;
        assert_eq!((measured.count(), measured.sum()), (1, 2_000));
    }

    #[test]
    fn what_is_watched_is_bounded_and_ends_with_its_connection() {
        let mut latency = Latency::default();
        for index in 0..WATCHED_MAX as u32 {
            latency.turn_over(at(1));
            assert!(latency.wants_delivery());
            latency.watch(connection(index), 1, at(1));
        }
        latency.turn_over(at(2));
        assert!(!latency.wants_delivery());
        latency.forget(connection(0));
        latency.turn_over(at(3));
        assert!(latency.wants_delivery());
    }
}
