//! Tables of good and bad configurations.

mod bridges;
mod command_lines;
mod files;
mod listeners;
mod memory;
mod table;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::check::check;
use super::kind::{Kind, Value};
use super::options::{self, Opt};
use super::raw::Typed;
use super::*;
use crate::limits::{Limits, OwnQuotas, OwnRates};
use crate::listener::{
    Address, Authentication, Listener, ListenerPolicy, TlsFiles, Transport, Versions,
};
use crate::mqtt::Qos;
use crate::transport::tls::{ClientCertificate, IdentitySource, Settings, VersionMin};

/// What `load` makes of these words, without a file.
fn line(words: &[&str]) -> Result<Command, String> {
    let args = std::iter::once("ringmq").chain(words.iter().copied());
    load(args.map(OsString::from)).map_err(|problems| problems.to_string())
}

fn run(words: &[&str]) -> Checked {
    match line(words) {
        Ok(Command::Run(mut checked)) => {
            checked.admin.in_force.clear(); // compared by the tests of what is shown
            *checked
        }
        other => panic!("{words:?}: {other:?}"),
    }
}

/// What a file of this text makes, or its problem lines.
fn file(text: &str) -> Result<Checked, Vec<String>> {
    let name: Arc<str> = "f".into();
    let mut problems = Vec::new();
    let content = file::parse(&name, text, &mut problems);
    let outcome = check(
        &content.given,
        &content.listeners,
        &content.bridges,
        &mut problems,
    );
    if problems.is_empty() {
        return Ok(outcome.checked);
    }
    let problems = Problems::new(problems);
    Err(problems.iter().map(ToString::to_string).collect())
}

fn root(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A file in the temporary directory, removed when dropped.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = std::env::temp_dir().join(format!("ringmq-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const TLS: &str =
    "address = \"127.0.0.1:8883\"\ntransport = \"tls\"\ntls-certificate = \"c\"\ntls-key = \"k\"\n";

/// Two values of a kind, as different as can be: at least one is not the default.
fn ends(kind: Kind) -> Vec<Value> {
    match kind {
        Kind::Number { min, max, word } | Kind::Seconds { min, max, word } => {
            let word = word.map(|_| Value::Word);
            [Value::Number(min), Value::Number(max)]
                .into_iter()
                .chain(word)
                .collect()
        }
        Kind::BytesOr { min, max, .. } => {
            vec![Value::Number(min), Value::Number(max), Value::Word]
        }
        Kind::Interval { max, .. } => vec![Value::Word, Value::Number(1), Value::Number(max)],
        Kind::Bytes { min, max } => vec![Value::Number(min), Value::Number(max)],
        Kind::Boolean => vec![Value::Boolean(true), Value::Boolean(false)],
        Kind::Choice(words) => words.iter().map(|word| Value::Choice(word)).collect(),
        Kind::Text(_) | Kind::Whole(_) => {
            ["", "a b's ü"].map(|text| Value::Text(text.into())).into()
        }
        Kind::Addresses => {
            let addresses = ["127.0.0.1:7", "[::1]:8"].map(|text| text.parse().unwrap());
            vec![Value::Addresses(addresses.to_vec())]
        }
        Kind::Places => {
            let places = ["127.0.0.1:7", "[::1]:8"].map(|text| Address::Ip(text.parse().unwrap()));
            let file = Address::Unix("/run/a b".into());
            vec![
                Value::Places(Vec::new()),
                Value::Places(places.into_iter().chain([file]).collect()),
            ]
        }
        Kind::Names(_) => vec![
            Value::Texts(Vec::new()),
            Value::Texts(vec!["ann".into(), "b's ü".into()]),
        ],
        _ => Vec::new(), // only listeners have them
    }
}
