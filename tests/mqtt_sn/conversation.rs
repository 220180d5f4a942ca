//! The files of conversations, read.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use ringmq::mqtt_sn::{AddressChange, Predefined, Settings};

/// Names of message types.
const TYPES: [(&str, u8); 28] = [
    ("ADVERTISE", 0x00),
    ("SEARCHGW", 0x01),
    ("GWINFO", 0x02),
    ("CONNECT", 0x04),
    ("CONNACK", 0x05),
    ("WILLTOPICREQ", 0x06),
    ("WILLTOPIC", 0x07),
    ("WILLMSGREQ", 0x08),
    ("WILLMSG", 0x09),
    ("REGISTER", 0x0A),
    ("REGACK", 0x0B),
    ("PUBLISH", 0x0C),
    ("PUBACK", 0x0D),
    ("PUBCOMP", 0x0E),
    ("PUBREC", 0x0F),
    ("PUBREL", 0x10),
    ("SUBSCRIBE", 0x12),
    ("SUBACK", 0x13),
    ("UNSUBSCRIBE", 0x14),
    ("UNSUBACK", 0x15),
    ("PINGREQ", 0x16),
    ("PINGRESP", 0x17),
    ("DISCONNECT", 0x18),
    ("WILLTOPICUPD", 0x1A),
    ("WILLTOPICRESP", 0x1B),
    ("WILLMSGUPD", 0x1C),
    ("WILLMSGRESP", 0x1D),
    ("FORWARDED", 0xFE),
];

#[derive(Debug)]
pub(crate) struct Conversation {
    /// Statements, between spaces.
    pub(crate) ids: String,
    pub(crate) name: String,
    pub(crate) file: String,
    options: Vec<(String, String)>,
    /// With their numbers in the file.
    pub(super) lines: Vec<(usize, Line)>,
}

#[derive(Debug)]
pub(super) enum Line {
    Wait(u64),
    Crash,
    Sends {
        peer: String,
        to_group: bool,
        /// It is received together with the datagram that follows.
        is_joined: bool,
        octets: Octets,
    },
    Gets {
        peer: String,
        octets: Option<Octets>,
    },
}

/// A message, or with no type a whole datagram.
#[derive(Debug)]
pub(super) struct Octets {
    kind: Option<u8>,
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Octets(Vec<u8>),
    /// Two octets under a name.
    Bound(String),
}

/// All conversations of all files.
pub(crate) fn all() -> Vec<Conversation> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mqtt_sn");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder can be read")
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .collect();
    files.sort();
    files.iter().flat_map(|path| read(path)).collect()
}

fn read(path: &Path) -> Vec<Conversation> {
    let name = path.file_name().expect("it has one").to_string_lossy();
    let text = std::fs::read_to_string(path).expect("the file can be read");
    let mut found: Vec<Conversation> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some((ids, name_of)) = line.split_once('|') {
            found.push(Conversation {
                ids: ids.trim().to_owned(),
                name: name_of.trim().to_owned(),
                file: format!("tests/mqtt_sn/{name}"),
                options: Vec::new(),
                lines: Vec::new(),
            });
            continue;
        }
        let is_read = found.last_mut().and_then(|last| last.line(number, line));
        assert!(is_read.is_some(), "{name}, line {number}: {line:?}");
    }
    found
}

impl Conversation {
    pub(super) fn title(&self) -> String {
        format!("{}: {}", self.file, self.name)
    }

    fn line(&mut self, number: usize, line: &str) -> Option<()> {
        if line == "crash" {
            self.lines.push((number, Line::Crash));
            return Some(());
        }
        let (first, rest) = line.split_once(' ')?;
        let read = match first {
            "set" => {
                let (name, value) = rest.split_once(' ')?;
                self.options.push((name.to_owned(), value.to_owned()));
                return Some(());
            }
            "wait" => Line::Wait(rest.parse().ok()?),
            peer => {
                let (direction, message) = rest.split_once(' ')?;
                let peer = peer.to_owned();
                match (direction, message) {
                    (">" | ">*" | ">&", _) => Line::Sends {
                        peer,
                        to_group: direction == ">*",
                        is_joined: direction == ">&",
                        octets: Octets::read(message)?,
                    },
                    ("<", "nothing") => Line::Gets { peer, octets: None },
                    ("<", _) => Line::Gets {
                        peer,
                        octets: Some(Octets::read(message)?),
                    },
                    _ => return None,
                }
            }
        };
        self.lines.push((number, read));
        Some(())
    }

