//! PINGREQ.

use crate::ids::ConnectionId;
use crate::mqtt::encode;
use crate::shard::Shard;

impl Shard {
    pub(in crate::shard) fn on_ping(&mut self, id: ConnectionId) {
        self.clients.reply(id, |out, _| encode::pingresp(out)); // [MQTT-3.12.4-1]
    }
}
