//! The local half of a bridge while it has no connection: its session, which keeps what goes out.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::layer::Dialled;
use crate::bridge::{forgetting, waiting, Bridge};
use crate::ids::ShardId;
use crate::io::broker::Broker;
use crate::io::inbox::ShardCommand;
use crate::shard::{Answer, ClientDetail, Query, RemoteEnd};

/// How long our own broker may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is published from now on is kept for the bridge, whether or not the remote can be reached. `before` is what it
/// was: what it alone has subscribed to is given up.
pub(super) fn begin_session(
    broker: &Broker,
    shard: ShardId,
    bridge: &Bridge,
    before: Option<&Bridge>,
) -> Result<(), String> {
    match waiting(bridge, before) {
        Some(conversation) => converse(broker, shard, bridge, &conversation),
        // It has kept what went out, and nothing goes out any more.
        None if before.is_some() => end_session(broker, shard, bridge),
        None => Ok(()),
    }
}

/// Nothing is kept any more for a bridge without a table.
pub(super) fn end_session(broker: &Broker, shard: ShardId, bridge: &Bridge) -> Result<(), String> {
    converse(broker, shard, bridge, &forgetting(bridge))
}

/// A whole conversation as a client of ours.
fn converse(
    broker: &Broker,
    shard: ShardId,
    bridge: &Bridge,
    conversation: &[u8],
) -> Result<(), String> {
    let cannot = |error: std::io::Error| error.to_string();
    let (mut own, its) = UnixStream::pair().map_err(cannot)?;
    its.set_nonblocking(true).map_err(cannot)?;
    own.set_read_timeout(Some(PATIENCE)).map_err(cannot)?;
    let dialled = Dialled {
        socket: its.into(),
        remote: RemoteEnd::Unix,
        stack: None,
        identity: bridge.user_here().into(),
    };
    broker.send(shard, ShardCommand::Dialled(Box::new(dialled)));
    own.write_all(conversation).map_err(cannot)?;
    // It is closed when all has been done.
    let mut answers = Vec::new();
    own.read_to_end(&mut answers).map_err(cannot)?;
    Ok(())
}

/// The session of a bridge as its home shard has it. Not for a shard's own thread.
pub(in crate::io) fn session(broker: &Broker, bridge: &Bridge) -> Option<ClientDetail> {
    let id: Box<str> = bridge.local_id().into();
    let (sender, answers) = sync_channel(usize::from(broker.shards()));
    for shard in (0..broker.shards()).map(ShardId) {
        let sender = sender.clone();
        // Fails when the answer comes too late.
        let reply = move |answer| {
            let _ = sender.try_send(answer);
        };
        if !broker.ask(shard, Query::Client(id.clone()), Box::new(reply)) {
            return None;
        }
    }
    drop(sender);
    for _ in 0..broker.shards() {
        if let Ok(Answer::Client(Some(detail))) = answers.recv_timeout(PATIENCE) {
            return Some(*detail);
        }
    }
    None
}
