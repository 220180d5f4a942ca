//! Deadlines of connections, and which of them may send.

use std::cmp::Reverse;

use super::endpoint::{Quic, NO_ERROR};
use crate::time::Time;

/// Datagrams that one connection sends before the others.
const SENT_AT_ONCE: usize = 32;
/// Datagrams that wait to be given to the kernel; connections keep what is beyond them.
const WAITING_MAX: usize = 512;

impl Quic {
    /// When [`Quic::handle_timeout`] is due at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.peek().map(|Reverse((at, ..))| *at)
    }

    /// Deadlines that have passed.
    pub fn handle_timeout(&mut self, now: Time) {
        let at = self.moments.at(now);
        while let Some(Reverse((due, index, generation))) = self.timers.peek().copied() {
            if due > now {
                return;
            }
            self.timers.pop();
            let connection = self.connections[index as usize].as_mut();
            let Some(connection) = connection.filter(|it| it.generation == generation) else {
                continue;
            };
            if connection.armed != due {
                continue; // an earlier one was looked at instead
            }
            connection.armed = Time::FAR;
            let handle = connection.handle;
            if connection.deadline <= now {
                self.ended(handle, "no stream was opened in time");
                self.shut(handle, NO_ERROR, b"it took too long", now);
            } else if connection.inner.poll_timeout().is_some_and(|due| due <= at) {
                connection.inner.handle_timeout(at);
            }
            self.settle(handle, now);
        }
    }

    /// Sets the timer of a connection, if it is due before the one that is set.
    pub(super) fn arm(&mut self, index: usize) {
        let moments = self.moments;
        let Some(connection) = self.connections[index].as_mut() else {
            return;
        };
        let own = connection.inner.poll_timeout();
        let own = own.map_or(Time::FAR, |at| moments.time(at));
        let due = own.min(connection.deadline);
        if due < connection.armed {
            connection.armed = due;
            let generation = connection.generation;
            self.timers.push(Reverse((due, index as u32, generation)));
        }
    }

    /// Writes the datagrams that connections have to send, a few of each at a time. True when there are more.
    pub fn handle_turn(&mut self, now: Time) -> bool {
        let at = self.moments.at(now);
        for _ in 0..self.listed.len() {
            if self.written.len() >= WAITING_MAX {
                return true;
            }
            let Some(index) = self.listed.pop_front() else {
                break;
            };
            let mut sent = 0;
            while let Some(connection) = self.connections[index as usize].as_mut() {
                if sent == SENT_AT_ONCE {
                    self.listed.push_back(index);
                    break;
                }
                self.packet.clear();
                let transmit = connection.inner.poll_transmit(at, 1, &mut self.packet);
                let Some(transmit) = transmit else {
                    connection.is_listed = false;
                    break;
                };
                sent += 1;
                self.queue(transmit.destination);
            }
            self.arm(index as usize);
        }
        !self.listed.is_empty()
    }
}
