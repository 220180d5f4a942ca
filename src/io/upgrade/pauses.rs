//! Pauses of clients: from when the old process began to come to rest until this one has read the client's socket, or would
//! have. What a client notices of an upgrade is that what it sends is not read.

use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::orders::UpgradeOrder;
use super::pipe::Pipe;
use super::waits::Waits;
use crate::io::driver::Driver;
use crate::io::inbox::ShardCommand;
use crate::io::shared::SharedState;
use crate::upgrade::{Message, Pauses};

/// Who has not been read by then is counted with so much.
const PATIENCE: Duration = Duration::from_secs(1);

impl Driver {
    /// The shard begins to serve.
    pub(super) fn begin_to_wait(&mut self, since_ns: u64, tell: Sender<Vec<u32>>) {
        let (mut waiting, mut others) = (0, 0);
        for id in self.shard.connection_ids() {
            match self.sockets.get_mut(id) {
                Some(socket) if socket.listed => {
                    socket.was_moved = true;
                    waiting += 1;
                }
                Some(_) => others += 1,
                None => {}
            }
        }
        self.upgrade.waits = Waits::begin(since_ns, tell, (waiting, others));
    }

    /// The others are not waited for any longer.
    pub(super) fn tell_pauses(&mut self) {
        self.upgrade.waits.tell();
    }
}

/// Orders to serve, and how long clients have waited by the shards that answer.
pub(super) fn serve(shared: &SharedState, since_ns: Option<u64>) -> Receiver<Vec<u32>> {
    let (tell, told) = channel();
    shared.broadcast(|| {
        let waits = since_ns.map(|since| (since, tell.clone()));
        ShardCommand::Upgrade(UpgradeOrder::Serve(waits))
    });
    told
}

/// Logs them, and sends them to the old process, whose operator waits.
pub(in crate::io) fn report(
    shared: &Arc<SharedState>,
    told: Receiver<Vec<u32>>,
    pipe: Pipe,
) -> std::io::Result<()> {
    let shared = Arc::clone(shared);
    let collect = move || {
        let pauses = Pauses::of(collect(&shared, &told));
        tracing::info!("upgrade: {pauses}");
        let _ = pipe.send(&Message::Paused(pauses), &[]); // it may have ended
    };
    let builder = thread::Builder::new().name("pauses".into());
    builder.spawn(collect).map(drop)
}

fn collect(shared: &SharedState, told: &Receiver<Vec<u32>>) -> Vec<u32> {
    let (mut all, mut left, mut has_asked) = (Vec::new(), shared.shards(), false);
    while left > 0 {
        match told.recv_timeout(PATIENCE) {
            Ok(mut each) => {
                all.append(&mut each);
                left -= 1;
            }
            Err(_) if has_asked => break, // the process ends
            Err(_) => {
                has_asked = true;
                shared.broadcast(|| ShardCommand::Upgrade(UpgradeOrder::TellPauses));
            }
        }
    }
    all
}
