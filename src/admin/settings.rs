//! Settings of the admin listener, with what was read from the files that they name: replaced whole at a reload.

use std::sync::Arc;

use rustls::ServerConfig;

use super::tokens::Tokens;
use crate::admin_options::AdminOptions;
use crate::io::Broker;
use crate::listener::TlsFiles;
use crate::transport::tls;
use crate::transport::tls::ClientCertificate;

pub(super) struct Settings {
    pub(super) options: AdminOptions,
    pub(super) tokens: Tokens,
    /// For connections that begin; not for Unix sockets.
    pub(super) tls: Option<Arc<ServerConfig>>,
}

impl Settings {
    /// # Errors
    /// Everything that is wrong with the files, a sentence each.
    pub(super) fn read(options: &AdminOptions, broker: &Broker) -> Result<Self, Vec<String>> {
        let tokens = read_tokens(options);
        let files = tls_files(options);
        let tls = files.as_ref().map(|files| broker.tls(files)).transpose();
        let tls = tls.map_err(|text| format!("admin listener: {text}"));
        match (tokens, tls) {
            (Ok(tokens), Ok(tls)) => Ok(Self {
                options: options.clone(),
                tokens,
                tls,
            }),
            (tokens, tls) => Err(tokens.err().into_iter().chain(tls.err()).collect()),
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
        settings: tls::Settings {
            client_certificate,
            ..tls::Settings::default()
        },
        certificates: vec![certificate.into()],
        keys: vec![key.into()],
        client_ca: options.client_ca.iter().map(Into::into).collect(),
        revocation_lists: Vec::new(),
    })
}
