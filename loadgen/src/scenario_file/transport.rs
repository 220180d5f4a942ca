//! Keys of `[connection]` about TLS and WebSocket.

use std::path::PathBuf;

use super::section::{At, Section};
use crate::transport::{is_path, Naming, Switch, TransportOptions, WS_PATH};

/// Whether over TLS, and whether over WebSocket.
type Kind = (bool, bool);

pub(super) fn read(section: &mut Section<'_>) -> TransportOptions {
    let is_named = section.has("transport");
    let kind = section.parsed("transport", kind).map(|kind| kind.value);
    let found = Found::read(section);
    // No mistakes are reported in keys of a transport that was not understood.
    if kind.is_some() || !is_named {
        found.check(section, kind.unwrap_or_default());
    }
    let (tls, ws) = kind.unwrap_or_default();
    let path = |text: At<String>| PathBuf::from(text.value);
    TransportOptions {
        tls,
        ca: found.ca.map(path),
        cert: found.cert.map(path),
        key: found.key.map(path),
        insecure: found.insecure.is_some_and(|flag| flag.value),
        sni: found.sni.map(|name| name.value),
        tls_version: found.version.map(|version| version.value),
        tls_resumption: found.resumption.map(|switch| switch.value),
        ws,
        ws_path: found
            .ws_path
            .map_or_else(|| WS_PATH.into(), |path| path.value),
        naming: Naming::Keys,
    }
}

fn kind(text: &str) -> Result<Kind, &'static str> {
    match text {
        "tcp" => Ok((false, false)),
        "tls" => Ok((true, false)),
        "ws" => Ok((false, true)),
        "wss" => Ok((true, true)),
        _ => Err("give tcp, tls, ws or wss"),
    }
}

/// The keys that are there.
struct Found {
    ca: Option<At<String>>,
    cert: Option<At<String>>,
    key: Option<At<String>>,
    insecure: Option<At<bool>>,
    sni: Option<At<String>>,
    version: Option<At<String>>,
    resumption: Option<At<Switch>>,
    ws_path: Option<At<String>>,
}

impl Found {
    fn read(section: &mut Section<'_>) -> Self {
        let version = |text: &str| match text {
            "1.2" | "1.3" => Ok(text.to_string()),
            _ => Err("give \"1.2\" or \"1.3\""),
        };
        let resumption = section.flag("tls_resumption").map(|flag| At {
            value: if flag.value { Switch::On } else { Switch::Off },
            line: flag.line,
        });
        Self {
            ca: section.text("ca"),
            cert: section.text("cert"),
            key: section.text("key"),
            insecure: section.flag("insecure"),
            sni: section.text("sni"),
            version: section.parsed("tls_version", version),
            resumption,
            ws_path: section.text("ws_path"),
        }
    }

    /// Keys that contradict each other.
    fn check(&self, section: &Section<'_>, (tls, ws): Kind) {
        if !tls {
            for (line, key) in self.of_tls() {
                section.mistake(line, key, "needs transport = \"tls\" or \"wss\"");
            }
            return self.check_path(section, ws);
        }
        let is_insecure = self.insecure.as_ref().filter(|flag| flag.value);
        match (&self.ca, is_insecure) {
            (Some(_), Some(at)) => section.mistake(
                at.line,
                "insecure",
                "takes whoever answers, and ca says who may: give one of them",
            ),
            (None, None) if !section.has("ca") => section.lacks(
                "ca",
                "TLS needs the file of who signed the broker's certificate, or insecure = true",
            ),
            _ => {}
        }
        for (own, other, name, missing) in [
            (&self.cert, &self.key, "cert", "key"),
            (&self.key, &self.cert, "key", "cert"),
        ] {
            if let (Some(at), None) = (own, other) {
                section.mistake(at.line, name, format!("needs {missing} beside it"));
            }
        }
        self.check_path(section, ws);
    }

    fn check_path(&self, section: &Section<'_>, ws: bool) {
        let Some(path) = &self.ws_path else { return };
        if !ws {
            let needs = "needs transport = \"ws\" or \"wss\"";
            section.mistake(path.line, "ws_path", needs);
        } else if !is_path(&path.value) {
            let text = "must begin with / and have no spaces";
            section.mistake(path.line, "ws_path", text);
        }
    }

    /// Lines and names of the keys that only TLS has.
    fn of_tls(&self) -> Vec<(usize, &'static str)> {
        let texts = [
            (&self.ca, "ca"),
            (&self.cert, "cert"),
            (&self.key, "key"),
            (&self.sni, "sni"),
            (&self.version, "tls_version"),
        ];
        let texts = texts
            .into_iter()
            .filter_map(|(text, key)| Some((text.as_ref()?.line, key)));
        let insecure = self.insecure.as_ref().map(|at| (at.line, "insecure"));
        let resumption = self.resumption.as_ref();
        let resumption = resumption.map(|at| (at.line, "tls_resumption"));
        texts.chain(insecure).chain(resumption).collect()
    }
}
