//! The connection to NATS: made, and checked for what a cluster relies on.

use std::net::IpAddr;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::kv::{self, Store};
use async_nats::jetstream::{self, stream::StorageType, Context};
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, Subscriber};
use serde_json::Value;
use tokio::time::timeout;

use super::lane_keys::{self, Secret};
use super::retry;
use super::state_stream::{StateStream, REPLICAS};
use crate::cluster::{Node, NodeName};
use crate::run_options::ClusterOptions;
use crate::shard::FRAME_MAX;

/// Of servers that were tried with kills, stops and full disks; older ones have lost what they had acknowledged.
const VERSION_MIN: (u64, u64) = (2, 15);
/// To make a connection to one server, before the next one is tried.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// A server that has not answered three of them is left: it was stopped, or its network is cut.
const PING_EVERY: Duration = Duration::from_secs(1);
/// For each answer; questions are asked again.
const REQUEST_PATIENCE: Duration = Duration::from_secs(2);
/// Asked of servers whose account may not be one that sees it.
const SETTINGS_PATIENCE: Duration = Duration::from_millis(500);
/// Commands that wait in the client, at most: each a frame.
const CLIENT_CAPACITY: usize = 64;
/// Keys hold a line of text.
const VALUE_MAX: i32 = 1_024;

/// See the module. Lives on: the link's thread.
pub(super) struct Engine {
    pub(super) client: Client,
    /// Key by node.
    pub(super) nodes: Store,
    /// Keys of lanes, of what nodes say of themselves, and the secret of all nodes.
    pub(super) lanes: Store,
    pub(super) secret: Secret,
    /// Frames for this node.
    pub(super) frames: Subscriber,
    /// Where this node's logs are copied to, if they are.
    pub(super) copies: Option<StateStream>,
    /// Its name.
    pub(super) cluster: String,
    prefix: String,
}

impl Engine {
    pub(super) async fn connect(
        options: &ClusterOptions,
        own: &Node,
        copies_logs: bool,
    ) -> Result<Self, String> {
        let client = client(options, own).await?;
        let mut doubts = Vec::new();
        doubts.extend(doubt_version(&client)?);
        doubts.extend(doubt_sync(&client).await);
        let cluster = options.name.as_deref().unwrap_or("ringmq");
        let context = context(&client).await?;
        let bucket = |of: &str| format!("ringmq-{cluster}-{of}");
        let (nodes, doubt) = store(&context, &bucket("nodes"), options.is_unsafe).await?;
        doubts.extend(doubt);
        let (lanes, doubt) = store(&context, &bucket("lanes"), options.is_unsafe).await?;
        doubts.extend(doubt);
        let copies = match copies_logs {
            true => {
                let opening = StateStream::open(&client, (cluster, &own.name), options.is_unsafe);
                let (stream, doubt) = opening.await?;
                doubts.extend(doubt);
                Some(stream)
            }
            false => None,
        };
        for doubt in &doubts {
            if !options.is_unsafe {
                return Err(format!(
                    "{doubt}; cluster-unsafe accepts it, for tests: what was acknowledged can then be lost"
                ));
            }
            tracing::warn!("cluster-unsafe: {doubt}");
        }
        let secret = lane_keys::secret(&lanes).await?;
        let prefix = format!("ringmq.{cluster}.node");
        let subject = format!("{prefix}.{}", own.name.as_str());
        let frames = client.subscribe(subject).await;
        Ok(Self {
            frames: frames.map_err(|error| format!("cannot subscribe: {error}"))?,
            client,
            nodes,
            copies,
            cluster: cluster.to_owned(),
            lanes,
            secret,
            prefix,
        })
    }

    /// The address by which this machine reaches the NATS servers, as they see it.
    pub(super) fn own_address(&self) -> Option<IpAddr> {
        self.client.server_info().client_ip.parse().ok()
    }

    /// The server that it is connected to now.
    pub(super) fn connected_to(&self) -> Option<String> {
        let is_connected = self.client.connection_state() == State::Connected;
        is_connected.then(|| self.client.server_info().server_name.clone())
    }

    /// Where frames for a node go.
    pub(super) fn subject(&self, node: &NodeName) -> String {
        format!("{}.{}", self.prefix, node.as_str())
    }
}

