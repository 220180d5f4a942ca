//! Trace: what the log says of one connection at `log-level = "debug"`.
//! Without that a connection has no trace, which costs one look at a field per read and write.

use std::rc::Rc;

use crate::time::Time;

/// Lives on: its connection.
#[derive(Debug)]
pub(in crate::shard) struct Trace {
    pub(in crate::shard) opened_at: Time,
    /// Once CONNECT is accepted.
    pub(in crate::shard) client_id: Option<Rc<str>>,
    /// Bytes of MQTT.
    pub(in crate::shard) received: u64,
    pub(in crate::shard) sent: u64,
    /// Why it ends, when a reason was noted.
    pub(in crate::shard) why: Option<Box<str>>,
}

impl Trace {
    pub(in crate::shard) fn new(opened_at: Time) -> Self {
        Self {
            opened_at,
            client_id: None,
            received: 0,
            sent: 0,
            why: None,
        }
    }
}
