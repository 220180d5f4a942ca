//! The listeners of one shard: which of them it watches.

use std::os::fd::AsFd;

use super::driver::Driver;
use super::listener::Listening;

impl Driver {
    /// Watches listeners that were added, and those that were removed no more. Connections stay.
    pub(super) fn listen(&mut self, listeners: Vec<Listening>) {
        self.is_open = true;
        if self.stopping {
            return;
        }
        for (index, listener) in listeners.iter().enumerate() {
            let before = self.listeners.get(index);
            let was_open = before.is_some_and(|before| before.socket.is_some());
            match &listener.socket {
                Some(socket) if !was_open => {
                    self.poller.watch_acceptable(socket.as_fd(), index as u32);
                }
                None if was_open => self.poller.forget_listener(index as u32),
                _ => {}
            }
        }
        self.listen_for_datagrams(&listeners);
        self.acceptable.resize(listeners.len(), false);
        self.listeners = listeners;
    }

    /// No connection is accepted any more.
    pub(super) fn close_listeners(&mut self) {
        for index in 0..self.listeners.len() {
            self.poller.forget_listener(index as u32);
        }
        self.listeners.clear();
        self.acceptable.clear();
    }
}