    pub(super) fn has_journal(&self) -> bool {
        self.options.iter().any(|(name, _)| name == "journal")
    }

    /// Of the listener.
    pub(super) fn settings(&self) -> Result<Settings, String> {
        let mut settings = Settings::default();
        let mut predefined = String::new();
        for (name, value) in &self.options {
            let number = || {
                value
                    .parse::<u16>()
                    .map_err(|_| format!("{value:?} is no number"))
            };
            match &**name {
                "journal" => {}
                "multicast" => settings.multicast = value.parse().ok(),
                "advertise" => settings.advertise_s = Some(number()?),
                "topics-max" => settings.topics_max = number()?,
                "datagram-max" => settings.datagram_max = number()?,
                "sleep-max" => settings.sleep_max_s = number()?,
                "pace-ms" => settings.pace_ms = number()?,
                "retries" => settings.retries = number()? as u8,
                "forwarders" => settings.forwarders = value == "true",
                "qos-minus-one" => settings.minus_one_user = Some(value.as_str().into()),
                "address-change" => settings.address_change = AddressChange::Asleep,
                "predefined" => {
                    predefined += value;
                    predefined.push('\n');
                }
                _ => return Err(format!("{name} is no option")),
            }
        }
        settings.predefined = Arc::new(Predefined::parse(&predefined)?);
        Ok(settings)
    }
}

impl Octets {
    fn read(text: &str) -> Option<Self> {
        let (name, mut rest) = text.split_once(' ').unwrap_or((text, ""));
        let kind = match name {
            "RAW" => None,
            name => Some(TYPES.iter().find(|(own, _)| *own == name)?.1),
        };
        let mut pieces = Vec::new();
        while !rest.trim_start().is_empty() {
            rest = rest.trim_start();
            if let Some(quoted) = rest.strip_prefix('\'') {
                let (text, after) = quoted.split_once('\'')?;
                pieces.push(Piece::Octets(text.into()));
                rest = after;
                continue;
            }
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            rest = after;
            pieces.push(match word.split_once('*') {
                _ if word.starts_with('$') => Piece::Bound(word[1..].to_owned()),
                // 41*300: an octet so many times.
                Some((octet, times)) => {
                    let octet = u8::from_str_radix(octet, 16).ok()?;
                    Piece::Octets(vec![octet; times.parse().ok()?])
                }
                None => {
                    let digits = word.as_bytes().chunks(2);
                    let octets = digits.map(|two| {
                        let two = std::str::from_utf8(two).ok()?;
                        u8::from_str_radix(two, 16).ok().filter(|_| two.len() == 2)
                    });
                    Piece::Octets(octets.collect::<Option<Vec<_>>>()?)
                }
            });
        }
        Some(Self { kind, pieces })
    }

    /// As it is sent.
    pub(super) fn datagram(&self, bound: &HashMap<String, Vec<u8>>) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Octets(octets) => body.extend_from_slice(octets),
                Piece::Bound(name) => {
                    let octets = bound.get(name).ok_or(format!("${name} is not bound"))?;
                    body.extend_from_slice(octets);
                }
            }
        }
        let Some(kind) = self.kind else {
            return Ok(body);
        };
        let mut datagram = match u8::try_from(body.len() + 2) {
            Ok(length) => vec![length],
            Err(_) => {
                let [high, low] = (body.len() as u16 + 4).to_be_bytes();
                vec![1, high, low]
            }
        };
        datagram.push(kind);
        datagram.extend_from_slice(&body);
        Ok(datagram)
    }

    /// Compares a datagram, and binds what is not bound yet.
    pub(super) fn matches(
        &self,
        found: &[u8],
        bound: &mut HashMap<String, Vec<u8>>,
    ) -> Result<(), String> {
        let header = match (self.kind, found.first()) {
            (None, _) => 0,
            (_, Some(1)) => 4,
            _ => 2,
        };
        let mut at = header;
        for piece in &self.pieces {
            if let Piece::Bound(name) = piece {
                if !bound.contains_key(name) {
                    let two = found.get(at..at + 2).unwrap_or_default().to_vec();
                    bound.insert(name.clone(), two);
                }
            }
            at += match piece {
                Piece::Octets(octets) => octets.len(),
                Piece::Bound(_) => 2,
            };
        }
        let expected = self.datagram(bound)?;
        if expected == found {
            Ok(())
        } else {
            Err(format!("expected {expected:02X?}, there is {found:02X?}"))
        }
    }
}
