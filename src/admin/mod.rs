//! The admin listener: HTTP for operators and their tools, on a thread of its own.
//!
//! ```text
//! accept ─► place ─► TLS ─► login ─► origin ─► route ─► handler ─► Shards::ask ─► inbox of a shard
//! ```
//!
//! Everything is bounded: connections, bytes, time; a shard answers one query at a time. So a client that
//! hangs or attacks costs this thread something, and the shards nothing.
//!
//! **To add routes**: a module with `pub(super) fn routes() -> Vec<Route>`, named in [`routes`] below. A
//! handler gets a [`Request`] whose sender has the role of the route and returns a [`Reply`] or a
//! [`Problem`]; changes are logged with who made them. What shards know is asked by [`Shards::ask`]: a new
//! question is a variant of [`crate::shard::Query`], whose answer is bounded (pages) and takes a turn at
//! most half a millisecond. Handlers never block their thread: files and hashes go to `spawn_blocking`.

mod api;
mod dispatch;
mod health;
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
mod shards;
pub mod tokens;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

pub use reply::{Problem, Reply};
pub use request::Request;
pub use role::Role;
pub use route::Route;
pub use shards::Shards;

use crate::admin_options::{AdminOptions, InForce};
use crate::io::{Broker, StartError};
use crate::listener::{Address, TlsFiles};
use crate::metrics::{BrokerReport, ShardReport};
use crate::transport::tls::{ClientCertificate, Settings};
use login::Logins;
use server::Open;
use tokens::Tokens;

/// What all requests share.
pub struct Admin {
    pub broker: Broker,
    pub shards: Shards,
    /// What requests of the API share.
    api: api::State,
    /// The configuration in force.
    in_force: Vec<InForce>,
    logins: Logins,
    routes: Vec<Route>,
    /// /metrics has the names of mosquitto-exporter, too.
    metrics_of_mosquitto: bool,
    /// One report is made at a time.
    reporting: Semaphore,
}

impl Admin {
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
    if options.listen.is_empty() {
        return Ok(());
    }
    let tokens = read_tokens(options).map_err(StartError::Files)?;
    let admin = Arc::new(Admin {
        broker: broker.clone(),
        shards: Shards::new(broker),
        api: api::State::default(),
        in_force: options.in_force.clone(),
        logins: Logins::new(broker, options, tokens)?,
        routes: routes(),
        metrics_of_mosquitto: options.metrics_of_mosquitto,
        reporting: Semaphore::new(1),
    });
    let tls = tls_files(options);
    let config = tls.as_ref().map(|files| broker.tls(files)).transpose();
    let config = config.map_err(|text| StartError::Files(format!("admin listener: {text}")))?;
    let config = config.map(|config| Arc::new(Mutex::new(config)));
    let mut listeners = Vec::new();
    for address in &options.listen {
        let (socket, name) = broker.listen(address)?;
        let is_unix = matches!(address, Address::Unix(_));
        let tls = config.clone().filter(|_| !is_unix);
        let scheme = if tls.is_some() { "https" } else { "http" };
        tracing::info!("admin listener on {scheme}://{name}");
        if tls.is_none() && !address.is_local() {
            tracing::warn!(
                "passwords and tokens for {name} can be read on the way: set admin-tls-certificate"
            );
        }
        listeners.push(Open {
            socket,
            is_unix,
            needs_login: !address.is_local(),
            tls,
        });
    }
    let (options, own) = (options.clone(), Arc::clone(&admin));
    broker.on_reload(move || reload(&options, &own, config.as_deref()));
    let serve = move || {
        admin.broker.yield_to_shards();
        if let Err(error) = server::run(&admin, listeners) {
            tracing::error!("admin listener: {error}");
        }
    };
    std::thread::Builder::new()
        .name("admin".into())
        .spawn(serve)?;
    Ok(())
}

/// Reads tokens and certificates again; what does not load leaves the old in force.
fn reload(
    options: &AdminOptions,
    admin: &Admin,
    config: Option<&Mutex<Arc<rustls::ServerConfig>>>,
) {
    match read_tokens(options) {
        Ok(tokens) => admin.logins.set_tokens(tokens),
        Err(text) => tracing::error!("the admin listener keeps its tokens: {text}"),
    }
    if let (Some(files), Some(config)) = (tls_files(options), config) {
        match admin.broker.tls(&files) {
            Ok(fresh) => *config.lock().unwrap_or_else(PoisonError::into_inner) = fresh,
            Err(text) => tracing::error!("the admin listener keeps its certificate: {text}"),
        }
    }
}

fn read_tokens(options: &AdminOptions) -> Result<Tokens, String> {
    let Some(file) = &options.token_file else {
        return Ok(Tokens::default());
    };
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{file}: cannot be read: {error}"))?;
    Tokens::parse(file, &text)
}

fn tls_files(options: &AdminOptions) -> Option<TlsFiles> {
    let (certificate, key) = (options.certificate.as_ref()?, options.key.as_ref()?);
    let client_certificate = match options.client_ca {
        Some(_) => ClientCertificate::Required,
        None => ClientCertificate::None,
    };
    Some(TlsFiles {
        settings: Settings {
            client_certificate,
            ..Settings::default()
        },
        certificates: vec![certificate.into()],
        keys: vec![key.into()],
        client_ca: options.client_ca.iter().map(Into::into).collect(),
        revocation_lists: Vec::new(),
    })
}
