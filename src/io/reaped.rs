//! Completions of a shard's ring, sorted by their sockets.

use std::os::fd::AsFd;

use super::driver::Driver;
use super::poller::Event;

impl Driver {
    /// Sorts completions into what to read, write and accept; true when there were any.
    pub(super) fn reap(&mut self) -> bool {
        let Self {
            poller,
            sockets,
            shard,
            established,
            leaving,
            others,
            writable,
            acceptable,
            datagrams,
            quics,
            ..
        } = self;
        let mut unwatched = Vec::new();
        let count = poller.reap(|event| match event {
            Event::Readable {
                id,
                hangup,
                watched,
            } => {
                if quics.is_ready(id, false) {
                    if !watched {
                        unwatched.push(id);
                    }
                    return;
                }
                let Some(socket) = sockets.named(id) else {
                    return;
                };
                socket.hangup |= hangup;
                if !socket.listed {
                    socket.listed = true;
                    let queue = match shard.is_established(socket.id) {
                        true if socket.hangup => &mut *leaving,
                        true => &mut *established,
                        false => &mut *others,
                    };
                    queue.push(socket.id);
                }
                if !watched {
                    unwatched.push(socket.id);
                }
            }
            Event::Writable(id) if quics.is_ready(id, true) => {}
            Event::Writable(id) => {
                if let Some(socket) = sockets.named(id) {
                    socket.blocked = false;
                    writable.push(socket.id);
                }
            }
            Event::Acceptable(index) => {
                if datagrams.are_readable(index) {
                    return;
                }
                if let Some(flag) = acceptable.get_mut(index as usize) {
                    *flag = true;
                }
            }
        });
        for id in unwatched {
            let socket = self.sockets.get(id).map(|socket| &socket.descriptor);
            if let Some(socket) = socket.or_else(|| self.quics.end_of(id)) {
                self.poller.watch_readable(socket.as_fd(), id);
            }
        }
        count > 0
    }
}
