//! Carrying out the steps of a row.

use std::collections::BTreeMap;

use ringmq::mqtt::Version;

use super::bytes::{self, Variables};
use super::expect::{hex, Expected};
use super::row::Row;
use super::Broker;

pub(super) const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// A connection as its client sees it.
struct Client {
    version: Version,
    is_open: bool,
}

struct Run<'a> {
    version: Version,
    broker: &'a mut dyn Broker,
    clients: BTreeMap<String, Client>,
    variables: Variables,
}

/// Runs one row; the problem names the step.
pub(super) fn run(row: &Row, version: Version, broker: &mut dyn Broker) -> Result<(), String> {
    let mut run = Run {
        version,
        broker,
        clients: BTreeMap::new(),
        variables: Variables::new(),
    };
    for step in &row.steps {
        run.step(step).map_err(|e| format!("{step}: {e}"))?;
    }
    run.finish()
}

/// How much time a row lets pass, in milliseconds.
pub(super) fn waits_ms(row: &Row) -> u64 {
    let waits = row
        .steps
        .iter()
        .filter_map(|step| step.strip_prefix("wait "));
    waits.filter_map(|text| duration_ms(text).ok()).sum()
}

/// Reads every step without running it.
pub(super) fn check(row: &Row, version: Version) -> Result<(), String> {
    for step in &row.steps {
        let (_, verb, rest) = split(step)?;
        let outcome = match verb {
            Verb::Wait => duration_ms(rest).map(|_| ()),
            Verb::Open => Opening::parse(rest, version).map(|_| ()),
            Verb::Send if rest == "close" => Ok(()),
            Verb::Send => bytes::parse(rest, version).map(|_| ()),
            Verb::Receive => Expectation::parse(rest, version).map(|_| ()),
        };
        outcome.map_err(|e| format!("{step}: {e}"))?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Verb {
    Wait,
    Open,
    Send,
    Receive,
}

/// Connection name, verb and the rest of a step.
fn split(step: &str) -> Result<(&str, Verb, &str), String> {
    if let Some(rest) = step.strip_prefix("wait ") {
        return Ok(("", Verb::Wait, rest.trim()));
    }
    let at = step.find(['+', '>', '<']).ok_or("no step")?;
    let (name, rest) = step.split_at(at);
    if !name.starts_with(|c: char| c.is_ascii_uppercase()) || name.len() > 2 {
        return Err("a connection is a capital letter and perhaps a digit".to_owned());
    }
    let verb = match &rest[..1] {
        "+" => Verb::Open,
        ">" => Verb::Send,
        _ => Verb::Receive,
    };
    Ok((name, verb, rest[1..].trim()))
}

fn duration_ms(text: &str) -> Result<u64, String> {
    let digits = text.strip_suffix("ms").ok_or("a time ends with ms")?;
    digits.parse().map_err(|_| "a time in ms".to_owned())
}

/// The options of `A+`.
struct Opening {
    version: Version,
    keep: bool,
    resume: bool,
    properties: String,
}

impl Opening {
    fn parse(text: &str, version: Version) -> Result<Self, String> {
        let (words, properties) = match text.split_once('{') {
            None => (text, ""),
            Some((words, rest)) => (words, rest.strip_suffix('}').ok_or("} is missing")?),
        };
        let mut opening = Self {
            version,
            keep: false,
            resume: false,
            properties: properties.to_owned(),
        };
        for word in words.split_whitespace() {
            match word {
                "keep" => opening.keep = true,
                "resume" => (opening.keep, opening.resume) = (true, true),
                "v3.1" => opening.version = Version::V31,
                "v3.1.1" => opening.version = Version::V311,
                "v5" => opening.version = Version::V5,
                _ => return Err(format!("{word:?} is no option of +")),
            }
        }
        bytes::parse(properties, opening.version)?;
        Ok(opening)
    }

    fn connect(&self, name: &str) -> String {
        let client_id = name[..1].to_ascii_lowercase();
        let (flags, expiry) = if self.keep {
            ("00", "1100000e10")
        } else {
            ("02", "")
        };
        let properties = &self.properties;
        format!("10 [ NAME {flags} 0000 {{ {expiry} {properties} }} \"{client_id}\" ]")
    }
}

/// What a receiving step waits for.
enum Expectation {
    Nothing,
    Close,
    Gone,
    Packets(Vec<Expected>),
    OneOf(Vec<Expected>),
    PacketThenClose(Option<Expected>),
}

impl Expectation {
    fn parse(text: &str, version: Version) -> Result<Self, String> {
        let packet = |text: &str| Expected::parse(text, version);
        let words: Vec<&str> = text.split_whitespace().collect();
        Ok(match words.as_slice() {
            ["nothing"] => Self::Nothing,
            ["close"] => Self::Close,
            ["gone"] => Self::Gone,
            ["error", code] => Self::PacketThenClose(if version.is_v5() {
                Some(packet(&format!("DISCONNECT {code}"))?)
            } else {
                None
            }),
            ["refused", v5, v3] => {
                let code = if version.is_v5() { v5 } else { v3 };
                Self::PacketThenClose(match *code {
                    "-" => None,
                    code => Some(packet(&format!("CONNACK {code}"))?),
                })
            }
            ["any", ..] => Self::Packets(list(text, version)?),
            ["one", ..] => Self::OneOf(list(text, version)?),
            _ => Self::Packets(vec![packet(text)?]),
        })
    }
}

/// The packets of `any` and `one`.
fn list(text: &str, version: Version) -> Result<Vec<Expected>, String> {
    text[3..]
        .split('|')
        .map(|p| Expected::parse(p, version))
        .collect()
}

impl Run<'_> {
    fn step(&mut self, step: &str) -> Result<(), String> {
        let (name, verb, rest) = split(step)?;
        match verb {
            Verb::Wait => self.broker.wait_ms(duration_ms(rest)?),
            Verb::Open => {
                let opening = Opening::parse(rest, self.version)?;
                let version = opening.version;
                self.open(name, version)?;
                let connect = bytes::to_send(&opening.connect(name), version, &self.variables)?;
                self.broker.send(name, &connect);
                let answer = if opening.resume { "resumed" } else { "ok" };
                return self.receive(name, &format!("CONNACK {answer}"));
            }
            Verb::Send if rest == "close" => {
                self.broker.close(name);
                self.client(name)?.is_open = false;
            }
            Verb::Send => {
                if !self.clients.get(name).is_some_and(|client| client.is_open) {
                    self.open(name, self.version)?;
                }
                let version = self.client(name)?.version;
                let bytes = bytes::to_send(rest, version, &self.variables)?;
                self.broker.send(name, &bytes);
            }
            Verb::Receive => return self.receive(name, rest),
        }
        Ok(())
    }

    fn client(&mut self, name: &str) -> Result<&mut Client, String> {
        self.clients
            .get_mut(name)
            .ok_or(format!("{name} was never opened"))
    }

    fn open(&mut self, name: &str, version: Version) -> Result<(), String> {
        if self.clients.get(name).is_some_and(|client| client.is_open) {
            return Err(format!("{name} is open already"));
        }
        let is_open = true;
        self.clients
            .insert(name.to_owned(), Client { version, is_open });
        self.broker.open(name);
        Ok(())
    }

    fn receive(&mut self, name: &str, text: &str) -> Result<(), String> {
        let version = self.client(name)?.version;
        match Expectation::parse(text, version)? {
            Expectation::Nothing => self.nothing(name),
            Expectation::Close => self.closed(name),
            Expectation::Gone => {
                while self.broker.receive_soon(name).is_some() {}
                self.closed(name)
            }
            Expectation::PacketThenClose(expected) => {
                if let Some(expected) = expected {
                    self.packets(name, vec![expected])?;
                }
                self.closed(name)
            }
            Expectation::Packets(expected) => self.packets(name, expected),
            Expectation::OneOf(choice) => self.packet(name, &choice).map(|_| ()),
        }
    }

    fn packets(&mut self, name: &str, mut expected: Vec<Expected>) -> Result<(), String> {
        while !expected.is_empty() {
            let found = self.packet(name, &expected)?;
            expected.remove(found);
        }
        Ok(())
    }

    /// Receives one packet; which of the expected ones it is.
    fn packet(&mut self, name: &str, expected: &[Expected]) -> Result<usize, String> {
        let Some(packet) = self.broker.receive(name) else {
            let state = if self.broker.is_closed(name) {
                "closed"
            } else {
                "open"
            };
            return Err(format!("nothing more received, connection {state}"));
        };
        let mut problem = String::new();
        let found = expected.iter().position(|expected| {
            match expected.compare(&packet, &mut self.variables) {
                Ok(()) => true,
                Err(difference) => {
                    problem = difference;
                    false
                }
            }
        });
        found.ok_or(format!("received {}: {problem}", hex(&packet)))
    }

    fn nothing(&mut self, name: &str) -> Result<(), String> {
        if let Some(packet) = self.broker.receive_soon(name) {
            return Err(format!("{name} also received {}", hex(&packet)));
        }
        if self.broker.is_closed(name) {
            return Err(format!("{name} was closed"));
        }
        Ok(())
    }

    fn closed(&mut self, name: &str) -> Result<(), String> {
        if let Some(packet) = self.broker.receive_soon(name) {
            return Err(format!(
                "{name} received {} instead of a close",
                hex(&packet)
            ));
        }
        if !self.broker.awaits_close(name) {
            return Err("not closed".to_owned());
        }
        self.client(name)?.is_open = false;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), String> {
        let open: Vec<String> = self
            .clients
            .iter()
            .filter(|(_, client)| client.is_open)
            .map(|(name, _)| name.clone())
            .collect();
        for name in open {
            self.nothing(&name)
                .map_err(|e| format!("at the end: {e}"))?;
        }
        Ok(())
    }
}
