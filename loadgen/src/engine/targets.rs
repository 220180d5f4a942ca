//! Fail-over: a client connects to the addresses of its target in turn and, when the plan has it so, then to those
//! of the next targets.

use std::net::SocketAddr;

use super::clock::now_ns;
use super::worker::Worker;
use crate::client::State;
use crate::meter::Count;
use crate::plan::Connection;

/// Addresses that a client tries, one after the other.
pub(super) fn attempts(connection: &Connection, index: u32) -> usize {
    if connection.fails_over {
        connection.targets.iter().map(Vec::len).sum()
    } else {
        connection.targets[own_target(connection, index)].len()
    }
}

/// By the number in its group, so that a pair meets at one broker.
fn own_target(connection: &Connection, index: u32) -> usize {
    index as usize % connection.targets.len()
}

/// The place of a target and its address, for a client that has turned away from so many addresses.
pub(super) fn target_of(connection: &Connection, index: u32, turns: u16) -> (usize, SocketAddr) {
    let targets = &connection.targets;
    let own = own_target(connection, index);
    let mut left = usize::from(turns) % attempts(connection, index);
    for at in (own..targets.len()).chain(0..own) {
        match targets[at].get(left) {
            Some(address) => return (at, *address),
            None => left -= targets[at].len(),
        }
    }
    (own, targets[own][0]) // `left` is below the number of all addresses
}

impl Worker {
    pub(super) fn target_of(&self, slot: usize) -> (usize, SocketAddr) {
        let place = &self.slots[slot];
        let connection = &self.control.plan.connection;
        target_of(connection, place.client.index, place.turns)
    }

    /// Begins to connect a client anew: it may try each address once.
    pub(super) fn connect_anew(&mut self, slot: usize, asked_ns: u64, now: u64) {
        let index = self.slots[slot].client.index;
        let attempts = attempts(&self.control.plan.connection, index);
        self.slots[slot].attempts_left = (attempts - 1).min(usize::from(u8::MAX)) as u8;
        self.open(slot, asked_ns, now);
    }

    /// A connection was not opened: tries the next address, when there is one; true when it does.
    pub(super) fn try_next(&mut self, slot: usize, sentence: &str) -> bool {
        let place = &mut self.slots[slot];
        let is_opening = matches!(place.client.state, State::Opening | State::AwaitsConnAck);
        if !is_opening || place.ending || place.attempts_left == 0 {
            return false;
        }
        place.attempts_left -= 1;
        let (was_settled, asked_ns) = (place.client.settled, place.client.asked_ns());
        self.meter.interruption(sentence.to_string());
        self.turn_away(slot);
        self.close(slot);
        if !was_settled {
            self.slots[slot].client.settled = false;
            self.work.unsettled += 1;
        }
        self.open(slot, asked_ns, now_ns());
        true
    }

    /// The client's next connection is to the address after this one.
    pub(super) fn turn_away(&mut self, slot: usize) {
        let (before, _) = self.target_of(slot);
        self.slots[slot].turns = self.slots[slot].turns.wrapping_add(1);
        if self.target_of(slot).0 != before {
            self.count(Count::FailedOver);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(fails_over: bool, index: u32) -> Vec<(usize, u16)> {
        let words = ["pairs".to_string(), "--target=127.0.0.1:1".to_string()];
        let (mut plan, _) = crate::cli::plan_of(&words).unwrap();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        plan.connection.fails_over = fails_over;
        plan.connection.targets = vec![
            vec![address(1), address(2)],
            vec![address(3)],
            vec![address(4), address(5)],
        ];
        let all = 0..attempts(&plan.connection, index) as u16 + 1;
        let all = all.map(|turns| target_of(&plan.connection, index, turns));
        all.map(|(at, address)| (at, address.port())).collect()
    }

    #[test]
    fn addresses_are_taken_in_turn_from_the_clients_own_on() {
        assert_eq!(turns(false, 0), [(0, 1), (0, 2), (0, 1)]);
        assert_eq!(turns(false, 4), [(1, 3), (1, 3)]);
        let over = [(1, 3), (2, 4), (2, 5), (0, 1), (0, 2), (1, 3)];
        assert_eq!(turns(true, 1), over);
    }
}
