//! Clients' ends of their connections.

use std::io::IoSlice;
use std::net::SocketAddr;

use super::{Environment, Event, World, LISTENER};
use crate::ids::ConnectionId;
use crate::shard::{CloseCause, Origin, RemoteEnd};

/// Segments sent at once.
const SLICES: usize = 16;

/// A shard and a connection there.
pub type At = (usize, ConnectionId);

/// A client's end of a connection.
#[derive(Debug)]
pub struct Link {
    /// Where it is, until the connection is closed; `None` also on its way to another shard.
    pub at: Option<At>,
    /// On its way to a shard, with the bytes that were read of it.
    pub is_moving: bool,
    /// Sent by the client, not yet read by the shard. Those before `taken` are.
    unread: Vec<u8>,
    taken: usize,
    /// Most bytes given to a shard at once.
    pub piece_len: usize,
    /// The client reads nothing for a while.
    pub is_stalled: bool,
    pub received: Vec<u8>,
    /// The broker has more to send than the socket takes.
    pub is_blocked: bool,
    pub is_closed_by_client: bool,
    pub is_closed_by_broker: bool,
}

impl Link {
    fn new(at: Option<At>) -> Self {
        Self {
            at,
            is_moving: false,
            unread: Vec::new(),
            taken: 0,
            piece_len: usize::MAX,
            is_stalled: false,
            received: Vec::new(),
            is_blocked: false,
            is_closed_by_client: false,
            is_closed_by_broker: at.is_none(),
        }
    }

    /// Neither end has closed it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.is_closed_by_client && !self.is_closed_by_broker
    }

    /// How many of the client's bytes no shard has read.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.unread.len() - self.taken
    }

    /// Moves the next `count` bytes of the client into `buffer`.
    fn take_unread(&mut self, count: usize, buffer: &mut Vec<u8>) {
        let end = self.taken + count;
        buffer.extend_from_slice(&self.unread[self.taken..end]);
        self.taken = end;
        if self.taken == self.unread.len() {
            self.unread.clear();
            self.taken = 0;
        }
    }
}

/// Where all clients come from.
fn origin() -> Origin {
    let address = SocketAddr::from(([127, 0, 0, 1], 50_000));
    Origin::new(RemoteEnd::Ip(address), LISTENER)
}

impl<E: Environment> World<E> {
    /// A client connects to a shard, whatever its home will be.
    pub fn open(&mut self, shard: usize) -> usize {
        let link = self.links.len();
        let id = self.shards[shard].handle_opened(origin(), self.now);
        self.links.push(Link::new(None));
        self.attach(link, shard, id);
        let is_accepted = id.is_some();
        self.happened(Event::Opened {
            link,
            shard,
            is_accepted,
        });
        link
    }

    /// A client sends; its shard reads in its turns.
    pub fn send(&mut self, link: usize, bytes: &[u8]) {
        let link = &mut self.links[link];
        if link.is_open() {
            link.unread.extend_from_slice(bytes);
        }
    }

    /// Bytes that a shard reads at once, between two steps of its turn.
    #[inline]
    pub fn give(&mut self, link: usize, bytes: &[u8]) {
        if let Some((shard, id)) = self.links[link].at {
            self.happened(Event::Read { link, shard, bytes });
            self.shards[shard].handle_bytes(id, bytes, self.now);
        }
    }

    /// A client closes its end; its shard sees it in one of its turns.
    pub fn close(&mut self, link: usize) {
        self.links[link].is_closed_by_client = true;
    }

    /// A client that has read nothing for a while reads on; the rest comes in its shard's turns.
    pub fn resume_reading(&mut self, link: usize) {
        self.links[link].is_stalled = false;
    }

