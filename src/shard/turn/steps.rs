//! The order of one turn of a shard, written once for all drivers.
//!
//! The driver in `io` and the world of tests and simulations both run [`run_turn`], so the order that is
//! simulated is the order of production. They differ in what a step means: `io` reads sockets, the world
//! reads byte queues.

use crate::time::Time;

/// One step of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TurnStep {
    /// What the kernel has completed is sorted into what to read, write and accept.
    Reap,
    /// What comes from threads beside the shards: verdicts, decisions, rules, the request to stop.
    Inbox,
    /// Bytes of established connections that want input, each connection once.
    ReadEstablished,
    /// New connections, and bytes of those that are not established, within their share of the turn.
    ReadOthers,
    /// Blocks and connections that peers have sent, a few of each.
    PeerBlocks,
    /// Deadlines that have passed.
    Timeouts,
    /// [`Shard::end_turn`](crate::shard::Shard::end_turn).
    EndTurn,
    /// [`Shard::poll_journal`](crate::shard::Shard::poll_journal): the frame of earlier turns may be on the
    /// disk, and the next one is handed to it.
    Commit,
    /// Blocks for peers, as far as their rings have room.
    SendBlocks,
    /// Connections that waited for room in their sockets and have some.
    WriteUnblocked,
    /// [`Shard::poll_action`](crate::shard::Shard::poll_action) until there is none.
    Actions,
    /// [`Shard::poll_transmit`](crate::shard::Shard::poll_transmit) until there is none.
    Transmit,
    /// What was asked of the kernel is handed to it, and the shard learns until when clients were heard.
    Submit,
}

/// Drives a shard.
pub trait TurnHost {
    /// Takes one step; true when there was something to do.
    fn step(&mut self, step: TurnStep, now: Time) -> bool;
}

/// The steps as a list, and as calls with constants: a driver whose `step` is always inlined pays for no
/// dispatch.
macro_rules! turn {
    ($($step:ident)*) => {
        /// The steps of one turn in their order, for drivers that run something between two of them.
        pub const TURN: &[TurnStep] = &[$(TurnStep::$step),*];

        /// One turn; true when there was something to do.
        #[inline(always)]
        pub fn run_turn(host: &mut impl TurnHost, now: Time) -> bool {
            let mut is_busy = false;
            $(is_busy |= host.step(TurnStep::$step, now);)*
            is_busy
        }
    };
}

// Blocks are sent before any answer: a publisher that has its PUBACK finds others served, even if this thread
// then loses its core. Sending to clients frees room, which may let the shard do and send more; twice is
// enough, what is left belongs to the next turn.
turn! {
    Reap Inbox ReadEstablished ReadOthers PeerBlocks Timeouts EndTurn Commit
    SendBlocks WriteUnblocked
    Actions Transmit
    Actions Transmit
    SendBlocks Submit
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Listener(Vec<TurnStep>);

    impl TurnHost for Listener {
        fn step(&mut self, step: TurnStep, _now: Time) -> bool {
            self.0.push(step);
            step == TurnStep::ReadEstablished
        }
    }

    #[test]
    fn the_list_is_what_a_turn_runs() {
        let mut listener = Listener(Vec::new());
        assert!(run_turn(&mut listener, Time::ZERO));
        assert_eq!(listener.0, TURN);
    }

    /// The order that others rely on.
    #[test]
    fn peers_are_served_before_answers() {
        use TurnStep::{
            Actions, Commit, EndTurn, Inbox, PeerBlocks, ReadEstablished, ReadOthers, Reap,
            SendBlocks, Submit, Timeouts, Transmit, WriteUnblocked,
        };
        let first = |step| TURN.iter().position(|one| *one == step).unwrap();
        let last = |step| TURN.iter().rposition(|one| *one == step).unwrap();
        // Each is over before the other begins.
        for (one, other) in [
            (Reap, Inbox),
            (Reap, ReadEstablished),
            (Inbox, EndTurn), // the request to stop, and verdicts
            (ReadEstablished, ReadOthers),
            (ReadOthers, Timeouts), // whose packet lies in the socket is not silent
            (ReadOthers, EndTurn),
            (PeerBlocks, EndTurn),
            (Timeouts, EndTurn), // what they change is in the turn's records
            (EndTurn, Commit),
            (EndTurn, Actions),
        ] {
            assert!(last(one) < first(other), "{one:?} before {other:?}");
        }
        for answer in [WriteUnblocked, Actions, Transmit] {
            assert!(
                first(SendBlocks) < first(answer),
                "blocks before {answer:?}"
            );
        }
        assert!(first(Actions) < first(Transmit) && last(Actions) < last(Transmit));
        assert!(last(SendBlocks) > last(Transmit));
        assert_eq!(last(Submit), TURN.len() - 1);
    }
}
