//! Files of TLS that the configuration names, and the layers that the connections of a listener begin with.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;

use super::clock::wall;
use super::errors::StartError;
use crate::listener::{Listener, TlsFiles, Transport};
use crate::transport::proxy::Proxy;
use crate::transport::tls::{
    ends_s, incomplete_chains, warnings, Context, Material, Named, Problem, Tls, ALPN_HTTP,
    ALPN_MQTT,
};
use crate::transport::websocket::{Policy, Server};
use crate::transport::{quic, LayerFactory, Trusted};

/// A certificate, a key or a revocation list larger than this is some other file, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// When the first certificate of a listener ends, by its files as they are now.
pub(super) fn certificate_until_s(listener: &Listener) -> Option<i64> {
    let has_tls = listener.transport.has_tls();
    let material = has_tls.then(|| read_material(&listener.tls).ok())??;
    ends_s(&material)
}

/// What is wrong with the certificates of a listener of TLS, or will be soon.
///
/// # Errors
/// They do not load.
pub fn look_at_tls(listener: &Listener) -> Result<Vec<String>, String> {
    let material = read_material(&listener.tls).map_err(|problem| problem.to_string())?;
    Context::new(&listener.tls.settings, &material, &[ALPN_MQTT])
        .map_err(|problem| problem.to_string())?;
    let mut found = warnings(&material, wall().as_secs());
    found.extend(incomplete_chains(&material));
    Ok(found)
}

/// The layer factory of each listener.
pub(super) fn factories(listeners: &[Listener]) -> Result<Vec<Arc<LayerFactory>>, StartError> {
    let made = listeners.iter().map(|listener| {
        let factory = factory(listener);
        factory
            .map(Arc::new)
            .map_err(|problem| StartError::Tls(listener.address.to_string(), problem))
    });
    made.collect()
}

pub(super) fn factory(listener: &Listener) -> Result<LayerFactory, Problem> {
    let mut factory = LayerFactory::plain();
    // Checked with the configuration; a list that cannot be read trusts no proxy.
    let trusted = listener.trusted_proxies.iter().map(String::as_str);
    let trusted = Trusted::from_list(trusted).unwrap_or_default();
    if listener.proxy_protocol {
        let trusted = trusted.clone();
        factory = factory.with_for(move |from| Box::new(Proxy::new(&trusted, from)));
    }
    if listener.transport.has_tls() {
        let material = read_material(&listener.tls)?;
        for text in warnings(&material, wall().as_secs()) {
            tracing::warn!("TLS of the listener on {}: {text}", listener.address);
        }
        // What comes first inside TLS; a browser offers HTTP.
        let inside = if listener.transport.has_websocket() {
            ALPN_HTTP
        } else {
            ALPN_MQTT
        };
        let context = Context::new(&listener.tls.settings, &material, &[inside])?;
        factory = match listener.transport {
            Transport::Quic => factory.with_quic(quic::Context::new(&context)),
            _ => {
                let context = Arc::new(context);
                let factory = factory.with_tickets(Arc::clone(context.tickets()));
                factory.with(move || Box::new(Tls::new(&context)))
            }
        };
        factory = factory.certified_until(ends_s(&material));
    }
    if listener.transport.has_websocket() {
        let policy = Arc::new(Policy {
            path: listener.websocket_path.clone(),
            origins: listener.websocket_origins.clone(),
            trusted,
        });
        factory = factory.with_for(move |from| Box::new(Server::new(Arc::clone(&policy), from)));
    }
    Ok(factory)
}

/// TLS of a service that is no listener of clients.
pub(super) fn server_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, Problem> {
    let material = read_material(files)?;
    Ok(Context::new(&files.settings, &material, &[ALPN_HTTP])?.config())
}

fn read_material(files: &TlsFiles) -> Result<Material, Problem> {
    let all = |paths: &[PathBuf]| -> Result<Vec<Named>, Problem> {
        paths.iter().map(|path| read(path)).collect()
    };
    let certificates = all(&files.certificates)?;
    let keys = all(&files.keys)?;
    Ok(Material {
        certificates: certificates.into_iter().zip(keys).collect(),
        client_ca: all(&files.client_ca)?,
        revocation_lists: all(&files.revocation_lists)?,
    })
}

fn read(path: &Path) -> Result<Named, Problem> {
    let problem = |text: String| Problem {
        file: path.display().to_string(),
        text,
    };
    let file = File::open(path).map_err(|error| {
        problem(format!(
            "cannot be read: {error}; the user that runs the broker must be able to"
        ))
    })?;
    let mut bytes = Vec::new();
    let taken = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    let taken = taken.map_err(|error| problem(format!("cannot be read: {error}")))?;
    if taken as u64 > FILE_BYTES_MAX {
        return Err(problem(format!("is larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(Named {
        name: path.display().to_string(),
        bytes,
    })
}