    /// The links that a shard has now.
    pub fn links_of(&self, shard: usize) -> impl Iterator<Item = usize> + '_ {
        self.attached[shard].iter().flatten().copied()
    }

    /// The link of a connection.
    #[inline]
    #[must_use]
    pub fn link_at(&self, (shard, id): At) -> Option<usize> {
        let link = (*self.attached[shard].get(id.index as usize)?)?;
        (self.links[link].at == Some((shard, id))).then_some(link)
    }

    /// How many places a shard has for connections.
    pub(super) fn places(&self, shard: usize) -> usize {
        self.attached[shard].len()
    }

    /// The link in one of them.
    pub(super) fn link_in(&self, shard: usize, place: usize) -> Option<usize> {
        self.attached[shard][place]
    }

    /// A shard has a link now, or (`None`) has refused it.
    pub(super) fn attach(&mut self, link: usize, shard: usize, id: Option<ConnectionId>) {
        self.links[link].at = id.map(|id| (shard, id));
        self.links[link].is_closed_by_broker = id.is_none();
        if let Some(id) = id {
            let (places, place) = (&mut self.attached[shard], id.index as usize);
            if places.len() <= place {
                places.resize(place + 1, None);
            }
            places[place] = Some(link);
        }
    }

    /// The connection of a link continues under another id of the same shard.
    pub fn renamed(&mut self, link: usize, id: ConnectionId) {
        let is_blocked = self.links[link].is_blocked;
        if let Some((shard, _)) = self.detach(link) {
            self.attach(link, shard, Some(id));
            self.links[link].is_blocked = is_blocked;
        }
    }

    /// A shard does not have this link any more.
    pub(super) fn detach(&mut self, link: usize) -> Option<At> {
        let (shard, id) = self.links[link].at.take()?;
        self.links[link].is_blocked = false;
        self.attached[shard][id.index as usize] = None;
        Some((shard, id))
    }

    /// A shard reads a link once, or sees its end; true when it did.
    pub(super) fn read_one(&mut self, link: usize) -> bool {
        let it = &mut self.links[link];
        let Some((shard, id)) = it.at else {
            return false;
        };
        let waiting = it.unread();
        if waiting == 0 && !it.is_closed_by_client {
            return false;
        }
        let wants_input = self.shards[shard].wants_input(id);
        if it.is_closed_by_client && self.environment.sees_end(waiting, wants_input) {
            self.end(link, CloseCause::EndOfStream);
            return true;
        }
        if waiting == 0 || !wants_input {
            return false;
        }
        let count = self
            .environment
            .read(waiting)
            .min(it.piece_len)
            .min(waiting);
        if count == 0 {
            return false;
        }
        let mut bytes = std::mem::take(&mut self.buffer);
        it.take_unread(count, &mut bytes);
        self.give(link, &bytes);
        bytes.clear();
        self.buffer = bytes;
        // Before anything else touches the connection, as the driver does.
        self.act(shard);
        true
    }

    /// The shard is notified that a connection is closed.
    pub(super) fn end(&mut self, link: usize, cause: CloseCause) {
        if let Some((shard, connection)) = self.detach(link) {
            self.shards[shard].handle_closed(connection, cause, self.now);
            self.happened(Event::Ended {
                link,
                shard,
                connection,
                cause,
            });
        }
    }

    /// Sends what waits on a link until nothing is left or its socket has no room.
    pub(super) fn write(&mut self, link: usize) {
        while !self.links[link].is_blocked && self.write_some(link, false) {}
    }

    /// Sends what waits on a link whatever room there is, unless its client takes nothing.
    pub(super) fn write_last(&mut self, link: usize) {
        while !self.links[link].is_stalled && self.write_some(link, true) {}
    }

    /// True when bytes went out.
    fn write_some(&mut self, link: usize, is_last: bool) -> bool {
        let it = &mut self.links[link];
        let Some((shard, id)) = it.at else {
            return false;
        };
        let mut slices = [IoSlice::new(&[]); SLICES];
        let filled = self.shards[shard].outgoing(id, &mut slices);
        let slices = &slices[..filled];
        let waiting: usize = slices.iter().map(|slice| slice.len()).sum();
        if waiting == 0 {
            return false;
        }
        let count = if is_last {
            waiting
        } else if it.is_stalled {
            0
        } else {
            self.environment.write(it, waiting).min(waiting)
        };
        if count == 0 {
            it.is_blocked = true;
            return false;
        }
        self.environment.deliver(it, slices, count);
        self.shards[shard].handle_written(id, count, self.now);
        self.happened(Event::Written {
            link,
            shard,
            count,
            waiting,
        });
        true
    }

    /// A link that waited for room continues if it has some; true when it does.
    pub(super) fn unblock(&mut self, link: usize) -> bool {
        let it = &mut self.links[link];
        if !it.is_blocked || it.is_stalled || !self.environment.has_room(it) {
            return false;
        }
        it.is_blocked = false;
        self.write(link);
        true
    }

    #[inline]
    pub(super) fn happened(&mut self, event: Event<'_>) {
        self.environment.happened(self.now, event);
    }
}
