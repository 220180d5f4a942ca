//! The admin listener: HTTP for operators and their tools, on a thread of its own.
//!
//! ```text
//! accept ─► place ─► TLS ─► login ─► origin ─► route ─► handler ─► Shards::ask ─► inbox of a shard
//! ```
//!
//! Everything is bounded: connections, bytes, time; a shard answers one query at a time. So a client that
//! hangs or attacks costs this thread something, and the shards nothing.
//!
//! **To add routes**: a module with `pub(super) fn routes() -> Vec<Route>`, named in `routes` below. A
//! handler gets a [`Request`] whose sender has the role of the route and returns a [`Reply`] or a
//! [`Problem`]; changes are logged with who made them. What shards know is asked by [`Shards::ask`]: a new
//! question is a variant of [`crate::shard::Query`], whose answer is bounded (pages) and takes a turn at
//! most half a millisecond. Handlers never block their thread: files and hashes go to `spawn_blocking`.

mod api;
mod dispatch;
mod health;
mod listening;
mod login;
mod metrics;
mod origin;
mod page;
mod path;
mod patient;
mod places;
mod reply;
mod request;
mod role;
mod route;
mod server;
mod service;
mod settings;
mod shards;
pub mod tokens;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

pub use reply::{Problem, Reply};
pub use request::Request;
pub use role::Role;
pub use route::Route;
pub use shards::Shards;

use crate::admin_options::AdminOptions;
use crate::io::{Broker, StartError};
use crate::metrics::{BrokerReport, ShardReport};
use listening::Listening;
use login::Logins;
use service::Service;
use settings::Settings;

/// What all requests share.
pub struct Admin {
    pub broker: Broker,
    pub shards: Shards,
    /// What requests of the API share.
    api: api::State,
    settings: Mutex<Arc<Settings>>,
    logins: Logins,
    routes: Vec<Route>,
    /// One report is made at a time.
    reporting: Semaphore,
}

impl Admin {
    /// What is configured now.
    pub(in crate::admin) fn settings(&self) -> Arc<Settings> {
        let settings = self.settings.lock();
        Arc::clone(&settings.unwrap_or_else(PoisonError::into_inner))
    }

    fn set_settings(&self, settings: Settings) {
        let mut own = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        *own = Arc::new(settings);
    }

    /// Everything that the broker counts.
    pub(in crate::admin) async fn report(&self) -> Result<BrokerReport, Problem> {
        self.gathered(Broker::gather).await
    }

    /// What each shard counts and measures.
    pub(in crate::admin) async fn shard_reports(&self) -> Result<Vec<ShardReport>, Problem> {
        self.gathered(Broker::shard_reports).await
    }

    async fn gathered<T: Send + 'static>(
        &self,
        gather: fn(&Broker) -> Option<T>,
    ) -> Result<T, Problem> {
        let silent = || Problem::busy("a shard does not answer");
        let _turn = self.reporting.acquire().await.map_err(|_| silent())?;
        let broker = self.broker.clone();
        let gathered = tokio::task::spawn_blocking(move || gather(&broker)).await;
        gathered.ok().flatten().ok_or_else(silent)
    }
}

/// All routes, in the order in which they are tried.
fn routes() -> Vec<Route> {
    [
        health::routes(),
        metrics::routes(),
        api::routes(),
        page::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Starts the listener, if the options ask for one. Its thread ends with the process.
///
/// # Errors
/// A file cannot be used, or an address not be listened on.
pub fn start(options: &AdminOptions, broker: &Broker) -> Result<(), StartError> {
    let settings = Settings::read(options, broker);
    let settings = settings.map_err(|problems| StartError::Files(problems.join("\n")))?;
    let api = api::State::read(broker).map_err(StartError::Files)?;
    let opened = Listening::default().opened(&settings, broker)?;
    let admin = Arc::new(Admin {
        broker: broker.clone(),
        shards: Shards::new(broker),
        api,
        settings: Mutex::new(Arc::new(settings)),
        logins: Logins::new(broker)?,
        routes: routes(),
        reporting: Semaphore::new(1),
    });
    let has_bans = api::apply_bans(&admin);
    let mut service = Service::new(admin);
    service.take(opened, has_bans)?;
    let service = Arc::new(Mutex::new(service));
    let paused = Arc::clone(&service);
    broker.on_upgrade(move |is_paused| {
        let mut service = paused.lock().unwrap_or_else(PoisonError::into_inner);
        service.pause(is_paused);
    });
    broker.on_reload(move |options| {
        let (admin, opened) = {
            let service = service.lock().unwrap_or_else(PoisonError::into_inner);
            service.prepare(options)?
        };
        let service = Arc::clone(&service);
        Ok(Box::new(move || {
            let mut service = service.lock().unwrap_or_else(PoisonError::into_inner);
            service.apply(admin, opened);
        }))
    });
    Ok(())
}
