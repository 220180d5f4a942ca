//! The configuration and the files that it names (TLS, accounts, rules): read again at SIGHUP.
//!
//! A thread of its own reads; the shards are not held up. Everything is read and checked, and then everything is
//! applied or, when something is wrong, nothing: each problem is logged.

use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use std::thread;

use super::bridges;
use super::broker::Broker;
use super::controls::{Ask, Controls, Reloaded};
use super::errors::StartError;
use super::fd_store;
use super::file_watch::{self, FileWatch};
use super::inbox::ShardCommand;
use super::listener_set::ListenerSet;
use super::logging;
use super::logins::Logins;
use super::recovery::Journal;
use super::service_manager;
use super::shared::SharedState;
use super::tls_files::factory;
use super::upgrade::{self, Old};
use crate::admin_options::AdminOptions;
use crate::auth::{self, Rules};
use crate::bridge::{own_terms, Bridge, LocalLimits};
use crate::ids::ShardId;
use crate::limits::Limits;
use crate::listener::Listener;
use crate::run_options::RunOptions;
use crate::shard::ShardConfig;
use crate::time::Span;
use crate::transport::LayerFactory;

/// What the configuration says, of what can change while the broker runs.
#[derive(Debug)]
pub struct Renewed {
    pub listeners: Vec<Listener>,
    pub bridges: Vec<Bridge>,
    pub limits: Limits,
    pub auth: auth::Files,
    pub run: RunOptions,
    pub admin: AdminOptions,
    /// If it is another one: an operator may have set it meanwhile.
    pub log_level: Option<tracing::Level>,
    /// What differs, a sentence each, and whether it needs a restart.
    pub lines: Vec<(String, bool)>,
}

/// The configuration as it can be read again.
pub trait Configuration: Send {
    /// # Errors
    /// Everything that is wrong with it, one line each.
    fn read_again(&mut self) -> Result<Renewed, String>;

    /// What was read last is in force.
    fn is_in_force(&mut self);
}

/// Everything that changes at a reload. Lives on: the reload thread.
pub(super) struct Reload {
    pub(super) configuration: Box<dyn Configuration>,
    pub(super) listeners: ListenerSet,
    pub(super) shard_config: Arc<ShardConfig>,
    pub(super) logins: Arc<Logins>,
    pub(super) secret: [u8; 32],
    pub(super) shared: Arc<SharedState>,
    pub(super) broker: Broker,
    pub(super) controls: Arc<Controls>,
    pub(super) files: FileWatch,
    pub(super) sys_intervals: Sender<Span>,
    pub(super) journal: Option<Arc<Journal>>,
}

/// Reloads at each request in `asked`, until the process ends.
pub(super) fn watch(asked: Receiver<Ask>, mut reload: Reload) -> std::io::Result<()> {
    let reload = move || {
        while let Ok(first) = asked.recv() {
            // Several at once are one of each.
            let all: Vec<Ask> = std::iter::once(first).chain(asked.try_iter()).collect();
            if all.contains(&Ask::Upgrade) && reload.upgrade() {
                return;
            }
            if !all.contains(&Ask::Reload) {
                continue;
            }
            let waiters = reload.controls.take_waiters();
            service_manager::reloading();
            let done = told(reload.renew());
            service_manager::reloaded();
            for waiter in waiters {
                waiter(&done);
            }
        }
    };
    thread::Builder::new().name("reload".into()).spawn(reload)?;
    Ok(())
}

/// Logs the outcome, and returns it for operators who wait for it.
fn told(outcome: Result<Vec<(String, bool)>, Vec<String>>) -> Vec<Reloaded> {
    let reloaded = |what: String, problem| Reloaded {
        what,
        problem,
        needs_restart: false,
    };
    let everything = || String::from("configuration, certificates, accounts and rules");
    match outcome {
        Ok(lines) => {
            for (line, needs_restart) in &lines {
                match needs_restart {
                    true => tracing::warn!("reload: {line}"),
                    false => tracing::info!("reload: {line}"),
                }
            }
            tracing::info!("reload: {} were read again", everything());
            let lines = lines.into_iter().map(|(line, needs_restart)| Reloaded {
                needs_restart,
                ..reloaded(line, None)
            });
            std::iter::once(reloaded(everything(), None))
                .chain(lines)
                .collect()
        }
        Err(problems) => {
            for problem in &problems {
                tracing::error!("reload: {problem}");
            }
            tracing::error!("reload: nothing has changed: the old values stay in force");
            let problems = problems.into_iter();
            problems
                .map(|problem| reloaded(everything(), Some(problem)))
                .collect()
        }
    }
}

