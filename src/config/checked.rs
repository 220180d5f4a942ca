//! The checked configuration, as the broker uses it.

use std::net::{Ipv4Addr, SocketAddr};

use super::{Machine, MemoryBound};
use crate::admin_options::AdminOptions;
use crate::auth::{Files, HookTerms};
use crate::bridge::Bridge;
use crate::limits::Limits;
use crate::listener::Listener;
use crate::run_options::RunOptions;

/// By default retained messages may take this part of the memory there is.
const RETAINED_PART: u64 = 4;

/// The configuration as used: complete, in range, and consistent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Plain listeners. Empty only when `listeners` is not; no address twice in both. Port 0 asks the
    /// kernel for a free one.
    pub listen: Vec<SocketAddr>,
    /// Those with a table of their own.
    pub listeners: Vec<Listener>,
    /// Tables `[[bridge]]`.
    pub bridges: Vec<Bridge>,
    /// Clients without credentials may connect through listeners beyond loopback.
    pub allow_anonymous: bool,
    /// 1 to [`crate::ids::SHARDS_MAX`]; `None`: one per core this process may use.
    pub shards: Option<u16>,
    /// Pin each shard to a core of its own, when there are enough.
    pub pin: bool,
    pub limits: Limits,
    /// The bytes of retained messages follow from the memory there is (see [`Checked::fit_to`]).
    pub retained_by_memory: bool,
    /// What goes to `io` as it is.
    pub run: RunOptions,
    /// Files of accounts and rules; its hooks, `allow_anonymous` and what listeners have are filled in by
    /// [`Checked::files`].
    pub auth: Files,
    /// No hook when its URL is empty.
    pub hook: HookTerms,
    /// Of the service that rules what clients may do; empty: there is none. The rest is as for `hook`.
    pub acl_hook_url: String,
    pub log_level: tracing::Level,
    pub admin: AdminOptions,
}

impl Default for Checked {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 1883))],
            listeners: Vec::new(),
            bridges: Vec::new(),
            allow_anonymous: false,
            shards: None,
            pin: true,
            limits: Limits::default(),
            retained_by_memory: true,
            run: RunOptions::default(),
            auth: Files::default(),
            hook: HookTerms::default(),
            acl_hook_url: String::new(),
            log_level: tracing::Level::INFO,
            admin: AdminOptions::default(),
        }
    }
}

impl Checked {
    /// Where accounts and rules come from.
    #[must_use]
    pub fn files(&self) -> Files {
        let hook_at = |url: &String| {
            let url = url.clone();
            let terms = HookTerms {
                url,
                ..self.hook.clone()
            };
            Some(terms).filter(|terms| !terms.url.is_empty())
        };
        Files {
            hook: hook_at(&self.hook.url),
            acl_hook: hook_at(&self.acl_hook_url),
            allow_anonymous: self.allow_anonymous,
            of_listeners: (self.listeners.iter())
                .map(|listener| listener.policy.files.clone())
                .collect(),
            ..self.auth.clone()
        }
    }

    /// All listeners, the plain ones first.
    #[must_use]
    pub fn all_listeners(&self) -> Vec<Listener> {
        let plain = self.listen.iter().copied().map(Listener::plain);
        plain.chain(self.listeners.iter().cloned()).collect()
    }

    /// Limits that are to follow from the memory there is, in bytes.
    pub fn fit_to(&mut self, memory: Option<u64>) {
        if let Some(memory) = memory.filter(|_| self.retained_by_memory) {
            let most = Limits::default().retained_bytes_max;
            let least = u64::from(self.limits.packet_size_max).min(most);
            self.limits.retained_bytes_max = (memory / RETAINED_PART).clamp(least, most);
        }
    }

    /// The most that connections, sessions, retained messages and the shards' own buffers may take
    /// when every limit is reached at once, on this machine.
    #[must_use]
    pub fn memory_bound(&self, machine: Machine) -> MemoryBound {
        let (asks, keeps) = (!self.acl_hook_url.is_empty(), self.run.data_dir.is_some());
        let bridges: Vec<_> = self.bridges.iter().map(|bridge| bridge.own_terms).collect();
        MemoryBound::new(
            &self.limits,
            self.run.login_queue_max,
            (asks, keeps),
            &bridges,
            machine,
        )
    }
}