async fn client(options: &ClusterOptions, own: &Node) -> Result<Client, String> {
    let mut connect = ConnectOptions::new()
        .name(format!("ringmq {}", own.name.as_str()))
        .client_capacity(CLIENT_CAPACITY)
        .connection_timeout(CONNECT_PATIENCE)
        .ping_interval(PING_EVERY)
        .request_timeout(Some(REQUEST_PATIENCE))
        .event_callback(|event| async move { tell(&event) });
    if let Some(file) = &options.credentials {
        let read = connect.credentials_file(file).await;
        connect = read.map_err(|error| format!("cluster-credentials {file}: {error}"))?;
    }
    if let Some(file) = &options.ca {
        connect = connect.add_root_certificates(file.into());
    }
    if let (Some(certificate), Some(key)) = (&options.certificate, &options.key) {
        connect = connect.add_client_certificate(certificate.into(), key.into());
    }
    // Servers may begin at the same time as this process.
    let is_refused = |error: &ConnectError| {
        matches!(
            error.kind(),
            ConnectErrorKind::Io | ConnectErrorKind::TimedOut
        )
    };
    let connected = retry::ask_while(is_refused, || connect.clone().connect(&options.servers));
    let servers = options.servers.join(", ");
    match timeout(retry::PATIENCE + CONNECT_PATIENCE, connected).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => Err(format!(
            "no NATS server of {servers} can be connected to: {error}"
        )),
        Err(_) => Err(format!("no NATS server of {servers} answers")),
    }
}

fn tell(event: &Event) {
    match event {
        Event::Connected => tracing::info!("cluster: connected to NATS"),
        other => tracing::warn!("cluster: NATS: {other}"),
    }
}

/// What is doubtful about a server's version.
fn doubt_version(client: &Client) -> Result<Option<String>, String> {
    let info = client.server_info();
    if info.max_payload < FRAME_MAX {
        return Err(format!(
            "the NATS server takes messages of {} bytes; max_payload must be {FRAME_MAX} at least",
            info.max_payload
        ));
    }
    let mut numbers = info.version.split(['.', '-']).map(str::parse::<u64>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return Ok(Some(format!(
            "the NATS server has version {:?}",
            info.version
        )));
    };
    let (least_major, least_minor) = VERSION_MIN;
    let is_old = (major, minor) < VERSION_MIN;
    Ok(is_old.then(|| {
        format!(
            "the NATS server has version {}, and {least_major}.{least_minor} is the oldest that was tried",
            info.version
        )
    }))
}

/// Whether servers acknowledge before what they acknowledge is on their disks, where this account may see that.
async fn doubt_sync(client: &Client) -> Option<String> {
    let asked = client.request("$SYS.REQ.SERVER.PING.JSZ", "{}".into());
    let answer = timeout(SETTINGS_PATIENCE, asked).await;
    let Ok(Ok(answer)) = answer else {
        tracing::info!(
            "cluster: whether the NATS servers have sync_interval: always cannot be seen by this account; see to it"
        );
        return None;
    };
    let answer: Value = serde_json::from_slice(&answer.payload).ok()?;
    let config = answer.get("data")?.get("config")?;
    let is_always = config.get("sync_always").and_then(Value::as_bool);
    (is_always != Some(true)).then(|| {
        "the NATS server does not have sync_interval: always, so it acknowledges what a loss of power takes back".into()
    })
}

async fn context(client: &Client) -> Result<Context, String> {
    let context = jetstream::new(client.clone());
    let account = retry::ask(|| context.query_account()).await;
    account.map_err(|error| format!("the NATS server has no JetStream: {error}"))?;
    Ok(context)
}

/// A bucket of keys, made where there is none; and what is doubtful about it.
async fn store(
    context: &Context,
    bucket: &str,
    is_unsafe: bool,
) -> Result<(Store, Option<String>), String> {
    let config = |num_replicas| kv::Config {
        bucket: bucket.to_owned(),
        description: "of the nodes of a cluster of ringmq".into(),
        max_value_size: VALUE_MAX,
        history: 1,
        storage: StorageType::File,
        num_replicas,
        ..kv::Config::default()
    };
    let opened = retry::ask(|| async {
        // Another node may make it meanwhile.
        match context.get_key_value(bucket).await {
            Ok(store) => Ok((store, false)),
            Err(_) => context
                .create_key_value(config(REPLICAS))
                .await
                .map(|store| (store, true)),
        }
    });
    let error = match opened.await {
        Ok((store, true)) => return Ok((store, None)),
        Ok((store, false)) => {
            let doubt = doubt_bucket(&store).await?;
            return Ok((store, doubt));
        }
        Err(error) => error,
    };
    let doubt = format!("the NATS servers cannot keep a key on {REPLICAS} of them: {error}");
    if !is_unsafe {
        return Err(format!(
            "{doubt}; cluster-unsafe makes do with one, for tests: the cluster then ends with that server"
        ));
    }
    let made = retry::ask(|| context.create_key_value(config(1))).await;
    let store = made.map_err(|error| format!("bucket {bucket}: {error}"))?;
    Ok((store, Some(doubt)))
}

async fn doubt_bucket(store: &Store) -> Result<Option<String>, String> {
    let status = retry::ask(|| store.status()).await;
    let status = status.map_err(|error| format!("bucket {}: {error}", store.name))?;
    let config = &status.info.config;
    let doubt = |text: &str| Some(format!("bucket {} {text}", store.name));
    Ok(match config {
        it if it.num_replicas < REPLICAS => doubt("has fewer than three replicas"),
        it if it.storage != StorageType::File => doubt("is not in files"),
        it if it.max_age > Duration::ZERO => doubt("lets keys expire"),
        _ => None,
    })
}
