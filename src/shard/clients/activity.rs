//! Activity of one connection: what has passed in each direction since it was opened, for operators.

use crate::mqtt::ReasonCode;
use crate::shard::CloseCause;
use crate::time::Time;

/// Lives on: its connection. Rates are differences of two readings, made by the asker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    pub opened_at: Time,
    /// Bytes of MQTT.
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub publications: u64,
    pub deliveries: u64,
}

/// How the last connection of a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// DISCONNECT of the client.
    Disconnect(ReasonCode),
    /// The socket was closed or has failed.
    Closed(CloseCause),
    /// By the broker; 3.1.1 and broken layers have no reason code.
    Broker(Option<ReasonCode>),
}
