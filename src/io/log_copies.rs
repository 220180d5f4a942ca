//! Frames of a shard's log on their way to the place that must have them as well.

use tokio::sync::mpsc::UnboundedSender;

use crate::ids::ShardId;
use crate::journal::{FrameWrite, Lsn, SegmentNumber};

/// What a log has for that place.
pub(super) enum ToCopies {
    Frame(LogFrame),
    /// A shard's log is not needed before this segment.
    Needed(ShardId, SegmentNumber),
    /// The logs of the present number of shards count from here on, by this manifest; answered when it is there.
    Manifest(String, std::sync::mpsc::Sender<()>),
}

/// A frame as its segment's file has it, without the zeros behind it.
pub(super) struct LogFrame {
    pub(super) shard: ShardId,
    pub(super) lsn: Lsn,
    pub(super) segment: SegmentNumber,
    pub(super) offset: u32,
    pub(super) bytes: Vec<u8>,
}

/// See the module. Lives on: the driver of the shard. Not bounded by itself: the shard takes no more for its log while
/// too much of it is not durable, as with a slow disk.
#[derive(Clone)]
pub(super) struct LogCopies(pub(super) UnboundedSender<ToCopies>);

impl LogCopies {
    /// The next frame of a log.
    pub(super) fn frame(&self, shard: ShardId, frame: &FrameWrite<'_>) {
        let mut bytes = vec![0; frame.bytes()];
        frame.copy_to(&mut bytes);
        bytes.truncate(frame.bytes_before_padding());
        self.send(ToCopies::Frame(LogFrame {
            shard,
            lsn: frame.lsn(),
            segment: frame.segment(),
            offset: frame.offset(),
            bytes,
        }));
    }

    pub(super) fn needed(&self, shard: ShardId, from: SegmentNumber) {
        self.send(ToCopies::Needed(shard, from));
    }

    /// Waits until that place has the manifest by which its logs count.
    pub(super) fn manifest(&self, text: String) {
        let (done, is_done) = std::sync::mpsc::channel();
        self.send(ToCopies::Manifest(text, done));
        let _ = is_done.recv(); // fails when the process ends
    }

    /// Fails when the link has ended, and with it the process.
    fn send(&self, item: ToCopies) {
        let _ = self.0.send(item);
    }
}
