//! Options of TLS and WebSocket.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use ringmq::mqtt::Version;
use ringmq::transport::websocket::Target;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};

use super::naming::Naming;
use super::tls::{Parts, TlsSetup};
use super::{Layers, Transport};

#[derive(Args, Clone, Debug, Default)]
pub struct TransportOptions {
    /// Speaks TLS
    #[arg(long)]
    pub tls: bool,
    /// Who may have signed the broker's certificate (PEM)
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The clients' certificate, with its chain (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Accepts any certificate as the broker's
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,
    /// Name that is asked for and that the broker's certificate must have; without it that of --target
    #[arg(long, value_name = "HOST")]
    pub sni: Option<String>,
    /// The one version of TLS to speak, instead of both
    #[arg(long, value_name = "1.2|1.3", value_parser = ["1.2", "1.3"])]
    pub tls_version: Option<String>,
    /// Whether connections resume the sessions of earlier ones
    #[arg(long, value_name = "on|off")]
    pub tls_resumption: Option<Switch>,
    /// Speaks WebSocket, with --tls over that
    #[arg(long)]
    pub ws: bool,
    /// Path of the broker's WebSocket
    #[arg(long, value_name = "PATH", default_value = WS_PATH)]
    pub ws_path: String,
    #[arg(skip)]
    pub(crate) naming: Naming,
}

/// What a target is spoken to with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Speaks {
    pub(crate) tls: bool,
    /// Path of a WebSocket.
    pub(crate) path: Option<String>,
}

/// Where most brokers have their WebSocket.
pub(crate) const WS_PATH: &str = "/mqtt";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

impl TransportOptions {
    /// The transport towards these targets, each HOST:PORT with what is spoken there. `resumes` unless the options
    /// say.
    ///
    /// # Errors
    /// A sentence that names the option or file.
    pub(crate) fn transport(
        &self,
        targets: &[(String, Speaks)],
        version: Version,
        resumes: bool,
    ) -> Result<Transport, String> {
        let subprotocol = match version {
            Version::V31 => "mqttv3.1",
            _ => "mqtt",
        };
        let has_ws = targets.iter().any(|(_, speaks)| speaks.path.is_some());
        if !has_ws && !matches!(&self.ws_path[..], "" | WS_PATH) {
            return Err("--ws-path is of WebSocket: give --ws, or a target ws://HOST".into());
        }
        let layers = |(host, speaks): &(String, Speaks)| {
            let websocket = |path: &String| {
                if !is_path(path) {
                    return Err("--ws-path must begin with / and have no spaces".to_string());
                }
                let (host, path) = (host.clone(), path.clone());
                Ok(Arc::new(Target {
                    host,
                    path,
                    subprotocol,
                }))
            };
            Ok(Layers {
                tls: speaks.tls,
                websocket: speaks.path.as_ref().map(websocket).transpose()?,
            })
        };
        Ok(Transport {
            layers: targets.iter().map(layers).collect::<Result<_, String>>()?,
            tls: self.tls(targets, resumes)?,
        })
    }

    fn tls(&self, targets: &[(String, Speaks)], resumes: bool) -> Result<Option<TlsSetup>, String> {
        if !targets.iter().any(|(_, speaks)| speaks.tls) {
            let given = [
                ("ca", self.ca.is_some()),
                ("cert", self.cert.is_some()),
                ("insecure", self.insecure),
                ("sni", self.sni.is_some()),
                ("tls-version", self.tls_version.is_some()),
                ("tls-resumption", self.tls_resumption.is_some()),
            ];
            let lonely = given.iter().find(|(_, is_given)| *is_given);
            return lonely.map_or(Ok(None), |(name, _)| {
                let name = self.naming.of(name);
                Err(format!(
                    "{name} is of TLS: give --tls, or a target mqtts://HOST"
                ))
            });
        }
        if self.ca.is_none() && !self.insecure {
            return Err(
                "--tls needs --ca FILE (who signed the broker's certificate; for public brokers often \
                 /etc/ssl/certs/ca-certificates.crt), or --insecure"
                    .into(),
            );
        }
        let name = |(target, _): &(String, Speaks)| {
            let host = match &self.sni {
                Some(name) => name,
                None => target
                    .rsplit_once(':')
                    .map_or(&target[..], |(host, _)| host),
            };
            let host = host.trim_start_matches('[').trim_end_matches(']');
            ServerName::try_from(host.to_string())
                .map_err(|error| format!("{host}: {error}: give {}", self.naming.of("sni")))
        };
        let certificate = self.cert.as_deref().zip(self.key.as_deref());
        let versions = match self.tls_version.as_deref() {
            Some("1.2") => &[&TLS12][..],
            Some(_) => &[&TLS13],
            None => &[&TLS13, &TLS12],
        };
        let setup = TlsSetup::new(Parts {
            ca: self.ca.as_deref(),
            certificate,
            names: targets.iter().map(name).collect::<Result<_, _>>()?,
            versions,
            resumes: self.tls_resumption.map_or(resumes, |own| own == Switch::On),
            naming: self.naming,
        })?;
        Ok(Some(setup))
    }
}

/// Whether a request can ask for it.
pub(crate) fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.contains(|c: char| c.is_whitespace())
}
