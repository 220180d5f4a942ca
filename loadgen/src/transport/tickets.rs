//! Session tickets of brokers, for as many clients as a worker has: rustls's own store keeps eight.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::NamedGroup;

/// Tickets of one connection that are kept; brokers send two or so.
const PER_CLIENT: usize = 2;

/// Tickets and parameters of one broker.
#[derive(Debug, Default)]
struct BrokerTickets {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: VecDeque<Tls13ClientSessionValue>,
}

/// Sessions by the broker's name. Any client resumes any of them: to the broker that is the same work.
#[derive(Debug)]
pub(super) struct Tickets {
    most: usize,
    by_broker: Mutex<HashMap<ServerName<'static>, BrokerTickets>>,
}

impl Tickets {
    pub(super) fn new(clients: usize) -> Self {
        Self {
            most: clients.max(1) * PER_CLIENT,
            by_broker: Mutex::default(),
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<ServerName<'static>, BrokerTickets>> {
        self.by_broker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.all().entry(name).or_default().group = Some(group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.all().get(&name.to_owned())?.group
    }

    fn set_tls12_session(&self, name: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.all().entry(name).or_default().tls12 = Some(session);
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.all().get(&name.to_owned())?.tls12.clone()
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        if let Some(tickets) = self.all().get_mut(name) {
            tickets.tls12 = None;
        }
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut all = self.all();
        let tickets = &mut all.entry(name).or_default().tls13;
        if tickets.len() == self.most {
            tickets.pop_front();
        }
        tickets.push_back(ticket);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.all().get_mut(name)?.tls13.pop_back()
    }
}
