//! The rings between shards and the wake-ups of parked ones.
//!
//! One bounded lock-free queue per ordered pair of shards and lane. The unit is a block of many
//! messages, so the cost of a queue operation is spread over them.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{fence, AtomicBool, AtomicUsize, Ordering};

use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;
use rustix::event::{eventfd, EventfdFlags};
use rustix::io::Errno;

use crate::ids::ShardId;
use crate::limits::{CONTROL_ITEMS, DATA_BLOCKS};
use crate::shard::{Block, Lane};

/// What crosses in the control ring.
pub(super) enum ControlItem {
    Block(Block),
    /// A connection on its way to its home shard.
    Socket(Box<MovedSocket>),
}

/// A connection on its way to its home shard. Dropped, it closes.
pub(super) struct MovedSocket {
    pub(super) socket: OwnedFd,
    pub(super) address: SocketAddr,
    /// Bytes read and not yet handled, CONNECT first.
    pub(super) bytes: Vec<u8>,
}

struct Link {
    control: ArrayQueue<ControlItem>,
    data: ArrayQueue<Block>,
}

struct Sleeper {
    parked: AtomicBool,
    wake: OwnedFd,
}

/// All rings, and how to wake each shard. Shared by all shards.
pub(super) struct Mesh {
    links: Vec<CachePadded<Link>>,
    sleepers: Vec<CachePadded<Sleeper>>,
    stopping: AtomicBool,
    stopped: AtomicUsize,
}

impl Mesh {
    pub(super) fn new(shards: u16) -> Result<Self, Errno> {
        let shards = usize::from(shards);
        let link = || Link {
            control: ArrayQueue::new(CONTROL_ITEMS),
            data: ArrayQueue::new(DATA_BLOCKS),
        };
        let sleeper = || {
            let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            Ok(CachePadded::new(Sleeper {
                parked: AtomicBool::new(false),
                wake,
            }))
        };
        Ok(Self {
            links: (0..shards * shards)
                .map(|_| CachePadded::new(link()))
                .collect(),
            sleepers: (0..shards)
                .map(|_| sleeper())
                .collect::<Result<_, Errno>>()?,
            stopping: AtomicBool::new(false),
            stopped: AtomicUsize::new(0),
        })
    }

    pub(super) fn shards(&self) -> u16 {
        self.sleepers.len() as u16
    }

    fn link(&self, from: ShardId, to: ShardId) -> &Link {
        &self.links[from.index() * self.sleepers.len() + to.index()]
    }

    /// Only shard `from` sends here, so room seen is room kept.
    pub(super) fn has_room(&self, from: ShardId, to: ShardId, lane: Lane) -> bool {
        let link = self.link(from, to);
        match lane {
            Lane::Control => !link.control.is_full(),
            Lane::Data => !link.data.is_full(),
        }
    }

    /// Puts a block into a ring that has room.
    pub(super) fn send_block(&self, from: ShardId, to: ShardId, lane: Lane, block: Block) {
        let link = self.link(from, to);
        let refused = match lane {
            Lane::Control => link.control.push(ControlItem::Block(block)).is_err(),
            Lane::Data => link.data.push(block).is_err(),
        };
        assert!(!refused, "a ring with room refused a block");
    }

    /// Hands a connection over; gives it back when the ring is full.
    pub(super) fn send_socket(
        &self,
        from: ShardId,
        to: ShardId,
        socket: Box<MovedSocket>,
    ) -> Result<(), Box<MovedSocket>> {
        self.link(from, to)
            .control
            .push(ControlItem::Socket(socket))
            .map_err(|item| match item {
                ControlItem::Socket(socket) => socket,
                ControlItem::Block(_) => unreachable!("the item just pushed is a socket"),
            })
    }

    pub(super) fn take_control(&self, from: ShardId, to: ShardId) -> Option<ControlItem> {
        self.link(from, to).control.pop()
    }

    pub(super) fn take_data(&self, from: ShardId, to: ShardId) -> Option<Block> {
        self.link(from, to).data.pop()
    }

    /// True when something waits for `shard`.
    pub(super) fn has_items(&self, shard: ShardId) -> bool {
        (0..self.shards()).map(ShardId).any(|from| {
            let link = self.link(from, shard);
            !link.control.is_empty() || !link.data.is_empty()
        })
    }

    /// Says that `shard` is about to park. What is sent afterwards wakes it; what was sent before
    /// is seen by a check that follows.
    pub(super) fn announce_park(&self, shard: ShardId) {
        self.sleepers[shard.index()]
            .parked
            .store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub(super) fn announce_awake(&self, shard: ShardId) {
        self.sleepers[shard.index()]
            .parked
            .store(false, Ordering::Relaxed);
    }

    /// Wakes `shard` if it is parked: call after sending to it.
    pub(super) fn wake(&self, shard: ShardId) {
        fence(Ordering::SeqCst);
        let sleeper = &self.sleepers[shard.index()];
        if sleeper.parked.load(Ordering::Relaxed) && sleeper.parked.swap(false, Ordering::Relaxed) {
            // Fails only when the counter is full, and then the reader is awake anyway.
            let _ = rustix::io::write(&sleeper.wake, &1_u64.to_ne_bytes());
        }
    }

    pub(super) fn wake_descriptor(&self, shard: ShardId) -> BorrowedFd<'_> {
        self.sleepers[shard.index()].wake.as_fd()
    }

    /// Asks all shards to stop.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        (0..self.shards())
            .map(ShardId)
            .for_each(|shard| self.wake(shard));
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// A shard has stopped; it goes on draining its rings until all have.
    pub(super) fn count_stopped(&self) {
        self.stopped.fetch_add(1, Ordering::SeqCst);
        (0..self.shards())
            .map(ShardId)
            .for_each(|shard| self.wake(shard));
    }

    pub(super) fn all_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst) == self.sleepers.len()
    }
}
