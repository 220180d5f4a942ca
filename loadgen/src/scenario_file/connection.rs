//! `[connection]`: what all clients of a file share.

use std::time::Duration;

use ringmq::mqtt::Version;

use super::section::Section;
use super::transport;
use crate::options::{parse_version, resolve, Setup, IN_FLIGHT};
use crate::plan::Connection;
use crate::sources::Source;
use crate::transport::TransportOptions;

/// What the file says about connections; what the command line says comes before it.
#[derive(Clone, Debug)]
pub struct ConnectionPart {
    pub targets: Vec<String>,
    pub fails_over: bool,
    pub transport: TransportOptions,
    pub version: Version,
    pub keep_alive_s: u16,
    pub connect_per_s: Option<f64>,
    pub reconnect_per_s: Option<f64>,
    pub timeout: Duration,
    pub user: Option<String>,
    pub password: Option<String>,
    pub sources: Vec<Source>,
}

impl Default for ConnectionPart {
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            fails_over: false,
            transport: TransportOptions::default(),
            version: Version::V311,
            keep_alive_s: 60,
            connect_per_s: None,
            reconnect_per_s: None,
            timeout: Duration::from_secs(30),
            user: None,
            password: None,
            sources: Vec::new(),
        }
    }
}

pub(super) fn read(section: Option<Section<'_>>) -> ConnectionPart {
    let mut part = ConnectionPart::default();
    let Some(mut section) = section else {
        return part;
    };
    if let Some(targets) = section.texts("target") {
        part.targets = targets.value;
    }
    part.fails_over = section.flag("failover").is_some_and(|flag| flag.value);
    part.transport = transport::read(&mut section);
    if let Some(version) = section.parsed("protocol", parse_version) {
        part.version = version.value;
    }
    if let Some(seconds) = section.count("keep_alive_s", 0, u64::from(u16::MAX)) {
        part.keep_alive_s = seconds.value as u16;
    }
    part.connect_per_s = section.rate("connect_rate").map(|rate| rate.value);
    part.reconnect_per_s = section.rate("reconnect").map(|rate| rate.value);
    if let Some(timeout) = section.duration("timeout") {
        part.timeout = timeout.value;
    }
    part.user = section.text("user").map(|user| user.value);
    part.password = section.text("password").map(|password| password.value);
    if let Some(sources) = section.texts("source") {
        for source in sources.value {
            match source.parse() {
                Ok(source) => part.sources.push(source),
                Err(why) => section.mistake(sources.line, "source", format!("{source}: {why}")),
            }
        }
    }
    section.end();
    part
}

impl ConnectionPart {
    /// With what the command line says put first.
    ///
    /// # Errors
    /// A sentence when a target's name is not known, or a file of TLS is not what it should be.
    pub fn connection(&self, setup: &Setup) -> Result<Connection, String> {
        let sources = if setup.source.is_empty() {
            &self.sources
        } else {
            &setup.source
        };
        // The whole of one or the other: a certificate of the file is of no use to a transport of the
        // command line, which may be in the URL.
        let own = &setup.transport;
        let has_url = setup.target.iter().any(|target| target.contains("://"));
        let is_trusting = own.ca.is_some() || own.insecure;
        let transport = if own.tls || own.ws || has_url && is_trusting {
            own
        } else {
            &self.transport
        };
        let endpoint = setup.endpoint(&self.targets, transport)?;
        let targets = &endpoint.targets;
        Ok(Connection {
            targets: resolve(targets)?,
            fails_over: setup.failover || self.fails_over,
            transport: transport.transport(targets, self.version, true)?,
            sources: sources.clone(),
            version: self.version,
            keep_alive_s: self.keep_alive_s,
            user: endpoint.user.clone().or_else(|| self.user.clone()),
            password: endpoint.password.clone().or_else(|| self.password.clone()),
            timeout: self.timeout,
            reconnect_per_s: self.reconnect_per_s,
            in_flight_max: IN_FLIGHT,
            sample: setup.sample(),
        })
    }
}
