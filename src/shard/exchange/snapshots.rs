//! Snapshots: all that shards here want, for a node that has come or was away.
//!
//! They go in pieces between changes, in one stream: a change of what was sent follows it, and one of what was not
//! sent yet is sent twice. What a node has kept from before and a snapshot does not name is removed at its end; until
//! then it counts, so that nothing is acknowledged past it.

use super::records::{Record, RemoteMember};
use super::remote::{Snapshot, SnapshotStage, Unnamed, LOW_WATER, STUCK};
use super::Exchange;
use crate::ids::ShardId;
use crate::routing::{Destination, Interest};
use crate::shard::mesh::block::Control;

/// Filters or members of a piece.
const PIECE: usize = 512;

impl Exchange {
    /// Asks a node for what its shards want.
    pub(super) fn ask_snapshot(&mut self, slot: usize) {
        if let Some(remote) = &mut self.remotes[slot] {
            self.asked += 1;
            remote.asked = self.asked;
            remote.is_known = false;
            remote.put(&Record::AskSnapshot(self.asked));
        }
    }

    /// A node asks for what shards here want.
    pub(super) fn snapshot_asked(&mut self, slot: usize, number: u64) {
        if let Some(remote) = self.remotes[slot]
            .as_mut()
            .filter(|one| one.bytes() < STUCK)
        {
            remote.put(&Record::SnapshotBegins(number));
            remote.snapshot = Some(Snapshot {
                number,
                stage: SnapshotStage::Filters(None),
            });
        }
    }

    /// A piece for each node that takes one.
    pub(super) fn advance_snapshots(&mut self) {
        for remote in self.remotes.iter_mut().flatten() {
            while remote.bytes() < LOW_WATER {
                let Some(Snapshot { number, stage }) = remote.snapshot.take() else {
                    break;
                };
                let next = match stage {
                    SnapshotStage::Filters(after) => {
                        let mut last = None;
                        for (filter, interest) in self.wants.piece(after.as_deref(), PIECE) {
                            remote.put(&Record::Interest { filter, interest });
                            last = Some(filter.into());
                        }
                        match last {
                            None => SnapshotStage::Members(None),
                            last => SnapshotStage::Filters(last),
                        }
                    }
                    SnapshotStage::Members(after) => {
                        let mut last = None;
                        for (member, groups) in self.members.piece(after, PIECE) {
                            for ((share, filter), state) in groups {
                                remote.put(&Record::Joined {
                                    member,
                                    share,
                                    filter,
                                    connected: state.connected,
                                    durable: state.durable,
                                });
                            }
                            last = Some(member);
                        }
                        if last.is_none() {
                            remote.put(&Record::SnapshotEnds(number));
                            break;
                        }
                        SnapshotStage::Members(last)
                    }
                };
                remote.snapshot = Some(Snapshot {
                    number,
                    stage: next,
                });
            }
        }
    }

    /// A node's snapshot begins.
    pub(super) fn snapshot_begins(&mut self, slot: usize) {
        let unnamed = Unnamed {
            filters: (self.wants.of(self.destination(slot)).into_iter()).collect(),
            members: self.members.of(slot).into_iter().collect(),
        };
        if let Some(remote) = &mut self.remotes[slot] {
            remote.unnamed = Some(unnamed);
        }
    }

    /// A node's snapshot is over.
    pub(super) fn snapshot_ends(&mut self, slot: usize, number: u64) {
        let Some(remote) = &mut self.remotes[slot] else {
            return; // it has ended
        };
        remote.is_known |= remote.asked == number;
        if let Some(Unnamed { filters, members }) = remote.unnamed.take() {
            for filter in filters {
                self.interest_of_node(slot, &filter, Interest::Absent);
            }
            for (share, filter, member) in members {
                self.member_left_node(slot, member, (&share, &filter));
            }
        }
    }

    /// A node has ended.
    pub(super) fn forget_interest(&mut self, slot: usize) {
        self.snapshot_begins(slot);
        self.snapshot_ends(slot, 0);
    }

    /// A shard here, or another node, wants a filter differently.
    fn set_wanted(&mut self, filter: &str, who: Destination, interest: Interest) {
        self.index.set_remote(filter, who, interest);
        let changed = self.wants.set(filter, who, interest);
        if let Some(interest) = changed.here {
            for remote in self.remotes.iter_mut().flatten() {
                remote.put(&Record::Interest { filter, interest });
            }
        }
        if let Some(is_wanted) = changed.elsewhere {
            // Durable, so that what is acknowledged has been confirmed by the nodes.
            let interest = match is_wanted {
                true => Interest::Durable,
                false => Interest::Absent,
            };
            self.peers.broadcast(|| Control::FilterInterest {
                filter: filter.into(),
                interest,
            });
        }
    }

    /// What a shard here wants. Topics that begin with `$` are of one node, so others need not know.
    pub(super) fn interest_of_shard(&mut self, shard: ShardId, filter: &str, interest: Interest) {
        if !filter.starts_with('$') {
            self.set_wanted(filter, shard.into(), interest);
        }
    }

    pub(super) fn interest_of_node(&mut self, slot: usize, filter: &str, interest: Interest) {
        if let Some(unnamed) = self.remotes[slot]
            .as_mut()
            .and_then(|one| one.unnamed.as_mut())
        {
            unnamed.filters.remove(filter);
        }
        self.set_wanted(filter, self.destination(slot), interest);
    }

    pub(super) fn member_joined_node(
        &mut self,
        slot: usize,
        member: RemoteMember,
        (share, filter): (&str, &str),
        connected: bool,
    ) {
        if let Some(unnamed) = self.remotes[slot]
            .as_mut()
            .and_then(|one| one.unnamed.as_mut())
        {
            (unnamed.members).remove(&(share.into(), filter.into(), member));
        }
        let id = self.members.joined(slot, member, (share, filter));
        // For a shard, what goes to another node is confirmed by it, by way of whichever of its shards.
        self.peers.broadcast(|| Control::MemberJoined {
            share: share.into(),
            filter: filter.into(),
            member: id,
            connected,
            durable: true,
        });
    }

    pub(super) fn member_left_node(
        &mut self,
        slot: usize,
        member: RemoteMember,
        (share, filter): (&str, &str),
    ) {
        if let Some(id) = self.members.left(slot, member, (share, filter)) {
            self.peers.broadcast(|| Control::MemberLeft {
                share: share.into(),
                filter: filter.into(),
                member: id,
            });
        }
    }
}
