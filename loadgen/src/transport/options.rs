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
use super::Transport;

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

/// Where most brokers have their WebSocket.
pub(crate) const WS_PATH: &str = "/mqtt";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

impl TransportOptions {
    /// The transport towards these targets, each HOST:PORT. `resumes` unless the options say.
    ///
    /// # Errors
    /// A sentence that names the option or file.
    pub fn transport(
        &self,
        targets: &[String],
        version: Version,
        resumes: bool,
    ) -> Result<Transport, String> {
        let subprotocol = match version {
            Version::V31 => "mqttv3.1",
            _ => "mqtt",
        };
        if !self.ws && !matches!(&self.ws_path[..], "" | WS_PATH) {
            return Err("--ws-path is of WebSocket: give --ws, or a target ws://HOST".into());
        }
        if self.ws && !is_path(&self.ws_path) {
            return Err("--ws-path must begin with / and have no spaces".into());
        }
        let websocket = |host: &String| {
            Arc::new(Target {
                host: host.clone(),
                path: self.ws_path.clone(),
                subprotocol,
            })
        };
        Ok(Transport {
            tls: self.tls(targets, resumes)?,
            websocket: self.ws.then(|| targets.iter().map(websocket).collect()),
        })
    }

    fn tls(&self, targets: &[String], resumes: bool) -> Result<Option<TlsSetup>, String> {
        if !self.tls {
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
        let name = |target: &String| {
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
