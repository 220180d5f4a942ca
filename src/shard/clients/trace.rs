//! Trace: what the log says of one connection at `log-level = "debug"`.
//! Without that a connection has no trace, which costs one look at a field per read and write.

use std::rc::Rc;

/// Lives on: its connection.
#[derive(Debug, Default)]
pub(in crate::shard) struct Trace {
    /// Once CONNECT is accepted.
    pub(in crate::shard) client_id: Option<Rc<str>>,
    /// Why it ends, when a reason was noted.
    pub(in crate::shard) why: Option<Box<str>>,
}
