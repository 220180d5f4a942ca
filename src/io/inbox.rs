//! Inbox of a shard: one bounded queue of commands from outside the shards.
//!
//! Service threads (logins, hooks, reload, signals, the watch of memory) send; the shard takes commands at
//! the start of a turn. A sender that finds the queue full waits for room, which costs its own service
//! and no shard; a shard itself never sends to an inbox and waits.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{mpsc, Arc};

use crossbeam::channel::{bounded, Receiver, Sender, TrySendError};

use super::adopting::{Adopted, NodeLogs};
use super::bridges::Dialled;
use super::listener::Listening;
use super::passing::{MovedSocket, Relayed};
use super::upgrade::UpgradeOrder;
use crate::auth::{AuthzDecisions, Rules, Verdict};
use crate::ids::ConnectionId;
use crate::journal::{Lsn, SegmentNumber};
use crate::metrics::ShardReport;
use crate::shard::{Answer, Kept, Query, ShardConfig};

/// Commands that wait for one shard, at most. A turn takes them before anything else, so more wait only
/// while a turn runs.
const INBOX_MAX: usize = 1_024;
/// Commands a turn takes.
pub(super) const TURN_COMMANDS: usize = 64;

/// Takes the answer to a query, within the turn of its shard.
pub type Reply = Box<dyn FnOnce(Answer) + Send>;

/// Takes what a shard has counted, or what its sessions keep, in the same way.
pub(super) type TakeReport = Box<dyn FnOnce(ShardReport) + Send>;
pub(super) type TakeKept = Box<dyn FnOnce(Kept) + Send>;

/// A command to a shard.
pub(super) enum ShardCommand {
    /// The result of an authentication.
    Verdict(ConnectionId, Verdict),
    /// Authorization decisions of a service about a client.
    Decisions(ConnectionId, AuthzDecisions),
    /// Accounts and rules were read again.
    Rules(Arc<Rules>),
    /// Other limits and policies; the shard answers when it has them. Listeners that they are about come after that.
    Config(Arc<ShardConfig>, mpsc::Sender<()>),
    /// A segment that the shard has asked for, open to be written.
    Segment(SegmentNumber, io::Result<OwnedFd>),
    /// The place that must have the shard's log as well has frames up to this one.
    Copied(Lsn),
    /// Adopt the sessions of another node.
    Adopt(Arc<NodeLogs>, Adopted),
    /// The process has begun or ceased to be near the memory it may use.
    MemoryShort(bool),
    /// Return to the kernel what the shard's heap does not need, once there is nothing else to do.
    GiveBack,
    /// Hand over what was counted, for the request of this number.
    ReportCounters(u64),
    /// Publish topics and values below `$SYS`.
    Status(Vec<(String, String)>),
    /// Publish a line of the log to this topic.
    LogLine(&'static str, String),
    /// Hand over all counters, gauges and histograms.
    Report(TakeReport),
    /// Hand over what the sessions from a place on keep.
    Kept(u32, TakeKept),
    /// A question of a service.
    Query(Query, Reply),
    /// Let clients in: all listeners, by number. Connections keep the layers they began with.
    Listen(Vec<Listening>),
    /// Take a connection that a bridge has begun.
    Dialled(Box<Dialled>),
    /// Take a connection that another node has accepted.
    Relayed(Box<Relayed>),
    /// Take back a connection that was to be passed on.
    Returned(Box<MovedSocket>),
    /// Clients leave for another process, or come from one.
    Upgrade(UpgradeOrder),
    /// Answer that a turn has begun, to this question.
    Answer(u64),
    /// Stop in order.
    Stop,
    /// Every shard has stopped serving clients.
    AllStopped,
}

/// Lives on: what the shards share. Taken from by its shard only.
pub(super) struct Inbox {
    sender: Sender<ShardCommand>,
    receiver: Receiver<ShardCommand>,
}

impl Default for Inbox {
    fn default() -> Self {
        let (sender, receiver) = bounded(INBOX_MAX);
        Self { sender, receiver }
    }
}

impl Inbox {
    /// Waits for room: not for shards.
    pub(super) fn send(&self, command: ShardCommand) {
        // Fails only without a receiver, which is beside it.
        let _ = self.sender.send(command);
    }

    /// Without waiting; false when there is no room, and the shard is awake therefore.
    pub(super) fn try_send(&self, command: ShardCommand) -> bool {
        !matches!(self.sender.try_send(command), Err(TrySendError::Full(_)))
    }

    /// A shard looks before it parks.
    pub(super) fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    /// The next command; mostly there is none, which costs two loads.
    pub(super) fn take(&self) -> Option<ShardCommand> {
        if self.receiver.is_empty() {
            return None;
        }
        self.receiver.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_in_order_and_no_more_than_fit() {
        let inbox = Inbox::default();
        assert!(inbox.is_empty() && inbox.take().is_none());
        for number in 0..INBOX_MAX as u64 {
            assert!(inbox.try_send(ShardCommand::ReportCounters(number)));
        }
        assert!(!inbox.try_send(ShardCommand::Stop));
        for number in 0..INBOX_MAX as u64 {
            let Some(ShardCommand::ReportCounters(taken)) = inbox.take() else {
                panic!("{number} is missing");
            };
            assert_eq!(taken, number);
        }
        assert!(inbox.is_empty());
    }

    #[test]
    fn a_service_waits_for_room() {
        let inbox = Arc::new(Inbox::default());
        while inbox.try_send(ShardCommand::MemoryShort(false)) {}
        let service = {
            let inbox = Arc::clone(&inbox);
            std::thread::spawn(move || inbox.send(ShardCommand::Stop))
        };
        let mut last = None;
        while !matches!(last, Some(ShardCommand::Stop)) {
            last = inbox.take().or(last);
        }
        service.join().unwrap();
    }
}
