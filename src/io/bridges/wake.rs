//! Wake-ups of a bridge's thread: reports of its connection, and orders.

use std::sync::Arc;

use crate::bridge::{Bridge, Event, LocalLimits};
use crate::mqtt::ReasonCode;

/// What the thread of a bridge learns of its connection.
#[derive(Debug)]
pub(super) enum Report {
    Event(Event),
    /// It is closed: why, and the remote's reason if it has refused.
    Closed(String, Option<ReasonCode>),
}

/// What wakes the thread of a bridge.
pub(super) enum Wake {
    /// Of the connection with this number.
    Report(u64, Report),
    Order(Order),
}

/// What a bridge is to do from now on.
pub(super) enum Order {
    /// Connect, if it has not, and stay connected.
    Start,
    Stop,
    /// As its table is now.
    Renew(Arc<Bridge>),
    /// It has no table any more.
    Remove,
    /// What our own broker takes, on connections that begin from now on.
    Limits(LocalLimits),
    /// The broker stops.
    End,
}
