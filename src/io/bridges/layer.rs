//! The layer of a bridge's connection: below it the remote, above it our own broker.

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::sync::mpsc::Sender;
use std::sync::Arc;

use super::status::BridgeStatus;
use super::wake::{Report, Wake};
use crate::bridge::{Ended, Event, Relay};
use crate::shard::RemoteEnd;
use crate::transport::{ConnectionInfo, Farewell, Layer, LayerError, Stack};

/// Sentences that one connection may bring between two looks: the rest is counted.
const NOTICES_MAX: u8 = 8;

/// A connection that was dialled, on its way to a shard.
pub(in crate::io) struct Dialled {
    pub(in crate::io) socket: OwnedFd,
    pub(in crate::io) remote: RemoteEnd,
    /// `None`: a client of ours within the process.
    pub(in crate::io) stack: Option<Stack>,
    /// Its user name here.
    pub(in crate::io) identity: Box<str>,
}

/// See the module.
pub(super) struct BridgeLayer {
    relay: Relay,
    identity: Box<str>,
    look_every_ms: u32,
    status: Arc<BridgeStatus>,
    /// Number of this connection, and the thread of the bridge.
    reports: (u64, Sender<Wake>),
    notices_left: u8,
    /// Why the relay has given up.
    ended: Option<Ended>,
    is_accepted: bool,
    peer_closed: bool,
}

impl BridgeLayer {
    pub(super) fn new(
        relay: Relay,
        identity: &str,
        keep_alive_s: u16,
        status: &Arc<BridgeStatus>,
        reports: (u64, Sender<Wake>),
    ) -> Self {
        Self {
            relay,
            identity: identity.into(),
            look_every_ms: u32::from(keep_alive_s) * 500,
            status: Arc::clone(status),
            reports,
            notices_left: NOTICES_MAX,
            ended: None,
            is_accepted: false,
            peer_closed: false,
        }
    }

    /// Fails only when the thread has ended.
    fn report(&self, report: Report) {
        let (number, thread) = &self.reports;
        let _ = thread.send(Wake::Report(*number, report));
    }

    /// Passes on what the relay has to say.
    fn settle(&mut self, result: Result<(), Ended>) -> Result<(), LayerError> {
        self.status.add(&self.relay.take_counts());
        while let Some(event) = self.relay.poll_event() {
            match &event {
                Event::Connected { .. } => self.is_accepted = true,
                Event::Up => {}
                Event::Notice(..) if self.notices_left == 0 => continue,
                Event::Notice(..) => self.notices_left -= 1,
            }
            self.report(Report::Event(event));
        }
        result.map_err(|ended| {
            let error = LayerError(format!("bridge: {ended}"));
            self.ended.get_or_insert(ended);
            error
        })
    }
}

impl Drop for BridgeLayer {
    fn drop(&mut self) {
        let (text, refused) = match self.ended.take() {
            Some(Ended { text, refused }) => (text, refused),
            None if self.is_accepted => ("the connection was closed".into(), None),
            None => (
                "the connection was closed before the remote had accepted it".into(),
                None,
            ),
        };
        self.report(Report::Closed(text, refused));
    }
}

impl Layer for BridgeLayer {
    fn start(&mut self, down: &mut Vec<u8>) {
        self.relay.start(down);
    }

    fn receive(
        &mut self,
        bytes: &mut [u8],
        up: &mut Vec<u8>,
        down: &mut Vec<u8>,
    ) -> Result<(), LayerError> {
        let result = self.relay.handle_remote(bytes, up, down);
        self.settle(result)
    }

    fn send(&mut self, slices: &[IoSlice<'_>], down: &mut Vec<u8>) -> Result<(), LayerError> {
        let result = self.relay.handle_local(slices, down);
        self.settle(result)
    }

    fn owed(&mut self, up: &mut Vec<u8>) {
        self.relay.take_owed(up);
    }

    fn look_every_ms(&self) -> Option<u32> {
        Some(self.look_every_ms)
    }

    fn look(&mut self, down: &mut Vec<u8>) -> Result<(), LayerError> {
        self.notices_left = NOTICES_MAX;
        let result = self.relay.look(down);
        self.settle(result)
    }

    /// The remote publishes the will of a connection that ends without DISCONNECT, as it should.
    fn close(&mut self, _: &mut Vec<u8>) {
        self.peer_closed = true;
    }

    fn explain(&mut self, why: Farewell) {
        if why == Farewell::NotAllowed && !self.is_accepted {
            self.ended.get_or_insert_with(|| Ended {
                text: "the remote has not accepted it within connect-timeout of this broker".into(),
                refused: None,
            });
        }
    }

    /// Of TLS or WebSocket; what the relay has found it has kept by itself.
    fn failed(&mut self, error: &LayerError) {
        self.ended.get_or_insert_with(|| Ended {
            text: error.0.clone(),
            refused: None,
        });
    }

    fn is_open(&self) -> bool {
        self.is_accepted
    }

    fn is_ended(&self) -> bool {
        false
    }

    fn tell(&mut self, learned: &mut ConnectionInfo) {
        learned.identity = Some(self.identity.clone());
    }
}