impl Reload {
    /// True: another process serves, and this one ends.
    fn upgrade(&self) -> bool {
        let waiters = self.controls.take_upgrade_waiters();
        let old = Old {
            shared: &self.shared,
            listeners: &self.listeners,
            journal: self.journal.as_deref(),
            controls: &self.controls,
        };
        let outcome = upgrade::hand_over(&old);
        for waiter in waiters {
            waiter(&outcome);
        }
        if outcome.is_ok() {
            self.shared.has_told();
        }
        outcome.is_ok()
    }

    /// Reads and checks everything, then applies everything.
    ///
    /// # Errors
    /// What is wrong; nothing was applied.
    fn renew(&mut self) -> Result<Vec<(String, bool)>, Vec<String>> {
        let renewed = self.configuration.read_again();
        let renewed =
            renewed.map_err(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())?;
        let mut problems = Vec::new();
        let rules = auth::load(&renewed.auth, self.secret).map_err(|found| {
            problems.extend(found.iter().map(ToString::to_string));
        });
        let made = renewed.listeners.iter().map(|listener| {
            let factory = factory(listener).map(Arc::new);
            factory.map_err(|problem| {
                format!("TLS of the listener on {}: {problem}", listener.address)
            })
        });
        let (made, failed): (Vec<_>, Vec<_>) = made.partition(Result::is_ok);
        problems.extend(failed.into_iter().filter_map(Result::err));
        let (Ok(rules), true) = (rules, problems.is_empty()) else {
            return Err(problems);
        };
        let services = self.controls.prepare_services(&renewed.admin)?;
        let factories = made.into_iter().flatten().collect();
        self.apply(&renewed, rules, factories)
            .map_err(|error| vec![error.to_string()])?;
        self.configuration.is_in_force();
        for apply in services {
            apply();
        }
        Ok(renewed.lines)
    }

    /// Options of the process around the shards.
    fn set_options(&self, renewed: &Renewed) {
        let (limits, run) = (&renewed.limits, &renewed.run);
        self.shared.set_connections_max(limits.connections_max);
        let before = self.shared.options();
        self.shared.set_options(run.clone());
        let login_timeout = Span::from_secs(limits.connect_timeout_s.into());
        self.logins.set_terms(login_timeout, run.bans);
        if run.sys_interval != before.sys_interval {
            let _ = self.sys_intervals.send(run.sys_interval); // fails when the broker is stopping
        }
        let files = match run.watch_files {
            true => file_watch::files_of(&renewed.listeners, &renewed.auth, &renewed.admin),
            false => Vec::new(),
        };
        self.files.watch(files);
    }

    /// Opens what must be opened, which is the last that may fail; then the shards take the new in this order: limits
    /// and policies, on all of them, before any accepts by a listener that they are about.
    fn apply(
        &mut self,
        renewed: &Renewed,
        rules: Rules,
        factories: Vec<Arc<LayerFactory>>,
    ) -> Result<(), StartError> {
        let next = self.listeners.renewed(&renewed.listeners, factories)?;
        let shards = (0..self.shared.shards()).map(ShardId);
        let for_shards = shards.map(|id| Ok((id, next.for_a_shard(id)?)));
        let for_shards: Vec<_> = for_shards.collect::<std::io::Result<_>>()?;
        self.logins.publish(&Arc::new(rules))?;
        if let Some(level) = renewed.log_level {
            let _ = logging::set_level(level); // false: it cannot be changed
        }
        self.set_options(renewed);
        self.shard_config = Arc::new(ShardConfig {
            limits: renewed.limits.clone(),
            listeners: next.policies(),
            own_terms: own_terms(&renewed.bridges),
            ..ShardConfig::clone(&self.shard_config)
        });
        let (done, each) = channel();
        self.shared
            .broadcast(|| ShardCommand::Config(Arc::clone(&self.shard_config), done.clone()));
        drop(done);
        for _ in &for_shards {
            let _ = each.recv(); // an error: the process ends
        }
        for (id, own) in for_shards {
            self.shared.send(id, ShardCommand::Listen(own));
        }
        next.count_in(&self.shared);
        self.controls.set_listeners(next.states());
        next.takes_over_from(&self.listeners);
        fd_store::keep(next.kept_ones());
        self.listeners = next;
        let limits = LocalLimits::of(&renewed.limits);
        bridges::renew(&self.broker, &renewed.bridges, limits)?;
        Ok(())
    }
}
