//! Registration of a topic id with its client, and the answer to it.

use super::busy::Awaited;
use super::Gateway;
use crate::mqtt_sn::ReturnCode;
use crate::shard::Shard;
use crate::time::{Span, Time};

/// A client that is congested is left alone for so long: more than 5 minutes, section 7.2.
const T_WAIT: Span = Span::from_secs(310);

impl Gateway {
    /// REGACK.
    pub(super) fn registered(
        &mut self,
        shard: &mut Shard,
        index: u32,
        (topic_id, msg_id): (u16, u16),
        code: ReturnCode,
        now: Time,
    ) {
        let peer = self.peers.get_mut(index);
        let awaited = peer.busy.outstanding.as_deref().map(|one| &one.what);
        let expected = match awaited {
            Some(Awaited::Registration {
                topic_id,
                msg_id: own,
            }) if *own == msg_id => *topic_id,
            _ => {
                self.stats.out_of_order += 1;
                return;
            }
        };
        // Some clients answer with the id 0: the message id says which it is.
        let _ = topic_id;
        if let Some(outstanding) = &mut peer.busy.outstanding {
            if code == ReturnCode::Congestion {
                (outstanding.sent, outstanding.is_put_off) = (0, true);
                outstanding.due = now + T_WAIT;
                return;
            }
        }
        peer.busy.outstanding = None;
        match code {
            ReturnCode::Accepted => peer.kept.topics.accepted(expected),
            _ => {
                peer.kept.topics.refused(expected);
                self.stats.muted += 1;
                let dropped = peer.busy.deliveries.pop_front();
                let packet = dropped.and_then(|one| one.packet_id.map(|id| (one.qos, id)));
                self.acknowledge_dropped(shard, index, packet, now);
            }
        }
    }
}
