//! Lines of the log about connections one by one, from their traces.

use std::fmt::Write as _;
use std::rc::Rc;

use crate::auth::Identity;
use crate::ids::ConnectionId;
use crate::mqtt::{Connect, Version};
use crate::shard::action::Outbox;
use crate::shard::clients::connection::Connection;
use crate::shard::clients::trace::Trace;
use crate::shard::clients::Clients;
use crate::shard::notices::Severity;
use crate::shard::{Action, CloseCause, Notice, Shard};
use crate::time::{Span, Time};

impl Shard {
    /// From now on each connection that opens is traced.
    pub fn trace_connections(&mut self) {
        self.outbox.traces = true;
    }

    /// A CONNECT has been accepted.
    pub(in crate::shard) fn trace_connect(
        &mut self,
        id: ConnectionId,
        (client_id, connect, who): (&Rc<str>, &Connect<'_>, &Identity),
        session_present: bool,
    ) {
        let connection = self.clients.connection_mut(id);
        let rare = connection.rare.get_mut();
        let Some(trace) = rare.and_then(|rare| rare.trace.as_mut()) else {
            return;
        };
        trace.client_id = Some(Rc::clone(client_id));
        let mut text = format!("CONNECT accepted: MQTT {}", name_of(connect.version));
        let _ = match &who.user {
            Some(user) => write!(text, ", user \"{}\"", user.escape_debug()),
            None => write!(text, ", no user"),
        };
        let found = if session_present {
            "the session was there"
        } else {
            "the session is new"
        };
        let _ = write!(text, ", keep alive {} s, {found}", connect.keep_alive_s);
        let notice = Notice {
            severity: Severity::Debug,
            client_id: Some((&**client_id).into()),
            peer: Some(connection.origin.peer),
            text,
            suppressed: 0,
        };
        self.outbox.actions.push_back(Action::Notice(notice));
    }
}

impl Clients {
    /// Notes why a connection ends; the first reason is the cause.
    pub(in crate::shard) fn trace_end(&mut self, id: ConnectionId, why: &str) {
        let rare = self.connection_mut(id).rare.get_mut();
        if let Some(trace) = rare.and_then(|rare| rare.trace.as_mut()) {
            trace.why.get_or_insert_with(|| why.into());
        }
    }
}

impl Outbox {
    pub(in crate::shard) fn begin_trace(&self) -> Option<Box<Trace>> {
        self.traces.then(Box::default)
    }

    /// A connection was closed.
    pub(in crate::shard) fn trace_closed(
        &mut self,
        connection: &Connection,
        cause: CloseCause,
        now: Time,
    ) {
        let Some(trace) = &connection.rare.get().trace else {
            return;
        };
        let activity = &connection.activity;
        let why = trace.why.as_deref().unwrap_or(match cause {
            CloseCause::EndOfStream => "the client closed it without DISCONNECT",
            CloseCause::Failed => "the connection has failed",
            CloseCause::Lost => "the client was silent too long, or did not answer",
            CloseCause::Asked => "it did not end in time",
        });
        let ms = now.since(activity.opened_at).0 / Span::from_millis(1).0;
        let text = format!(
            "connection closed: {why}; after {}.{:03} s, {} bytes received, {} bytes sent",
            ms / 1_000,
            ms % 1_000,
            activity.bytes_in,
            activity.bytes_out,
        );
        let notice = Notice {
            severity: Severity::Debug,
            client_id: trace.client_id.as_deref().map(Box::from),
            peer: Some(connection.origin.peer),
            text,
            suppressed: 0,
        };
        self.actions.push_back(Action::Notice(notice));
    }
}

fn name_of(version: Version) -> &'static str {
    match version {
        Version::V31 => "3.1",
        Version::V311 => "3.1.1",
        Version::V5 => "5.0",
    }
}
