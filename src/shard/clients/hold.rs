//! Holds: the reasons why a connection is not read, besides what waits to be sent to it or to a peer.

/// A reason why the packets of a connection wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::shard) enum Hold {
    /// What it sent is in `partial` for the next turn: this turn's budget is exhausted.
    NextTurn = 1,
    /// Its first authentication is in progress: what follows CONNECT waits for CONNACK.
    Authentication = 1 << 1,
    /// The packet at the start of `partial` waits for an authorization decision of a service.
    Decision = 1 << 2,
    /// It has sent more than its rate, or its listener's.
    Rate = 1 << 3,
    /// The publication at the start of `partial` waits for room on the disk.
    Disk = 1 << 4,
    /// It ends when the replies that are held for it are sent.
    Ends = 1 << 5,
    /// The publication at the start of `partial` waits for room in a queue.
    Queue = 1 << 6,
    /// The CONNECT at the start of `partial` waits for a node that owns its client id.
    Lane = 1 << 7,
}

/// The holds of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::shard) struct HoldSet(u8);

impl HoldSet {
    pub(in crate::shard) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(in crate::shard) fn contains(self, hold: Hold) -> bool {
        self.0 & hold as u8 != 0
    }

    pub(in crate::shard) fn insert(&mut self, hold: Hold) {
        self.0 |= hold as u8;
    }

    /// True when it was there.
    pub(in crate::shard) fn remove(&mut self, hold: Hold) -> bool {
        let was_there = self.contains(hold);
        self.0 &= !(hold as u8);
        was_there
    }

    /// Nothing may be handled before the client is authenticated, or its packet authorized.
    #[inline]
    pub(in crate::shard) fn awaits_auth(self) -> bool {
        self.0 & (Hold::Authentication as u8 | Hold::Decision as u8) != 0
    }

    /// What it sends is kept in `partial`, behind a packet that waits.
    #[inline]
    pub(in crate::shard) fn keeps_packets(self) -> bool {
        const KEEPING: u8 =
            Hold::Disk as u8 | Hold::Ends as u8 | Hold::Queue as u8 | Hold::Lane as u8;
        self.awaits_auth() || self.0 & KEEPING != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_are_independent() {
        let mut holds = HoldSet::default();
        assert!(holds.is_empty());
        holds.insert(Hold::Rate);
        holds.insert(Hold::Decision);
        assert!(holds.awaits_auth() && holds.contains(Hold::Rate));
        assert!(holds.remove(Hold::Decision) && !holds.remove(Hold::Decision));
        assert!(!holds.awaits_auth() && !holds.is_empty());
        assert!(holds.remove(Hold::Rate) && holds.is_empty());
    }
}
