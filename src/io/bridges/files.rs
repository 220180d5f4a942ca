//! Files of a bridge, read at each attempt: a password, certificates, authorities.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::bridge::Bridge;
use crate::transport::tls::ClientMaterial;

/// Larger than this it is some other file, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Where distributions keep the authorities that the system trusts.
const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

pub(super) fn password(bridge: &Bridge) -> Result<Option<Vec<u8>>, String> {
    let Some(path) = &bridge.password_file else {
        return Ok(None);
    };
    secret(path, "password-file").map(Some)
}

/// Without a line feed at its end.
fn secret(path: &Path, option: &str) -> Result<Vec<u8>, String> {
    let mut secret = read(path, option)?;
    if secret.ends_with(b"\n") {
        secret.pop();
        secret.pop_if(|last| *last == b'\r');
    }
    Ok(secret)
}

/// `user:password` for the proxy.
pub(super) fn proxy_login(bridge: &Bridge) -> Result<Option<Vec<u8>>, String> {
    let Some(user) = &bridge.proxy_user else {
        return Ok(None);
    };
    let mut login = format!("{user}:").into_bytes();
    if let Some(path) = &bridge.proxy_password_file {
        login.extend(secret(path, "proxy-password-file")?);
    }
    Ok(Some(login))
}

/// For a connection to this host.
pub(super) fn tls(bridge: &Bridge, host: &str) -> Result<ClientMaterial, String> {
    let terms = &bridge.tls;
    let authorities = match (&terms.ca, terms.insecure) {
        (_, true) => None,
        (Some(path), false) => Some(read(path, "tls-ca")?),
        (None, false) => Some(system_authorities()?),
    };
    let own = match (&terms.certificate, &terms.key) {
        (Some(certificate), Some(key)) => {
            Some((read(certificate, "tls-certificate")?, read(key, "tls-key")?))
        }
        _ => None,
    };
    let server_name = terms.server_name.as_deref().unwrap_or(host);
    Ok(ClientMaterial {
        authorities,
        own,
        server_name: server_name.trim_matches(['[', ']']).to_owned(),
        alpn: terms.alpn.clone(),
    })
}

fn system_authorities() -> Result<Vec<u8>, String> {
    let mut places = SYSTEM_AUTHORITIES.iter().map(Path::new);
    let Some(path) = places.find(|path| path.exists()) else {
        return Err(format!(
            "the system has no authorities in {}: give them with tls-ca",
            SYSTEM_AUTHORITIES.join(", ")
        ));
    };
    read(path, "the system's authorities")
}

fn read(path: &Path, option: &str) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("{option} {}: {error}", path.display());
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!(
            "{option} {}: is larger than {FILE_BYTES_MAX} bytes",
            path.display()
        ));
    }
    Ok(bytes)
}
